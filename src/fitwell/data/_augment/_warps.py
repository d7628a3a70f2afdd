"""Turning, moving, slanting, enlarging: one matrix per image, one resampling of the whole batch.

B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._resample import (
    Interpolation,
    composed,
    linear,
    resized_windows,
    rotation,
    translation,
    warp,
)
from ._step import Augmentation, check_at_least, check_range, check_share, uniform


class Warp(Augmentation):
    """An augmentation that is one matrix per image; neighbors in a chain become one resampling."""

    interpolation: Interpolation
    fill: float

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether it changes nothing, so that it need not draw."""

    @abstractmethod
    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image; (B, 2, 3).

        Args:
            count: Number of images.
            size: Their height and width.
            generator: Where the draws come from.
            device: Where the matrices are wanted.
        """

    def check(self) -> None:
        """Refuse an unknown way of interpolation and a value that no pixel has.

        Raises:
            UsageError: A setting is out of range.
        """
        name = type(self).__name__
        if self.interpolation not in ("bilinear", "nearest"):
            raise UsageError(
                f"{name}: `interpolation` must be 'bilinear' or 'nearest'; got"
                f" {self.interpolation!r}."
            )
        check_share(name, fill=self.fill)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return warp_by((self,), x, generator)


def warp_by(steps: Sequence[Warp], x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the matrices of several steps and resample once.

    Args:
        steps: Steps of the same interpolation and fill.
        x: The images.
        generator: Where the draws come from.
    """
    size = (x.shape[2], x.shape[3])
    drawn = [step.matrices(len(x), size, generator, x.device) for step in steps if not step.idle]
    if not drawn:
        return x
    first = steps[0]
    return warp(x, composed(drawn), interpolation=first.interpolation, fill=first.fill)


def _check_slant(owner: str, **values: float) -> None:
    check_at_least(owner, **values)
    for name, value in values.items():
        if value >= 90:
            raise UsageError(f"{owner}: `{name}` must be below 90 degrees; got {value!r}.")


@final
@dataclass(frozen=True, kw_only=True)
class Rotate(Warp):
    """Turn each image around its center by a random angle.

    A few degrees suit almost anything that a camera held by hand sees.

    Args:
        degrees: Largest angle in either direction; 0 returns the input.
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value of the corners that become empty.
        anyway: Use it even where it changes what a picture means.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: shorten2019survey, section "Rotation".
    Reduces to: the identity at `degrees=0`.
    Checked against: `Image.rotate` of Pillow at the same angles.
    """

    degrees: float = 15.0
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0
    anyway: bool = False

    def __post_init__(self) -> None:
        check_at_least("Rotate", degrees=self.degrees)
        self.check()

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.degrees == 0

    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image."""
        return rotation(uniform(count, -self.degrees, self.degrees, generator, device), size)


@final
@dataclass(frozen=True, kw_only=True)
class Translate(Warp):
    """Move each image by whole pixels, up to a share of its size in each direction.

    Does with a share what `Crop` does with pixels.

    Args:
        share: Largest shift as a share of height and of width; 0 returns the input.
        interpolation: Matters only where neighbors in a chain are joined with it.
        fill: Value of what becomes empty.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: shorten2019survey, section "Translation".
    Reduces to: the identity at `share=0`.
    Checked against: `Image.transform` of Pillow with the same matrix.
    """

    share: float = 0.1
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_share("Translate", share=self.share)
        self.check()

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.share == 0

    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image."""
        down, right = (
            uniform(count, -self.share * side, self.share * side, generator, device).round_()
            for side in size
        )
        return translation(right, down)


@final
@dataclass(frozen=True, kw_only=True)
class Shear(Warp):
    """Slant each image sideways by a random angle, as handwriting is slanted.

    Args:
        degrees: Largest angle in either direction, below 90; 0 returns the input.
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value of what becomes empty.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: simard2003best, section 2.
    Reduces to: the identity at `degrees=0`.
    Checked against: `Image.transform` of Pillow with the same matrix.
    """

    degrees: float = 10.0
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0

    def __post_init__(self) -> None:
        _check_slant("Shear", degrees=self.degrees)
        self.check()

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.degrees == 0

    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image."""
        slant = uniform(count, -self.degrees, self.degrees, generator, device).deg2rad().tan()
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        return linear((one, slant, zero, one), size)


@final
@dataclass(frozen=True, kw_only=True)
class Zoom(Warp):
    """Enlarge or reduce each image around its center by a random factor.

    Args:
        factor: Smallest and largest factor; above 1 enlarges, (1, 1) returns the input.
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value of the margin that becomes empty.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: ciresan2010deep.
    Differs: factors are drawn evenly on a logarithmic scale, so that 2 is as likely as 1/2.
    Reduces to: the identity at `factor=(1, 1)`.
    Checked against: `Image.transform` of Pillow with the same matrix.
    """

    factor: tuple[float, float] = (0.8, 1.25)
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_range("Zoom", "factor", self.factor)
        self.check()

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return tuple(self.factor) == (1, 1)

    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image."""
        low, high = (math.log(side) for side in self.factor)
        shrink = uniform(count, -high, -low, generator, device).exp_()
        zero = torch.zeros_like(shrink)
        return linear((shrink, zero, zero, shrink), size)


@final
@dataclass(frozen=True, kw_only=True)
class Affine(Warp):
    """Enlarge, slant, turn and move each image in one resampling.

    Sharper than four steps that each blur a little; a `Chain` of the four does the same, since it
    joins neighbors.

    Args:
        degrees: Largest angle of the turn in either direction.
        translate: Largest shift as a share of height and of width.
        zoom: Smallest and largest factor.
        shear: Largest slant in degrees in either direction.
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value of what becomes empty.
        anyway: Use it even where it changes what a picture means.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: simard2003best, section 2.
    Reduces to: `Zoom`, `Shear`, `Rotate` and `Translate` in this order.
    Checked against: `Image.transform` of Pillow with the product of the four matrices.
    """

    degrees: float = 10.0
    translate: float = 0.1
    zoom: tuple[float, float] = (0.9, 1.1)
    shear: float = 5.0
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0
    anyway: bool = False

    def __post_init__(self) -> None:
        check_at_least("Affine", degrees=self.degrees)
        _check_slant("Affine", shear=self.shear)
        check_share("Affine", translate=self.translate)
        check_range("Affine", "zoom", self.zoom)
        self.check()

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return all(part.idle for part in self._parts())

    def matrices(
        self, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Draw a matrix per image."""
        parts = [part for part in self._parts() if not part.idle]
        return composed([part.matrices(count, size, generator, device) for part in parts])

    def _parts(self) -> tuple[Warp, ...]:
        return (
            Zoom(factor=self.zoom),
            Shear(degrees=self.shear),
            Rotate(degrees=self.degrees),
            Translate(share=self.translate),
        )


@final
@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Augmentation):
    """Cut a random window out of each image and enlarge it to the original size.

    The usual augmentation of large photos, where an object may come near or far; for small images
    `Crop` keeps the details.

    Args:
        scale: Smallest and largest area of the window as a share of the image; (1, 1) with
            `ratio=(1, 1)` returns a square image unchanged.
        ratio: Smallest and largest width over height of the window.
        interpolation: Between the four pixels around a point, or the nearest one.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: szegedy2015going, section 6.
    Differs: a window that would be larger than the image is cut down to it, not drawn again.
    Reduces to: the identity at `scale=(1, 1), ratio=(1, 1)`, if the image is square.
    Checked against: `Image.crop` and `Image.resize` of Pillow.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_range("RandomResizedCrop", "scale", self.scale, high=1.0)
        check_range("RandomResizedCrop", "ratio", self.ratio)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        height, width = x.shape[2:]
        if tuple(self.scale) == (1, 1) and tuple(self.ratio) == (1, 1) and height == width:
            return x
        area = uniform(len(x), *self.scale, generator, x.device).mul_(height * width)
        low, high = (math.log(side) for side in self.ratio)
        ratio = uniform(len(x), low, high, generator, x.device).exp_()
        tall = (area / ratio).sqrt_().round_().clamp_(1, height)
        wide = (area * ratio).sqrt_().round_().clamp_(1, width)
        down = uniform(len(x), 0, 1, generator, x.device)
        right = uniform(len(x), 0, 1, generator, x.device)
        top = (down * (height - tall + 1)).floor_().clamp_(max=height - 1)
        left = (right * (width - wide + 1)).floor_().clamp_(max=width - 1)
        boxes = torch.stack([top, left, tall, wide], dim=1)
        return resized_windows(x, boxes, interpolation=self.interpolation)
