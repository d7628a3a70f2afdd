"""Values: indices that point outside, batches of one, lengths of sequences, NaN and infinity."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from ._explanation import Explanation, Rule
from ._losses import trace
from ._scene import Scene


def _embedding(match: re.Match[str], scene: Scene) -> Explanation | None:
    rows: Any = getattr(scene.layer, "num_embeddings", None)
    indices = scene.tensors.get("input")
    if indices is None or indices.dtype.is_floating_point:
        return None
    weight = scene.shape("weight")
    rows = weight[0] if rows is None and weight else rows
    low, high = int(indices.min()), int(indices.max())
    cause = f"indices must lie in 0 ... {int(rows) - 1}, not in {low} ... {high}"
    fix = f"Build it with num_embeddings={high + 1}, or map unknown words to one index."
    if low < 0:
        fix = f"Count from 0; if {low} marks padding, use an index of its own and padding_idx."
    return scene.explain("index-range", cause, fix)


def _bag(match: re.Match[str], scene: Scene) -> Explanation | None:
    value, rows = match[1], match[2]
    cause = f"indices must lie in 0 ... {int(rows) - 1}, not at {value}"
    return scene.explain("index-range", cause, f"Build it with num_embeddings={int(value) + 1}.")


def _row(match: re.Match[str], scene: Scene) -> Explanation | None:
    index, axis, size = match[1], match[2], int(match[3])
    cause = f"index {index} was asked of axis {axis}, which has 0 ... {size - 1}"
    fix = "Indices count from 0; look at where this one comes from."
    if int(index) == size:
        fix = "Indices count from 0, so the last is one less than the size."
    return scene.explain("index-range", cause, fix)


def _axis(match: re.Match[str], scene: Scene) -> Explanation | None:
    low, high, got = match[1], match[2], match[3]
    cause = f"axis {got} was asked of a tensor that has {low} ... {high}"
    return scene.explain("shape", cause, "Use an axis that the tensor has; -1 is the last one.")


def _one_hot(match: re.Match[str], scene: Scene) -> Explanation | None:
    labels = next((t for t in scene.tensors.values() if not t.dtype.is_floating_point), None)
    high = "" if labels is None else f", not up to {int(labels.max())}"
    cause = f"labels must be less than num_classes{high}"
    return scene.explain("label-range", cause, "Give the number of classes, counted from 0.")


def _device_side(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "index-range",
        "an index, mostly a class label or a row of an embedding, was out of range on the GPU,"
        " which says so late and at another place",
        "Run one batch on the CPU for the exact message: model.cpu(), inputs.cpu(). Start Python"
        " anew, as the GPU is of no use to this process now.",
    )


def _one_value(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "one-value",
        "a normalization layer in training mode needs more than one value per channel for its"
        " variance",
        "Leave out a last batch of one, drop_last=True, or use a larger batch_size; call"
        " model.eval() before predicting.",
    )


def _lengths(match: re.Match[str], scene: Scene) -> Explanation | None:
    given, batch = int(match[1]), int(match[2])
    shape = scene.shape("input") or ()
    cause = f"there must be one length per sequence, {batch}, not {given}"
    fix = "Give one length per sequence of this batch."
    if given in shape[:1]:
        fix = "The batch is the first axis here: pass batch_first=True."
    return scene.explain("lengths", cause, fix)


def _no_length(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "a sequence of the batch has length 0"
    fix = "Leave out empty sequences, or give them one padded step: lengths.clamp(min=1)."
    return scene.explain("lengths", cause, fix)


def _unsorted(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "the lengths are not in falling order"
    return scene.explain("lengths", cause, "Pass enforce_sorted=False.")


def _lengths_device(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "lengths must be whole numbers on the CPU"
    return scene.explain("lengths", cause, "Pass lengths.cpu().long().")


def _not_finite(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"there are NaN or infinite numbers ({_first_line(scene.text)})"
    model = scene.model
    for name, parameter in () if model is None else model.named_parameters():
        if not _is_finite(parameter):
            cause = f"the weights of the model are no longer finite, {name} is the first"
            fix = "Restore the last checkpoint, and train with a lower rate or grad_clip_norm."
            return scene.tell("not-finite", cause, fix)
    return scene.tell("not-finite", cause, trace())


def _is_finite(tensor: Tensor) -> bool:
    try:
        return bool(tensor.isfinite().all())
    except (RuntimeError, NotImplementedError):  # on the meta device
        return True


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".:")


RULES: tuple[Rule, ...] = (
    (r"index out of range in self", _embedding),
    (r"Index \d+ of input takes value (-?\d+) which is not in the valid range \[0, (\d+)\)", _bag),
    (r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)", _row),
    (r"Dimension out of range \(expected .* of \[(-?\d+), (-?\d+)\], but got (-?\d+)\)", _axis),
    (r"Class values must be smaller than num_classes", _one_hot),
    (r"device-side assert triggered", _device_side),
    (
        r"Expected more than 1 .* when training, got input size torch\.Size\(\[([\d, ]+)\]",
        _one_value,
    ),
    (r"`len\(lengths\)` to be equal to batch_size, but got (\d+) \(batch_size=(\d+)", _lengths),
    (r"Length of all samples has to be greater than 0", _no_length),
    (r"`lengths` array must be sorted in decreasing order", _unsorted),
    (r"'lengths' argument should be a 1D CPU int64 tensor", _lengths_device),
    (r"returned nan values in its \d+th output", _not_finite),
    (r"gradients from `parameters` is non-finite", _not_finite),
    (r"probability tensor contains either `inf`, `nan`", _not_finite),
    (r"to satisfy the constraint .*, but found invalid values:[\s\S]*\b(?:nan|inf)", _not_finite),
    (r"contains NaN\b", _not_finite),
)
