"""Which augmentations keep the meaning of a picture, by what is in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...core.errors import UsageError
from .._builtin_catalog import DOMAINS
from .._builtin_source import Domain
from .._examples import Schema
from ._chain import Chain, augmentation
from ._color import Brightness, ColorJitter, Contrast, Grayscale, Hue, Saturation
from ._copies import Flip, VerticalFlip
from ._policies import RandAugment, TrivialAugment
from ._step import Augmentation, Mixing
from ._warps import Affine, Rotate

_LARGEST_TURN = 30.0  # degrees; beyond, a 7 lies down and a 6 is on its way to a 9
_SMALL = 64  # pixels; smaller images lose too much when a window of them is enlarged
# Augmentations that take gray pictures and colored ones, but no others.
_OF_LIGHT = (Brightness, Contrast, ColorJitter, RandAugment, TrivialAugment)
_WRITTEN: Mapping[str, tuple[str, str]] = {
    "digits": ("a mirrored 2 is no digit", "a 6 turned over is a 9"),
    "letters": ("a mirrored b is a d", "an M turned over is a W"),
}


def domain_of(schema: Schema) -> Domain:
    """Say what the pictures of a data set show; `unknown` for any but the built-in sets.

    Args:
        schema: Of the data set.
    """
    return DOMAINS.get(str(schema.source.get("builtin")), "unknown")


def suited_augment(text: str, schema: Schema) -> str:
    """Give an augmentation's text if it suits a data set; ``auto`` is what suits most of its kind.

    Args:
        text: The printed form, ``auto`` or ``none``.
        schema: Of the data set.

    Raises:
        UnknownName: There is no augmentation of that name.
        UsageError: An augmentation does not suit the pictures.
    """
    images = len(schema.input_shape) == 3
    side = min(schema.input_shape[1:], default=0)
    if text == "auto":
        return default_augment(domain_of(schema), side) if images else "none"
    chain = augmentation(text)
    if chain is not None and images:
        check_plausible(chain, domain_of(schema), schema.input_shape[0])
        for step in chain.steps:
            _check_room(step, side)
    return text


def _check_room(step: Augmentation | Mixing, side: int) -> None:
    """Refuse what moves a picture out of itself, or covers all of it."""
    for name in ("padding", "size"):
        value = getattr(step, name, 0)
        if isinstance(value, int) and value >= side:
            raise UsageError(
                f"augment: {type(step).__name__} `{name}` must be below the side of the pictures,"
                f" {side}; got {value}, and nothing would be left of some. Use {max(1, side // 8)}."
            )


def check_plausible(chain: Chain, domain: Domain, channels: int = 3) -> None:
    """Refuse augmentations that would change what a picture means, or its missing colors.

    An argument `anyway=True` of an augmentation passes it. Settings of the user's own pictures,
    whose domain is unknown, are only checked for colors.

    Args:
        chain: The augmentations.
        domain: What the pictures show.
        channels: Channels of the pictures; 1 is gray.

    Raises:
        UsageError: An augmentation does not suit the pictures.
    """
    for step in chain.steps:
        name = type(step).__name__
        if channels != 3 and (remedy := _lacks_color(step, channels)):
            raise UsageError(
                f"augment: {name} must have pictures with 3 channels; got {channels}. {remedy}"
            )
        reason = _harm(step, domain)
        if reason and not getattr(step, "anyway", False):
            passing = replace(step, anyway=True)  # type: ignore[type-var]
            raise UsageError(
                f"augment: {name} must keep the meaning of {domain}; got {step}, and {reason}."
                f" Leave it out, or write `{passing}`."
            )


def _lacks_color(step: Augmentation | Mixing, channels: int) -> str:
    """Give what to do where there are no colors to change; nothing if none are needed."""
    if isinstance(step, ColorJitter) and channels == 1:
        return "Write `saturation=0, hue=0`." if step.saturation or step.hue else ""
    alone = isinstance(step, (Saturation, Hue, Grayscale))
    return "Leave it out." if alone or (channels != 1 and isinstance(step, _OF_LIGHT)) else ""


def _harm(step: Augmentation | Mixing, domain: Domain) -> str:
    """Say why a step changes the meaning of a picture; nothing if it does not."""
    if domain not in _WRITTEN:
        return ""
    mirrored, turned = _WRITTEN[domain]
    if isinstance(step, Flip):
        return mirrored
    if isinstance(step, VerticalFlip):
        return turned
    too_far = isinstance(step, (Rotate, Affine)) and step.degrees > _LARGEST_TURN
    if too_far:
        return f"{turned} (up to {_LARGEST_TURN:g} degrees are fine)"
    return f"{turned} (it turns by up to 135 degrees)" if isinstance(step, TrivialAugment) else ""


def default_augment(domain: Domain, image_size: int) -> str:
    """Give augmentations that suit most data sets of a kind, in their printed form.

    Args:
        domain: What the pictures show.
        image_size: The shorter side in pixels.
    """
    shift = f"Crop(padding={max(1, image_size // 8)})"
    if domain in _WRITTEN:
        turns = "Affine(degrees=10, translate=0.1, zoom=(0.9, 1.1), shear=5)"
        return turns if image_size >= 16 else "Crop(padding=1)"
    if domain == "unknown":
        return shift
    if image_size > _SMALL and domain == "photos":
        return "Flip(), RandomResizedCrop(scale=(0.35, 1.0))"
    return f"Flip(), {shift}"
