"""What the chapters on augmentation claim: plausible changes, mixing, and two pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

import fitwell
from fitwell.core.errors import UsageError
from fitwell.data import (
    Batches,
    Chain,
    CutMix,
    Examples,
    Mixup,
    Schema,
    augmentation,
    augmented_sheet,
    check_plausible,
    domain_of,
    load_builtin,
    load_images,
)
from fitwell.data._augment._color import recolored
from fitwell.data._augment._copies import mirrored, shifted
from fitwell.data._augment._mix import blended, pasted
from fitwell.data._augment._resample import rotation, warp

EXACT = 1e-6  # the same numbers in float32
ROUNDED = 2.01 / 255  # Pillow works on whole numbers from 0 to 255


def photos(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    shape = (20, 24, 3)
    return [Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)]


def as_batch(pictures: list[Image.Image]) -> Tensor:
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)


def examples(count: int, channels: int = 3, side: int = 12, classes: int = 5) -> Examples:
    draws = torch.Generator().manual_seed(0)
    names = tuple(f"class {number}" for number in range(classes))
    shape = (channels, side, side)
    return Examples(
        inputs=torch.randint(256, (count, *shape), generator=draws, dtype=torch.uint8),
        targets=torch.arange(count) % classes,
        schema=Schema(kind="images", input_shape=shape, target_kind="class", class_names=names),
    )


# TUNE-07 ------------------------------------------------------------------------------------------


def test_tune_07_the_usual_transforms_equal_pillow_with_the_same_parameters() -> None:
    pictures, factors = photos(4), [0.5, 0.8, 1.2, 1.5]
    x, strengths = as_batch(pictures), torch.tensor([0.5, 0.8, 1.2, 1.5])
    window = (3, -2, 27, 18)
    pairs = [
        (mirrored(x, torch.ones(4, dtype=torch.bool), -1), [ImageOps.mirror(p) for p in pictures]),
        (shifted(x, torch.tensor([[-2, 3]] * 4)), [p.crop(window) for p in pictures]),
        (
            recolored(x, brightness=strengths),
            [ImageEnhance.Brightness(p).enhance(f) for p, f in zip(pictures, factors, strict=True)],
        ),
        (
            recolored(x, saturation=strengths),
            [ImageEnhance.Color(p).enhance(f) for p, f in zip(pictures, factors, strict=True)],
        ),
        (
            warp(x, rotation(strengths * 20, (20, 24))),
            [
                p.rotate(20 * f, Image.Resampling.BILINEAR)
                for p, f in zip(pictures, factors, strict=True)
            ],
        ),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, as_batch(theirs), rtol=0, atol=ROUNDED)


def test_tune_07_implausible_transforms_of_digits_are_refused() -> None:
    schema = load_builtin("digits").schema
    for text, reason in (("VerticalFlip", "6 turned over is a 9"), ("Flip", "mirrored 2")):
        chain = augmentation(f"Crop(padding=1), {text}")
        assert chain is not None
        with pytest.raises(UsageError, match=reason):
            check_plausible(chain, domain_of(schema), schema.input_shape[0])


# HW3-01 -------------------------------------------------------------------------------------------


def test_hw3_01_a_folder_of_eleven_classes_trains_with_augmentation(tmp_path: Path) -> None:
    """The task of the homework in small; its photos cannot be had."""
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("valid", 2)):
        for label in range(11):
            folder = tmp_path / "food" / part / f"{label:02d}"
            folder.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(0, 60, (24, 24, 3)) + 15 * label
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.png")
    splits = load_images(tmp_path / "food", image_size=24)
    assert (len(splits.train), splits.schema.num_classes) == (66, 11)
    run = fitwell.train(
        tmp_path / "food",
        model="CNN(widths=(8,))",
        augment="Flip(), RandomResizedCrop(scale=(0.5, 1.0)), ColorJitter()",
        epochs=2,
        run=tmp_path / "run",
        device="cpu",
        quiet=True,
    )
    assert run.result["epochs"] == 2


# HW3-02 -------------------------------------------------------------------------------------------


def reference_mixup(x: Tensor, y: Tensor, lam: float, order: list[int]) -> tuple[Tensor, Tensor]:
    """Write down equation by equation what mixing means, one pair at a time."""
    images, targets = [], []
    for i, j in enumerate(order):
        images.append(lam * x[i] + (1 - lam) * x[j])
        targets.append(lam * y[i] + (1 - lam) * y[j])
    return torch.stack(images), torch.stack(targets)


def reference_cutmix(
    x: Tensor, y: Tensor, lam: float, center: tuple[int, int], order: list[int]
) -> tuple[Tensor, Tensor]:
    """Cut the rectangle with NumPy slices and count its pixels."""
    _, _, height, width = x.shape
    half_height = int(height * np.sqrt(1 - lam)) // 2
    half_width = int(width * np.sqrt(1 - lam)) // 2
    rows = np.clip([center[0] - half_height, center[0] + half_height], 0, height)
    columns = np.clip([center[1] - half_width, center[1] + half_width], 0, width)
    mixed = x.clone()
    for i, j in enumerate(order):
        mixed[i, :, rows[0] : rows[1], columns[0] : columns[1]] = x[
            j, :, rows[0] : rows[1], columns[0] : columns[1]
        ]
    kept = 1 - np.diff(rows)[0] * np.diff(columns)[0] / (height * width)
    return mixed, torch.stack([kept * y[i] + (1 - kept) * y[j] for i, j in enumerate(order)])


def test_hw3_02_a_mixed_batch_equals_the_reference_for_the_same_share() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = torch.rand(8, 3, 10, 13, generator=draws), torch.eye(8)
    order = torch.randperm(8, generator=draws)
    for lam in (0.0, 0.3, 0.85, 1.0):
        ours = blended(x, y, torch.full((8,), lam), order)
        wanted = reference_mixup(x, y, lam, order.tolist())
        for got, expected in zip(ours, wanted, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=EXACT)


def test_hw3_02_mixup_and_cutmix_do_what_the_reference_does_with_their_draws() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = torch.rand(8, 3, 10, 13, generator=draws), torch.eye(8)
    for seed in range(6):
        replay = torch.Generator().manual_seed(seed)
        gammas = torch._standard_gamma(
            torch.full((1, 2), 0.7, dtype=torch.float64), generator=replay
        )
        lam = float(gammas[0, 0] / gammas.sum())
        state = replay.get_state()
        order = torch.randperm(8, generator=replay)
        ours = Mixup(alpha=0.7)(x, y, torch.Generator().manual_seed(seed))
        wanted = reference_mixup(x, y, lam, order.tolist())
        replay.set_state(state)
        row, column = (int(torch.randint(side, (1,), generator=replay)) for side in (10, 13))
        order = torch.randperm(8, generator=replay)
        cut = CutMix(alpha=0.7)(x, y, torch.Generator().manual_seed(seed))
        wanted_cut = reference_cutmix(x, y, lam, (row, column), order.tolist())
        for got, expected in zip((*ours, *cut), (*wanted, *wanted_cut), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=EXACT)


def test_hw3_02_targets_of_cutmix_are_the_exact_areas() -> None:
    x = torch.stack([torch.zeros(1, 10, 13), torch.ones(1, 10, 13)])
    boxes = torch.tensor([[2, 3, 9, 13], [0, 0, 10, 13]])
    mixed, targets = pasted(x, torch.eye(2), boxes, torch.tensor([1, 0]))
    shares = mixed.mean((1, 2, 3))
    torch.testing.assert_close(targets[0], torch.tensor([1 - shares[0], shares[0]]))
    assert targets[0, 1].item() == pytest.approx(70 / 130)
    assert targets[1].tolist() == [1, 0]


# HW3-05 -------------------------------------------------------------------------------------------

TRAIN = "Crop(padding=2), Flip(), Rotate(degrees=10), ColorJitter(), Cutout(size=4), Noise()"


def chain() -> Chain:
    built = augmentation(TRAIN)
    if built is None:
        raise ValueError(TRAIN)
    return built


def test_hw3_05_the_pipeline_for_tests_is_deterministic() -> None:
    data = examples(20)
    first, again = ([b.inputs for b in Batches(data, 8)] for _ in range(2))
    for ours, theirs in zip(first, again, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(torch.cat(first), torch.as_tensor(data.inputs[:]).float() / 255)


def test_hw3_05_the_pipeline_for_training_is_seeded_per_worker() -> None:
    def seen(rank: int, seed: int = 3) -> Tensor:
        batches = Batches(examples(16), 4, augment=chain(), seed=seed, shard=(rank, 2))
        return torch.cat([batch.inputs for batch in batches])

    assert torch.equal(seen(0), seen(0))
    assert torch.equal(seen(1), seen(1))
    assert not torch.equal(seen(0), seen(0, seed=4))
    same = examples(16)
    same = Examples(
        inputs=torch.as_tensor(same.inputs[:1]).expand(16, -1, -1, -1).contiguous(),
        targets=same.targets,
        schema=same.schema,
    )
    parts = [
        torch.cat([b.inputs for b in Batches(same, 4, augment=chain(), shard=(rank, 2))])
        for rank in (0, 1)
    ]
    assert not torch.equal(*parts)  # the same pictures, changed by other draws


def test_hw3_05_six_transforms_are_shown_as_a_grid(tmp_path: Path) -> None:
    data = examples(20)
    assert len(chain().steps) == 6
    sheet = augmented_sheet(data, chain(), draws=7, title=TRAIN)
    assert np.array_equal(sheet, augmented_sheet(data, chain(), draws=7, title=TRAIN))
    pixels = np.asarray(sheet)
    # Five rows of eight tiles of 12 x 8 pixels: the first column shows the pictures as they are.
    first = np.asarray(data.inputs[0]).transpose(1, 2, 0).repeat(8, 0).repeat(8, 1)
    found = [
        (y, x)
        for y, x in np.argwhere((pixels == first[0, 0]).all(2)).tolist()
        if np.array_equal(pixels[y : y + 96, x : x + 96], first)
    ]
    assert len(found) == 1
    (top, left) = found[0]
    beside = [
        pixels[top : top + 96, left + 12 + k * 99 : left + 12 + k * 99 + 96] for k in range(1, 8)
    ]
    assert len({tile.tobytes() for tile in beside}) == 7
