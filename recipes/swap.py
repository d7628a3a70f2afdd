"""Stochastic weight averaging in parallel (gupta2020stochastic) on a part of CIFAR-10.

Phase 1: one training with large batches, which ends early. Phase 2: workers go on from its weights
with small batches, each with its own order and augmentation. Phase 3: the mean of their weights,
with batch-norm statistics measured anew. The claim: the mean is right more often than each worker.
"""

from __future__ import annotations

import argparse
import copy
import time
from typing import Any

import torch
from recording import RECORDS, threads
from torch import nn

from fitwell.core.records import append_record
from fitwell.data import Batches, Examples, Splits, augmentation
from fitwell.losses import CrossEntropy
from fitwell.nn import CNN, Normalize
from fitwell.optim import SGD
from fitwell.optim import schedule as make_schedule
from fitwell.report import pair_answers
from fitwell.tasks import open_source
from fitwell.train import Supervised, Trainer, average_weights, outputs_of, update_batch_norm

IMAGES = 10_000
AUGMENT = "Flip(), Crop(padding=4)"
MODEL = "CNN(widths=(16, 32, 64), convs=1)"
LARGE = {"batch_size": 512, "epochs": 10, "lr": 0.4, "schedule": "OneCycle()"}
SMALL = {"batch_size": 64, "epochs": 5, "lr": 0.03, "schedule": "Linear()"}
WORKERS = 4


def phase(
    model: nn.Module,
    train: Examples,
    *,
    seed: int,
    batch_size: int,
    epochs: int,
    lr: float,
    schedule: str,
) -> nn.Module:
    """Train for some epochs, from the weights that the model has."""
    torch.manual_seed(seed)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    trainer = Trainer(
        model, Supervised(CrossEntropy()), optimizer, schedule=make_schedule(schedule)
    )
    trainer.fit(batches(train, batch_size, seed), epochs=epochs)
    return model


def batches(train: Examples, batch_size: int, seed: int) -> Batches:
    """Give shuffled and augmented batches."""
    augment = augmentation(AUGMENT)
    return Batches(train, batch_size, shuffle=True, seed=seed, augment=augment)


def answers(model: nn.Module, test: Examples) -> torch.Tensor:
    """Give the class that the model chooses for each image."""
    return outputs_of(model, Batches(test, 500)).argmax(dim=1)


def measure(
    splits: Splits, *, large: dict[str, Any], small: dict[str, Any], workers: int
) -> dict[str, Any]:
    """Run the three phases; give test accuracies and the mean against each worker."""
    parts = splits.parts()
    train, test = parts["train"], parts["test"]
    train = train.select(range(min(IMAGES, len(train))))
    targets = torch.empty(0) if test.targets is None else test.targets
    torch.manual_seed(0)
    scaling = Normalize.fit(train.inputs)
    common = nn.Sequential(scaling, CNN(3, 10, widths=(16, 32, 64), convs=1))
    phase(common, train, seed=0, **large)
    members = [
        phase(copy.deepcopy(common), train, seed=seed, **small) for seed in range(1, workers + 1)
    ]
    mean = copy.deepcopy(common)
    mean.load_state_dict(average_weights([member.state_dict() for member in members]))
    update_batch_norm(mean, batches(train, small["batch_size"], seed=0))
    found = {
        name: answers(model, test)
        for name, model in {
            "after phase 1": common,
            **{f"worker {number}": member for number, member in enumerate(members, start=1)},
            "mean of the workers": mean,
        }.items()
    }
    pairs = [
        pair_answers(
            ("mean of the workers", f"worker {number}"),
            "test",
            target=targets.tolist(),
            first=found["mean of the workers"].tolist(),
            second=found[f"worker {number}"].tolist(),
            by_number=False,
        )
        for number in range(1, workers + 1)
    ]
    accuracies = {name: float((a == targets).double().mean()) for name, a in found.items()}
    gains = {pair.second: [pair.difference, *pair.interval] for pair in pairs if pair is not None}
    return {"test accuracy": accuracies, "gain of the mean, 95% interval": gains}


def main(splits: Splits | None = None, **small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    argparse.ArgumentParser(description="SWAP on a part of CIFAR-10.").parse_args()
    settings = {"large": LARGE, "small": SMALL, "workers": WORKERS, **small}
    started = time.perf_counter()
    found = measure(splits or open_source("cifar10", None, {}).splits, **settings)
    append_record(
        RECORDS,
        what="swap",
        method=f"recipes/swap.py, {MODEL}, {AUGMENT}, first {IMAGES} images, {settings}",
        result=found,
        seeds=list(range(settings["workers"] + 1)),
        seconds=time.perf_counter() - started,
        threads=threads(),
    )
    for name, accuracy in found["test accuracy"].items():
        print(f"{name:<20} {accuracy:.4f}")
    for name, (gain, low, high) in found["gain of the mean, 95% interval"].items():
        print(
            f"mean minus {name}: {100 * gain:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        )
    return found


if __name__ == "__main__":
    main()
