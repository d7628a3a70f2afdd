"""Large batches, and rates that rise and fall: three claims, and a record for each, held or not.

- falls: at equal epochs and one rate, the larger the batch, the lower the test accuracy
  (keskar2017large); k times the rate for k times the batch (goyal2017accurate) wins part of it
  back;
- scaled: with that rate and a rise to it, batches of 64 and of 4,096 reach the same;
- cycle: a one-cycle rate reaches in a third of the epochs what a rate that falls in steps reaches
  in all of them (smith2019super).

On 16,384 digits of MNIST for the first and, for the others, 8,192 images of CIFAR-10 with 2 x 2
pixels averaged, so that each takes minutes on one core.

    python recipes/large_batches.py                  # resumes where it was stopped
    python recipes/large_batches.py --quick          # does it work? A few seconds, no record
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from recording import RECORDS, threads
from torch.nn.functional import avg_pool2d

import fitwell
from fitwell.core.records import append_record
from fitwell.data import Examples, Splits, load_builtin, stratified_split
from fitwell.optim import linear_scaling
from fitwell.train import Run

SEEDS = (0, 1)
IMAGES, VALID = {"mnist": 16_384, "cifar10": 8_192}, 2_000
DIGITS_NET = "LeNet5()"  # no batch norm, whose averages lag behind where steps are few
PHOTOS_NET = "CNN(widths=(16, 32, 64), convs=1, dropout=0.0)"

Train = Callable[..., list[Run]]


def sgd(lr: float, decay: float = 0.0) -> str:
    return f"SGD(lr={lr:g}, momentum=0.9, weight_decay={decay:g})"


def falls(train: Train) -> dict[str, Any]:
    """Train on digits for 5 epochs with batches of 128 to 8,192, at one rate and at scaled ones."""
    found, base, lr = {}, 128, 0.01
    common = {"source": "mnist", "model": DIGITS_NET, "epochs": 5, "augment": "none"}
    for size in (128, 512, 2048, 8192):
        plain = train(optimizer=sgd(lr), schedule="Constant()", batch_size=size, **common)
        found[f"batches of {size:,}"] = accuracies(plain, "one rate")
        if size > base:
            more = train(
                optimizer=sgd(linear_scaling(lr, size, base)),
                schedule=f"WarmUp(steps=0.2, start={base / size:g}, then=Constant())",
                batch_size=size,
                **common,
            )
            found[f"batches of {size:,}"] |= accuracies(more, "scaled rate, rise")
    return found


def scaled(train: Train) -> dict[str, Any]:
    """Train on CIFAR-10 for 20 epochs with batches of 64 to 4,096, scaled rates and a rise."""
    found, base, lr = {}, 64, 0.025
    for size in (64, 256, 1024, 4096):
        runs = train(
            source="cifar10",
            model=PHOTOS_NET,
            optimizer=sgd(linear_scaling(lr, size, base), 0.0005),
            schedule=f"WarmUp(steps=0.25, start={base / size:g}, then=Cosine())",
            augment="Flip()",
            batch_size=size,
            epochs=20,
        )
        found[f"batches of {size:,}"] = accuracies(runs, "scaled rate, rise")
    return found


def cycle(train: Train) -> dict[str, Any]:
    """Train on CIFAR-10 for 18 epochs and for 6, by steps and in one cycle, at the better rate."""
    found = {}
    for epochs in (18, 6):
        for name, schedule in (("steps", "Step()"), ("one cycle", "OneCycle()")):
            tried = [
                train(
                    source="cifar10",
                    model=PHOTOS_NET,
                    optimizer=sgd(lr, 0.0005),
                    schedule=schedule,
                    augment="Flip()",
                    batch_size=128,
                    epochs=epochs,
                )
                for lr in (0.05, 0.2)
            ]
            best = max(tried, key=lambda runs: statistics.fmean(map(valid_accuracy, runs)))
            rate = best[0].settings.optimization.optimizer
            found[f"{name}, {epochs} epochs"] = {"by": rate, **accuracies(best, "best rate")}
    return found


def accuracies(runs: Sequence[Run], name: str) -> dict[str, Any]:
    """Give the mean and the single accuracies on the test part."""
    each = [run.result["test"]["accuracy"] for run in runs]
    return {name: statistics.fmean(each), f"{name}, each": each}


def valid_accuracy(run: Run) -> float:
    accuracy: float = run.result["valid"]["accuracy"]
    return accuracy


def parts(source: str, images: int) -> Splits:
    """Draw images by class from a built-in set; those of CIFAR-10 at half their size.

    Args:
        source: Name of the set.
        images: How many to learn from.
    """
    given = load_builtin(source, valid=VALID / 50_000, test=0)
    if given.train.targets is None or given.test is None:
        raise ValueError(f"{source}: must have classes and a published test part.")
    labels = given.train.targets.numpy()
    _, rows = stratified_split(labels, images / len(labels), seed=0)
    chosen = {
        "train": given.train.select(torch.from_numpy(rows[:images])),
        "valid": given.valid,
        "test": given.test.select(range(min(len(given.test), 4 * images))),
    }
    how = f"{given.how}; {images:,} of the training images"
    if source == "cifar10":
        chosen = {name: halved(part) for name, part in chosen.items()}
        how += ", 2 x 2 pixels averaged"
    return Splits(train=chosen["train"], valid=chosen["valid"], test=chosen["test"], how=how)


def halved(examples: Examples) -> Examples:
    """Average 2 x 2 pixels."""
    small = avg_pool2d(torch.as_tensor(examples.inputs[:]).float(), 2)
    schema = replace(examples.schema, input_shape=tuple(small.shape[1:]))
    return replace(examples, inputs=small.round().to(torch.uint8), schema=schema)


def measure(
    claim: Callable[[Train], dict[str, Any]],
    folder: Path,
    *,
    images: Mapping[str, int] = IMAGES,
    records: Path | None = RECORDS,
    **changes: Any,
) -> dict[str, Any]:
    """Train what a claim asks for, print what was found and record it.

    Args:
        claim: One of `CLAIMS`.
        folder: Where the runs go.
        images: How many to learn from.
        records: Where the result is added; None records nothing.
        changes: Settings in place of those of the claim.
    """
    kept: list[Run] = []
    data: dict[str, Splits] = {}

    def train(source: str, **settings: Any) -> list[Run]:
        if source not in data:
            data[source] = parts(source, images[source])
        for seed in SEEDS:
            where = folder / f"{claim.__name__}_{len(kept)}"
            kept.append(trained(data[source], where, {**settings, "seed": seed, **changes}))
        return kept[-len(SEEDS) :]

    result = claim(train)
    print(claim.__name__, result, flush=True)
    if records is not None:
        (splits,) = data.values()
        append_record(
            records,
            what=f"large batches, {claim.__name__}",
            method=(claim.__doc__ or "").strip(),
            result=result,
            seeds=list(SEEDS),
            seconds=sum(run.result["seconds"] for run in kept),
            threads=threads(),
            model=kept[0].settings.model.spec,
            images={part: len(some) for part, some in splits.parts().items()},
            data=splits.how,
            fingerprint=splits.fingerprint,
        )
    return result


def trained(splits: Splits, folder: Path, settings: dict[str, Any]) -> Run:
    """Train, or take the run that is there."""
    if (folder / "run.json").exists():
        run = fitwell.open_run(folder)
        if run.status == "finished":
            return run
    return fitwell.train(
        splits,
        run=folder,
        resume=folder.exists(),
        precision="bf16",
        channels_last=True,
        report=False,
        quiet=True,
        **settings,
    )


CLAIMS = (falls, scaled, cycle)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Three claims about batch sizes and cycles.")
    parser.add_argument("--runs", default="runs", help="folder that the runs' folder is in")
    parser.add_argument("--quick", action="store_true", help="two steps on a few images each")
    chosen = parser.parse_args()
    for claim in CLAIMS:
        if chosen.quick:
            where = Path(chosen.runs) / "large_batches_quick"
            measure(claim, where, images=dict.fromkeys(IMAGES, 200), records=None, max_steps=2)
        else:
            measure(claim, Path(chosen.runs) / "large_batches")


if __name__ == "__main__":
    main()
