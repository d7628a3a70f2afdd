"""A spatial transformer against a CNN of equal size (jaderberg2015spatial) on cluttered digits.

Each picture has one digit of MNIST at a random place of a canvas of 48 x 48, among pieces of other
digits, and is shrunk to 24 x 24. The claim: the network that looks first, then cuts a window out
and reads it, errs less than one that reads the whole picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from recording import RECORDS, accuracy_after, of_networks, threads
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.records import append_record
from fitwell.data import Examples, Splits
from fitwell.nn import SpatialTransformer
from fitwell.tasks import open_source

CANVAS, PIECES, PIECE = 48, 6, 9
SETTINGS: dict[str, Any] = {"images": 8_000, "tests": 4_000, "epochs": 30, "seeds": (0, 1)}


def cluttered(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Put each digit at a random place among random pieces of the others; (N, 1, 24, 24), uint8."""
    count, side = len(digits), digits.shape[-1]
    canvas = torch.zeros(count, CANVAS, CANVAS, dtype=torch.uint8)

    def draws(high: int, *shape: int) -> list[Any]:
        found: list[Any] = torch.randint(high, shape, generator=generator).tolist()
        return found

    donors = draws(count, count, PIECES)
    cuts = draws(side - PIECE + 1, count, PIECES, 2)
    places = draws(CANVAS - PIECE + 1, count, PIECES, 2)
    corners = draws(CANVAS - side + 1, count, 2)
    for picture, digit, donor, cut, place, (top, left) in zip(
        canvas, digits, donors, cuts, places, corners, strict=True
    ):
        for which, (y, x), (row, column) in zip(donor, cut, place, strict=True):
            part = picture[row : row + PIECE, column : column + PIECE]
            torch.maximum(part, digits[which, y : y + PIECE, x : x + PIECE], out=part)
        part = picture[top : top + side, left : left + side]
        torch.maximum(part, digit, out=part)
    halved = F.avg_pool2d(canvas.unsqueeze(1).float(), 2)
    return halved.round().to(torch.uint8)


def changed(part: Examples, count: int, seed: int) -> Examples:
    """Give the first digits of a part as cluttered pictures."""
    part = part.select(range(min(count, len(part))))
    pictures = cluttered(part.inputs.squeeze(1), torch.Generator().manual_seed(seed))
    schema = replace(part.schema, input_shape=tuple(pictures.shape[1:]))
    return replace(part, inputs=pictures, schema=schema)


def reader(widths: tuple[int, ...], side: int) -> nn.Sequential:
    """Build convolutions with pooling, then one hidden layer."""
    layers: list[nn.Module] = []
    channels = 1
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = width, side // 2
    layers += [nn.Flatten(), nn.Linear(channels * side * side, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def networks() -> dict[str, Callable[[], nn.Module]]:
    """Give both networks, with about as many parameters."""

    def looking() -> nn.Module:
        localization = nn.Sequential(
            *[nn.Conv2d(1, 8, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()],
            *[nn.Conv2d(8, 16, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()],
            *[nn.Flatten(), nn.Linear(16 * 6 * 6, 32), nn.ReLU()],
        )
        look = SpatialTransformer(1, mode="attention", localization=localization, output_size=16)
        return nn.Sequential(look, reader((24, 48), 16))

    return {"spatial transformer": looking, "plain": lambda: reader((16, 32, 88), CANVAS // 2)}


def measure(
    splits: Splits, *, images: int, tests: int, epochs: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """Train both networks for each seed, and give errors and sizes."""
    parts = splits.parts()
    train, test = changed(parts["train"], images, 0), changed(parts["test"], tests, 1)

    def measured(model: nn.Module, seed: int) -> float:
        settings: dict[str, Any] = {"lr": 0.004, "epochs": epochs, "grad_clip_norm": 1.0}
        return 1 - accuracy_after(model, train, test, seed=seed, **settings)

    return of_networks(networks(), seeds, measured, "test error")


def main(splits: Splits | None = None, **small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    argparse.ArgumentParser(
        description="Cluttered digits, read with and without looking."
    ).parse_args()
    settings = {**SETTINGS, **small}
    started = time.perf_counter()
    found = measure(splits or open_source("mnist", None, {}).splits, **settings)
    append_record(
        RECORDS,
        what="spatial transformer, cluttered digits",
        method=f"recipes/spatial_transformer.py, {settings}",
        result=found,
        seeds=list(settings["seeds"]),
        seconds=time.perf_counter() - started,
        threads=threads(),
    )
    return found


if __name__ == "__main__":
    main()
