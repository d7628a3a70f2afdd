"""Normalization of weights: what PyTorch's `weight_norm` and `spectral_norm` lack.

The parametrizations themselves are `torch.nn.utils.parametrizations.weight_norm` and
`spectral_norm`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from ..core.errors import UsageError
from ._shapes import ImageSize, check_positive

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


@torch.no_grad()
def weight_norm_init_(module: nn.Module, x: Tensor) -> Tensor:
    """Scale and shift layers with weight norm so that their outputs begin with mean 0, variance 1.

    Once, before training, with one batch of examples like those to come; gives weight norm the good
    start that batch norm has in every step. One forward pass: each layer is set with what the
    layers before it give after they were set.

        t = v·x / ‖v‖,   g = 1 / σ[t],   b = -μ[t] / σ[t]

    Args:
        module: A linear layer or convolution with
            ``torch.nn.utils.parametrizations.weight_norm``, or a model with such layers. Changed in
            place.
        x: A batch.

    Returns:
        What the module gives for the batch afterwards.

    Raises:
        UsageError: No layer has weight norm, one has no bias, or an output does not vary.

    Source: salimans2016weight, equation 6.
    Checked against: the mean and variance of the outputs; the equation written out.
    """
    layers = {name: layer for name, layer in module.named_modules() if _is_weight_normed(layer)}
    if not layers:
        raise UsageError(
            "weight_norm_init_: `module` must have linear layers or convolutions with weight norm"
            f" and dim=0; got {type(module).__name__} without. Apply"
            " torch.nn.utils.parametrizations.weight_norm first."
        )
    for name, layer in layers.items():
        if layer.bias is None:
            raise UsageError(
                "weight_norm_init_: `module` must have a bias in every layer with weight norm; got"
                f" layer {name!r} without. Build it with bias=True."
            )
    handles = [
        layer.register_forward_pre_hook(lambda layer, args, name=name: _set(name, layer, args[0]))
        for name, layer in layers.items()
    ]
    try:
        result: Tensor = module(x)
    finally:
        for handle in handles:
            handle.remove()
    return result


def _is_weight_normed(layer: nn.Module) -> bool:
    if not isinstance(layer, _LAYERS) or not parametrize.is_parametrized(layer, "weight"):
        return False
    (first, *_) = layer.parametrizations.weight  # type: ignore[union-attr,misc]
    return isinstance(first, parametrizations._WeightNorm) and first.dim == 0


def _set(name: str, layer: Any, x: Tensor) -> None:
    gain = layer.parametrizations.weight.original0
    gain.fill_(1)
    layer.bias.zero_()
    outputs = type(layer).forward(layer, x)
    # The channels of a convolution are the second axis, the features of a linear layer the last.
    channels = outputs.ndim - 1 if isinstance(layer, nn.Linear) else 1
    if not isinstance(layer, nn.Linear) and outputs.ndim == len(layer.kernel_size) + 1:
        channels = 0
    others = [axis for axis in range(outputs.ndim) if axis != channels]
    variance, mean = torch.var_mean(outputs, others, correction=0)
    if not bool((variance > 0).all()):
        still = int((variance <= 0).sum())
        raise UsageError(
            f"weight_norm_init_: `x` must make every output of layer {name!r} vary; got {still}"
            " that do not. Use a batch of several different examples."
        )
    deviation = variance.sqrt()
    gain.div_(deviation.view_as(gain))
    layer.bias.copy_(-mean / deviation)


@torch.no_grad()
def conv_operator_norm(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d,
    image_size: ImageSize,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-8,
    generator: torch.Generator | None = None,
) -> float:
    """Measure how much a convolution can enlarge an image: its largest singular value as a map.

    `torch.nn.utils.parametrizations.spectral_norm` divides by the largest singular value σ of the
    filters reshaped to a matrix, which is another number: at stride 1 the true one lies between σ
    and √k σ, where k is the number of places of a filter. Use this to know the Lipschitz constant
    of a layer.

    Exact by Fourier transform for circular padding that keeps the size (stride 1, no groups); else
    by power iteration with the convolution and its adjoint, from below.

    Args:
        layer: The convolution; its bias is left out.
        image_size: Sizes of the images it is applied to; one number for all axes.
        iterations: Most steps of the power iteration.
        tolerance: Stop when a step changes the value by less than this part of it.
        generator: Source of the first image; None takes PyTorch's global one.

    Raises:
        UsageError: The sizes do not fit the layer, or a number is out of range.

    Source: sedghi2019singular, section 2; tsuzuku2018lipschitz, section 5 for the adjoint.
    Checked against: the largest singular value of the dense matrix of the convolution.
    """
    axes = len(layer.kernel_size)
    size = _size(image_size, axes)
    check_positive("conv_operator_norm", iterations=iterations)
    if not tolerance > 0:
        raise UsageError(
            f"conv_operator_norm: `tolerance` must be positive; got {tolerance}. Use 1e-8."
        )
    weight = layer.weight.detach().double()
    if _wraps_around(layer) and all(n >= k for n, k in zip(size, layer.kernel_size, strict=True)):
        # At each frequency the map is a matrix from input channels to output channels.
        spectrum = torch.fft.fftn(weight, s=size, dim=list(range(2, 2 + axes)))
        matrices = spectrum.flatten(2).movedim(-1, 0)
        return float(torch.linalg.matrix_norm(matrices, 2).max())
    x = torch.randn(1, layer.in_channels, *size, generator=generator, dtype=torch.float64)
    x = x.to(weight.device)
    before, now = 0.0, math.inf
    for _ in range(iterations):
        x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
        with torch.enable_grad():
            x.requires_grad_()
            y = _apply(layer, weight, x)
            (adjoint,) = torch.autograd.grad(y, x, y.detach())
        before, now = now, float(y.detach().norm())
        x = adjoint
        if now == 0 or abs(now - before) <= tolerance * now:
            break
    return now


def _size(image_size: ImageSize, axes: int) -> tuple[int, ...]:
    size = (image_size,) * axes if isinstance(image_size, int) else tuple(image_size or ())
    if len(size) != axes or min(size, default=0) < 1:
        raise UsageError(
            f"conv_operator_norm: `image_size` must be one number or {axes}, at least 1; got"
            f" {image_size!r}. Give the size of the images that the layer sees."
        )
    return size


def _wraps_around(layer: _Conv) -> bool:
    """Say whether a convolution is circular and keeps the size."""
    padding = layer.padding
    if isinstance(padding, str):
        kept = padding == "same"
    else:
        kept = all(2 * p == k - 1 for p, k in zip(padding, layer.kernel_size, strict=True))
    plain = set(layer.stride) == set(layer.dilation) == {1} and layer.groups == 1
    return layer.padding_mode == "circular" and kept and plain


def _apply(layer: _Conv, weight: Tensor, x: Tensor) -> Tensor:
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(layer.kernel_size)]
    padding: Any = layer.padding
    if layer.padding_mode != "zeros":
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = 0
    return convolve(x, weight, None, layer.stride, padding, layer.dilation, layer.groups)
