"""Changes of tone, pixel by pixel or by what values an image has, as Pillow's `ImageOps` do them.

B batch, C channels, H W height width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._step import Augmentation, changed, check_share, coins, per_image


def posterized(x: Tensor, bits: Tensor) -> Tensor:
    """Keep the leading bits of each value on the scale from 0 to 255.

    Args:
        x: The images.
        bits: How many; (B,).
    """
    step = per_image(2 ** (8 - bits), x)
    return x.mul(255).round_().div_(step).floor_().mul_(step).div_(255)


def solarized(x: Tensor, thresholds: Tensor) -> Tensor:
    """Invert what is not below a threshold.

    Args:
        x: The images.
        thresholds: (B,).
    """
    return torch.where(x < per_image(thresholds, x), x, 1 - x)


def stretched(x: Tensor) -> Tensor:
    """Let each channel of each image reach from 0 to 1; one of a single value stays as it is.

    Args:
        x: The images.
    """
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    span = high - low
    flat = span == 0
    return (x - low.masked_fill(flat, 0)).div_(span.masked_fill(flat, 1))


def equalized(x: Tensor) -> Tensor:
    """Give each channel of each image as many pixels of one value as of another, nearly.

    Args:
        x: The images; their values are taken in steps of 1/255.
    """
    count, channels, height, width = x.shape
    rows = count * channels
    levels = x.mul(255).round_().clamp_(0, 255).long().reshape(rows, height * width)
    first = torch.arange(rows, device=x.device).unsqueeze(1) * 256
    histogram = torch.bincount((levels + first).flatten(), minlength=rows * 256).view(rows, 256)
    highest = levels.amax(1, keepdim=True)
    step = (height * width - histogram.gather(1, highest)) // 255
    below = histogram.cumsum(1) - histogram
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step == 0, torch.arange(256, device=x.device), table)
    return table.gather(1, levels).to(x.dtype).div_(255).reshape(x.shape)


@final
@dataclass(frozen=True, kw_only=True)
class Invert(Augmentation):
    """Turn each image into its negative with probability `p`.

    Args:
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability.

    Source: cubuk2019autoaugment, table 6.
    Reduces to: the identity at `p=0`.
    Checked against: `ImageOps.invert` of Pillow.
    """

    recolors: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("Invert", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        return changed(x, lambda images, _: 1 - images, chosen)


@final
@dataclass(frozen=True, kw_only=True)
class Solarize(Augmentation):
    """Invert the bright pixels of each image with probability `p`.

    Args:
        threshold: Values from here on are inverted.
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting lies outside [0, 1].

    Source: cubuk2019autoaugment, table 6.
    Reduces to: `Invert` at `threshold=0`.
    Checked against: `ImageOps.solarize` of Pillow.
    """

    recolors: ClassVar[bool] = True

    threshold: float = 0.5
    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("Solarize", threshold=self.threshold, p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        thresholds = torch.full((len(x),), self.threshold, device=x.device)
        return changed(x, lambda images, at: solarized(images, thresholds[at]), chosen)


@final
@dataclass(frozen=True, kw_only=True)
class Posterize(Augmentation):
    """Leave each image few values per channel with probability `p`.

    Args:
        bits: Bits kept of each value, 1 to 8; 8 changes nothing but rounding to steps of 1/255.
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: cubuk2019autoaugment, table 6.
    Reduces to: the identity at `p=0`.
    Checked against: `ImageOps.posterize` of Pillow.
    """

    recolors: ClassVar[bool] = True

    bits: int = 4
    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("Posterize", p=self.p)
        if self.bits not in range(1, 9):
            raise UsageError(
                f"Posterize: `bits` must be a whole number from 1 to 8; got {self.bits!r}."
            )

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        bits = torch.full((len(x),), self.bits, device=x.device)
        return changed(x, lambda images, at: posterized(images, bits[at]), chosen)


@final
@dataclass(frozen=True, kw_only=True)
class AutoContrast(Augmentation):
    """Stretch each channel of each image to reach from 0 to 1, with probability `p`.

    Args:
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability.

    Source: cubuk2019autoaugment, table 6.
    Reduces to: the identity at `p=0`, and on images that reach from 0 to 1.
    Checked against: `ImageOps.autocontrast` of Pillow.
    """

    recolors: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("AutoContrast", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        return changed(x, lambda images, _: stretched(images), chosen)


@final
@dataclass(frozen=True, kw_only=True)
class Equalize(Augmentation):
    """Even out how often each value occurs in each channel of an image, with probability `p`.

    Args:
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability.

    Source: cubuk2019autoaugment, table 6.
    Reduces to: the identity at `p=0`, and on images of a single value, rounded to steps of 1/255.
    Checked against: `ImageOps.equalize` of Pillow.
    """

    recolors: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("Equalize", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        return changed(x, lambda images, _: equalized(images), chosen)
