"""Brightness, contrast, saturation and hue: one matrix and one offset per image, one pass.

For a pixel v = (red, green, blue) with gray value g(v) = w·v and the mean gray value m of the image

    saturation  v → s v + (1 - s) g(v)
    contrast    v → c v + (1 - c) m
    hue         v → H v, a turn around the gray axis that keeps g
    brightness  v → b v

commute, so that all four in any order are v → b (c (s + (1 - s) 1wᵀ) H v + (1 - c) m).

B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, final

import torch
from torch import Tensor

from ._step import (
    Augmentation,
    changed,
    check_at_least,
    check_channels,
    check_share,
    coins,
    uniform,
)

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R 601), as Pillow has them."""


@cache
def _yiq() -> Tensor:
    """Give the matrix from red, green, blue to gray value and two color axes (FCC, 1953)."""
    return torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])


def recolored(
    x: Tensor,
    *,
    brightness: Tensor | None = None,
    contrast: Tensor | None = None,
    saturation: Tensor | None = None,
    turn: Tensor | None = None,
) -> Tensor:
    """Change the colors of each image by its own factors, and clamp the result to [0, 1].

    Args:
        x: The images, of 1 channel or 3; of 1, saturation and hue change nothing.
        brightness: Factor per image; 0 is black, 1 changes nothing.
        contrast: Factor per image; 0 is the mean gray value, 1 changes nothing.
        saturation: Factor per image; 0 is gray, 1 changes nothing.
        turn: Turn of the hue per image, in whole turns.
    """
    channels = x.shape[1]
    ones = torch.ones(len(x), device=x.device)
    scale = ones if brightness is None else brightness
    offset = None if contrast is None else scale * (1 - contrast)
    scale = scale if contrast is None else scale * contrast
    weights = torch.tensor(LUMA if channels == 3 else (1.0,), device=x.device)
    matrix = torch.eye(channels, device=x.device).repeat(len(x), 1, 1)
    if channels == 3 and saturation is not None:
        s = saturation.view(-1, 1, 1)
        matrix = s * matrix + (1 - s) * weights
    if channels == 3 and turn is not None:
        matrix = matrix @ hue_matrices(turn)
    matrix = (matrix * scale.view(-1, 1, 1)).to(x.dtype)
    weights = weights.to(x.dtype)

    def change(images: Tensor, places: slice | Tensor) -> Tensor:
        pixels = images.flatten(2)
        out = matrix[places] @ pixels
        if offset is not None:
            gray = (weights @ pixels.mean(2, keepdim=True)).unsqueeze(1)  # (B, 1, 1)
            out += gray * offset[places].to(x.dtype).view(-1, 1, 1)
        return out.clamp_(0, 1).view(images.shape)

    return changed(x, change)


def hue_matrices(turn: Tensor) -> Tensor:
    """Give matrices that turn colors around the gray axis in YIQ; (B, 3, 3).

    Args:
        turn: In whole turns; (B,).
    """
    angle = turn * (2 * math.pi)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    one = torch.ones_like(angle)
    rows = [one, zero, zero, zero, cos, -sin, zero, sin, cos]
    yiq = _yiq().to(turn.device)
    back: Tensor = torch.linalg.inv(yiq)
    return back @ torch.stack(rows, dim=1).view(-1, 3, 3) @ yiq


def grayed(x: Tensor) -> Tensor:
    """Give each pixel its gray value in all three channels.

    Args:
        x: The images, of 3 channels.
    """
    weights = torch.tensor(LUMA, device=x.device, dtype=x.dtype)
    return (weights @ x.flatten(2)).view(len(x), 1, *x.shape[2:]).expand_as(x)


def _factors(
    amount: float, count: int, generator: torch.Generator, device: torch.device
) -> Tensor | None:
    """Draw factors around 1; none for an amount of 0."""
    if amount == 0:
        return None
    return uniform(count, max(0.0, 1 - amount), 1 + amount, generator, device)


@final
@dataclass(frozen=True, kw_only=True)
class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue of each image, all at once.

    For photos: light and cameras differ. One pass over the images, whatever is switched on; for a
    single change there are `Brightness`, `Contrast`, `Saturation` and `Hue`.

        v → b (c (s + (1 - s) 1wᵀ) H v + (1 - c) m), clamped to [0, 1]

    Args:
        brightness: Factors b are drawn from 1 - brightness to 1 + brightness, none below 0.
        contrast: The same for c.
        saturation: The same for s; 0 for images of one channel.
        hue: Largest turn in either direction, in whole turns, at most 0.5; 0 for one channel.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range, or the images have no colors to change.

    Source: howard2013some, section 2.2.
    Differs: values are clamped once, at the end, where steps done one by one clamp after each; up
        to that all orders of the steps give the same. Hue turns in YIQ, see `Hue`.
    Reduces to: `Brightness`, `Contrast`, `Saturation` or `Hue` with the other three at 0.
    Checked against: the steps of Pillow's `ImageEnhance` one by one, where nothing is clamped.
    """

    recolors: ClassVar[bool] = True

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(
            "ColorJitter",
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
        )
        _check_hue("ColorJitter", "hue", self.hue)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("ColorJitter", x, (3,) if self.saturation or self.hue else (1, 3))
        count, device = len(x), x.device
        amounts = (self.brightness, self.contrast, self.saturation)
        factors = [_factors(amount, count, generator, device) for amount in amounts]
        turn = uniform(count, -self.hue, self.hue, generator, device) if self.hue else None
        if turn is None and all(factor is None for factor in factors):
            return x
        brightness, contrast, saturation = factors
        return recolored(
            x, brightness=brightness, contrast=contrast, saturation=saturation, turn=turn
        )


@final
@dataclass(frozen=True, kw_only=True)
class Brightness(Augmentation):
    """Multiply each image by a random factor.

    Args:
        amount: Factors are drawn from 1 - amount to 1 + amount, none below 0; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `amount` is negative, or the images have neither 1 channel nor 3.

    Source: howard2013some, section 2.2.
    Reduces to: the identity at `amount=0`.
    Checked against: `ImageEnhance.Brightness` of Pillow.
    """

    recolors: ClassVar[bool] = True

    amount: float = 0.2

    def __post_init__(self) -> None:
        check_at_least("Brightness", amount=self.amount)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("Brightness", x, (1, 3))
        factors = _factors(self.amount, len(x), generator, x.device)
        return x if factors is None else recolored(x, brightness=factors)


@final
@dataclass(frozen=True, kw_only=True)
class Contrast(Augmentation):
    """Move each image toward its mean gray value or away from it.

    Args:
        amount: Factors are drawn from 1 - amount to 1 + amount, none below 0; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `amount` is negative, or the images have neither 1 channel nor 3.

    Source: howard2013some, section 2.2.
    Reduces to: the identity at `amount=0`.
    Checked against: `ImageEnhance.Contrast` of Pillow.
    """

    recolors: ClassVar[bool] = True

    amount: float = 0.2

    def __post_init__(self) -> None:
        check_at_least("Contrast", amount=self.amount)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("Contrast", x, (1, 3))
        factors = _factors(self.amount, len(x), generator, x.device)
        return x if factors is None else recolored(x, contrast=factors)


@final
@dataclass(frozen=True, kw_only=True)
class Saturation(Augmentation):
    """Make the colors of each image paler or stronger.

    Args:
        amount: Factors are drawn from 1 - amount to 1 + amount, none below 0; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `amount` is negative, or the images have no colors.

    Source: howard2013some, section 2.2.
    Reduces to: the identity at `amount=0`.
    Checked against: `ImageEnhance.Color` of Pillow.
    """

    recolors: ClassVar[bool] = True

    amount: float = 0.2

    def __post_init__(self) -> None:
        check_at_least("Saturation", amount=self.amount)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("Saturation", x, (3,))
        factors = _factors(self.amount, len(x), generator, x.device)
        return x if factors is None else recolored(x, saturation=factors)


@final
@dataclass(frozen=True, kw_only=True)
class Hue(Augmentation):
    """Turn the colors of each image around the gray axis: red toward yellow, or toward blue.

    Turns in YIQ, a linear change that keeps gray values and costs one matrix; a turn in HSV, as
    other libraries do it, changes gray values and bends colors at six corners.

    Args:
        amount: Largest turn in either direction, in whole turns, at most 0.5; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `amount` is out of range, or the images have no colors.

    Source: shorten2019survey, section "Color space".
    Differs: turns in YIQ, not in HSV.
    Reduces to: the identity at `amount=0`.
    Checked against: NumPy, through YIQ and complex numbers.
    """

    recolors: ClassVar[bool] = True

    amount: float = 0.05

    def __post_init__(self) -> None:
        _check_hue("Hue", "amount", self.amount)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("Hue", x, (3,))
        if self.amount == 0:
            return x
        return recolored(x, turn=uniform(len(x), -self.amount, self.amount, generator, x.device))


def _check_hue(owner: str, name: str, value: float) -> None:
    check_share(owner, **{name: value})
    if value > 0.5:
        check_share(f"{owner} (half a turn reaches all hues)", **{name: value * 2})


@final
@dataclass(frozen=True, kw_only=True)
class Grayscale(Augmentation):
    """Take the colors out of each image with probability `p`; it keeps three channels.

    Where color should not decide. `p=1` makes all images gray in training, but not when predicting.

    Args:
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability, or the images have no colors.

    Source: shorten2019survey, section "Color space".
    Reduces to: the identity at `p=0`.
    Checked against: `ImageOps.grayscale` of Pillow.
    """

    recolors: ClassVar[bool] = True

    p: float = 0.2

    def __post_init__(self) -> None:
        check_share("Grayscale", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("Grayscale", x, (3,))
        chosen = coins(len(x), self.p, generator, x.device)
        return changed(x, lambda images, _: grayed(images), chosen)
