"""Augmentations by name, and one after another.

B batch, C channels, H W height width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ...core.spec import Spec, build, parse
from ._color import Brightness, ColorJitter, Contrast, Grayscale, Hue, Saturation
from ._copies import Crop, Flip, VerticalFlip
from ._erase import Cutout, Erase
from ._filters import Blur, Noise, Sharpness
from ._mix import CutMix, Mixup
from ._policies import RandAugment, TrivialAugment
from ._step import Augmentation, Mixing
from ._tones import AutoContrast, Equalize, Invert, Posterize, Solarize
from ._warps import Affine, RandomResizedCrop, Rotate, Shear, Translate, Warp, Zoom, warp_by

_ALL: tuple[type[Augmentation | Mixing], ...] = (
    *(Flip, VerticalFlip, Crop, RandomResizedCrop),
    *(Rotate, Translate, Shear, Zoom, Affine),
    *(Brightness, Contrast, Saturation, Hue, ColorJitter, Grayscale),
    *(Invert, Solarize, Posterize, AutoContrast, Equalize),
    *(Sharpness, Blur, Noise, Cutout, Erase),
    *(RandAugment, TrivialAugment, Mixup, CutMix),
)
AUGMENTATIONS: Mapping[str, Callable[..., Augmentation | Mixing]] = {
    method.__name__: method for method in _ALL
}


@final
@dataclass(frozen=True)
class Chain:
    """Apply augmentations one after another.

    Neighbors that turn, move, slant or enlarge with the same interpolation and fill are done in one
    resampling, which is faster and blurs once; what one of them moves out of the image, the next
    can move back in.

    Args:
        steps: The augmentations in order; those that mix images with their targets come last.

    Raises:
        UsageError: A step that mixes stands before one that does not.
    """

    steps: tuple[Augmentation | Mixing, ...]

    def __post_init__(self) -> None:
        kinds = [step.mixes for step in self.steps]
        if kinds != sorted(kinds):
            names = [type(step).__name__ for step in self.steps]
            raise UsageError(
                "Chain: `steps` that mix images (Mixup, CutMix) must come last; got"
                f" {', '.join(names)}. Move them to the end."
            )

    @property
    def mixes(self) -> bool:
        """Whether a step mixes images with their targets, so that `mix` is to be called too."""
        return any(step.mixes for step in self.steps)

    @property
    def recolors(self) -> tuple[str, ...]:
        """Names of the steps that change values, for which they must lie in [0, 1]."""
        found = (type(step).__name__ for step in self.steps if getattr(step, "recolors", False))
        return tuple(found)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Apply the steps that change images alone to a batch.

        Args:
            x: The images.
            generator: Where all draws come from.
        """
        for group in self._groups():
            warps = tuple(step for step in group if isinstance(step, Warp))
            x = warp_by(warps, x, generator) if warps else group[0](x, generator)
        return x

    def mix(self, x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Apply the steps that mix images with their targets.

        Args:
            x: The images, as the other steps have left them.
            targets: Probabilities (B, K) or numbers (B,), as floats.
            generator: Where all draws come from.
        """
        for step in self.steps:
            if isinstance(step, Mixing):
                x, targets = step(x, targets, generator)
        return x, targets

    def _groups(self) -> Iterator[list[Augmentation]]:
        """Give the steps that change images alone; warps that can be joined stand together."""
        group: list[Augmentation] = []
        for step in self.steps:
            if not isinstance(step, Augmentation):
                break
            if group and not _joins(group[-1], step):
                yield group
                group = []
            group.append(step)
        if group:
            yield group


def _joins(first: Augmentation, second: Augmentation) -> bool:
    if not (isinstance(first, Warp) and isinstance(second, Warp)):
        return False
    return (first.interpolation, first.fill) == (second.interpolation, second.fill)


def augmentation(specs: str | Sequence[str | Spec] | None) -> Chain | None:
    """Build a chain from its printed form, such as ``"[Flip(), Crop(padding=4)]"``.

    Args:
        specs: One spec, a list of specs in text or as a sequence, or the printed form of a `Chain`;
            lists within lists are joined. None or ``"none"`` for nothing.

    Raises:
        UsageError: The text is not a spec or a list of specs, or a step that mixes is not last.
        UnknownName: There is no augmentation of that name.
    """
    if specs is None or specs == "none":
        return None
    steps = tuple(_steps(specs))
    return Chain(steps) if steps else None


def _steps(specs: Any) -> Iterator[Augmentation | Mixing]:
    if isinstance(specs, str):
        inner = specs.strip()
        listed = inner if inner.startswith("[") else f"[{inner}]"
        specs = parse(f"chain({listed})").args[0]
    if isinstance(specs, Spec):
        if specs.name.lower() != "chain":
            yield build(specs, AUGMENTATIONS, owner="augment", what="augmentation")
            return
        specs = [*specs.args, *specs.kwargs.values()]
    if not isinstance(specs, Sequence):
        raise UsageError(f"augment: `specs` must be a list of specs; got {specs!r}.")
    for spec in specs:
        yield from _steps(spec)
