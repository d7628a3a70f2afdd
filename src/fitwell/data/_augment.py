"""Augmentation of whole batches on their device; every draw comes from the generator given.

B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UsageError
from ..core.spec import Spec, build, parse


@final
@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirror each image left to right with probability `p`.

    For natural photos; wrong for digits and letters, where mirroring changes the class.

    Args:
        p: Probability per image; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Source: krizhevsky2012imagenet, section 4.1.
    Reduces to: the identity at `p=0`.
    Checked against: `torch.flip` at `p=1`.
    """

    p: float = 0.5

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Flip a batch.

        Args:
            x: The images.
            generator: Where the coin flips come from.
        """
        mirrored = torch.rand(len(x), generator=generator, device=x.device) < self.p
        return torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)


@final
@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pad each image with zeros and cut a random window of the original size.

    Args:
        padding: Pixels added on every side, the largest shift; 0 returns the input.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Source: he2016deep, section 4.2.
    Reduces to: the identity at `padding=0`.
    Checked against: a slice per image.
    """

    padding: int = 4

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Crop a batch.

        Args:
            x: The images.
            generator: Where the offsets come from.
        """
        count, channels, height, width = x.shape
        span = 2 * self.padding + 1
        shifts = torch.randint(span, (2, count, 1), generator=generator, device=x.device)
        padded = F.pad(x, (self.padding,) * 4)
        rows = shifts[0] + torch.arange(height, device=x.device)
        columns = shifts[1] + torch.arange(width, device=x.device)
        # One gather over flattened rows and columns: (B, H, W) positions in the padded plane.
        places = rows.unsqueeze(2) * padded.shape[3] + columns.unsqueeze(1)
        flat = places.view(count, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, flat).view(x.shape)


AUGMENTATIONS: dict[str, Callable[..., Flip | Crop]] = {"Flip": Flip, "Crop": Crop}


@final
@dataclass(frozen=True)
class Chain:
    """Apply augmentations one after another.

    Args:
        steps: The augmentations in order.
    """

    steps: tuple[Flip | Crop, ...]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Apply all steps to a batch.

        Args:
            x: The images.
            generator: Where all draws come from.
        """
        for step in self.steps:
            x = step(x, generator)
        return x


def augmentation(specs: str | Sequence[str | Spec] | None) -> Chain | None:
    """Build a chain from its printed form, such as ``"[Flip(), Crop(padding=4)]"``.

    Args:
        specs: One spec, a list of specs in text or as a sequence; None or ``"none"`` for nothing.

    Raises:
        UsageError: The text is not a spec or a list of specs.
        UnknownName: There is no augmentation of that name.
    """
    if specs is None or specs == "none":
        return None
    if isinstance(specs, str):
        inner = specs.strip()
        listed = inner if inner.startswith("[") else f"[{inner}]"
        specs = parse(f"chain({listed})").args[0]
    if not isinstance(specs, Sequence) or isinstance(specs, str):
        raise UsageError(f"augment: `specs` must be a list of specs; got {specs!r}.")
    steps = tuple(
        build(spec, AUGMENTATIONS, owner="augment", what="augmentation") for spec in specs
    )
    return Chain(steps) if steps else None
