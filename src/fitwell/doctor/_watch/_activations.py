"""What a layer gives out, in a few numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

PART = 2**18
"""Numbers of a tensor that are looked at, unless one row has more; finiteness is asked of all."""

SATURATED = 0.97
"""A tanh beyond it has a slope below 0.06."""

WEIGHTED = (
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.Embedding,
    nn.RNNBase,
    nn.RNNCellBase,
)
NORMALIZING = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_KINDS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.ReLU, nn.ReLU6), "relu"),
    ((nn.Tanh,), "tanh"),
    ((nn.Sigmoid,), "sigmoid"),
)
_OPERATIONS = {"ReluBackward0": "relu", "TanhBackward0": "tanh", "SigmoidBackward0": "sigmoid"}
_PASSED = ("View", "Reshape", "UnsafeView", "MaxPool")


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Give the tensors in what a module takes or gives, however it is nested.

    Args:
        value: Tensors in tuples, lists, dicts or data classes.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_of(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))


def floats_of(value: Any) -> Tensor | None:
    """Give the first tensor of floating point numbers, or None.

    Args:
        value: What a module takes or gives.
    """
    return next((t for t in tensors_of(value) if t.is_floating_point() and t.numel()), None)


def part_of(tensor: Tensor) -> Tensor:
    """Give evenly spaced rows of a tensor, as many as are looked at.

    Args:
        tensor: With at least one axis.
    """
    step = -(-tensor.numel() // PART)
    part = tensor.detach()
    if step > 1 and part.ndim:
        part = part[:: min(step, part.shape[0])]
    return part.float() if part.dtype in (torch.float16, torch.bfloat16) else part


def is_finite(tensor: Tensor) -> Tensor:
    """Say of all numbers of a tensor whether they are finite, without waiting.

    Args:
        tensor: Floating point numbers.
    """
    return tensor.detach().sum(dtype=torch.float64 if tensor.is_cpu else torch.float32).isfinite()


def kind_of(layer: nn.Module) -> str | None:
    """Name what an activation layer does, or None.

    Args:
        layer: Any layer.
    """
    return next((kind for types, kind in _KINDS if isinstance(layer, types)), None)


def made_by(tensor: Tensor) -> tuple[str, Any] | None:
    """Name the activation function a tensor came out of, and its node; shapes may have changed.

    Args:
        tensor: With its graph.
    """
    node = tensor.grad_fn
    for _ in range(4):
        if node is None:
            return None
        if node.name() in _OPERATIONS:
            return _OPERATIONS[node.name()], node
        if not node.name().startswith(_PASSED) or not node.next_functions:
            return None
        node = node.next_functions[0][0]
    return None


def unit_axis(tensor: Tensor, last: nn.Module | None) -> int:
    """Give the axis along which units lie: channels after convolutions, the last one otherwise.

    Args:
        tensor: What the units gave, the first axis being that of examples.
        last: The layer with weights that ran last.
    """
    if last is None:
        return 1 if tensor.ndim > 3 else tensor.ndim - 1
    return 1 if isinstance(last, _CHANNELS) and tensor.ndim > 1 else tensor.ndim - 1


def active_units(part: Tensor, axis: int) -> Tensor:
    """Say of each unit whether it was other than 0 anywhere.

    Args:
        part: What the units gave.
        axis: Along which they lie.
    """
    return (part != 0).movedim(axis, 0).flatten(1).any(dim=1) if part.ndim > 1 else part != 0


def output_statistics(tensor: Tensor, kind: str | None) -> dict[str, Tensor]:
    """Describe what a layer gave.

    Args:
        tensor: Its output.
        kind: Of activation; decides what counts as saturated.
    """
    part = part_of(tensor)
    std, mean = torch.std_mean(part, correction=0)
    found = {"mean": mean, "std": std, "finite": is_finite(tensor)}
    if kind == "relu":
        found["zeros"] = (part == 0).sum() / part.numel()
    elif kind == "tanh":
        found["saturated"] = (part.abs() > SATURATED).sum() / part.numel()
    elif kind == "sigmoid":
        found["saturated"] = ((2 * part - 1).abs() > SATURATED).sum() / part.numel()
    return found


def normalization_statistics(layer: nn.Module, inputs: Tensor) -> dict[str, Tensor | float]:
    """Describe what a layer normalizes, and compare a batch with running statistics if it has them.

    These have taken the batch in already.

    Args:
        layer: Of any kind of normalization.
        inputs: What it normalized.
    """
    spread = torch.std(part_of(inputs), correction=0)
    found: dict[str, Tensor | float] = {"examples": float(len(inputs)), "input_std": spread}
    mean, variance = (getattr(layer, f"running_{name}", None) for name in ("mean", "var"))
    if mean is None or variance is None or inputs.ndim < 2:
        return found
    channels = inputs.detach().float().movedim(1, 0).flatten(1)
    of_batch, center = torch.var_mean(channels, dim=1)
    variance = variance + layer.eps
    found["mean_gap"] = ((center - mean).abs() / variance.sqrt()).mean()
    found["variance_ratio"] = (of_batch / variance).mean()
    return found
