"""Fine-tuning with a tenth of the data: from MNIST to the digits of another scanner.

A small CNN learns MNIST at 8 x 8 pixels. On a few of scikit-learn's digits, which other people
wrote, it is then fine-tuned as in howard2018universal: the last layer learns first, and lower
layers learn at lower rates. Beside it stand the same network from scratch on as few images and on
ten times as many, and fine-tuning of all layers at one rate. Each seed has its own draw of images
and its own start.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from recording import RECORDS, threads
from torch import nn

from fitwell.core.records import append_record
from fitwell.data import Batches, Examples, augmentation
from fitwell.nn import CNN, Normalize
from fitwell.optim import AdamW, decay_groups, layer_groups, schedule
from fitwell.tasks import open_source
from fitwell.train import (
    Supervised,
    Trainer,
    Unfreezing,
    load_start_weights,
    outputs_of,
    save_weights,
)

FEW, TIMES = 30, 10
EPOCHS = 100  # over few images; a fifth of it over ten times as many, which is twice the updates
BEFORE = 5  # over MNIST
LR, DECAY = 0.003, 0.7
SEEDS = (0, 1, 2, 3, 4)
SHAPE = (1, 8, 8)


def small(part: Examples) -> Examples:
    """Give images of 8 x 8 pixels from 0 to 1: the middle of larger ones, in blocks of pixels."""
    pixels = part.inputs[:].float()
    pixels = pixels / pixels.max()
    if pixels.shape[-1] > SHAPE[-1]:
        block = pixels.shape[-1] // SHAPE[-1]
        edge = (pixels.shape[-1] - block * SHAPE[-1]) // 2
        end = pixels.shape[-1] - edge
        pixels = nn.functional.avg_pool2d(pixels[..., edge:end, edge:end], block)
    return replace(part, inputs=pixels, schema=replace(part.schema, input_shape=SHAPE))


def draw(part: Examples, count: int, seed: int) -> Examples:
    """Give some examples by chance; more begin with those of fewer."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    return part.select(order[:count].tolist())


def network(seed: int) -> nn.Sequential:
    """Give the network with new weights."""
    torch.manual_seed(seed)
    return nn.Sequential(Normalize(mean=[0.2], std=[0.3]), CNN(1, 10))


def fit(
    model: nn.Module,
    train: Examples,
    *,
    epochs: int,
    seed: int,
    gradual: bool = False,
    augment: str = "none",
) -> nn.Module:
    """Train for some epochs, with rates that rise and fall."""
    groups = layer_groups(model, LR, DECAY) if gradual else decay_groups(model, 0.0)
    trainer = Trainer(
        model,
        Supervised(nn.functional.cross_entropy),
        AdamW(groups, lr=LR),
        schedule=schedule("OneCycle()"),
        observers=[Unfreezing()] if gradual else [],
    )
    size = min(64, max(16, len(train) // 8))
    change = augmentation(augment)
    trainer.fit(Batches(train, size, shuffle=True, seed=seed, augment=change), epochs=epochs)
    return model


def accuracy(model: nn.Module, test: Examples) -> float:
    """Give the share of right answers."""
    answers = outputs_of(model, Batches(test, 500)).argmax(dim=1)
    return float((answers == test.targets).double().mean())


def measure(
    large: Examples,
    train: Examples,
    test: Examples,
    folder: Path,
    *,
    few: int,
    epochs: int,
    before: int,
    seeds: tuple[int, ...],
) -> dict[str, list[float]]:
    """Give the test accuracies after each way to learn, one per seed."""
    stored = folder / "large.safetensors"
    learned = fit(network(0), large, epochs=before, seed=0, augment="Crop(padding=1)")
    save_weights(stored, learned.state_dict())

    def tuned(images: Examples, seed: int, *, gradual: bool) -> nn.Module:
        model = network(seed)
        load_start_weights(model, stored)
        return fit(model, images, epochs=epochs, seed=seed, gradual=gradual)

    ways: Mapping[str, Callable[[int], nn.Module]] = {
        "scratch": lambda s: fit(network(s), draw(train, few, s), epochs=epochs, seed=s),
        f"scratch, {TIMES} times the images": lambda s: fit(
            network(s), draw(train, TIMES * few, s), epochs=max(1, epochs // 5), seed=s
        ),
        "all layers at one rate": lambda s: tuned(draw(train, few, s), s, gradual=False),
        "gradual unfreezing, rates by layer": lambda s: tuned(draw(train, few, s), s, gradual=True),
    }
    return {name: [accuracy(way(seed), test) for seed in seeds] for name, way in ways.items()}


def main(**changes: Any) -> dict[str, list[float]]:
    """Measure, record and print."""
    parser = argparse.ArgumentParser(description="Fine-tuning with a tenth of the data.")
    parser.add_argument("--runs", default="runs", help="folder for the weights in between")
    folder = Path(parser.parse_args().runs) / "finetune"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"few": FEW, "epochs": EPOCHS, "before": BEFORE, "seeds": SEEDS, **changes}
    source = settings.pop("source", "mnist")
    large = open_source(source, None, {}).splits.train
    parts = open_source("digits", None, {"valid": 0.1, "test": 0.5}).splits.parts()
    started = time.perf_counter()
    found = measure(small(large), small(parts["train"]), small(parts["test"]), folder, **settings)
    append_record(
        RECORDS,
        what="finetune",
        method=f"recipes/finetune.py, CNN(), AdamW(lr={LR}), OneCycle(), Unfreezing(every=1),"
        f" layer decay {DECAY}, {settings}",
        result={name: {"mean": statistics.fmean(v), "each": v} for name, v in found.items()},
        seeds=list(settings["seeds"]),
        seconds=time.perf_counter() - started,
        threads=threads(),
    )
    for name, values in found.items():
        print(f"{name:<36} {statistics.fmean(values):.4f}  {min(values):.4f} to {max(values):.4f}")
    return found


if __name__ == "__main__":
    main()
