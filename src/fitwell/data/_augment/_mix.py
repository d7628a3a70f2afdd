"""Mixing images with each other and their targets alike.

B batch, C channels, H W height width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._erase import covered
from ._step import Mixing, changed, check_at_least, per_image


def blended(x: Tensor, targets: Tensor, shares: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
    """Add to each image another one, weighted, and to its targets those of the other.

    Args:
        x: The images.
        targets: (B, K) or (B,).
        shares: Weight λ of the image itself; the other one has 1 - λ; (B,).
        partners: Which image is the other one; (B,).
    """

    def change(images: Tensor, at: slice | Tensor) -> Tensor:
        return torch.lerp(x[partners[at]], images, per_image(shares[at], x))

    return changed(x, change), _blended_targets(targets, shares, partners)


def pasted(x: Tensor, targets: Tensor, boxes: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
    """Paint over a box of each image what another one has there; targets follow the area.

    Args:
        x: The images.
        targets: (B, K) or (B,).
        boxes: First row, first column, row and column after the last, in the image; (B, 4).
        partners: Which image is the other one; (B,).
    """
    height, width = x.shape[2:]
    kept = 1 - covered(boxes, x)
    sides = boxes[:, 2:] - boxes[:, :2]
    shares = 1 - sides.prod(1).to(torch.float32) / (height * width)

    def change(images: Tensor, at: slice | Tensor) -> Tensor:
        return torch.lerp(x[partners[at]], images, kept[at])

    return changed(x, change), _blended_targets(targets, shares, partners)


def _blended_targets(targets: Tensor, shares: Tensor, partners: Tensor) -> Tensor:
    weights = shares.to(targets.dtype).view(-1, *[1] * (targets.ndim - 1))
    return torch.lerp(targets[partners], targets, weights)


def _shares(
    alpha: float, count: int, generator: torch.Generator, device: torch.device, each: bool
) -> Tensor:
    """Draw λ from Beta(alpha, alpha), one for all or one for each; (B,)."""
    # A ratio of gamma variables; in float64, since a small alpha makes numbers close to 0.
    shape = torch.full((count if each else 1, 2), alpha, dtype=torch.float64, device=device)
    drawn = torch._standard_gamma(shape, generator=generator).clamp_(min=1e-300)
    share = (drawn[:, 0] / drawn.sum(1)).float()
    return share if each else share.expand(count)


def _check(owner: str, x: Tensor, targets: Tensor) -> None:
    if not targets.is_floating_point() or len(targets) != len(x):
        raise UsageError(
            f"{owner}: `targets` must be probabilities (B, K) or numbers (B,), as floats, one row"
            f" per image; got {targets.dtype} {tuple(targets.shape)} for {len(x)} images. Turn"
            " class indices into `one_hot(targets, num_classes).float()`."
        )


@final
@dataclass(frozen=True, kw_only=True)
class Mixup(Mixing):
    """Show weighted sums of two images and ask for the same sum of their targets.

    Makes a classifier less sure between the classes; helps most when it overfits. Training takes
    longer, and the training accuracy no longer tells much. `CutMix` keeps what is seen natural.

        x̃ = λ xᵢ + (1 - λ) xⱼ,  ỹ = λ yᵢ + (1 - λ) yⱼ,  λ ~ Beta(alpha, alpha),  j permuted

    Args:
        alpha: Small is mostly one of the two images, 1 is all mixtures alike; 0 returns the input.
        per_image: Draw λ for each image instead of once for the batch.

    Shapes:
        x: (B, C, H, W)
        targets: (B, K)

    Returns:
        The mixed images and targets.

    Raises:
        UsageError: `alpha` is negative, or the targets are class indices.

    Source: zhang2018mixup, figure 1.
    Reduces to: the identity at `alpha=0`.
    Checked against: a loop over the batch with the same λ and permutation.
    """

    alpha: float = 0.2
    per_image: bool = False

    def __post_init__(self) -> None:
        check_at_least("Mixup", alpha=self.alpha)

    def __call__(
        self, x: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        _check("Mixup", x, targets)
        if self.alpha == 0:
            return x, targets
        shares = _shares(self.alpha, len(x), generator, x.device, self.per_image)
        partners = torch.randperm(len(x), generator=generator, device=x.device)
        return blended(x, targets, shares, partners)


@final
@dataclass(frozen=True, kw_only=True)
class CutMix(Mixing):
    """Paste a rectangle of one image into another and ask for both targets by their areas.

    As `Mixup`, but what is seen stays natural up close.

        sides √(1 - λ) H and √(1 - λ) W around a random pixel, cut at the edges, λ ~ Beta(alpha,
        alpha);  ỹ = λ' yᵢ + (1 - λ') yⱼ  with 1 - λ' the area of the rectangle that is left

    Args:
        alpha: 1 is all areas alike, small is nearly all or nothing; 0 returns the input.
        per_image: Draw a rectangle for each image instead of once for the batch.

    Shapes:
        x: (B, C, H, W)
        targets: (B, K)

    Returns:
        The mixed images and targets.

    Raises:
        UsageError: `alpha` is negative, or the targets are class indices.

    Source: yun2019cutmix, equations 1 and 2, algorithm A1.
    Reduces to: the identity at `alpha=0`.
    Checked against: a loop over the batch with the same rectangle and permutation.
    """

    alpha: float = 1.0
    per_image: bool = False

    def __post_init__(self) -> None:
        check_at_least("CutMix", alpha=self.alpha)

    def __call__(
        self, x: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        _check("CutMix", x, targets)
        if self.alpha == 0:
            return x, targets
        count, device = len(x), x.device
        side = (1 - _shares(self.alpha, count, generator, device, self.per_image)).sqrt()
        first, last = [], []
        for length in x.shape[2:]:
            drawn = count if self.per_image else 1
            center = torch.randint(length, (drawn,), generator=generator, device=device)
            half = (side * length).long() // 2
            first.append((center - half).clamp(0, length))
            last.append((center + half).clamp(0, length))
        partners = torch.randperm(count, generator=generator, device=device)
        return pasted(x, targets, torch.stack(first + last, dim=1), partners)
