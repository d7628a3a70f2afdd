"""Where numbers stop being finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ._scene import describe


class _Found(Exception):
    """Ends the forward pass at the first number that is not finite."""


def first_nonfinite(model: nn.Module, inputs: Any) -> str | None:
    """Name the first layer whose output has NaN or infinite numbers; None if there is none.

    For a loss that became NaN in a loop of one's own: call it with the batch at which it happened.
    One forward pass without gradients, in the mode that the model is in; running statistics and the
    states of random number generators are as before afterwards.

    Not covered: the loss function, and gradients; `torch.autograd.detect_anomaly` finds those.

    Args:
        model: The model.
        inputs: Its input, or a tuple or dict of them.

    Source: paszke2019pytorch.
    Checked against: models with one layer made ill, and without.
    """
    args, kwargs = _arguments(inputs)
    for number, tensor in enumerate(_tensors((args, kwargs))):
        if _bad(tensor):
            which = f" number {number + 1}" if number or len(args) + len(kwargs) > 1 else ""
            return f"the input{which} {_count(tensor)}"
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    handles = list(_watch(model))
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            model(*args, **kwargs)
    except _Found as found:
        return str(found)
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    return None


def _watch(model: nn.Module) -> Iterator[RemovableHandle]:
    for path, layer in model.named_modules():
        yield layer.register_forward_pre_hook(_before(path))
        yield layer.register_forward_hook(_after(path))


def _before(path: str) -> Any:
    def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
        # Only the first: masks, which come after it, hold -inf on purpose.
        for tensor in _tensors(args[:1]):
            if _bad(tensor):
                raise _Found(
                    f"what reaches {describe(layer, path)} {_count(tensor)}, while all layers"
                    " before it gave finite numbers: look at the code between them"
                )

    return hook


def _after(path: str) -> Any:
    def hook(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        for tensor in _tensors(output):
            if _bad(tensor):
                ill = [n for n, p in layer.named_parameters(recurse=False) if _bad(p)]
                reason = f"; so does its {' and its '.join(ill)}" if ill else ", its input has not"
                raise _Found(f"the output of {describe(layer, path)} {_count(tensor)}{reason}")

    return hook


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), {}


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _bad(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating_point and not bool(tensor.isfinite().all())


def _count(tensor: Tensor) -> str:
    nans, count = int(tensor.isnan().sum()), tensor.numel()
    infinite = int(tensor.isinf().sum())
    parts = [f"{n} {name}" for n, name in ((nans, "NaN"), (infinite, "infinite")) if n]
    return f"has {' and '.join(parts)} of {count} numbers"
