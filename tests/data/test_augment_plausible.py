"""The guard against augmentations that change what a picture means, and the defaults."""

from __future__ import annotations

from typing import get_args

import pytest

from fitwell.core.errors import UsageError
from fitwell.data import (
    BUILTIN,
    Domain,
    Schema,
    augmentation,
    check_plausible,
    default_augment,
    domain_of,
    load_builtin,
)
from fitwell.data._builtin_catalog import DOMAINS


def check(text: str, domain: Domain, channels: int = 3) -> None:
    chain = augmentation(text)
    if chain is None:
        raise ValueError(text)
    check_plausible(chain, domain, channels)


@pytest.mark.parametrize(
    ("text", "domain", "reason"),
    [
        ("Flip", "digits", "a mirrored 2 is no digit"),
        ("Crop, VerticalFlip", "digits", "a 6 turned over is a 9"),
        ("Flip", "letters", "a mirrored b is a d"),
        ("Rotate(degrees=45)", "letters", "an M turned over is a W .up to 30 degrees are fine"),
        ("Affine(degrees=31)", "digits", "up to 30 degrees are fine"),
        ("TrivialAugment", "digits", "it turns by up to 135 degrees"),
    ],
)
def test_what_changes_the_meaning_is_refused(text: str, domain: Domain, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"must keep the meaning of {domain}; got .*{reason}"):
        check(text, domain)
    with pytest.raises(
        UsageError, match=r"Leave it out, or write `\w+\(.*anyway=True\)`\.$"
    ) as told:
        check(text, domain)
    check(str(told.value).split("`")[-2], domain)
    for other in ("clothes", "objects", "photos", "unknown"):
        check(text, other)


@pytest.mark.parametrize(
    "text",
    [
        "Flip(anyway=True), VerticalFlip(anyway=True)",
        "Rotate(degrees=180, anyway=True), Affine(degrees=90, anyway=True)",
        "TrivialAugment(anyway=True)",
        "Rotate(degrees=30), Affine(degrees=30)",
        "Crop, Shear, Zoom, Translate, Noise, Blur, RandAugment, Cutout, Invert, Mixup, CutMix",
    ],
)
def test_what_is_wanted_or_harmless_passes(text: str) -> None:
    check(text, "digits", channels=1)


@pytest.mark.parametrize("text", ["Saturation", "Hue", "Grayscale", "ColorJitter(hue=0.1)"])
def test_gray_pictures_have_no_colors_to_change(text: str) -> None:
    name = text.partition("(")[0]
    for domain in ("unknown", "clothes"):
        with pytest.raises(UsageError, match=f"{name} must have pictures with 3 channels; got 1"):
            check(text, domain, channels=1)
    check(text, "unknown", channels=3)
    check("ColorJitter(saturation=0), Brightness, Contrast", "unknown", channels=1)


@pytest.mark.parametrize("text", ["Brightness", "Contrast", "ColorJitter", "RandAugment", "Hue"])
def test_pictures_of_other_channels_have_no_brightness_either(text: str) -> None:
    with pytest.raises(UsageError, match=f"{text} must have pictures with 3 channels; got 4"):
        check(text, "unknown", channels=4)
    check("Flip, Crop, Affine, Blur, Noise, Mixup", "unknown", channels=4)


def test_the_built_in_sets_know_what_they_show() -> None:
    assert set(DOMAINS) == {name for name, dataset in BUILTIN.items() if dataset.kind == "images"}
    assert domain_of(load_builtin("digits").schema) == "digits"
    mine = Schema(kind="images", input_shape=(1, 8, 8), target_kind="class", class_names=("a", "b"))
    assert domain_of(mine) == "unknown"


@pytest.mark.parametrize("domain", get_args(Domain))
@pytest.mark.parametrize("image_size", [8, 28, 32, 224])
def test_defaults_are_plausible(domain: Domain, image_size: int) -> None:
    for channels in (1, 3):
        check(default_augment(domain, image_size), domain, channels)


def test_defaults_differ_by_what_pictures_show() -> None:
    assert "Flip" in default_augment("photos", 32)
    assert "RandomResizedCrop" in default_augment("photos", 224)
    assert "Affine" in default_augment("digits", 28)
    assert default_augment("digits", 8) == "Crop(padding=1)"
    assert default_augment("unknown", 32) == "Crop(padding=4)"
