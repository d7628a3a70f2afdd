"""Few hypotheses but good ones: a deep narrow network against a flat wide one, trained equally far.

The target depends on the distance from the origin alone. A network of several layers can form the
squared distance first and bend it afterwards; one hidden layer has to build every direction anew
(eldan2016power). Both train on the same few points until their training loss is below the same
level; what lies between that and the loss on new points is the gap.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from recording import RECORDS, threads
from torch import Tensor, nn

from fitwell.core.intervals import corrected_t_interval
from fitwell.core.records import append_record
from fitwell.losses import MSE
from fitwell.nn import MLP, count_parameters
from fitwell.optim import Adam

FEATURES = 4
POINTS = 400
TEST_POINTS = 4_000
NETWORKS = {"deep, 4 layers of 12": (12,) * 4, "fat, 1 layer of 400": (400,)}
RATES = (0.003, 0.01)
SEEDS = tuple(range(5))
LEVEL = 0.02
MOST_EPOCHS = 1_000


def waves(x: Tensor) -> Tensor:
    """Give the value of waves around the origin, the same in all directions."""
    return torch.cos(2 * x.norm(dim=1))


def drawn(points: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw points from a normal distribution, with their targets."""
    x = torch.randn(points, FEATURES, generator=torch.Generator().manual_seed(seed))
    return x, waves(x)


def loss_on(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Give the mean squared error in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float(MSE()(model(x).squeeze(1), y))


def train_to(
    level: float, hidden: tuple[int, ...], rate: float, seed: int, points: int
) -> dict[str, Any]:
    """Train until the loss on the training points is at most the level; measure both losses."""
    x, y = drawn(points, seed)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = MLP(FEATURES, 1, hidden=hidden)
    optimizer = Adam(model.parameters(), lr=rate)
    reached, epoch = loss_on(model, x, y), 0
    while reached > level and epoch < MOST_EPOCHS:
        model.train()
        for rows in torch.randperm(points, generator=generator).split(64):
            optimizer.zero_grad()
            MSE()(model(x[rows]).squeeze(1), y[rows]).backward()
            optimizer.step()
        reached, epoch = loss_on(model, x, y), epoch + 1
    test = loss_on(model, *drawn(TEST_POINTS, 1_000 + seed))
    weights = count_parameters(model)
    return {"train": reached, "test": test, "epochs": epoch, "weights": weights}


def measure(
    *, seeds: Sequence[int] = SEEDS, level: float = LEVEL, points: int = POINTS
) -> dict[str, Any]:
    """Train both networks at each rate from each seed; give losses and gaps."""
    result: dict[str, Any] = {}
    for name, hidden in NETWORKS.items():
        for rate in RATES:
            rows = [train_to(level, hidden, rate, seed, points) for seed in seeds]
            gaps = [row["test"] - row["train"] for row in rows]
            low, high = corrected_t_interval(gaps, 0.0)
            result[f"{name}, rate {rate}"] = {
                "weights": rows[0]["weights"],
                "gap": statistics.fmean(gaps),
                "95% from": low,
                "to": high,
                "gaps": gaps,
                "train": [row["train"] for row in rows],
                "test": [row["test"] for row in rows],
                "epochs": [row["epochs"] for row in rows],
            }
    return result


def main(
    *, seeds: Sequence[int] = SEEDS, level: float = LEVEL, points: int = POINTS
) -> dict[str, Any]:
    """Measure, record and print."""
    started = time.perf_counter()
    result = measure(seeds=seeds, level=level, points=points)
    append_record(
        RECORDS,
        what="deep or fat, waves around the origin",
        method=f"Adam at rates {RATES}, batches of 64, until the training loss is {level} or less",
        result=result,
        seeds=list(seeds),
        seconds=time.perf_counter() - started,
        threads=threads(),
        data=f"{points} points with {FEATURES} features",
    )
    for name, row in result.items():
        print(name, row)
    return result


if __name__ == "__main__":
    argparse.ArgumentParser(description="Deep against wide at equal training loss.").parse_args()
    main()
