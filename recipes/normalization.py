"""Batch norm's place, rates and batch sizes, on the small digits of scikit-learn.

Three claims, each over the same seeds, and a record for each, whether it holds or not:

- place: networks with sigmoids are better normalized before the activation (ioffe2015batch);
- rate: with batch norm and 5 times the rate, a network passes in less than half the epochs what it
  reaches without (ioffe2015batch);
- batch: with group norm the accuracy is the same at batches of 32 and of 2, with batch norm it is
  lower at 2 (wu2018group).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recording import RECORDS, threads

import fitwell
from fitwell.core.records import append_record
from fitwell.train import Run

SEEDS = (0, 1)
SMALL = "CNN(widths=(8, 16), dropout=0.0, norm={norm!r})"
DEEP = "MLP(hidden=(64, 64, 64, 64), activation={activation!r}, norm='batch', norm_place={place!r})"


def sgd(lr: float) -> str:
    return f"SGD(lr={lr}, momentum=0.9)"


def place(train: Callable[..., list[Run]]) -> dict[str, Any]:
    """Normalize before or after the activation."""
    found = {}
    for activation in ("sigmoid", "relu"):
        for where in ("before", "after"):
            model = DEEP.format(activation=activation, place=where)
            runs = train(model=model, optimizer=sgd(0.05), batch_size=64, epochs=10)
            found[f"{activation}, {where}"] = accuracies(runs)
    return found


def rate(train: Callable[..., list[Run]]) -> dict[str, Any]:
    """Train with batch norm at 5 times the rate, and without."""
    common = {"batch_size": 32}
    plain = train(model=SMALL.format(norm="none"), optimizer=sgd(0.02), epochs=30, **common)
    norm = train(model=SMALL.format(norm="batch"), optimizer=sgd(0.1), epochs=14, **common)
    goals = [max(curve(run)) for run in plain]
    return {
        "none": accuracies(plain) | {"epochs to its best": reached(plain, goals)},
        "batch, 5 times the rate": accuracies(norm) | {"epochs to its best": reached(norm, goals)},
    }


def batch(train: Callable[..., list[Run]]) -> dict[str, Any]:
    """Train with batches of 32 and of 2, at rates in proportion."""
    found = {}
    for norm in ("batch", "group"):
        for size, lr in ((32, 0.05), (2, 0.003125)):
            model = SMALL.format(norm=norm)
            runs = train(model=model, optimizer=sgd(lr), batch_size=size, epochs=10)
            found[f"{norm}, batches of {size}"] = accuracies(runs)
    return found


def accuracies(runs: Sequence[Run]) -> dict[str, Any]:
    """Give the mean and the single accuracies of the test part."""
    each = [run.result["test"]["accuracy"] for run in runs]
    return {"test accuracy": statistics.fmean(each), "of each seed": each}


def curve(run: Run) -> list[float]:
    """Give the validation accuracy of each epoch."""
    return [line["valid"]["accuracy"] for line in run.metrics() if line["kind"] == "epoch"]


def reached(runs: Sequence[Run], goals: Sequence[float]) -> list[int | None]:
    """Give the first epoch of each run that is as good as its goal; None if there is none."""
    pairs = zip(runs, goals, strict=True)
    return [next((k for k, a in enumerate(curve(r), 1) if a >= goal), None) for r, goal in pairs]


def measure(claim: Callable[..., dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Train what a claim asks for, record and print what was found."""
    kept: list[Run] = []

    def train(**settings: Any) -> list[Run]:
        for seed in SEEDS:
            where = folder / f"normalization_{claim.__name__}_{len(kept)}"
            kept.append(
                fitwell.train(
                    "digits",
                    schedule="Constant()",
                    augment="none",
                    seed=seed,
                    run=where,
                    resume=where.exists(),
                    **settings,
                )
            )
        return kept[-len(SEEDS) :]

    result = claim(train)
    append_record(
        RECORDS,
        what=f"normalization, {claim.__name__}",
        method=claim.__doc__,
        result=result,
        seeds=list(SEEDS),
        seconds=sum(run.result["seconds"] for run in kept),
        threads=threads(),
        data=kept[0].manifest["data"]["how"],
        fingerprint=kept[0].manifest["data"]["fingerprint"],
    )
    print(claim.__name__, result)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Three claims about normalization.")
    parser.add_argument("--runs", default="runs", help="folder that the runs' folders are in")
    options = parser.parse_args()
    for claim in (place, rate, batch):
        measure(claim, Path(options.runs))
