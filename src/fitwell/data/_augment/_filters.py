"""Sharpness, blur and noise: what a lens and a sensor do to an image.

B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from ._step import (
    Augmentation,
    changed,
    check_at_least,
    check_range,
    check_share,
    coins,
    per_image,
    uniform,
)


def sharpened(x: Tensor, factors: Tensor) -> Tensor:
    """Move each image toward its smoothed form or away from it; the outermost pixels stay.

    Args:
        x: The images.
        factors: 0 is smoothed, 1 changes nothing, 2 is sharpened; (B,).
    """
    if min(x.shape[2:]) < 3:
        return x.clone()
    channels = x.shape[1]
    kernel = torch.ones(channels, 1, 3, 3, device=x.device, dtype=x.dtype)
    kernel[:, :, 1, 1] = 5
    out = x.clone()
    inner = out[:, :, 1:-1, 1:-1]
    smooth = F.conv2d(x, kernel / 13, groups=channels)
    inner.copy_(torch.lerp(smooth, inner, per_image(factors, x)))
    return out.clamp_(0, 1)


def blurred(x: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    """Weigh each pixel's neighbors by a bell curve; beyond the edges their last pixels go on.

    Args:
        x: The images.
        sigmas: Width of each image's bell curve in pixels; (B,).
        radius: Pixels on either side that count.
    """
    count, channels, height, _ = x.shape
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    bell = torch.exp(-0.5 * (offsets / sigmas.unsqueeze(1)).square())
    bell = (bell / bell.sum(1, keepdim=True)).to(x.dtype).repeat_interleave(channels, 0)
    planes = count * channels
    flat = F.pad(x, (radius,) * 4, mode="replicate").reshape(1, planes, height + 2 * radius, -1)
    flat = F.conv2d(flat, bell.view(planes, 1, 1, -1), groups=planes)
    return F.conv2d(flat, bell.view(planes, 1, -1, 1), groups=planes).view(x.shape)


@final
@dataclass(frozen=True, kw_only=True)
class Sharpness(Augmentation):
    """Soften or sharpen each image.

    Args:
        amount: Factors are drawn from 1 - amount to 1 + amount, none below 0; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `amount` is negative.

    Source: cubuk2019autoaugment, table 6.
    Reduces to: the identity at `amount=0`.
    Checked against: `ImageEnhance.Sharpness` of Pillow.
    """

    recolors: ClassVar[bool] = True

    amount: float = 0.5

    def __post_init__(self) -> None:
        check_at_least("Sharpness", amount=self.amount)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.amount == 0:
            return x
        low, high = max(0.0, 1 - self.amount), 1 + self.amount
        factors = uniform(len(x), low, high, generator, x.device)
        return changed(x, lambda images, at: sharpened(images, factors[at]))


@final
@dataclass(frozen=True, kw_only=True)
class Blur(Augmentation):
    """Blur each image with a bell curve of random width, with probability `p`.

    Args:
        sigma: Smallest and largest standard deviation in pixels; neighbors count up to three times
            the largest.
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: A setting is out of range.

    Source: shorten2019survey, section "Kernel filters".
    Reduces to: the identity at `p=0`, and as `sigma` goes to 0.
    Checked against: `scipy.ndimage.gaussian_filter`.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("Blur", p=self.p)
        check_range("Blur", "sigma", self.sigma)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = coins(len(x), self.p, generator, x.device)
        sigmas = uniform(len(x), *self.sigma, generator, x.device)
        radius = math.ceil(3 * self.sigma[1])
        return changed(x, lambda images, at: blurred(images, sigmas[at], radius), chosen)


@final
@dataclass(frozen=True, kw_only=True)
class Noise(Augmentation):
    """Add a normal random number to every value, and clamp the sum to [0, 1].

    Args:
        std: Standard deviation of the noise; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `std` is negative.

    Source: shorten2019survey, section "Noise injection".
    Reduces to: the identity at `std=0`.
    Checked against: mean and variance of what is added.
    """

    recolors: ClassVar[bool] = True

    std: float = 0.05

    def __post_init__(self) -> None:
        check_at_least("Noise", std=self.std)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.std == 0:
            return x

        def change(images: Tensor, _: slice | Tensor) -> Tensor:
            noise = torch.randn(images.shape, generator=generator, device=x.device, dtype=x.dtype)
            return torch.add(images, noise, alpha=self.std).clamp_(0, 1)

        return changed(x, change)
