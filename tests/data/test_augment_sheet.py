"""The picture that shows what an augmentation makes of examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from fitwell.core.errors import UnknownName, UsageError
from fitwell.data import Chain, CutMix, Flip, Invert, augmented_sheet, load_builtin
from fitwell.verbs._data import show_data

MARGIN, GAP, SIDE = 12, 3, 96  # of the sheet; a picture of 8 pixels is drawn 12 times as large


def tiles(sheet: Image.Image, row: int, columns: int) -> list[npt.NDArray[np.uint8]]:
    """Give the pictures of a row, counted from the right edge, where no label stands."""
    pixels = np.asarray(sheet)
    left = pixels.shape[1] - MARGIN - columns * (SIDE + GAP) + GAP - MARGIN
    top = MARGIN + row * (SIDE + GAP)
    starts = [left, *(left + MARGIN + place * (SIDE + GAP) for place in range(1, columns))]
    return [pixels[top : top + SIDE, x : x + SIDE] for x in starts]


def test_the_first_column_is_plain_and_the_others_are_changed() -> None:
    train = load_builtin("digits").train
    sheet = augmented_sheet(train, Chain((Invert(p=1.0),)), draws=2)
    assert train.targets is not None
    for digit in (0, 7, 9):
        image = train.inputs[int((train.targets == digit).nonzero()[0, 0])][0].numpy()
        shown = image.repeat(12, 0).repeat(12, 1)
        plain, *changed = (tile[..., 0] for tile in tiles(sheet, digit, 3))
        assert np.array_equal(plain, shown)
        assert all(np.array_equal(tile, 255 - shown) for tile in changed)


def test_the_seed_decides_and_rows_can_be_fewer() -> None:
    train = load_builtin("digits").train
    chain = Chain((Flip(), CutMix()))
    first, again, other = (augmented_sheet(train, chain, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    small = augmented_sheet(train, chain, max_rows=3, draws=1)
    assert small.height == 2 * MARGIN + 3 * (SIDE + GAP) - GAP


def test_tables_and_counts_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="augmented_sheet: `examples` must be images"):
        augmented_sheet(load_builtin("iris").train, Chain((Flip(),)))
    with pytest.raises(UsageError, match="`draws` and `max_rows` must be at least 1; got 0 and 12"):
        augmented_sheet(load_builtin("digits").train, Chain((Flip(),)), draws=0)


def test_data_show_draws_what_training_would_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    show_data("digits", augment="auto", picture=Path("auto.png"))
    show_data("digits", augment="Crop(padding=1)", picture=Path("crop.png"))
    show_data("digits", picture=Path("plain.png"))
    auto, crop, plain = (np.asarray(Image.open(f"{n}.png")) for n in ("auto", "crop", "plain"))
    assert np.array_equal(auto, crop)
    assert auto.shape != plain.shape


def test_data_show_refuses_what_does_not_suit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text, kind, reason in (
        ("Flip()", UsageError, r"a mirrored 2 is no digit. Leave it out, or write `Flip\(p=0.5"),
        ("Hue()", UsageError, "Hue must have pictures with 3 channels; got 1"),
        ("Crip()", UnknownName, "nearest: 'Crop'"),
    ):
        with pytest.raises(kind, match=reason):
            show_data("digits", augment=text)
    with pytest.raises(UsageError, match="`augment` must be left out for anything but images"):
        show_data("iris", augment="Flip()")
    assert not list(tmp_path.iterdir())


def test_floats_become_the_nearest_whole_values() -> None:
    """A chain that changes nothing gives the pictures back, every value of them."""
    train = load_builtin("digits").train
    sheet = augmented_sheet(train, Chain((Flip(p=0.0),)), draws=1)
    for digit in range(10):
        plain, changed = tiles(sheet, digit, 2)
        assert np.array_equal(plain, changed)
    assert torch.equal((torch.arange(256) / 255).mul(255).round().byte(), torch.arange(256).byte())
