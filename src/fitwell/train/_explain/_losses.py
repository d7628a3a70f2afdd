"""What goes into a loss: shapes, types and values of outputs and targets."""

from __future__ import annotations

import re

from torch import Tensor

from ._explanation import Explanation, Rule, sizes
from ._placement import integral, type_name
from ._scene import Scene, within_torch

_PAIRS = (("input", "target"), ("outputs", "targets"))


def _pair(scene: Scene) -> tuple[Tensor | None, Tensor | None]:
    """Give outputs and targets, as far as the frames show them."""
    for one, other in _PAIRS:
        if other in scene.tensors:
            return scene.tensors.get(one), scene.tensors[other]
    return None, None


def _targets(scene: Scene) -> str:
    return _called(scene, 1)


def _outputs(scene: Scene) -> str:
    return _called(scene, 0)


def _called(scene: Scene, place: int) -> str:
    names = [pair[place] for pair in _PAIRS if pair[place] in scene.tensors]
    return scene.called(names[0]) if names else ("input", "target")[place]


def _label_dtype(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = _pair(scene)
    if "scalar type" in match[0] and within_torch(scene.layer) and targets is None:
        return None
    name = _targets(scene)
    cause = f"class labels must be whole numbers of type int64, not {type_name(match[1])}"
    if targets is None:
        return scene.explain(
            "label-dtype",
            cause,
            "If the labels are whole numbers, pass target.long(); if they are measured numbers,"
            " use a loss for numbers, such as nn.MSELoss.",
        )
    whole = integral(targets)
    if whole is None:
        fix = f"Pass {name}.long() if these are classes, or use nn.MSELoss if they are numbers."
    elif whole:
        fix = f"Pass {name}.long()."
        if outputs is not None and outputs.ndim > 1 and outputs.shape[1] == 1:
            fix += " With two classes and one output, use nn.BCEWithLogitsLoss instead."
    else:
        example = next(v for v in targets.flatten().tolist() if v != round(v))
        cause = f"the targets are numbers such as {example:.4g}, and cross entropy is for classes"
        fix = "Use a loss for numbers: nn.MSELoss, or fitwell.losses.MSE, with one output each."
    return scene.explain("label-dtype", cause, fix, "input", "target")


def _one_hot(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, _ = _pair(scene)
    name = _targets(scene)
    cause = "targets of the shape of the outputs are read as one probability per class"
    fix = f"Pass class indices, {name}.argmax(dim=1), or probabilities, {name}.float()."
    if outputs is not None and outputs.ndim == 1:
        cause = "the outputs have one axis, so they are read as the classes of a single example"
        fix = (
            "Give one output per class, (N, K), and keep the batch; for two classes and one"
            " output, use nn.BCEWithLogitsLoss."
        )
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _extra_axis(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = _pair(scene)
    name = _targets(scene)
    cause = "class labels must have one axis, one label per example"
    fix = f"Drop the axis: {name}.squeeze(1); or turn one-hot rows into labels: .argmax(dim=1)."
    if targets is not None and targets.ndim == 2:
        if targets.shape[1] == 1:
            fix = f"Drop the axis: {name}.squeeze(1)" + _and_long(targets)
        elif outputs is not None and outputs.shape != targets.shape:
            fix = (
                f"The targets have {targets.shape[1]} columns and the model {outputs.shape[1]}"
                f" outputs: build it with {targets.shape[1]}, or pass {name}.argmax(dim=1)."
            )
        else:
            fix = f"Turn one-hot rows into labels: {name}.argmax(dim=1)."
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _and_long(targets: Tensor) -> str:
    return ".long()." if targets.dtype.is_floating_point and integral(targets) else "."


def _batch(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = int(match[1]), int(match[2])
    cause = f"there must be one output per label, not {outputs} for {targets} labels"
    fix = "Give the loss outputs and labels of the same batch."
    _, found = _pair(scene)
    if found is not None and found.ndim > 1 and found.numel() == outputs:
        fix = f"One label per row of the outputs: {_targets(scene)}.flatten()."
    elif outputs % targets == 0 or targets % outputs == 0:
        fix = "A reshape such as x.view(-1, n) changed the batch: use x.flatten(1), which keeps it."
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _places(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = _pair(scene)
    wanted, got = sizes(match[1]), sizes(match[2])
    if "got input" in match[0] and len(wanted) > 2:
        wanted = (wanted[0], *wanted[2:])
    cause = f"the labels must have shape {wanted}, that of the outputs without the classes"
    fix = "Make the outputs (N, K, ...) and the labels (N, ...) with the same sizes behind."
    if outputs is not None and targets is not None and outputs.shape[:-1] == targets.shape:
        fix = f"Classes are the last axis and belong second: {_outputs(scene)}.movedim(-1, 1)."
    else:
        cause += f", not {got}"
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _class_weights(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"there must be one class weight for each of the {match[1]} outputs, not {match[2]}"
    fix = "Give one weight per class, or build the model with one output per class."
    return scene.explain("loss-shape", cause, fix, "input", "weight")


def _out_of_range(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = _pair(scene)
    name = _targets(scene)
    if outputs is None or targets is None:
        cause = f"the label {match[1]} is not one of the classes, which count from 0"
        fix = "Number the classes from 0 on, and give the model one output for each."
        return scene.explain("label-range", cause, fix)
    classes = outputs.shape[1] if outputs.ndim > 1 else outputs.shape[0]
    low, high = int(targets.min()), int(targets.max())
    cause = (
        f"labels must lie in 0 ... {classes - 1}, as the model has {classes} outputs,"
        f" not in {low} ... {high}"
    )
    if low < 0:
        fix = (
            f"Number the classes from 0 on; if {low} marks what does not count, use the loss with"
            f" ignore_index={low}."
        )
    elif low >= 1 and high == classes:
        fix = f"The classes are counted from 1: pass {name} - 1."
    elif high == classes:
        fix = f"A class was forgotten: build the model with {classes + 1} outputs."
    elif high == 255 or len(set(targets.flatten().tolist())) <= classes:
        fix = (
            f"Number the classes without gaps, {name}.unique(return_inverse=True)[1]; if {high}"
            f" marks what does not count, use ignore_index={high}."
        )
    else:
        fix = f"Build the model with {high + 1} outputs, or number the classes from 0 on."
    return scene.explain("label-range", cause, fix, "input", "target")


def _sizes_differ(match: re.Match[str], scene: Scene) -> Explanation | None:
    target, output = sizes(match[1]), sizes(match[2])
    warned = isinstance(scene.error, Warning)
    cause = f"outputs {output} and targets {target} must have the same shape" + (
        ", or they are broadcast to a table of all pairs" if warned else ""
    )
    name = _outputs(scene)
    if output == (*target, 1):
        fix = f"Pass {name}.squeeze(-1)."
    elif target == (*output, 1):
        fix = f"Pass {_targets(scene)}.squeeze(-1)."
    elif len(output) != len(target) and len(output) > 1:
        fix = f"Give one output per target, or encode labels: one_hot(target, {output[-1]})."
    else:
        fix = "Build the model with one output per target."
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _regression(match: re.Match[str], scene: Scene) -> Explanation | None:
    """Explain broadcasting that failed inside of a loss."""
    outputs, targets = _pair(scene)
    if not scene.in_loss or outputs is None or targets is None:
        return None
    cause = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} must be alike"
    fix = "Build the model with one output per target, from the same batch."
    if outputs.shape == targets.shape[::-1]:
        fix = f"One of them is transposed: {_outputs(scene)}.T."
    return scene.explain("loss-shape", cause, fix, "input", "target")


def _probabilities(match: re.Match[str], scene: Scene) -> Explanation | None:
    outputs, targets = _pair(scene)
    if match[1] == "target":
        high = "" if targets is None else f", not up to {float(targets.max()):.4g}"
        fix = "Use 0 and 1; for more than two classes use nn.CrossEntropyLoss."
        return scene.explain("loss-range", f"labels must lie in 0 ... 1{high}", fix, "target")
    if outputs is not None and not bool(outputs.isfinite().all()):
        return scene.explain("not-finite", "the outputs are not finite", trace(), "input")
    seen = ""
    if outputs is not None:
        seen = f", not in {float(outputs.min()):.4g} ... {float(outputs.max()):.4g}"
    cause = f"the outputs must be probabilities in 0 ... 1{seen}"
    fix = "Use nn.BCEWithLogitsLoss, which takes the outputs as they are, without a sigmoid."
    return scene.explain("loss-range", cause, fix, "input")


def _float_targets(match: re.Match[str], scene: Scene) -> Explanation | None:
    if _pair(scene)[1] is None and not scene.function and "autocast" not in match[0]:
        return None
    name = _targets(scene)
    found = re.findall("Long|Int|Byte|Bool|Double|Half|BFloat16|Short", match[0])
    cause = "targets must have the type of the outputs in this loss" + (
        f", not {type_name(found[-1])}" if found else ""
    )
    return scene.explain("label-dtype", cause, f"Pass {name}.float().", "input", "target")


def _unsafe(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "a loss of probabilities loses too many digits in low precision"
    fix = "Use nn.BCEWithLogitsLoss on the outputs, without a sigmoid."
    return scene.explain("dtype", cause, fix, "input", "target")


def trace() -> str:
    """Say how to find where numbers stop being finite."""
    return (
        "`first_nonfinite(model, inputs)` of fitwell.train names the layer where it begins; try a"
        " lower learning rate, grad_clip_norm, and inputs without NaN."
    )


_SIZE = r"(?:torch\.Size\()?\[([\d, ]*)\]\)?"

RULES: tuple[Rule, ...] = (
    (r"expected target dtype to be Long or Byte, but got (\w+)", _label_dtype),
    (r"expected scalar type Long but found (\w+)", _label_dtype),
    (r"\"nll\w+\" not implemented for '(\w+)'", _label_dtype),
    (r"Expected floating point type for target with class probabilities, got (\w+)", _one_hot),
    (r"0D or 1D target tensor expected, multi-target not supported", _extra_axis),
    (r"Expected input batch_size \((\d+)\) to match target batch_size \((\d+)\)", _batch),
    (rf"Expected target size {_SIZE}, got {_SIZE}", _places),
    (rf"size mismatch \(got input: {_SIZE} ?, target: {_SIZE}", _places),
    (rf"either for all (\d+) classes or no classes but got weight .* {_SIZE}", _class_weights),
    (r"Target (-?\d+) is out of bounds", _out_of_range),
    (rf"a target size \({_SIZE}\) that is different to the input size \({_SIZE}\)", _sizes_differ),
    (rf"Target size \({_SIZE}\) must be the same as input size \({_SIZE}\)", _sizes_differ),
    (r"must match the size of tensor b .* at non-singleton dimension", _regression),
    (r"all elements of (input|target) should be between 0 and 1", _probabilities),
    (r"Found dtype \w+ but expected Float", _float_targets),
    (r"result type Float can't be cast to the desired output type \w+", _float_targets),
    (r"binary_cross_entropy.* unsafe to autocast", _unsafe),
)
