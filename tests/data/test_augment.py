"""The contract that every augmentation keeps, chains of them, and their printed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from fitwell.core.errors import UnknownName, UsageError
from fitwell.data import (
    AUGMENTATIONS,
    Affine,
    Brightness,
    Chain,
    Crop,
    CutMix,
    Flip,
    Mixup,
    Rotate,
    Shear,
    Translate,
    Zoom,
    augmentation,
)

NEEDS_COLOR = {"Saturation", "Hue", "Grayscale", "ColorJitter"}

OFF: Mapping[str, Mapping[str, Any]] = {
    "Crop": {"padding": 0},
    "RandomResizedCrop": {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)},
    "Rotate": {"degrees": 0},
    "Translate": {"share": 0},
    "Shear": {"degrees": 0},
    "Zoom": {"factor": (1, 1)},
    "Affine": {"degrees": 0, "translate": 0, "zoom": (1.0, 1.0), "shear": 0},
    "Brightness": {"amount": 0},
    "Contrast": {"amount": 0},
    "Saturation": {"amount": 0},
    "Hue": {"amount": 0},
    "ColorJitter": {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
    "Sharpness": {"amount": 0},
    "Noise": {"std": 0},
    "Cutout": {"size": 0},
    "RandAugment": {"num_ops": 0},
    "Mixup": {"alpha": 0},
    "CutMix": {"alpha": 0},
}
"""Settings that switch an augmentation off, of those that have no `p`."""

BAD: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "Crop": ({"padding": -1},),
    "RandomResizedCrop": ({"scale": (0.5, 1.5)}, {"scale": 0.5}, {"ratio": (2, 1)}),
    "Rotate": ({"degrees": -1}, {"fill": 2}, {"interpolation": "cubic"}),
    "Translate": ({"share": 1.1},),
    "Shear": ({"degrees": 90},),
    "Zoom": ({"factor": (0, 1)}, {"factor": (1, 2, 3)}),
    "Affine": ({"degrees": -1}, {"translate": 2}, {"zoom": (2, 1)}, {"shear": 90}),
    "Brightness": ({"amount": -1},),
    "Contrast": ({"amount": float("nan")},),
    "Saturation": ({"amount": True},),
    "Hue": ({"amount": 0.6},),
    "ColorJitter": ({"brightness": -1}, {"hue": 0.6}),
    "Solarize": ({"threshold": 2},),
    "Posterize": ({"bits": 0}, {"bits": 2.5}),
    "Sharpness": ({"amount": -1},),
    "Blur": ({"sigma": (0, 1)},),
    "Noise": ({"std": -1},),
    "Cutout": ({"size": -1},),
    "Erase": ({"scale": (0.1, 2)}, {"ratio": 1}, {"value": 3}),
    "RandAugment": ({"num_ops": -1}, {"magnitude": 31}, {"interpolation": "x"}),
    "TrivialAugment": ({"fill": -1}, {"interpolation": "x"}),
    "Mixup": ({"alpha": -1},),
    "CutMix": ({"alpha": -0.5},),
}


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 12, channels: int = 3, height: int = 14, width: int = 14) -> Tensor:
    """Images with neighbors alike, as in photos."""
    shape = (count, channels, -(-height // 2), -(-width // 2))
    coarse = torch.rand(shape, generator=generator(0))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def applied(step: Any, x: Tensor, seed: int = 1) -> Tensor:
    """Give images and, for a step that mixes, targets in one row per image."""
    if not step.mixes:
        changed = step(x, generator(seed))
        assert isinstance(changed, Tensor)
        return changed.flatten(1)
    targets = torch.eye(len(x), dtype=x.dtype)
    mixed, blended = step(x, targets, generator(seed))
    return torch.cat([mixed.flatten(1), blended], dim=1)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_seed_decides_and_the_input_is_left_alone(name: str, channels: int) -> None:
    x, step = images(channels=channels), AUGMENTATIONS[name]()
    if channels == 1 and name in NEEDS_COLOR:
        with pytest.raises(UsageError, match=rf"{name}: `x` must have 3 channels"):
            applied(step, x)
        return
    before = x.clone()
    first, again, other = (applied(step, x, seed) for seed in (3, 3, 4))
    assert torch.equal(x, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == x.dtype
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_device_are_kept(name: str, dtype: torch.dtype) -> None:
    step, x = AUGMENTATIONS[name](), images(5, 3, 9, 15).to(dtype)
    out = step(x, torch.eye(5, dtype=dtype), generator())[0] if step.mixes else step(x, generator())
    assert (out.shape, out.dtype, out.device) == (x.shape, x.dtype, x.device)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_order_in_memory_does_not_matter(name: str) -> None:
    x, step = images(), AUGMENTATIONS[name]()
    turned = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(applied(step, turned), applied(step, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_tiny_images_pass(name: str) -> None:
    step = AUGMENTATIONS[name]()
    for x in (images(1, 3, 2, 2), torch.rand(3, 3, 1, 5, generator=generator())):
        assert len(applied(step, x)) == len(x)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"TrivialAugment"}))
def test_switched_off_it_is_the_identity(name: str) -> None:
    method = AUGMENTATIONS[name]
    step, x = method(**OFF.get(name, {"p": 0.0})), images()
    changed = applied(step, x)[:, : x[0].numel()]
    assert torch.equal(changed, x.flatten(1))


# Noise is left out: every piece of a batch draws its own.
@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"Noise"}))
def test_large_batches_are_changed_as_small_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, step = images(), AUGMENTATIONS[name]()
    whole = applied(step, x)
    monkeypatch.setattr("fitwell.data._augment._step._PIECE_BYTES", 5 * x[0].nbytes)
    # A product of matrices may add up in another order for another number of images.
    torch.testing.assert_close(applied(step, x), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_printed_form_builds_the_same(name: str) -> None:
    for settings in ({}, OFF.get(name, {})):
        step = AUGMENTATIONS[name](**settings)
        assert augmentation(repr(step)) == Chain((step,))
        assert augmentation(repr(Chain((step,)))) == Chain((step,))
        hash(step)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_settings_out_of_range_are_refused(name: str) -> None:
    takes_p = "p" in AUGMENTATIONS[name].__dataclass_fields__  # type: ignore[attr-defined]
    cases = [*BAD.get(name, ()), *([{"p": 1.5}, {"p": -0.1}] if takes_p else [])]
    assert cases
    for bad in cases:
        argument = next(iter(bad))
        with pytest.raises(UsageError, match=rf"{name}.*`{argument}` must .*got"):
            AUGMENTATIONS[name](**bad)


def test_the_tables_name_augmentations_that_exist() -> None:
    assert set(OFF) | set(BAD) | NEEDS_COLOR <= set(AUGMENTATIONS)


@pytest.mark.gpu
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_it_stays_on_the_device_of_the_images(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    x, step = images().cuda(), AUGMENTATIONS[name]()
    draws = torch.Generator("cuda").manual_seed(0)
    out = step(x, torch.eye(len(x)).cuda(), draws)[0] if step.mixes else step(x, draws)
    assert out.device == x.device
    assert torch.isfinite(out).all()


# Chains -------------------------------------------------------------------------------------------


def test_chain_applies_steps_in_order_from_one_generator() -> None:
    draws, x = generator(), images()
    wanted = Brightness()(Crop(padding=1)(Flip()(x, draws), draws), draws)
    chain = Chain((Flip(), Crop(padding=1), Brightness()))
    assert torch.equal(chain(x, generator()), wanted)
    assert not chain.mixes


def test_neighbors_that_move_become_one_resampling() -> None:
    x = images()
    affine = Affine(degrees=20, translate=0.2, zoom=(0.5, 2), shear=30)
    chain = Chain(
        (Zoom(factor=(0.5, 2)), Shear(degrees=30), Rotate(degrees=20), Translate(share=0.2))
    )
    assert torch.equal(chain(x, generator()), affine(x, generator()))
    apart = Chain((Zoom(factor=(0.5, 2)), Shear(degrees=30, fill=1.0)))
    draws = generator()
    wanted = Shear(degrees=30, fill=1.0)(Zoom(factor=(0.5, 2))(x, draws), draws)
    assert torch.equal(apart(x, generator()), wanted)


def test_what_moves_out_can_be_moved_back() -> None:
    """Enlarged and reduced again by the same factor, an image is whole: nothing was cut off."""
    x = images(4)
    there_and_back = Chain((Zoom(factor=(2, 2)), Zoom(factor=(0.5, 0.5))))
    torch.testing.assert_close(there_and_back(x, generator()), x, rtol=0, atol=1e-5)


def test_steps_that_mix_come_last_and_are_called_apart() -> None:
    chain = Chain((Flip(), Mixup(alpha=1.0), CutMix()))
    x, targets = images(), torch.eye(12)
    assert chain.mixes
    assert torch.equal(chain(x, generator()), Flip()(x, generator()))
    draws = generator()
    wanted = CutMix()(*Mixup(alpha=1.0)(x, targets, draws), draws)
    for ours, theirs in zip(chain.mix(x, targets, generator()), wanted, strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(UsageError, match="must come last; got Mixup, Flip"):
        Chain((Mixup(), Flip()))


# Printed forms ------------------------------------------------------------------------------------


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
        ("[Flip(), [Crop(), [Mixup(alpha=1/5)]]]", Chain((Flip(), Crop(), Mixup(alpha=0.2)))),
        ("Chain(steps=(Flip(), Crop(padding=2)))", Chain((Flip(), Crop(padding=2)))),
        ("chain([Flip()]), Crop()", Chain((Flip(), Crop()))),
        (["Flip(), Crop()", "CutMix"], Chain((Flip(), Crop(), CutMix()))),
        ("Zoom(factor=(1, 2))", Chain((Zoom(factor=(1, 2)),))),
    ],
)
def test_augmentation_reads_its_printed_form(text: Any, chain: Chain | None) -> None:
    assert augmentation(text) == chain


def test_an_unknown_augmentation_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no augmentation named 'Flipp'; nearest: 'Flip'"):
        augmentation("[Crop(), [Flipp()]]")
    with pytest.raises(UnknownName, match="no augmentation named 'mixapp'; nearest: 'Mixup'"):
        augmentation("mixapp")
    with pytest.raises(UnknownName, match=r"no argument named 'q'; known: anyway, p"):
        augmentation("Flip(q=1)")


def test_what_is_no_list_of_specs_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a list of specs; got 3"):
        augmentation(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"must be a list of specs; got 0\.5"):
        augmentation("[Flip(), 0.5]")
    with pytest.raises(UsageError, match="literal arguments"):
        augmentation("[Flip(), Crop(padding=open('x').read())]")
    with pytest.raises(UsageError, match=r"Mixup, CutMix\) must come last"):
        augmentation("Mixup, Flip")
