"""Flips, crops and resampling against Pillow with the same parameters, image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from fitwell.data import (
    Affine,
    Crop,
    Flip,
    RandomResizedCrop,
    Rotate,
    Shear,
    Translate,
    VerticalFlip,
    Zoom,
)
from fitwell.data._augment._copies import mirrored, shifted
from fitwell.data._augment._resample import (
    Interpolation,
    composed,
    linear,
    resized_windows,
    rotation,
    warp,
)

SIZE = (11, 14)  # height and width
IMAGES = torch.rand(16, 3, *SIZE, generator=torch.Generator().manual_seed(0))

# Pillow keeps its positions in float64, we in float32: at 14 pixels they differ by some 1e-6, and
# neighbors by up to 1.
POSITIONS = 1e-5
# Beside the edge of the image, or halfway between two pixels, such a difference decides.
DECIDED = 0.001


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planes(image: Tensor) -> list[Image.Image]:
    """Give a picture of floats per channel, which Pillow does not round."""
    return [Image.fromarray(plane.numpy(), mode=None) for plane in image]


def by_pillow(x: Tensor, matrices: Tensor, interpolation: Interpolation, fill: float) -> Tensor:
    chosen = Image.Resampling[interpolation.upper()]
    out = [
        [
            plane.transform(
                plane.size,
                Image.Transform.AFFINE,
                tuple(matrix.flatten().double().tolist()),
                resample=chosen,
                fillcolor=fill,
            )
            for plane in planes(image)
        ]
        for image, matrix in zip(x, matrices, strict=True)
    ]
    return torch.from_numpy(np.stack([np.stack([np.asarray(p) for p in row]) for row in out]))


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    wrong = ((ours - theirs).abs() > POSITIONS).float().mean().item()
    assert wrong <= DECIDED


# Flip and crop ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "by_hand"), [(Flip, ImageOps.mirror), (VerticalFlip, ImageOps.flip)]
)
def test_flips_equal_pillow(method: type[Flip | VerticalFlip], by_hand: object) -> None:
    coins = torch.rand(16, generator=generator()) < 0.3
    wanted = torch.stack(
        [
            torch.from_numpy(np.stack([np.asarray(by_hand(p)) for p in planes(image)]))  # type: ignore[operator]
            if coin
            else image
            for image, coin in zip(IMAGES, coins, strict=True)
        ]
    )
    assert 0 < int(coins.sum()) < 16
    assert torch.equal(method(p=0.3)(IMAGES, generator()), wanted)


@pytest.mark.parametrize("axis", [-1, -2])
def test_large_images_are_flipped_as_small_ones(axis: int) -> None:
    x, chosen = IMAGES.repeat(1, 1, 12, 12), torch.arange(16) % 3 == 0
    wanted = torch.where(chosen.view(-1, 1, 1, 1), x.flip(axis), x)
    assert torch.equal(mirrored(x, chosen, axis), wanted)


@pytest.mark.parametrize(("method", "axis"), [(Flip, 3), (VerticalFlip, 2)])
def test_flips_at_one_flip_all(method: type[Flip | VerticalFlip], axis: int) -> None:
    assert torch.equal(method(p=1.0)(IMAGES, generator()), torch.flip(IMAGES, [axis]))


@pytest.mark.parametrize("padding", [1, 2, 20])
@pytest.mark.parametrize("repeats", [1, 12])
def test_crop_equals_a_slice_per_image(padding: int, repeats: int) -> None:
    x = IMAGES.repeat(1, 1, repeats, repeats)  # small images are looked up, large ones copied
    height, width = x.shape[2:]
    drawn = torch.randint(2 * padding + 1, (2, 16, 1), generator=generator())
    wanted = []
    for image, top, left in zip(x, drawn[0, :, 0], drawn[1, :, 0], strict=True):
        padded = F.pad(image, (padding,) * 4)
        wanted.append(padded[:, top : top + height, left : left + width])
    assert torch.equal(Crop(padding=padding)(x, generator()), torch.stack(wanted))


@pytest.mark.parametrize("repeats", [1, 12])
def test_shifts_equal_pillow(repeats: int) -> None:
    x = IMAGES.repeat(1, 1, repeats, repeats)
    height, width = x.shape[2:]
    corners = [(-height, 0), (height, 0), (0, -width), (0, width), (height - 1, 1 - width), (0, 0)]
    offsets = torch.tensor([*corners, *[(k - 5, 5 - 2 * k) for k in range(10)]])
    wanted = [
        [np.asarray(plane.crop((left, top, left + width, top + height))) for plane in planes(image)]
        for image, (top, left) in zip(x, offsets.tolist(), strict=True)
    ]
    assert torch.equal(shifted(x, offsets), torch.from_numpy(np.array(wanted)))


def test_crop_reaches_every_shift() -> None:
    image = torch.zeros(400, 1, 3, 3)
    image[:, :, 1, 1] = 1
    places = Crop(padding=1)(image, generator()).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))


# Resampling ---------------------------------------------------------------------------------------


def some_matrices(kind: str) -> Tensor:
    draws = generator(5)
    if kind == "any":
        return torch.randn(16, 2, 3, generator=draws) * torch.tensor([1.0, 1.0, 6.0])
    if kind == "turns":
        return rotation(torch.rand(16, generator=draws) * 360, SIZE)
    return torch.tensor([[1.0, 0, 3], [0, 1, -2]]).repeat(16, 1, 1)  # whole pixels


@pytest.mark.parametrize("kind", ["any", "turns", "shift"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", [0.0, 0.25])
def test_warp_equals_pillow(kind: str, interpolation: Interpolation, fill: float) -> None:
    matrices = some_matrices(kind)
    ours = warp(IMAGES, matrices, interpolation=interpolation, fill=fill)
    assert_close(ours, by_pillow(IMAGES, matrices, interpolation, fill))


def test_a_shift_by_whole_pixels_is_exact() -> None:
    ours = warp(IMAGES, some_matrices("shift"))
    offsets = torch.tensor([[-2, 3]]).repeat(16, 1)
    torch.testing.assert_close(ours, shifted(IMAGES, offsets), rtol=0, atol=POSITIONS)


def test_rotation_is_that_of_pillow() -> None:
    degrees, square = torch.tensor([7.0, -33.0, 90.0, 180.0]), IMAGES[:4, :, :, :11]
    ours = warp(square, rotation(degrees, (11, 11)), interpolation="bilinear")
    wanted = [
        [np.asarray(p.rotate(angle, Image.Resampling.BILINEAR)) for p in planes(image)]
        for image, angle in zip(square, degrees.tolist(), strict=True)
    ]
    assert_close(ours, torch.from_numpy(np.array(wanted)))


def test_composed_matrices_do_what_the_steps_do() -> None:
    first, second = some_matrices("any"), some_matrices("turns")
    points = torch.cat([torch.rand(16, 2, 1), torch.ones(16, 1, 1)], dim=1)
    one = torch.ones(16, 1, 1)
    inner = torch.cat([second @ points, one], dim=1)
    torch.testing.assert_close(
        composed([first, second]) @ points, first @ inner, rtol=1e-4, atol=1e-4
    )


def matrix_of(method: object, draws: list[float]) -> Tensor:
    """Write down the matrix of an augmentation for what it drew."""
    one, zero = torch.ones(1), torch.zeros(1)
    match method:
        case Rotate():
            return rotation(torch.tensor(draws), SIZE)
        case Translate():
            down, right = draws
            return torch.tensor([[[1.0, 0, -right], [0, 1, -down]]])
        case Shear():
            slope = torch.tensor([math.tan(math.radians(draws[0]))])
            return linear((one, slope, zero, one), SIZE)
        case _:
            return linear((one / draws[0], zero, zero, one / draws[0]), SIZE)


def test_rotate_draws_angles_in_both_directions() -> None:
    angles = (torch.rand(16, generator=generator()) * 2 - 1) * 40
    ours = Rotate(degrees=40)(IMAGES, generator())
    matrices = torch.cat([matrix_of(Rotate(), [a]) for a in angles.tolist()])
    assert_close(ours, by_pillow(IMAGES, matrices, "bilinear", 0.0))


def test_translate_moves_whole_pixels() -> None:
    draws = generator()
    down = ((torch.rand(16, generator=draws) * 2 - 1) * 0.3 * SIZE[0]).round()
    right = ((torch.rand(16, generator=draws) * 2 - 1) * 0.3 * SIZE[1]).round()
    matrices = torch.cat(
        [matrix_of(Translate(), list(d)) for d in zip(down.tolist(), right.tolist(), strict=True)]
    )
    ours = Translate(share=0.3)(IMAGES, generator())
    assert_close(ours, by_pillow(IMAGES, matrices, "bilinear", 0.0))


def test_shear_slants_around_the_center() -> None:
    angles = (torch.rand(16, generator=generator()) * 2 - 1) * 60
    matrices = torch.cat([matrix_of(Shear(), [a]) for a in angles.tolist()])
    ours = Shear(degrees=60)(IMAGES, generator())
    assert_close(ours, by_pillow(IMAGES, matrices, "bilinear", 0.0))


def test_zoom_draws_factors_on_a_logarithmic_scale() -> None:
    low, high = -math.log(4), -math.log(0.5)
    shrink = torch.exp(torch.rand(16, generator=generator()) * (high - low) + low)
    matrices = torch.cat([matrix_of(Zoom(), [1 / s]) for s in shrink.tolist()])
    ours = Zoom(factor=(0.5, 4))(IMAGES, generator())
    assert_close(ours, by_pillow(IMAGES, matrices, "bilinear", 0.0))
    assert 0 < int((shrink < 1).sum()) < 16


def test_affine_is_the_product_of_four_matrices() -> None:
    draws, method = generator(), Affine(degrees=30, translate=0.2, zoom=(0.7, 1.5), shear=20)
    steps = (Zoom(factor=(0.7, 1.5)), Shear(degrees=20), Rotate(degrees=30), Translate(share=0.2))
    product = np.tile(np.eye(3), (16, 1, 1))
    for step in steps:
        drawn = step.matrices(16, SIZE, draws, torch.device("cpu")).double().numpy()
        product = product @ np.concatenate([drawn, np.tile([[[0.0, 0, 1]]], (16, 1, 1))], axis=1)
    matrices = torch.from_numpy(product[:, :2])
    assert_close(method(IMAGES, generator()), by_pillow(IMAGES, matrices, "bilinear", 0.0))


# Windows ------------------------------------------------------------------------------------------


def test_windows_equal_crop_and_resize_of_pillow() -> None:
    draws = generator(3)
    height, width = SIZE
    tall = torch.randint(1, height + 1, (16,), generator=draws)
    wide = torch.randint(1, width + 1, (16,), generator=draws)
    top = (torch.rand(16, generator=draws) * (height - tall + 1)).long()
    left = (torch.rand(16, generator=draws) * (width - wide + 1)).long()
    boxes = torch.stack([top, left, tall, wide], dim=1)
    wanted = [
        [
            np.asarray(
                plane.crop((x, y, x + w, y + h)).resize(plane.size, Image.Resampling.BILINEAR)
            )
            for plane in planes(image)
        ]
        for image, (y, x, h, w) in zip(IMAGES, boxes.tolist(), strict=True)
    ]
    ours = resized_windows(IMAGES, boxes.float())
    torch.testing.assert_close(ours, torch.from_numpy(np.array(wanted)), rtol=0, atol=POSITIONS)


def test_random_windows_have_the_areas_and_ratios_asked_for() -> None:
    """A ramp shows where its window lies: its smallest and largest values are the edges."""
    side = 200
    ramp = torch.linspace(0, 1, side)
    x = torch.stack([ramp.expand(side, side), ramp.view(-1, 1).expand(side, side)])
    x = x.expand(60, 2, side, side)
    out = RandomResizedCrop(scale=(0.2, 0.6), ratio=(0.5, 2.0))(x, generator())
    wide = (out[:, 0].amax((1, 2)) - out[:, 0].amin((1, 2))) * (side - 1) + 1
    tall = (out[:, 1].amax((1, 2)) - out[:, 1].amin((1, 2))) * (side - 1) + 1
    share, ratio = wide * tall / side**2, wide / tall
    rounding = 0.02  # sides are whole pixels
    assert share.min() > 0.2 - rounding
    assert share.max() < 0.6 + rounding
    assert ratio.min() > 0.5 - rounding
    assert ratio.max() < 2.0 + rounding
    assert share.max() - share.min() > 0.3
    assert (ratio < 1).any()
    assert (ratio > 1).any()
