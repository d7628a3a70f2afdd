"""Why deep and not fat: networks with equally many weights on a sawtooth of 16 straight pieces.

A layer of two units folds the line once, so that a sawtooth of 2ᵏ pieces needs k narrow layers, or
one layer with a unit per piece (telgarsky2016benefits). All networks here are wide enough for it;
the question is which of them find it. Each depth gets the rate that is best for it on the
validation part, by the mean over all seeds, and is compared on the test part.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from recording import RECORDS, threads
from torch import Tensor

import fitwell
from fitwell.core.intervals import corrected_t_interval
from fitwell.core.records import append_record

FOLDS = 4
POINTS = 1_600
DEPTHS = (1, 2, 3, 4)
WEIGHTS = 500
RATES = (0.003, 0.01, 0.03)
SEEDS = tuple(range(8))
TRAINING = {
    "optimizer": "Adam()",
    "schedule": "Cosine()",
    "batch_size": 64,
    "epochs": 300,
    "patience": 300,
    "valid": 0.125,
    "test": 0.25,
}


def sawtooth(x: Tensor, folds: int) -> Tensor:
    """Fold the line from 0 to 1 so many times: 2 to that power straight pieces."""
    for _ in range(folds):
        x = 1 - (2 * x - 1).abs()
    return x


def count_weights(depth: int, width: int) -> int:
    """Count weights and biases from one number through equal layers to one number."""
    return 2 * width + (depth - 1) * (width * width + width) + width + 1


def nearest_width(depth: int, weights: int) -> int:
    """Give the width whose number of weights is nearest to what is asked for."""
    return min(range(1, weights), key=lambda width: abs(count_weights(depth, width) - weights))


def measure(folder: Path, *, seeds: Sequence[int] = SEEDS, **changes: Any) -> dict[str, Any]:
    """Sweep over depths and rates; give the test error of each depth at its best rate."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(POINTS, 1, generator=generator)
    models = {f"MLP(hidden={(nearest_width(depth, WEIGHTS),) * depth})": depth for depth in DEPTHS}
    found = fitwell.sweep(
        (x, sawtooth(x, FOLDS)[:, 0]),
        over={
            "model": list(models),
            "lr": list(RATES),
            "seed": f"each({', '.join(map(str, seeds))})",
        },
        method="grid",
        group=folder,
        **{**TRAINING, **changes},
    )
    result: dict[str, Any] = {}
    for model, depth in models.items():
        trial = next(t for t in found.trials if t.rows[0].values["model"] == model)  # best first
        tests = [row.test for row in trial.rows if row.test is not None]
        low, high = corrected_t_interval(tests, 0.0)
        layers = f"{depth} layer{'s' * (depth > 1)} of {nearest_width(depth, WEIGHTS)}"
        result[layers] = {
            "weights": trial.rows[0].parameters,
            "rate": trial.rows[0].values["lr"],
            f"test {found.metric}": statistics.fmean(tests),
            "95% from": low,
            "to": high,
            "each": tests,
        }
    return result


def main(folder: Path, **changes: Any) -> dict[str, Any]:
    """Measure, record and print."""
    started = time.perf_counter()
    result = measure(folder, **changes)
    append_record(
        RECORDS,
        what=f"depth and width, a sawtooth of {2**FOLDS} pieces",
        method=f"grid over depths {DEPTHS} and rates {RATES}; {TRAINING | changes}",
        result=result,
        seeds=list(changes.get("seeds", SEEDS)),
        seconds=time.perf_counter() - started,
        threads=threads(),
        data=f"{POINTS} points",
    )
    for name, row in result.items():
        print(name, row)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Deep against wide at equally many weights.")
    parser.add_argument("--runs", default="runs", help="folder that the group's folder is in")
    options = parser.parse_args()
    main(Path(options.runs) / "depth_width")
