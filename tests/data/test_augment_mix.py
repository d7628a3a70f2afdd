"""Erasing, mixing and drawn operations against loops over images with the same parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.data import CutMix, Cutout, Erase, Mixup, RandAugment, TrivialAugment
from fitwell.data._augment._mix import _shares
from fitwell.data._augment._policies import OPERATIONS, Ranges, operated

COUNT, CHANNELS, HEIGHT, WIDTH, CLASSES = 10, 3, 11, 14, 4
IMAGES = torch.rand(COUNT, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(COUNT) % CLASSES
TARGETS = torch.nn.functional.one_hot(LABELS, CLASSES).float()
EXACT = 1e-6  # the same numbers in float32


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Erasing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 5, 40])
def test_cutout_equals_a_loop(size: int) -> None:
    draws = generator()
    rows, columns = (
        torch.randint(side, (COUNT,), generator=draws).tolist() for side in (HEIGHT, WIDTH)
    )
    wanted = IMAGES.clone()
    for image, row, column in zip(wanted, rows, columns, strict=True):
        top, left = row - size // 2, column - size // 2
        image[:, max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)] = 0
    assert torch.equal(Cutout(size=size)(IMAGES, generator()), wanted)


def rectangles(out: Tensor, value: float) -> list[tuple[int, int, int] | None]:
    """Give height, width and painted pixels of what was painted in each image."""
    found: list[tuple[int, int, int] | None] = []
    for image in (out == value).all(1):
        rows, columns = image.any(1).sum(), image.any(0).sum()
        painted = int(image.sum())
        found.append((int(rows), int(columns), painted) if painted else None)
    return found


def test_erase_paints_rectangles_of_the_sizes_asked_for() -> None:
    x = torch.rand(300, 1, 60, 60, generator=generator(0)).clamp_(0, 0.99)
    step = Erase(p=0.7, scale=(0.1, 0.3), ratio=(0.5, 2.0), value=1.0)
    found = rectangles(step(x, generator()), 1.0)
    painted = [f for f in found if f is not None]
    rounding = 0.02  # sides are whole pixels
    for tall, wide, pixels in painted:
        assert pixels == tall * wide
        assert 0.1 - rounding < pixels / 3600 < 0.3 + rounding
        assert 0.5 - rounding * 2 < tall / wide < 2.0 + rounding * 4
    # 300 draws with p = 0.7: five standard deviations.
    assert abs(len(painted) - 210) < 5 * math.sqrt(300 * 0.7 * 0.3)


def test_erase_leaves_the_rest_alone() -> None:
    x = torch.rand(50, 3, 20, 20, generator=generator(0)).clamp_(0, 0.99)
    out = Erase(value=1.0)(x, generator())
    kept = (out != 1).expand_as(x)
    assert torch.equal(out[kept], x[kept])


# Mixing -------------------------------------------------------------------------------------------


def test_shares_follow_a_beta_distribution() -> None:
    for alpha in (0.2, 1.0, 3.0):
        shares = _shares(alpha, 2000, generator(), torch.device("cpu"), each=True)
        test = scipy.stats.kstest(shares.numpy(), scipy.stats.beta(alpha, alpha).cdf)
        assert test.pvalue > 0.01
    tiny = _shares(1e-4, 500, generator(), torch.device("cpu"), each=True)
    assert torch.isfinite(tiny).all()


@pytest.mark.parametrize("per_image", [False, True])
def test_mixup_draws_one_share_for_all_or_one_for_each(per_image: bool) -> None:
    draws = generator()
    shares = _shares(0.4, COUNT, draws, torch.device("cpu"), per_image)
    partners = torch.randperm(COUNT, generator=draws)
    x, targets = Mixup(alpha=0.4, per_image=per_image)(IMAGES, TARGETS, generator())
    for i, (share, j) in enumerate(zip(shares.tolist(), partners.tolist(), strict=True)):
        mixed = share * IMAGES[i] + (1 - share) * IMAGES[j]
        torch.testing.assert_close(x[i], mixed, rtol=0, atol=EXACT)
        wanted = share * TARGETS[i] + (1 - share) * TARGETS[j]
        torch.testing.assert_close(targets[i], wanted, rtol=0, atol=EXACT)
    assert len(set(shares.tolist())) == (COUNT if per_image else 1)


@pytest.mark.parametrize("step", [Mixup(alpha=1.0), CutMix(), CutMix(per_image=True)])
def test_mixed_probabilities_are_probabilities(step: Mixup | CutMix) -> None:
    for seed in range(8):
        _, targets = step(IMAGES, TARGETS, generator(seed))
        torch.testing.assert_close(targets.sum(1), torch.ones(COUNT), rtol=0, atol=EXACT)
        assert targets.min() >= 0


@pytest.mark.parametrize("per_image", [False, True])
def test_cutmix_asks_for_each_target_by_the_area_that_is_seen(per_image: bool) -> None:
    """Every image has a value of its own, so what is seen can be counted."""
    value = torch.arange(COUNT, dtype=torch.float32)
    x = value.view(-1, 1, 1, 1).expand(COUNT, 2, HEIGHT, WIDTH)
    boxes = set()
    for seed in range(20):
        mixed, targets = CutMix(per_image=per_image)(x, torch.eye(COUNT), generator(seed))
        seen = torch.stack([(mixed == v).flatten(1).float().mean(1) for v in value], dim=1)
        torch.testing.assert_close(targets, seen, rtol=0, atol=EXACT)
        boxes.add(tuple((mixed == x)[0, 0].flatten().tolist()))
    assert len(boxes) > 10


def test_mixing_takes_numbers_and_refuses_class_indices() -> None:
    numbers = torch.rand(COUNT, generator=generator(2))
    draws = generator()
    share = _shares(0.2, COUNT, draws, torch.device("cpu"), each=False)
    partners = torch.randperm(COUNT, generator=draws)
    _, mixed = Mixup()(IMAGES, numbers, generator())
    wanted = share * numbers + (1 - share) * numbers[partners]
    torch.testing.assert_close(mixed, wanted, rtol=0, atol=EXACT)
    with pytest.raises(UsageError, match=r"`targets` must be probabilities .*one_hot"):
        CutMix()(IMAGES, LABELS, generator())
    with pytest.raises(UsageError, match="one row per image"):
        Mixup()(IMAGES, TARGETS[:3], generator())


# Drawn operations ---------------------------------------------------------------------------------

NEAREST = Image.Resampling.NEAREST
# Pillow rounds to 1/255 once or twice, see the tests of each operation.
ROUNDED = 2.01 / 255
# With the nearest pixel, a position halfway between two may fall to either.
DECIDED = 0.01


def picture(image: Tensor) -> Image.Image:
    pixels = (image * 255).round().byte().permute(1, 2, 0).squeeze(2).numpy()
    return Image.fromarray(pixels)


def by_pillow(image: Image.Image, name: str, amount: float) -> Image.Image:
    """Do one operation as the authors of the list did it."""
    affine = {
        "ShearX": (1, amount, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, amount, 1, 0),
        "TranslateX": (1, 0, -amount, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -amount),
    }
    enhance = {
        "Brightness": ImageEnhance.Brightness,
        "Color": ImageEnhance.Color,
        "Contrast": ImageEnhance.Contrast,
        "Sharpness": ImageEnhance.Sharpness,
    }
    if name in affine:
        return image.transform(image.size, Image.Transform.AFFINE, affine[name], NEAREST)
    if name in enhance:
        return enhance[name](image).enhance(1 + amount)
    other = {
        "Identity": lambda: image,
        "Rotate": lambda: image.rotate(amount, NEAREST),
        "Posterize": lambda: ImageOps.posterize(image, int(amount)),
        "Solarize": lambda: ImageOps.solarize(image, round(amount * 255)),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
    }
    return other[name]()


AMOUNTS = {
    "ShearX": (0.3, -0.99),
    "ShearY": (-0.21, 0.5),
    "TranslateX": (4.0, -32.0),
    "TranslateY": (3.0, -2.0),
    "Rotate": (31.7, -135.0),
    "Brightness": (0.9, -0.5),
    "Color": (0.7, -0.99),
    "Contrast": (0.4, -0.9),
    "Sharpness": (0.99, -0.99),
    "Posterize": (4.0, 2.0),
    "Solarize": (100 / 255, 0.0),
}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_equals_pillow_when_all_are_done_at_once(channels: int) -> None:
    cases = [(n, a) for n in OPERATIONS for a in AMOUNTS.get(n, (0.0,))]
    random = torch.rand(len(cases), channels, 23, 31, generator=generator(3))
    x = (random * 200 + 20).round() / 255
    operations = torch.tensor([OPERATIONS.index(name) for name, _ in cases])
    amounts = torch.tensor([amount for _, amount in cases])
    ours = operated(x, operations, amounts, interpolation="nearest", fill=0.0)
    for image, before, (name, amount) in zip(ours, x, cases, strict=True):
        done = np.asarray(by_pillow(picture(before), name, amount), dtype=np.float32) / 255
        wanted = torch.from_numpy(done.reshape(23, 31, channels)).permute(2, 0, 1)
        wrong = ((image - wanted).abs() > ROUNDED).float().mean().item()
        assert wrong <= (DECIDED if name in ("Rotate", "ShearX", "ShearY") else 0), (name, amount)


def test_magnitudes_are_the_published_ones() -> None:
    """At 30, 15 and 0, for an image of 331 pixels."""
    operations = torch.arange(len(OPERATIONS))
    narrow = Ranges(0.3, (150.0, 150.0), 30.0, 0.9, 4)
    strongest = [0, 0.3, 0.3, 150, 150, 30, 0.9, 0.9, 0.9, 0.9, 4, 0, 0, 0]
    half = [0, 0.15, 0.15, 75, 75, 15, 0.45, 0.45, 0.45, 0.45, 6, 0.5, 0, 0]
    none = [0.0] * 10 + [8, 1, 0, 0]
    for level, wanted in ((30, strongest), (15, half), (0, none)):
        levels = torch.full((len(OPERATIONS),), float(level))
        got = narrow.amounts(operations, levels)
        torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float32))


def test_rand_augment_does_one_operation_after_another() -> None:
    x, draws = IMAGES, generator()
    ranges = Ranges(0.3, (150 / 331 * WIDTH, 150 / 331 * HEIGHT), 30.0, 0.9, 4)
    for _ in range(3):
        operations = torch.randint(14, (COUNT,), generator=draws)
        amounts = ranges.amounts(operations, torch.full((COUNT,), 20.0))
        signs = torch.randint(2, (COUNT,), generator=draws) * 2 - 1
        signed = (operations >= 1) & (operations <= 9)
        amounts = torch.where(signed, amounts * signs, amounts)
        x = operated(x, operations, amounts, interpolation="bilinear", fill=0.5)
    ours = RandAugment(num_ops=3, magnitude=20, interpolation="bilinear", fill=0.5)
    assert torch.equal(ours(IMAGES, generator()), x)


def test_trivial_augment_draws_magnitudes_too() -> None:
    draws = generator()
    ranges = Ranges(0.99, (32.0, 32.0), 135.0, 0.99, 6)
    operations = torch.randint(14, (COUNT,), generator=draws)
    amounts = ranges.amounts(operations, torch.randint(31, (COUNT,), generator=draws))
    signs = torch.randint(2, (COUNT,), generator=draws) * 2 - 1
    signed = (operations >= 1) & (operations <= 9)
    amounts = torch.where(signed, amounts * signs, amounts)
    wanted = operated(IMAGES, operations, amounts, interpolation="nearest", fill=0.0)
    assert torch.equal(TrivialAugment()(IMAGES, generator()), wanted)


def test_magnitude_zero_only_evens_out_and_rounds() -> None:
    """At 0 nothing but auto-contrast and equalize, which have no magnitude, changes an image."""
    x = (IMAGES * 255).round() / 255
    draws = generator()
    operations = torch.randint(14, (COUNT,), generator=draws)
    ours = RandAugment(num_ops=1, magnitude=0)(x, generator())
    untouched = operations < OPERATIONS.index("AutoContrast")
    assert 0 < int(untouched.sum()) < COUNT
    torch.testing.assert_close(ours[untouched], x[untouched], rtol=0, atol=EXACT)
