"""Augmentation of whole batches against a loop over images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fitwell.core.errors import UnknownName, UsageError
from fitwell.data import Chain, Crop, Flip, augmentation

IMAGES = torch.rand(16, 3, 7, 5, generator=torch.Generator().manual_seed(0))


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_equals_a_flip_per_image() -> None:
    coins = torch.rand(16, generator=generator()) < 0.3
    wanted = torch.stack(
        [
            torch.flip(image, [2]) if coin else image
            for image, coin in zip(IMAGES, coins, strict=True)
        ]
    )
    assert 0 < int(coins.sum()) < 16
    assert torch.equal(Flip(p=0.3)(IMAGES, generator()), wanted)


def test_flip_limits() -> None:
    assert torch.equal(Flip(p=0.0)(IMAGES, generator()), IMAGES)
    assert torch.equal(Flip(p=1.0)(IMAGES, generator()), torch.flip(IMAGES, [3]))


@pytest.mark.parametrize("padding", [1, 2, 9])
def test_crop_equals_a_slice_per_image(padding: int) -> None:
    shifts = torch.randint(2 * padding + 1, (2, 16, 1), generator=generator())
    wanted = []
    for image, top, left in zip(IMAGES, shifts[0, :, 0], shifts[1, :, 0], strict=True):
        padded = F.pad(image, (padding,) * 4)
        wanted.append(padded[:, top : top + 7, left : left + 5])
    assert torch.equal(Crop(padding=padding)(IMAGES, generator()), torch.stack(wanted))


def test_crop_without_padding_is_the_identity() -> None:
    assert torch.equal(Crop(padding=0)(IMAGES, generator()), IMAGES)


def test_crop_reaches_every_shift() -> None:
    image = torch.zeros(400, 1, 3, 3)
    image[:, :, 1, 1] = 1
    places = Crop(padding=1)(image, generator()).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))


def test_input_is_left_alone_and_the_seed_decides() -> None:
    before = IMAGES.clone()
    chain = Chain((Flip(), Crop(padding=2)))
    first, again, other = (chain(IMAGES, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(IMAGES, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.shape, first.dtype) == (IMAGES.shape, IMAGES.dtype)


def test_chain_applies_steps_in_order_from_one_generator() -> None:
    draws = generator()
    wanted = Crop(padding=1)(Flip()(IMAGES, draws), draws)
    assert torch.equal(Chain((Flip(), Crop(padding=1)))(IMAGES, generator()), wanted)


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        (None, None),
        ("none", None),
        ("[]", None),
        ("Flip", Chain((Flip(),))),
        ("Flip(p=0.1)", Chain((Flip(p=0.1),))),
        ("[Flip(), Crop(padding=2)]", Chain((Flip(), Crop(padding=2)))),
        ("flip, crop(padding=2)", Chain((Flip(), Crop(padding=2)))),
        (["Crop"], Chain((Crop(),))),
    ],
)
def test_augmentation_reads_its_printed_form(text: object, chain: Chain | None) -> None:
    assert augmentation(text) == chain  # type: ignore[arg-type]


def test_an_unknown_augmentation_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no augmentation named 'Flipp'; nearest: 'Flip'"):
        augmentation("Flipp()")
    with pytest.raises(UnknownName, match=r"no argument named 'q'; known: p"):
        augmentation("Flip(q=1)")


def test_what_is_no_list_of_specs_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a list of specs; got 3"):
        augmentation(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="literal arguments"):
        augmentation("[Flip(), Crop(padding=open('x').read())]")
