"""How large an output is, how much of the input one output sees, how many weights there are."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._cnn import ChannelsLast

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
# Layers whose outputs depend on the input at the same place only (batch norm: in evaluation mode).
_POINTWISE = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.BatchNorm2d, ChannelsLast),
    *(nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU),
)


def conv_output_size(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Give the output length along one axis of a convolution or pooling.

        floor( (size + 2 padding - dilation (kernel_size - 1) - 1) / stride ) + 1

    Args:
        size: Length of the input.
        kernel_size: Length of the filter.
        stride: Step of the filter.
        padding: Border on each side.
        dilation: Distance between the taps of the filter.
        ceil_mode: Round up, as pooling can; a last window that begins in the far border is
            left out.

    Raises:
        UsageError: The filter is longer than the input with its border.

    Source: dumoulin2016guide.
    Checked against: torch convolutions and poolings of random settings.
    """
    room = size + 2 * padding - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise UsageError(
            f"conv_output_size: `size` must be at least {size - room} for this filter; got {size}."
            " Add padding, or use a smaller filter."
        )
    if not ceil_mode:
        return room // stride + 1
    result = -(-room // stride) + 1
    return result - 1 if (result - 1) * stride >= size + padding else result


@final
@dataclass(frozen=True)
class ReceptiveField:
    """The part of the input that one output can see.

    Args:
        size: Height and width of that part, in pixels.
        step: How far it moves from one output to the next, down and across.
        start: Where that of the first output begins; below 0 it reaches into the border.
    """

    size: tuple[int, int]
    step: tuple[int, int]
    start: tuple[int, int]


def _pair(value: int | tuple[int, ...] | None, default: tuple[int, int]) -> tuple[int, int]:
    if value is None:
        return default
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _window(layer: nn.Module) -> tuple[tuple[int, int], ...] | None:
    """Kernel, stride, padding and dilation of a layer; None for one that looks at single places."""
    if isinstance(layer, nn.Conv2d):
        kernel, dilation = _pair(layer.kernel_size, (1, 1)), _pair(layer.dilation, (1, 1))
        if layer.padding == "same":
            # PyTorch puts the odd pixel at the far end.
            before = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        elif isinstance(layer.padding, str):
            before = (0, 0)
        else:
            before = _pair(layer.padding, (0, 0))
        return kernel, _pair(layer.stride, (1, 1)), before, dilation
    if isinstance(layer, _POOLS):
        kernel = _pair(layer.kernel_size, (1, 1))
        dilation = _pair(layer.dilation, (1, 1)) if isinstance(layer, nn.MaxPool2d) else (1, 1)
        return kernel, _pair(layer.stride, kernel), _pair(layer.padding, (0, 0)), dilation
    if isinstance(layer, _POINTWISE):
        return None
    raise UsageError(
        f"receptive_field: `module` must be made of convolutions, poolings and pointwise layers;"
        f" got {type(layer).__name__}. Pass the part of the model before it."
    )


def _leaves(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential):
        return [leaf for child in module.children() for leaf in _leaves(child)]
    return [module]


def receptive_field(module: nn.Module) -> ReceptiveField:
    """Work out how much of the input one output sees, for a stack of convolutions and poolings.

    Each layer adds (kernel - 1) · dilation · step to the size and multiplies the step by its
    stride. Says what can be seen, not how strongly: the effect falls off towards the edges.

    Args:
        module: `nn.Sequential` of any nesting, or one layer; 2-D. Branches are not covered.

    Raises:
        UsageError: A layer is neither a convolution, a pooling nor pointwise.

    Source: araujo2019computing; luo2016understanding.
    Checked against: `gradient_support` on random stacks.
    """
    size, step, start = [1, 1], [1, 1], [0, 0]
    for layer in _leaves(module):
        window = _window(layer)
        if window is None:
            continue
        kernel, stride, padding, dilation = window
        for axis in (0, 1):
            size[axis] += (kernel[axis] - 1) * dilation[axis] * step[axis]
            start[axis] -= padding[axis] * step[axis]
            step[axis] *= stride[axis]
    return ReceptiveField((size[0], size[1]), (step[0], step[1]), (start[0], start[1]))


class _SumPool(nn.Module):
    """Sum over the windows of a pooling, so that every pixel of a window counts."""

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> None:
        super().__init__()
        window = _window(pool)
        self.window = window or ()
        self.ceil_mode = pool.ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, padding, dilation = self.window
        if self.ceil_mode:
            # A last window may reach past the border by up to one step.
            x = F.pad(x, (0, stride[1] - 1, 0, stride[0] - 1))
        ones = x.new_ones(x.shape[1], 1, *kernel)
        return F.conv2d(x, ones, None, stride, padding, dilation, groups=x.shape[1])


def gradient_support(
    module: nn.Module, in_channels: int, image_size: tuple[int, int], place: tuple[int, int]
) -> Tensor:
    """Measure which pixels have an effect on one output, by the gradient.

    Works on a copy with all weights 1, pointwise layers left out and pooling replaced by sums, so
    that no effect cancels or hides behind a maximum.

    Args:
        module: As for `receptive_field`.
        in_channels: Channels of the images.
        image_size: Height and width of the images.
        place: Row and column of the output.

    Returns:
        True where the output depends on the pixel; (H, W).

    Raises:
        UsageError: A layer is neither a convolution, a pooling nor pointwise.

    Source: luo2016understanding.
    Checked against: `receptive_field` on random stacks.
    """
    layers: list[nn.Module] = []
    for layer in _leaves(module):
        if _window(layer) is None:
            continue
        if isinstance(layer, _POOLS):
            layers.append(_SumPool(layer))
            continue
        linear = copy.deepcopy(layer).to(torch.float64)
        for weights in linear.parameters():
            nn.init.ones_(weights)
        layers.append(linear)
    x = torch.zeros(1, in_channels, *image_size, dtype=torch.float64, requires_grad=True)
    output = nn.Sequential(*layers)(x)[0, :, place[0], place[1]].sum()
    (gradient,) = torch.autograd.grad(output, x)
    return gradient[0].sum(0) != 0


def count_parameters(module: nn.Module, *, trainable: bool = False) -> int:
    """Count the parameters of a model; shared ones count once.

    Args:
        module: The model.
        trainable: Count only those that take gradients.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
