"""Hiding a part of each image, so that a model learns to look at the rest as well.

B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._step import (
    Augmentation,
    changed,
    check_at_least,
    check_range,
    check_share,
    coins,
    uniform,
)


def covered(boxes: Tensor, x: Tensor) -> Tensor:
    """Give 1 where a pixel lies in the box of its image, else 0; (B, 1, H, W).

    As numbers, not as truth values, which take several times as long where they are used.

    Args:
        boxes: First row, first column, row and column after the last; (B, 4).
        x: The images.
    """
    rows, columns = (torch.arange(side, device=x.device) for side in x.shape[2:])
    top, left, bottom, right = boxes.unsqueeze(2).unbind(1)
    tall = ((rows >= top) & (rows < bottom)).to(x.dtype)
    wide = ((columns >= left) & (columns < right)).to(x.dtype)
    return (tall.unsqueeze(2) * wide.unsqueeze(1)).unsqueeze(1)


def erased(x: Tensor, boxes: Tensor, value: float) -> Tensor:
    """Paint a box of each image in one value.

    Args:
        x: The images.
        boxes: First row, first column, row and column after the last; (B, 4).
        value: What all channels become.
    """
    hidden = covered(boxes, x)

    def change(images: Tensor, at: slice | Tensor) -> Tensor:
        kept = images * (1 - hidden[at])
        return kept.add_(hidden[at], alpha=value) if value else kept

    return changed(x, change)


@final
@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Paint a square of each image black, around a random pixel.

    The square may reach beyond the edge, so that images keep more or less of themselves.

    Args:
        size: Side of the square in pixels; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `size` is negative.

    Source: devries2017improved, section 3.
    Differs: paints black; the paper's zero comes after normalization and is the mean color.
    Reduces to: the identity at `size=0`.
    Checked against: a loop over images.
    """

    size: int = 8

    def __post_init__(self) -> None:
        check_at_least("Cutout", size=self.size)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.size == 0:
            return x
        centers = [
            torch.randint(side, (len(x),), generator=generator, device=x.device)
            for side in x.shape[2:]
        ]
        first = torch.stack(centers, dim=1) - self.size // 2
        return erased(x, torch.cat([first, first + self.size], dim=1), 0.0)


@final
@dataclass(frozen=True, kw_only=True)
class Erase(Augmentation):
    """Paint a rectangle of each image in one value, with probability `p`.

    Args:
        p: Probability per image; 0 returns the input.
        scale: Smallest and largest area as a share of the image.
        ratio: Smallest and largest height over width.
        value: What all channels become.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: zhong2020random, algorithm 1.
    Differs: one value in place of random ones; the ratio is drawn evenly on a logarithmic scale;
        a rectangle that would be larger than the image is cut down to it, not drawn again.
    Reduces to: the identity at `p=0`.
    Checked against: a loop over images.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float = 0.0

    def __post_init__(self) -> None:
        check_share("Erase", p=self.p, value=self.value)
        check_range("Erase", "scale", self.scale, high=1.0)
        check_range("Erase", "ratio", self.ratio)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, (height, width) = len(x), x.shape[2:]
        chosen = coins(count, self.p, generator, x.device)
        area = uniform(count, *self.scale, generator, x.device).mul_(height * width)
        low, high = (math.log(side) for side in self.ratio)
        ratio = uniform(count, low, high, generator, x.device).exp_()
        tall = (area * ratio).sqrt_().round_().clamp_(max=height)
        wide = (area / ratio).sqrt_().round_().clamp_(max=width)
        top = (uniform(count, 0, 1, generator, x.device) * (height - tall + 1)).floor_()
        left = (uniform(count, 0, 1, generator, x.device) * (width - wide + 1)).floor_()
        nothing = (~chosen).unsqueeze(1)
        boxes = torch.stack([top, left, top + tall, left + wide], dim=1).masked_fill_(nothing, 0)
        return erased(x, boxes, self.value)
