"""Layers whose neurons see a part of the image, each with weights of its own.

Axes: B batch, C channels, H W height width, L positions of the output.
"""

from __future__ import annotations

import math
from typing import Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._geometry import conv_output_size
from ._shapes import check_images, check_positive


@final
class LocallyConnected2d(nn.Module):
    """Look at each place of the image with filters of its own: a convolution that shares nothing.

    Stands between a dense layer and a convolution. For images with a fixed layout, such as aligned
    faces; elsewhere `torch.nn.Conv2d` learns the same from fewer examples. A mask makes receptive
    fields of any shape, over any channels.

        y[o, l] = bias[l, o] + Σ over c, i, j of  mask · weight[l, o, c, i, j] · x[c, p(l, i, j)]
        p: the pixel under tap i, j of the filter at place l

    Args:
        in_channels: Channels of the images.
        out_channels: Filters at each place.
        kernel_size: Height and width of the filters.
        image_size: Height and width of the images.
        stride: Step between places.
        padding: Border of zeros.
        bias: Add a number per place and filter.
        mask: Ones where a filter sees and zeros where it does not; any shape that broadcasts to
            (L, out_channels, in_channels, kernel_size, kernel_size). None sees all.

    Shapes:
        x: (B, 2, 5, 5)
        return: (B, out_channels, 3, 3)

    Raises:
        UsageError: A size is below 1, or the mask does not fit.

    Source: lecun1989generalization.
    Reduces to: torch.nn.Conv2d when all places have equal weights; torch.nn.Linear when the kernel
        is the image.
    Checked against: torch.nn.Linear with zeros for weights; torch.nn.Conv2d.
    """

    mask: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        image_size: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            "LocallyConnected2d",
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.image_size = (image_size[0], image_size[1])
        self.stride = stride
        self.padding = padding
        self.output_size = (
            conv_output_size(image_size[0], kernel_size, stride=stride, padding=padding),
            conv_output_size(image_size[1], kernel_size, stride=stride, padding=padding),
        )
        places = self.output_size[0] * self.output_size[1]
        shape = (places, out_channels, in_channels, kernel_size, kernel_size)
        # The bounds of torch.nn.Conv2d.
        bound = 1 / math.sqrt(in_channels * kernel_size * kernel_size)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(shape[:2]).uniform_(-bound, bound)) if bias else None
        if mask is not None:
            try:
                mask = mask.to(torch.bool).broadcast_to(shape).clone()
            except RuntimeError as err:
                raise UsageError(
                    f"LocallyConnected2d: `mask` must broadcast to {shape}; got"
                    f" {tuple(mask.shape)}. Add axes of size 1."
                ) from err
        self.register_buffer("mask", mask)

    @classmethod
    def tied(cls, conv: nn.Conv2d, image_size: tuple[int, int]) -> Self:
        """Copy a convolution: the same filters at every place.

        Args:
            conv: With square filters, one stride and padding for both axes, no dilation or groups.
            image_size: Height and width of the images.

        Raises:
            UsageError: The convolution has a setting that this layer has not.
        """
        plain = conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
        square = all(
            not isinstance(pair, str) and pair[0] == pair[1]
            for pair in (conv.kernel_size, conv.stride, conv.padding)
        )
        if not (plain and square):
            raise UsageError(
                "LocallyConnected2d.tied: `conv` must have square filters, equal strides and"
                f" padding with zeros, no dilation and no groups; got {conv}. Use such a one."
            )
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            image_size=image_size,
            stride=conv.stride[0],
            padding=int(conv.padding[0]),
            bias=conv.bias is not None,
        ).to(conv.weight)
        with torch.no_grad():
            layer.weight.copy_(conv.weight)
            if conv.bias is not None and layer.bias is not None:
                layer.bias.copy_(conv.bias)
        return layer

    def dense(self) -> nn.Linear:
        """Give the fully connected layer on flattened images that computes the same.

        Its weight is zero wherever a neuron of this layer does not look.
        """
        channels, (height, width) = self.in_channels, self.image_size
        places, cells = self.weight.shape[0], channels * self.kernel_size**2
        # Unfolding the index of every pixel tells which pixel each weight of each place meets;
        # index 0 is the border of zeros.
        index = torch.arange(1, channels * height * width + 1, dtype=torch.float64)
        seen = F.unfold(
            index.view(1, channels, height, width),
            self.kernel_size,
            padding=self.padding,
            stride=self.stride,
        )
        seen = seen[0].T.to(torch.int64).to(self.weight.device)
        with torch.no_grad():
            weight = self._masked().reshape(places, self.out_channels, cells)
            matrix = weight.new_zeros(places, self.out_channels, channels * height * width + 1)
            matrix.scatter_add_(2, seen.unsqueeze(1).expand_as(weight), weight)
            layer = nn.Linear(
                channels * height * width, places * self.out_channels, bias=self.bias is not None
            ).to(self.weight)
            layer.weight.copy_(matrix[..., 1:].transpose(0, 1).flatten(0, 1))
            if self.bias is not None:
                layer.bias.copy_(self.bias.T.flatten())
        return layer

    def _masked(self) -> Tensor:
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("LocallyConnected2d", x, self.in_channels)
        if tuple(x.shape[2:]) != self.image_size:
            raise UsageError(
                f"LocallyConnected2d: `x` must have images of {self.image_size}; got"
                f" {tuple(x.shape[2:])}. Build the layer with the size of the images."
            )
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        y = torch.einsum("bkl,lok->bol", patches, self._masked().flatten(2))
        if self.bias is not None:
            y = y + self.bias.T
        # Not len(x), which would fix the batch of an exported model.
        return y.reshape(x.shape[0], self.out_channels, *self.output_size)
