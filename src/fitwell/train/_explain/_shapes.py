"""Shapes that do not fit: matrices, convolutions, broadcasting, normalization, recurrence."""

from __future__ import annotations

import math
import re

from torch import nn

from ._explanation import Explanation, Rule, sizes
from ._scene import Scene

_AXES = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}


def _matmul(match: re.Match[str], scene: Scene) -> Explanation | None:
    left, right = sizes(match[1]), sizes(match[2])
    if isinstance(scene.layer, nn.Linear):
        return _linear(scene, scene.layer, scene.shape("input") or left)
    names = [scene.called(name) for name in scene.tensors][:2]
    one, other = names if len(names) == 2 else ("a", "b")
    cause = (
        f"a product must have as many columns on the left as rows on the right, not {left[-1]} in"
        f" {one} and {right[0]} in {other}"
    )
    if left[-1] == right[-1]:
        fix = f"Transpose the second: {one} @ {other}.T."
    elif left[0] == right[0]:
        fix = f"Transpose the first: {one}.T @ {other}."
    elif left[0] == right[-1]:
        fix = f"Exchange them: {other} @ {one}."
    else:
        fix = "No transposition fits: look at where the two sizes come from."
    return scene.explain("matmul-shape", cause, fix)


def _linear(scene: Scene, layer: nn.Linear, shape: tuple[int, ...]) -> Explanation:
    wanted, name = layer.in_features, scene.called("input")
    cause = f"the last axis of its input must have {wanted} features, not {shape[-1]}"
    axes = [axis for axis, size in enumerate(shape[:-1]) if size == wanted]
    if len(shape) > 2 and math.prod(shape[1:]) == wanted:
        fix = f"Flatten the input: {name}.flatten(1), or nn.Flatten() before the layer."
    elif len(shape) > 1 and math.prod(shape) == wanted:
        fix = f"One example without a batch: {name}.flatten().unsqueeze(0)."
    elif len(shape) == 2 and axes:
        fix = f"The input is transposed: pass {name}.T."
    elif axes:
        fix = f"Axis {axes[-1]} has that size: pass {name}.transpose({axes[-1]}, -1)."
    elif len(shape) > 3:
        features = math.prod(shape[1:])
        fix = f"Flatten images first, nn.Flatten(), and build it with in_features={features}."
    else:
        fix = f"Build it with in_features={shape[-1]}, or nn.LazyLinear({layer.out_features})."
    return scene.explain("matmul-shape", cause, fix, "input", "weight")


def _vectors(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "matmul-shape",
        f"the sizes of the two factors do not fit ({match[0]})",
        "The last axis of the left must be as long as the first of the right: transpose one.",
    )


def _batched(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, got = sizes(match[1]), sizes(match[2])
    fix = "The batches differ in length: both must come from the same one."
    if wanted[0] == got[0]:
        fix = "Transpose the last two axes of one: b.transpose(1, 2)."
    return scene.explain(
        "matmul-shape", f"the second factor must begin with {wanted}, not {got}", fix
    )


def _conv(match: re.Match[str], scene: Scene) -> Explanation | None:
    given, wanted = sizes(match[1]), int(match[2])
    actual, name = scene.shape("input") or given, scene.called("input")
    rank = len(given) - 2
    cause = f"axis 1 of its input must have {wanted} channels, not {given[1]}"
    lacks_batch = len(actual) == rank + 1
    if lacks_batch and actual[-1] == wanted:
        order = ", ".join(map(str, (rank, *range(rank))))
        fix = f"Channels are last and the batch is missing: {name}.permute({order}).unsqueeze(0)."
    elif lacks_batch and wanted == 1:
        fix = f"The axis of channels is missing: {name}.unsqueeze(1) for {actual[0]} images."
    elif actual[-1] == wanted:
        order = ", ".join(map(str, (0, rank + 1, *range(1, rank + 1))))
        fix = (
            f"Channels are last and belong second, {_AXES.get(rank, '(N, C, ...)')}:"
            f" {name}.permute({order})."
        )
    elif given[1] == 1 and wanted == 3:
        fix = f"Gray into a layer for color: in_channels=1, or {name}.expand(-1, 3, -1, -1)."
    else:
        fix = f"Build it with in_channels={given[1]}, the channels that the layer before gives."
    return scene.explain("input-shape", cause, fix, "input", "weight")


def _conv_rank(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, shape, name = int(match[1]), sizes(match[2]), scene.called("input")
    axes = _AXES.get(wanted - 1, "(N, C, ...)")
    fix = f"Pass a batch of shape {axes}."
    if len(shape) == wanted - 1:
        fix = f"Batch and channels are missing from {axes}: {name}.unsqueeze(0).unsqueeze(0)."
    cause = f"its input must have {wanted + 1} axes {axes}, not {len(shape)}"
    return scene.explain("input-shape", cause, fix, "input")


def _too_small(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "input-shape",
        "the images have become smaller than the window that slides over them",
        "Use larger images, fewer poolings and strides before it, or a padding.",
        "input",
    )


def _broadcast(match: re.Match[str], scene: Scene) -> Explanation | None:
    one, other, axis = int(match[1]), int(match[2]), int(match[3])
    names = list(scene.tensors)[:2]
    called = [scene.called(name) for name in names] if len(names) == 2 else ["a", "b"]
    shapes = [scene.shape(name) or () for name in names]
    fix = "Sizes on the same axis, counted from the right, must be equal or 1."
    if len(shapes) == 2 and shapes[0][::-1] == shapes[1] and len(shapes[0]) == 2:
        fix = f"One of them is transposed: use {called[1]}.T."
    elif len(shapes) == 2 and len(shapes[1]) == 1 and shapes[0][:1] == shapes[1]:
        ones = ", None" * (len(shapes[0]) - 1)
        fix = f"To go along the first axis: {called[1]}[:{ones}]."
    cause = f"two tensors cannot be combined: on axis {axis} they have {one} and {other} entries"
    return scene.explain("shape", cause, fix)


def _in_place_shape(match: re.Match[str], scene: Scene) -> Explanation | None:
    kept, needed = sizes(match[1]), sizes(match[2])
    cause = f"the result, {needed}, does not fit into the tensor that it is written to, {kept}"
    return scene.explain("shape", cause, "Make a new tensor: a = a + b instead of a += b.")


def _reshape(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted = tuple(int(n) for n in re.findall(r"-?\d+", match[1]))
    count = int(match[2])
    fix = f"The sizes must multiply to {count}; leave one as -1 to have it computed."
    if len(wanted) > 1 and wanted[0] == -1:
        fix = f"Keep the batch, x.flatten(1), and count the features again; {count} in all."
    return scene.explain("shape", f"{count} numbers cannot be given the shape {wanted}", fix)


def _strides(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "view cannot be used on a tensor that was transposed or cut out of another one"
    return scene.explain("shape", cause, "Use reshape instead of view.")


def _join(match: re.Match[str], scene: Scene) -> Explanation | None:
    in_loader = any(step.frame.f_code.co_name == "fetch" for step in scene.steps)
    if in_loader or scene.worker is not None:
        return scene.explain(
            "shape",
            f"the examples of a batch have different shapes ({match[0]})",
            "Resize or pad them in the data set, or give the DataLoader a `collate_fn`, such as"
            " one with torch.nn.utils.rnn.pad_sequence.",
        )
    cause = f"tensors that are joined must be equal in all other sizes ({match[0]})"
    return scene.explain("shape", cause, "Resize or pad them, or join along another `dim`.")


def _norm_rank(match: re.Match[str], scene: Scene) -> Explanation | None:
    got = int(match[2])
    fitting = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}.get(got, "1d")
    fix = f"Use nn.BatchNorm{fitting}, or reshape the input."
    axes = match[1].replace("D", "")
    return scene.explain("input-shape", f"its input must have {axes} axes, not {got}", fix, "input")


def _norm_features(match: re.Match[str], scene: Scene) -> Explanation | None:
    got, wanted = match[1], match[2]
    return scene.explain(
        "input-shape",
        f"axis 1 of its input must have {wanted} features, not {got}",
        f"Build it with num_features={got}.",
        "input",
        "running_mean",
    )


def _layer_norm(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, got = sizes(match[1]), sizes(match[2])
    last = got[-len(wanted) :]
    cause = f"the last axes of its input must be {wanted}, not {last}"
    return scene.explain("input-shape", cause, f"Build it with normalized_shape={last}.", "input")


def _recurrent(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, got = match[1], match[2]
    shape = scene.shape("input") or ()
    fix = f"Build it with input_size={got}."
    axes = [axis for axis, size in enumerate(shape[:-1]) if str(size) == wanted]
    if axes:
        fix = f"Axis {axes[-1]} has that size: pass x.transpose({axes[-1]}, -1)."
    cause = f"the last axis of its input must have {wanted} features, not {got}"
    return scene.explain("input-shape", cause, fix, "input")


def _recurrent_rank(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"its input must have 3 axes, (T, N, features) or batch first, not {match[1]}"
    return scene.explain("input-shape", cause, "Flatten all but time and batch.", "input")


def _hidden(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, got = sizes(match[1]), sizes(match[2])
    batch_first = getattr(scene.layer, "batch_first", False)
    order = "(N, T, features)" if batch_first else "(T, N, features), or use batch_first=True"
    return scene.explain(
        "input-shape",
        f"the hidden state must have shape {wanted}, (layers, N, hidden_size), not {got}",
        f"Make it for the batch at hand, or leave it out for zeros; the input is read as {order}.",
    )


def _attention(match: re.Match[str], scene: Scene) -> Explanation | None:
    wanted, got = match[1], match[2]
    cause = f"its queries must have {wanted} features on the last axis, not {got}"
    return scene.explain("input-shape", cause, f"Build it with embed_dim={got}.", "query")


def _mask(match: re.Match[str], scene: Scene) -> Explanation | None:
    got, wanted = sizes(match[1]), sizes(match[2])
    fix = f"Build the mask for {wanted}: targets, then sources."
    return scene.explain("input-shape", f"the mask must be {wanted}, not {got}", fix)


_SIZE = r"(?:torch\.Size\()?\[([\d, ]*)\]\)?"

RULES: tuple[Rule, ...] = (
    (r"mat1 and mat2 shapes cannot be multiplied \((\d+x\d+) and (\d+x\d+)\)", _matmul),
    (r"size mismatch, got input \(\d+\), mat \([\dx]+\), vec \(\d+\)", _vectors),
    (r"inconsistent tensor size, expected tensor \[\d+\] and src \[\d+\]", _vectors),
    (rf"first two dimensions of batch2 tensor to be: {_SIZE} but got: {_SIZE}", _batched),
    (rf"expected input{_SIZE} to have (\d+) channels, but got \d+ channels", _conv),
    (
        rf"Expected (\d)D \(unbatched\) .* input to conv.* but got input of size: {_SIZE}",
        _conv_rank,
    ),
    (r"Kernel size can't be greater than actual input size|Output size is too small", _too_small),
    (r"tensor a \((\d+)\) must match .* b \((\d+)\) at non-singleton dimension (\d+)", _broadcast),
    (rf"output with shape {_SIZE} doesn't match the broadcast shape {_SIZE}", _in_place_shape),
    (r"shape '\[([-\d, ]+)\]' is invalid for input of size (\d+)", _reshape),
    (r"view size is not compatible with input tensor's size and stride", _strides),
    (r"stack expects each tensor to be equal size, but got .* at entry \d+", _join),
    (r"Sizes of tensors must match except in dimension \d+\. .*? in the list", _join),
    (r"expected (\dD(?: or \dD)*) input \(got (\d)D input\)", _norm_rank),
    (r"running_mean should contain (\d+) elements not (\d+)", _norm_features),
    (rf"normalized_shape={_SIZE}, expected .* got input of size{_SIZE}", _layer_norm),
    (r"must be equal to input_size\. Expected (\d+), got (\d+)", _recurrent),
    (r"Expected input to be 2D(?: or |, )3D.*, got (\d+)D instead", _recurrent_rank),
    (rf"Expected hidden(?:\[\d\])? size (\([\d, ]+\)), got {_SIZE}", _hidden),
    (r"was expecting embedding dimension of (\d+), but got (\d+)", _attention),
    (rf"attn_mask is {_SIZE}, but should be (\([\d, ]+\))", _mask),
)
