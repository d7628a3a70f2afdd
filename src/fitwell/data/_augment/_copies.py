"""Mirroring and shifting by whole pixels: every value of the result is one of the input.

B batch, C channels, H W height width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from ._step import Augmentation, changed, check_at_least, check_share, coins

# From this many values on, a CPU copies image by image faster than it gathers.
_LARGE = 2**14


@final
@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Mirror each image left to right with probability `p`.

    For natural photos; wrong for digits and letters, where mirroring changes the class.

    Args:
        p: Probability per image; 0 returns the input.
        anyway: Use it even where it changes what a picture means.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability.

    Source: krizhevsky2012imagenet, section 4.1.
    Reduces to: the identity at `p=0`.
    Checked against: `ImageOps.mirror` of Pillow.
    """

    p: float = 0.5
    anyway: bool = False

    def __post_init__(self) -> None:
        check_share("Flip", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        return mirrored(x, chosen, -1)


@final
@dataclass(frozen=True, kw_only=True)
class VerticalFlip(Augmentation):
    """Turn each image upside down, mirrored, with probability `p`.

    For pictures without an up and a down, such as cells under a microscope or fields from the air.

    Args:
        p: Probability per image; 0 returns the input.
        anyway: Use it even where it changes what a picture means.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is no probability.

    Source: shorten2019survey, section "Flipping".
    Reduces to: the identity at `p=0`.
    Checked against: `ImageOps.flip` of Pillow.
    """

    p: float = 0.5
    anyway: bool = False

    def __post_init__(self) -> None:
        check_share("VerticalFlip", p=self.p)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        return mirrored(x, chosen, -2)


@final
@dataclass(frozen=True, kw_only=True)
class Crop(Augmentation):
    """Pad each image with zeros and cut a random window of the original size.

    The usual companion of `Flip` for small images; for photos whose objects come in many sizes use
    `RandomResizedCrop`.

    Args:
        padding: Pixels added on every side, the largest shift; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `padding` is negative.

    Source: he2016deep, section 4.2.
    Reduces to: the identity at `padding=0`.
    Checked against: `ImageOps.expand` and `Image.crop` of Pillow.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        check_at_least("Crop", padding=self.padding)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.padding == 0:
            return x
        span = 2 * self.padding + 1
        offsets = torch.randint(span, (2, len(x), 1), generator=generator, device=x.device)
        return shifted(x, offsets.squeeze(2).T - self.padding)


def mirrored(x: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Turn around the order of rows or columns of the chosen images.

    Args:
        x: The images.
        chosen: (B,) bool.
        axis: -1 mirrors left to right, -2 top to bottom.
    """
    if not _copies_each(x):
        return changed(x, lambda images, _: images.flip(axis), chosen)
    out = torch.empty_like(x)
    for image, source, turn in zip(out.unbind(), x.unbind(), chosen.tolist(), strict=True):
        image.copy_(source.flip(axis) if turn else source)
    return out


def _copies_each(x: Tensor) -> bool:
    return x.device.type == "cpu" and x[:1].numel() >= _LARGE


def shifted(x: Tensor, offsets: Tensor) -> Tensor:
    """Cut from each image a window of its own size, with zeros where it reaches beyond.

    Args:
        x: The images.
        offsets: Row and column in the image of the window's top left pixel; (B, 2).
    """
    if _copies_each(x):
        return _shifted_by_slices(x, offsets)
    _, channels, height, width = x.shape
    padding = F.pad(x, (0, 1))  # one more column of zeros, which all places outside point at
    rows = offsets[:, :1] + torch.arange(height, device=x.device)
    columns = offsets[:, 1:] + torch.arange(width, device=x.device)
    columns = columns.where((columns >= 0) & (columns < width), width)
    outside = (rows < 0) | (rows >= height)
    places = rows.clamp(0, height - 1).unsqueeze(2) * (width + 1) + columns.unsqueeze(1)
    places = places.masked_fill_(outside.unsqueeze(2), width)
    flat = places.view(len(x), 1, -1).expand(-1, channels, -1)
    return padding.flatten(2).gather(2, flat).view(x.shape)


def _shifted_by_slices(x: Tensor, offsets: Tensor) -> Tensor:
    """Copy one window per image: large images are copied faster than they are looked up."""
    height, width = x.shape[2:]
    out = torch.empty_like(x)
    for source, image, (down, right) in zip(x, out, offsets.tolist(), strict=True):
        top, bottom = min(max(0, -down), height), max(0, min(height, height - down))
        left, end = min(max(0, -right), width), max(0, min(width, width - right))
        if top >= bottom or left >= end:
            image.zero_()
            continue
        image[:, :top] = 0
        image[:, bottom:] = 0
        image[:, top:bottom, :left] = 0
        image[:, top:bottom, end:] = 0
        image[:, top:bottom, left:end] = source[
            :, top + down : bottom + down, left + right : end + right
        ]
    return out
