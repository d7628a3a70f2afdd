"""Augmentations drawn from a list, for each image anew.

The list is the one of 14 operations that both papers use. Images that drew operations of one kind
are changed together: one resampling for all that move, one matrix product for all that recolor.

B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._color import recolored
from ._filters import sharpened
from ._resample import Interpolation, rotation, warp
from ._step import Augmentation, check_at_least, check_channels, check_share
from ._tones import equalized, posterized, solarized, stretched

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
_SIGNED = torch.tensor([1 <= number <= _NUMBER["Sharpness"] for number in range(len(OPERATIONS))])
_LEVELS = 30  # the strongest magnitude


@dataclass(frozen=True)
class Ranges:
    """How far each operation goes at the strongest magnitude.

    Args:
        shear: Slope.
        translate: Pixels to the right and down.
        degrees: Angle.
        factor: Distance of a factor from 1.
        bits: Bits that are lost of 8.
    """

    shear: float
    translate: tuple[float, float]
    degrees: float
    factor: float
    bits: int

    def amounts(self, operations: Tensor, levels: Tensor) -> Tensor:
        """Give how strong each operation is, in its own unit; (B,).

        Args:
            operations: Places in `OPERATIONS`; (B,).
            levels: Magnitudes from 0 to 30; (B,).
        """
        moves = (self.shear, self.shear, *self.translate, self.degrees)
        largest = torch.tensor(
            [0.0, *moves, *[self.factor] * 4, self.bits, 1.0, 0.0, 0.0], device=levels.device
        )
        amounts = largest[operations] * (levels / _LEVELS)
        for name in ("TranslateX", "TranslateY"):
            amounts = torch.where(operations == _NUMBER[name], amounts.trunc(), amounts)
        amounts = torch.where(operations == _NUMBER["Posterize"], 8 - amounts.round(), amounts)
        return torch.where(operations == _NUMBER["Solarize"], 1 - amounts, amounts)


def operated(
    x: Tensor, operations: Tensor, amounts: Tensor, *, interpolation: Interpolation, fill: float
) -> Tensor:
    """Do to each image its own operation.

    Args:
        x: The images.
        operations: Places in `OPERATIONS`; (B,).
        amounts: Slope, pixels, degrees, what is added to a factor of 1, bits or threshold; (B,).
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value beyond the edges.
    """

    def moved(images: Tensor, done: Tensor, how: Tensor) -> Tensor:
        by = {name: torch.where(done == number, how, 0.0) for name, number in _NUMBER.items()}
        matrices = rotation(by["Rotate"], (x.shape[2], x.shape[3]))
        zero = torch.zeros_like(how)
        rows = [zero, by["ShearX"], -by["TranslateX"], by["ShearY"], zero, -by["TranslateY"]]
        matrices = matrices + torch.stack(rows, dim=1).view(-1, 2, 3)
        return warp(images, matrices, interpolation=interpolation, fill=fill)

    def colored(images: Tensor, done: Tensor, how: Tensor) -> Tensor:
        by = {name: 1 + torch.where(done == number, how, 0.0) for name, number in _NUMBER.items()}
        return recolored(
            images,
            brightness=by["Brightness"],
            contrast=by["Contrast"],
            saturation=by["Color"],
        )

    groups: list[tuple[tuple[str, ...], Callable[[Tensor, Tensor, Tensor], Tensor]]] = [
        (("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"), moved),
        (("Brightness", "Color", "Contrast"), colored),
        (("Sharpness",), lambda images, _, how: sharpened(images, 1 + how)),
        (("Posterize",), lambda images, _, how: posterized(images, how)),
        (("Solarize",), lambda images, _, how: solarized(images, how)),
        (("AutoContrast",), lambda images, *_: stretched(images)),
        (("Equalize",), lambda images, *_: equalized(images)),
    ]
    out = x.clone()
    for names, change in groups:
        numbers = [_NUMBER[name] for name in names]
        places = ((operations >= min(numbers)) & (operations <= max(numbers))).nonzero().squeeze(1)
        if len(places):
            out[places] = change(x[places], operations[places], amounts[places])
    return out


def _signed(amounts: Tensor, operations: Tensor, generator: torch.Generator) -> Tensor:
    """Turn half of the amounts around, where an operation has two directions."""
    signs = torch.randint(2, amounts.shape, generator=generator, device=amounts.device) * 2 - 1
    return torch.where(_SIGNED.to(amounts.device)[operations], amounts * signs, amounts)


def _draw(x: Tensor, generator: torch.Generator) -> Tensor:
    size = (len(x),)
    return torch.randint(len(OPERATIONS), size, generator=generator, device=x.device)


def _check_warp(owner: str, interpolation: str, fill: float) -> None:
    if interpolation not in ("bilinear", "nearest"):
        raise UsageError(
            f"{owner}: `interpolation` must be 'bilinear' or 'nearest'; got {interpolation!r}."
        )
    check_share(owner, fill=fill)


@final
@dataclass(frozen=True, kw_only=True)
class RandAugment(Augmentation):
    """Do to each image a few operations drawn from a list, all of one magnitude.

    Strong augmentation for photos with two numbers to tune. `TrivialAugment` has none.

    The operations and how far they go at magnitude 30: nothing; shear along x or y (slope 0.3);
    shift along x or y (150/331 of the side); rotation (30°); brightness, color, contrast,
    sharpness (factor 1 ± 0.9); posterize (4 bits lost); solarize (threshold 0); auto-contrast;
    equalize. Half of those with a direction go the other way.

    Args:
        num_ops: Operations done to each image, one after another; 0 returns the input.
        magnitude: How far they go, from 0 to 30.
        interpolation: Of rotation, shear and shift.
        fill: Value of what becomes empty.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range, or the images have neither 1 channel nor 3.

    Source: cubuk2020randaugment, section 3.
    Differs: values are not rounded to steps of 1/255 between operations; color does nothing to
        images of one channel.
    Reduces to: the identity at `num_ops=0`.
    Checked against: Pillow, image by image with the same operations and amounts.
    """

    recolors: ClassVar[bool] = True

    num_ops: int = 2
    magnitude: int = 9
    interpolation: Interpolation = "nearest"
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("RandAugment", num_ops=self.num_ops)
        if not 0 <= self.magnitude <= _LEVELS:
            raise UsageError(
                f"RandAugment: `magnitude` must lie between 0 and {_LEVELS}; got {self.magnitude}."
            )
        _check_warp("RandAugment", self.interpolation, self.fill)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("RandAugment", x, (1, 3))
        height, width = x.shape[2:]
        ranges = Ranges(0.3, (150 / 331 * width, 150 / 331 * height), 30.0, 0.9, 4)
        levels = torch.full((len(x),), float(self.magnitude), device=x.device)
        for _ in range(self.num_ops):
            operations = _draw(x, generator)
            amounts = _signed(ranges.amounts(operations, levels), operations, generator)
            x = operated(x, operations, amounts, interpolation=self.interpolation, fill=self.fill)
        return x


@final
@dataclass(frozen=True, kw_only=True)
class TrivialAugment(Augmentation):
    """Do to each image one operation drawn from a list, of a magnitude drawn as well.

    Strong augmentation for photos without anything to tune; the first thing to try.

    The list of `RandAugment`, wider: shear (slope 0.99); shift (32 pixels); rotation (135°);
    brightness, color, contrast, sharpness (factor 1 ± 0.99); posterize (6 bits lost). The shift is
    for pictures larger than that: of one of 32 pixels it may leave nothing.

    Args:
        interpolation: Of rotation, shear and shift.
        fill: Value of what becomes empty.
        anyway: Use it even where a turn changes what a picture means.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range, or the images have neither 1 channel nor 3.

    Source: muller2021trivialaugment, algorithm 1 with the wide space.
    Differs: values are not rounded to steps of 1/255; color does nothing to images of one channel.
    Checked against: Pillow, image by image with the same operations and amounts.
    """

    recolors: ClassVar[bool] = True

    interpolation: Interpolation = "nearest"
    fill: float = 0.0
    anyway: bool = False

    def __post_init__(self) -> None:
        _check_warp("TrivialAugment", self.interpolation, self.fill)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_channels("TrivialAugment", x, (1, 3))
        ranges = Ranges(0.99, (32.0, 32.0), 135.0, 0.99, 6)
        operations = _draw(x, generator)
        levels = torch.randint(_LEVELS + 1, (len(x),), generator=generator, device=x.device)
        amounts = _signed(ranges.amounts(operations, levels), operations, generator)
        return operated(x, operations, amounts, interpolation=self.interpolation, fill=self.fill)
