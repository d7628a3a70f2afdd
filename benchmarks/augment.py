"""Augmentation of a batch of images against kornia: 256 x 3 x 128 x 128 floats, one thread.

A row of the table is one augmentation. Contestants: ``fitwell``; ``kornia`` with the same ranges,
its own draws, and its default way of working. Before anything is timed, rows whose parameters can
be fixed are computed by both with the same parameters and compared; `same` says how far apart they
were at most, or that the two cannot be made to do the same:

- jitter hue: fitwell turns hues in YIQ, kornia in HSV.
- windows, erasing, noise, policies: each draws in its own way, and kornia's RandAugment draws its
  operations for the whole batch, fitwell's for each image.

Times are CPU time of the process with one thread, and wall time with more.

    python benchmarks/augment.py --rounds 11
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import harness

if TYPE_CHECKING:
    from torch import Tensor

SHAPE = (256, 3, 128, 128)
QUICK = (8, 3, 32, 32)
FLOAT = 1e-4  # the same sums in another order; positions in a row of 128 to 1e-5 pixels


@final
@dataclass(frozen=True)
class Row:
    """One augmentation, by both.

    Args:
        ours: Printed form for fitwell.
        theirs: Gives a new batch by kornia.
        gap: Gives the largest difference with equal parameters; None where there are none.
    """

    ours: str
    theirs: Callable[[Tensor], Any]
    gap: Callable[[Tensor], float] | None = None


def rows(size: int) -> dict[str, Row]:
    import kornia.augmentation as K
    from torch import nn

    def one(*steps: nn.Module) -> Callable[[Tensor], Any]:
        return steps[0] if len(steps) == 1 else nn.Sequential(*steps)

    side, window = (size, size), (0.08, 1.0)
    return {
        "crop+flip": Row(
            "Crop(padding=4), Flip()",
            one(K.RandomCrop(side, padding=4), K.RandomHorizontalFlip(0.5)),
            crop_and_flip_gap,
        ),
        "jitter": Row(
            "ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)",
            one(K.ColorJitter(0.4, 0.4, 0.4, 0.0, p=1.0)),
            jitter_gap,
        ),
        "jitter hue": Row(
            "ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)",
            one(K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)),
        ),
        "flip": Row("Flip()", one(K.RandomHorizontalFlip(0.5))),
        "window": Row("RandomResizedCrop()", one(K.RandomResizedCrop(side, scale=window))),
        "rotate": Row("Rotate(degrees=15)", one(K.RandomRotation(15.0, p=1.0)), rotation_gap),
        "blur": Row(
            "Blur(sigma=(0.1, 2.0), p=1.0)",
            one(K.RandomGaussianBlur((13, 13), (0.1, 2.0), border_type="replicate", p=1.0)),
            blur_gap,
        ),
        "erase": Row("Erase(p=0.5)", one(K.RandomErasing(p=0.5))),
        "noise": Row("Noise(std=0.05)", one(K.RandomGaussianNoise(0.0, 0.05, p=1.0))),
        "mixup": Row("Mixup()", one(K.RandomMixUpV2(p=1.0, data_keys=["input"])), mixup_gap),
        "randaugment": Row("RandAugment()", one(K.auto.RandAugment(2, 9))),
    }


def crop_and_flip_gap(x: Tensor) -> float:
    import torch
    from kornia.geometry.transform import hflip

    from fitwell.data._augment._copies import shifted

    offsets = torch.tensor([3, -4]).repeat(len(x), 1)
    padded = torch.nn.functional.pad(x, (4,) * 4)
    height, width = x.shape[2:]
    theirs = hflip(padded[:, :, 7 : 7 + height, :width])
    return float((shifted(x, offsets).flip(-1) - theirs).abs().max())


def jitter_gap(x: Tensor) -> float:
    """Factors close to 1 and values around the middle, so that nothing is clamped on the way."""
    import torch
    from kornia import enhance

    from fitwell.data._augment._color import recolored

    x = x * 0.4 + 0.3
    b, c, s = (torch.linspace(low, 1.2, len(x)) for low in (0.8, 0.9, 1.1))
    theirs = enhance.adjust_brightness_accumulative(x, b)
    theirs = enhance.adjust_contrast_with_mean_subtraction(theirs, c)
    theirs = enhance.adjust_saturation_with_gray_subtraction(theirs, s)
    return float((recolored(x, brightness=b, contrast=c, saturation=s) - theirs).abs().max())


def rotation_gap(x: Tensor) -> float:
    """Inside: at the rim kornia blends with black, fitwell, as Pillow, does not."""
    import torch
    from kornia.geometry.transform import warp_affine

    from fitwell.data._augment._resample import rotation, warp

    height, width = x.shape[2:]
    angles = torch.linspace(-15, 15, len(x))
    matrices = rotation(angles, (height, width)).double()
    # kornia wants where a pixel goes, and has the center of the first one at (0, 0).
    square = torch.cat(
        [matrices, torch.tensor([[[0.0, 0.0, 1.0]]]).double().repeat(len(x), 1, 1)], 1
    )
    half = torch.eye(3).double()
    half[:2, 2] = 0.5
    there = torch.linalg.inv(torch.linalg.inv(half) @ square @ half)[:, :2].float()
    theirs = warp_affine(x, there, (height, width), align_corners=True)
    inside = warp(torch.ones_like(x), rotation(angles, (height, width))) > 0
    margin = slice(height // 4, -height // 4)
    gap = (warp(x, rotation(angles, (height, width))) - theirs).abs() * inside
    return float(gap[:, :, margin, margin].max())


def blur_gap(x: Tensor) -> float:
    import torch
    from kornia.filters import gaussian_blur2d

    from fitwell.data._augment._filters import blurred

    sigmas = torch.linspace(0.3, 2, len(x))
    theirs = gaussian_blur2d(x, 13, sigmas.view(-1, 1).expand(-1, 2), border_type="replicate")
    return float((blurred(x, sigmas, 6) - theirs).abs().max())


def mixup_gap(x: Tensor) -> float:
    import torch

    from fitwell.data._augment._mix import blended

    partners, shares = torch.arange(len(x)).roll(1), torch.full((len(x),), 0.3)
    theirs = x * 0.3 + x[partners] * 0.7
    return float((blended(x, torch.eye(len(x)), shares, partners)[0] - theirs).abs().max())


def our_turn(text: str, x: Tensor) -> Callable[[], object]:
    import torch

    from fitwell.data import augmentation

    chain, draws = augmentation(text), torch.Generator().manual_seed(0)
    if chain is None:
        raise SystemExit(f"no augmentation: {text}")
    if not chain.mixes:
        return lambda: chain(x, draws)
    targets = torch.eye(len(x))
    return lambda: chain.mix(x, targets, draws)


def main() -> None:
    parser = harness.arguments(__doc__, "records/augment.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="of arithmetic")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    import kornia
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape, rounds = (QUICK, 2) if options.quick else (SHAPE, options.rounds)
    x, now = torch.rand(shape), harness.clock(options.threads)
    table = rows(shape[-1])
    unknown = sorted(set(options.only or ()) - set(table))
    if unknown:
        raise SystemExit(f"--only: no augmentation named {unknown}; there are {sorted(table)}.")

    def timed(turn: Callable[[], object]) -> Callable[[], float]:
        def seconds() -> float:
            start = now()
            turn()
            return now() - start

        return seconds

    begun, results = time.perf_counter(), {}
    with torch.no_grad():
        for name, row in table.items():
            if options.only and name not in options.only:
                continue
            gap = None if row.gap is None else row.gap(x[:8])
            if gap is not None and gap > FLOAT:
                raise SystemExit(f"{name}: the outputs differ by {gap:.2g} at equal parameters.")
            turns = {
                harness.OURS: our_turn(row.ours, x),
                "kornia": lambda theirs=row.theirs: theirs(x),
            }
            for turn in turns.values():
                turn()  # warm up
            comparison = harness.compare({n: timed(t) for n, t in turns.items()}, rounds)
            same = "draws of its own" if gap is None else f"same within {gap:.1g}"
            print(f"\n{name}: {row.ours}; {same}")
            print(harness.table(comparison, shape[0]), flush=True)
            results[name] = {
                "method": row.ours,
                "largest_difference": gap,
                "contestants": comparison.to_dict(shape[0]),
            }
    if options.quick:
        return
    from fitwell.core.records import append_record

    append_record(
        options.record,
        what="augmentation of a batch",
        method=", ".join(result["method"] for result in results.values()),
        result=results,
        seeds=[0],
        seconds=time.perf_counter() - begun,
        batch=list(shape),
        rounds=rounds,
        threads=options.threads,
        peers={"kornia": kornia.__version__},
    )


if __name__ == "__main__":
    main()
