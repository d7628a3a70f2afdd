"""Stacked layers as such, and convolutions, which have several ways.

Axes: B batch of each member, K members, C O channels, H W height width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._fold import Fold

Way = Literal["grouped", "gathered", "each"]


class Stacked(nn.Module):
    """A layer of all members; its parameters are leaves that belong to the rows."""

    def __init__(self, layers: Sequence[Any], fold: Fold, leaves: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.fold = fold
        self.one: Any = copy.copy(layers[0])  # for its settings
        self.leaves = dict(leaves)


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply matrices of K members, and add the biases (K, O)."""
    if bias is None:
        return torch.bmm(x, weight)
    return torch.baddbmm(bias.unsqueeze(1), x, weight)


_CONVOLUTIONS: Mapping[type, Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


class Conv(Stacked):
    """A convolution of all members, done in the way that is fastest for the sizes at hand."""

    def __init__(self, layers: Sequence[Any], fold: Fold, leaves: Mapping[str, Tensor]) -> None:
        super().__init__(layers, fold, leaves)
        self.conv = _CONVOLUTIONS[type(layers[0])]
        self.way: Way = "grouped"

    def ways(self, x: Tensor) -> list[Way]:
        """Give the ways that are possible for an input.

        Args:
            x: A batch of all.
        """
        one = self.one
        gathers = x.ndim == 4 and not x.requires_grad and one.groups == 1
        small = one.in_channels * one.kernel_size[0] * one.kernel_size[-1] <= 128
        plain = one.dilation == (1, 1) and not isinstance(one.padding, str)
        ways: list[Way] = ["grouped", "each"]
        return [*ways, "gathered"] if gathers and small and plain else ways

    def forward(self, x: Tensor) -> Tensor:
        # What is gathered gets no gradient; a layer that is used twice may meet both.
        way = "grouped" if self.way == "gathered" and x.requires_grad else self.way
        result: Tensor = getattr(self, f"_{way}")(x)
        return result

    def _settings(self) -> tuple[Any, Any, Any]:
        return self.one.stride, self.one.padding, self.one.dilation

    def _grouped(self, x: Tensor) -> Tensor:
        weight, bias = self.leaves["weight"].flatten(0, 1), self.leaves.get("bias")
        bias = None if bias is None else bias.flatten()
        groups = self.fold.size * self.one.groups
        return self.fold.narrow(
            self.conv(self.fold.wide(x), weight, bias, *self._settings(), groups)
        )

    def _each(self, x: Tensor) -> Tensor:
        weights, bias = self.leaves["weight"].unbind(), self.leaves.get("bias")
        biases = [None] * len(weights) if bias is None else bias.unbind()
        parts = zip(self.fold.open(x).unbind(), weights, biases, strict=True)
        return self.fold.close(
            torch.stack(
                [self.conv(p, w, b, *self._settings(), self.one.groups) for p, w, b in parts]
            )
        )

    def _gathered(self, x: Tensor) -> Tensor:
        """Write every patch out as a row, then multiply matrices; inputs need no gradient."""
        (up, left), (down, right) = self.one.padding, self.one.stride
        high, wide = self.one.kernel_size
        with torch.no_grad():
            opened = F.pad(self.fold.open(x), (left, left, up, up))
            patches = opened.unfold(3, high, down).unfold(4, wide, right)  # K B C H W h w
            height, width = patches.shape[3:5]
            rows = patches.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(1, 3)
        weight, bias = self.leaves["weight"].flatten(2).transpose(1, 2), self.leaves.get("bias")
        y = product(rows, weight, bias)
        return self.fold.close(y.reshape(len(y), -1, height, width, y.shape[2]).movedim(-1, 2))
