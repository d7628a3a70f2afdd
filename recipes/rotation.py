"""Accuracy by angle and by scale, with and without augmentation (engstrom2019exploring), on MNIST.

LeNet-5 twice. The claim: augmentation lifts the accuracy at the worst angle and at the worst
scale by over 20 points, though a six and a nine remain what they are.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from recording import RECORDS, threads
from torch import nn

from fitwell.core.records import append_record
from fitwell.data import Batches, Examples, Splits, augmentation
from fitwell.losses import CrossEntropy
from fitwell.nn import LeNet5
from fitwell.optim import AdamW
from fitwell.optim import schedule as make_schedule
from fitwell.tasks import open_source
from fitwell.train import Supervised, Trainer, accuracy_by_angle, accuracy_by_scale

AUGMENT = "Affine(degrees=180.0, translate=0.0, zoom=(0.5, 1.5), shear=0.0)"
SETTINGS: dict[str, Any] = {"images": 10_000, "tests": 2_000, "epochs": 10, "seed": 0}
ANGLES = tuple(range(-180, 180, 30))
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)


def trained(train: Examples, augment: str, *, epochs: int, seed: int) -> nn.Module:
    """Train LeNet-5."""
    torch.manual_seed(seed)
    model = LeNet5(1, 10, activation="relu")
    trainer = Trainer(
        model,
        Supervised(CrossEntropy()),
        AdamW(model.parameters(), lr=0.003),
        schedule=make_schedule("OneCycle()"),
    )
    batches = Batches(train, 64, shuffle=True, seed=seed, augment=augmentation(augment))
    trainer.fit(batches, epochs=epochs)
    return model


def measure(splits: Splits, *, images: int, tests: int, epochs: int, seed: int) -> dict[str, Any]:
    """Give the accuracy of both models at each angle and scale, and at the worst."""
    parts = splits.parts()
    train, test = (
        part.select(range(min(count, len(part))))
        for part, count in ((parts["train"], images), (parts["test"], tests))
    )
    found: dict[str, Any] = {}
    for name, augment in (("none", "none"), (AUGMENT, AUGMENT)):
        model = trained(train, augment, epochs=epochs, seed=seed)
        by_angle = accuracy_by_angle(model, Batches(test, 500), angles=ANGLES)
        by_scale = accuracy_by_scale(model, Batches(test, 500), scales=SCALES)
        found[name] = {
            "as it is": by_angle[0],
            "worst angle": min(by_angle.values()),
            "worst scale": min(by_scale.values()),
            "by angle": by_angle,
            "by scale": by_scale,
        }
        print(name, found[name], flush=True)
    return found


def main(splits: Splits | None = None, **small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    argparse.ArgumentParser(description="Accuracy by angle and by scale.").parse_args()
    settings = {**SETTINGS, **small}
    started = time.perf_counter()
    found = measure(splits or open_source("mnist", None, {}).splits, **settings)
    append_record(
        RECORDS,
        what="rotation",
        method=f"recipes/rotation.py, LeNet5(activation='relu'), {settings}",
        result=found,
        seeds=[settings["seed"]],
        seconds=time.perf_counter() - started,
        threads=threads(),
    )
    return found


if __name__ == "__main__":
    main()
