"""Colors, tones and filters against Pillow, NumPy and SciPy with the same parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from fitwell.data import (
    AutoContrast,
    Blur,
    Brightness,
    ColorJitter,
    Contrast,
    Equalize,
    Grayscale,
    Hue,
    Invert,
    Noise,
    Posterize,
    Saturation,
    Sharpness,
    Solarize,
)
from fitwell.data._augment._color import grayed, recolored
from fitwell.data._augment._filters import blurred, sharpened
from fitwell.data._augment._tones import equalized, posterized, solarized, stretched

COUNT = 12
EXACT = 1e-6  # the same numbers in float32
# Pillow works on whole numbers from 0 to 255: it cuts or rounds the result, and before that the
# gray value it blends with, weighted by up to 1.
ROUNDED = 2.01 / 255


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(channels: int = 3, low: int = 0, high: int = 256) -> list[Image.Image]:
    random = np.random.default_rng(0)
    shape = (12, 15, 3) if channels == 3 else (12, 15)
    return [
        Image.fromarray(random.integers(low, high - 6 * k, shape, dtype=np.uint8))
        for k in range(COUNT)
    ]


def as_batch(pictures: list[Image.Image]) -> Tensor:
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)


FACTORS = torch.linspace(0.0, 2.0, COUNT)


def enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance], channels: int = 3) -> Tensor:
    return as_batch(
        [
            kind(photo).enhance(factor)
            for photo, factor in zip(photos(channels), FACTORS.tolist(), strict=True)
        ]
    )


# Colors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_enhancers_equal_pillow(
    argument: str, kind: Callable[[Image.Image], ImageEnhance._Enhance], channels: int
) -> None:
    ours = recolored(as_batch(photos(channels)), **{argument: FACTORS})
    torch.testing.assert_close(ours, enhanced(kind, channels), rtol=0, atol=ROUNDED)


@pytest.mark.parametrize(
    ("step", "argument"),
    [
        (Brightness(amount=0.7), "brightness"),
        (Contrast(amount=0.7), "contrast"),
        (Saturation(amount=0.7), "saturation"),
    ],
)
def test_steps_draw_factors_around_one(
    step: Brightness | Contrast | Saturation, argument: str
) -> None:
    x = as_batch(photos())
    factors = 0.3 + 1.4 * torch.rand(COUNT, generator=generator())
    ours = step(x, generator())
    torch.testing.assert_close(ours, recolored(x, **{argument: factors}), rtol=0, atol=EXACT)


def test_factors_are_never_negative() -> None:
    assert Brightness(amount=5.0)(torch.ones(99, 1, 1, 1), generator()).min() >= 0
    draws = torch.rand(99, generator=generator()) * 6
    ours = Brightness(amount=5.0)(torch.full((99, 1, 1, 1), 0.1), generator())
    torch.testing.assert_close(ours.flatten(), (draws * 0.1).clamp(max=1), rtol=0, atol=EXACT)


def hue_by_numpy(pixels: npt.NDArray[np.float64], turn: float) -> npt.NDArray[np.float64]:
    """Turn the color axes of YIQ as a complex number; (3, H, W)."""
    forth = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    y, i, q = np.tensordot(forth, pixels, axes=1)
    chroma = (i + 1j * q) * np.exp(2j * np.pi * turn)
    back = np.linalg.solve(forth, np.stack([y, chroma.real, chroma.imag]).reshape(3, -1))
    return np.clip(back.reshape(pixels.shape), 0, 1)


def test_hue_equals_numpy() -> None:
    x = as_batch(photos())
    turns = (torch.rand(COUNT, generator=generator()) - 0.5) * 0.8
    wanted = np.stack(
        [hue_by_numpy(i.double().numpy(), t) for i, t in zip(x, turns.tolist(), strict=True)]
    )
    ours = Hue(amount=0.4)(x, generator())
    torch.testing.assert_close(ours.double(), torch.from_numpy(wanted), rtol=0, atol=1e-5)


def test_hue_keeps_gray_values_and_a_whole_turn_keeps_all() -> None:
    x = as_batch(photos(low=110, high=200))  # nothing is clamped
    turned = recolored(x, turn=torch.linspace(-0.1, 0.1, COUNT))
    torch.testing.assert_close(grayed(turned), grayed(x), rtol=0, atol=1e-5)
    assert (turned - x).abs().max() > 0.02
    torch.testing.assert_close(recolored(x, turn=torch.ones(COUNT)), x, rtol=0, atol=1e-5)


def test_jitter_equals_pillow_step_by_step_where_nothing_is_clamped() -> None:
    """In any order: without clamping the steps commute."""
    pictures = photos(low=100, high=170)
    draws = generator()
    factors = [0.8 + 0.4 * torch.rand(COUNT, generator=draws) for _ in range(3)]
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    ours = ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)(
        as_batch(pictures), generator()
    )
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        wanted = pictures
        for place in order:
            strengths = factors[place].tolist()
            wanted = [kinds[place](p).enhance(f) for p, f in zip(wanted, strengths, strict=True)]
        torch.testing.assert_close(ours, as_batch(wanted), rtol=0, atol=3 * ROUNDED)


def test_jitter_clamps_once_at_the_end() -> None:
    """White made twice as bright and then half as strong in contrast: clamped once it is white."""
    x = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    ours = recolored(x, brightness=torch.tensor([2.0]), contrast=torch.tensor([0.5]))
    torch.testing.assert_close(ours[0, 0, 0], torch.tensor([1.0, 0.5]), rtol=0, atol=EXACT)
    clamped = (x * 2).clamp(max=1)
    step_by_step = 0.5 * clamped + 0.5 * clamped.mean()
    torch.testing.assert_close(
        step_by_step[0, 0, 0], torch.tensor([0.75, 0.25]), rtol=0, atol=EXACT
    )


@pytest.mark.parametrize(
    ("jitter", "single"),
    [
        (ColorJitter(brightness=0.3, contrast=0, saturation=0), Brightness(amount=0.3)),
        (ColorJitter(brightness=0, contrast=0.3, saturation=0), Contrast(amount=0.3)),
        (ColorJitter(brightness=0, contrast=0, saturation=0.3), Saturation(amount=0.3)),
        (ColorJitter(brightness=0, contrast=0, saturation=0, hue=0.3), Hue(amount=0.3)),
    ],
)
def test_jitter_reduces_to_its_parts(jitter: ColorJitter, single: Hue) -> None:
    x = as_batch(photos())
    assert torch.equal(jitter(x, generator()), single(x, generator()))


def test_jitter_without_colors_takes_gray_images() -> None:
    x = as_batch(photos(1))
    assert ColorJitter(saturation=0)(x, generator()).shape == x.shape


def test_grayscale_equals_pillow() -> None:
    wanted = as_batch([ImageOps.grayscale(p).convert("RGB") for p in photos()])
    ours = Grayscale(p=1.0)(as_batch(photos()), generator())
    torch.testing.assert_close(ours, wanted, rtol=0, atol=ROUNDED)


# Tones --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_tones_equal_pillow(channels: int) -> None:
    pictures, bits = photos(channels), torch.arange(COUNT) % 8 + 1
    x, levels = as_batch(pictures), torch.arange(COUNT) * 23
    assert torch.allclose(1 - x, as_batch([ImageOps.invert(p) for p in pictures]), atol=EXACT)
    for ours, theirs in (
        (
            posterized(x, bits),
            [ImageOps.posterize(p, b) for p, b in zip(pictures, bits.tolist(), strict=True)],
        ),
        (
            solarized(x, levels / 255),
            [ImageOps.solarize(p, t) for p, t in zip(pictures, levels.tolist(), strict=True)],
        ),
        (equalized(x), [ImageOps.equalize(p) for p in pictures]),
    ):
        torch.testing.assert_close(ours, as_batch(theirs), rtol=0, atol=EXACT)
    # Pillow cuts the stretched value to a whole number.
    wanted = as_batch([ImageOps.autocontrast(p) for p in photos(channels, low=40, high=190)])
    ours = stretched(as_batch(photos(channels, low=40, high=190)))
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1.01 / 255)


def test_equalize_of_large_images_equals_pillow() -> None:
    """Beyond 255 pixels besides the brightest a step holds more than one pixel."""
    random = np.random.default_rng(2)
    pictures = [
        Image.fromarray((random.beta(2, 5, (60, 70, 3)) * 255).astype(np.uint8)) for _ in range(3)
    ]
    wanted = as_batch([ImageOps.equalize(p) for p in pictures])
    torch.testing.assert_close(equalized(as_batch(pictures)), wanted, rtol=0, atol=EXACT)


def test_one_value_stays_as_it_is() -> None:
    x = torch.full((2, 3, 20, 20), 100 / 255)
    for step in (AutoContrast(p=1.0), Equalize(p=1.0)):
        torch.testing.assert_close(step(x, generator()), x, rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    ("step", "change"),
    [
        (Invert(p=0.4), lambda x: 1 - x),
        (Solarize(threshold=0.3, p=0.4), lambda x: solarized(x, torch.full((len(x),), 0.3))),
        (Posterize(bits=2, p=0.4), lambda x: posterized(x, torch.full((len(x),), 2))),
        (AutoContrast(p=0.4), stretched),
        (Equalize(p=0.4), equalized),
        (Grayscale(p=0.4), grayed),
    ],
)
def test_steps_change_the_images_that_were_drawn(
    step: Invert, change: Callable[[Tensor], Tensor]
) -> None:
    x = as_batch(photos(low=20, high=200))
    chosen = torch.rand(COUNT, generator=generator()) < 0.4
    assert 0 < int(chosen.sum()) < COUNT
    wanted = torch.where(chosen.view(-1, 1, 1, 1), change(x), x)
    torch.testing.assert_close(step(x, generator()), wanted, rtol=0, atol=EXACT)


def test_solarize_reduces_to_invert() -> None:
    x = as_batch(photos())
    both = Solarize(threshold=0.0, p=1.0)(x, generator()), Invert(p=1.0)(x, generator())
    assert torch.equal(*both)


# Filters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_equals_pillow(channels: int) -> None:
    ours = sharpened(as_batch(photos(channels)), FACTORS)
    wanted = enhanced(ImageEnhance.Sharpness, channels)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=ROUNDED)
    steps = 0.5 + torch.rand(COUNT, generator=generator())
    x = as_batch(photos(channels))
    ours = Sharpness(amount=0.5)(x, generator())
    torch.testing.assert_close(ours, sharpened(x, steps), rtol=0, atol=EXACT)


def blurred_by_scipy(x: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    planes = [
        [
            scipy.ndimage.gaussian_filter(plane, sigma, mode="nearest", radius=radius)
            for plane in image.double().numpy()
        ]
        for image, sigma in zip(x, sigmas.tolist(), strict=True)
    ]
    return torch.from_numpy(np.array(planes)).float()


@pytest.mark.parametrize("radius", [1, 3, 9])
def test_blur_equals_scipy(radius: int) -> None:
    x, sigmas = as_batch(photos()), torch.linspace(0.1, 3, COUNT)
    ours = blurred(x, sigmas, radius)
    torch.testing.assert_close(ours, blurred_by_scipy(x, sigmas, radius), rtol=0, atol=1e-5)


def test_blur_draws_a_width_per_image() -> None:
    x, draws = as_batch(photos()), generator()
    chosen = torch.rand(COUNT, generator=draws) < 0.5
    sigmas = 0.5 + 1.5 * torch.rand(COUNT, generator=draws)
    wanted = torch.where(chosen.view(-1, 1, 1, 1), blurred_by_scipy(x, sigmas, 6), x)
    ours = Blur(sigma=(0.5, 2.0))(x, generator())
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5)


def test_noise_has_its_mean_and_spread() -> None:
    x = torch.full((40, 1, 50, 50), 0.5)
    added = Noise(std=0.05)(x, generator()) - x
    # 100,000 numbers: five standard errors of their mean and of their spread.
    assert abs(added.mean().item()) < 5 * 0.05 / 100_000**0.5
    assert added.std().item() == pytest.approx(0.05, abs=5 * 0.05 / 200_000**0.5)
    per_image = added.flatten(1)
    assert torch.corrcoef(per_image).triu(1).abs().max() < 0.11
