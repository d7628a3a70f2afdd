"""HW3 from simple to boss, on CIFAR-10: four rungs, and on each what it adds and why it helps.

    simple   a plain convolutional network, as the course's sample code has it
    medium   the same network on augmented images, for longer
    strong   a residual network; mixup, label smoothing and a one-cycle rate
    boss     that network once for each of five folds; the mean of what they say of an image and
             of its mirror image

All rungs see the same ten thousand images, drawn by class from the training part, as many as the
homework has. They are dealt to five folds. The first three rungs learn from four folds and choose
their best epoch on the fifth, the boss does so five times with another fold held out. All are
measured once on the whole test part, which nothing is chosen on.

    python recipes/images/ladder.py                   # climbs, resumes where it was stopped
    python recipes/images/ladder.py --rung medium     # one rung
    python recipes/images/ladder.py --quick           # does it work? A few seconds, no record

A rung that is done is not trained again. Each appends a line to ``records/recipes.jsonl``.
For the photos of the homework see ``food11.py``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fitwell
from fitwell.core.records import append_record
from fitwell.data import Batches, Examples, Flip, Splits, load_builtin
from fitwell.metrics import wilson_interval
from fitwell.report import pair_answers
from fitwell.train import Run, autocast, outputs_of_views

RECORDS = Path(__file__).parents[2] / "records" / "recipes.jsonl"
IMAGES, QUICK_IMAGES, FOLDS, SEED = 10_000, 200, 5, 0
MIRROR_WEIGHT = 0.5  # of the mirror image; the image as it is has the rest

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """What the rungs are made of, for images of some kind.

    Args:
        plain: Settings of the simple rung.
        longer: What the medium rung changes in them.
        strong: Settings of the strong rung, and of each model of the boss.
    """

    plain: Settings
    longer: Settings
    strong: Settings


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Examples dealt to folds class by class; each fold is the validation part once.

    Args:
        pool: What is dealt.
        test: What all rungs are measured on.
        how: What the pool is, in a line.
    """

    pool: Examples
    test: Examples
    how: str

    def split(self, number: int) -> Splits:
        """Hold one fold out."""
        labels = labels_of(self.pool)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
        order = order[labels[order].argsort(stable=True)]
        fold = torch.empty_like(order)
        fold[order] = torch.arange(len(labels)) % FOLDS
        return Splits(
            train=self.pool.select((fold != number).nonzero()[:, 0]),
            valid=self.pool.select((fold == number).nonzero()[:, 0]),
            test=self.test,
            how=f"{self.how}; fold {number} of {FOLDS} held out, stratified, seed {SEED}",
        )


SMALL_IMAGES = Ladder(
    plain={
        "model": "CNN(widths=(32, 64, 128), convs=1, dropout=0.0)",
        "optimizer": "Adam(lr=0.001)",
        "schedule": "Constant()",
        "augment": "none",
        "epochs": 10,
        "batch_size": 64,
        "precision": "bf16",
        "channels_last": True,
    },
    longer={"augment": "Flip(), Crop(padding=4)", "epochs": 30},
    strong={
        "model": "CifarResNet(depth=14)",
        "loss": "CrossEntropy(label_smoothing=0.1)",
        "optimizer": "SGD(lr=0.1, momentum=0.9, weight_decay=0.0005, nesterov=True)",
        "schedule": "OneCycle()",
        "augment": "Flip(), Crop(padding=4), Mixup()",
        "epochs": 40,
        "batch_size": 64,
        "precision": "bf16",
        "channels_last": True,
    },
)


def simple(ladder: Ladder, folds: Folds, folder: Path) -> list[Run]:
    """Train the plain network on the images as they are.

    Why it helps: convolutions look for the same small patterns everywhere, so a network of few
    weights learns what a tail or a wheel looks like from a few thousand images. It is the mark that
    everything else has to beat, and what tells that data and labels are read rightly.
    """
    return [trained(folds.split(0), folder / "simple", ladder.plain)]


def medium(ladder: Ladder, folds: Folds, folder: Path) -> list[Run]:
    """Show the same network mirrored and shifted images, for longer.

    Why it helps: the longer the plain network trains, the more of its images it knows by heart,
    which makes it no better on others. A mirrored or shifted dog is a dog still, so each epoch
    shows images that are new to it, and training pays for several times as long.
    """
    return [trained(folds.split(0), folder / "medium", {**ladder.plain, **ladder.longer})]


def strong(ladder: Ladder, folds: Folds, folder: Path) -> list[Run]:
    """Train a residual network, with mixed images, soft labels and a rate that rises and falls.

    Why it helps: the way around each block lets gradients reach the first layers, so that a deeper
    network can be trained. It could learn ten thousand labels by heart again: mixup asks it for the
    shares of two images laid over each other, and label smoothing pays nothing for being surer
    than needed, so it has to stay smooth between images. The large rates in the middle of the cycle
    cover much ground, the small ones at its end settle.
    """
    return [trained(folds.split(0), folder / "strong", ladder.strong)]


def boss(ladder: Ladder, folds: Folds, folder: Path) -> list[Run]:
    """Train the strong rung's network once for each fold, to let all of them answer together.

    Why it helps: models that start elsewhere and see other images make other mistakes; in the mean
    of their probabilities the mistakes of single ones partly cancel, and what they agree on stays.
    The same holds for an image and its mirror image. Each image is in the validation part of one
    model and teaches the others, so none is lost to choosing the best epoch, and together the
    validation parts say how good one model is on images that it did not learn from.
    """
    return strong(ladder, folds, folder) + train_folds(ladder, folds, folder)


def train_folds(ladder: Ladder, folds: Folds, folder: Path) -> list[Run]:
    """Train on every fold but the first, whose model is that of the strong rung."""
    return [
        trained(folds.split(number), folder / f"fold{number}", {**ladder.strong, "seed": number})
        for number in range(1, FOLDS)
    ]


RUNGS = {"simple": simple, "medium": medium, "strong": strong, "boss": boss}


def trained(splits: Splits, folder: Path, settings: Settings) -> Run:
    """Train, or go on where training was stopped; what is done is not done again.

    Args:
        splits: The data.
        folder: Of the run.
        settings: Arguments of `fitwell.train`.
    """
    if (folder / "run.json").exists():
        run = fitwell.open_run(folder)
        if run.status == "finished":
            return run
    return fitwell.train(
        splits,
        run=folder,
        resume=folder.exists(),
        checkpoint_seconds=60,
        report=False,
        **{"seed": SEED, **settings},
    )


def answers(runs: Sequence[Run], examples: Examples, *, mirrored: bool = False) -> Tensor:
    """Give the mean of the probabilities of some models; (N, K).

    Args:
        runs: The models.
        examples: What they answer for.
        mirrored: Whether they see the mirror images too.
    """
    total = torch.zeros(len(examples), examples.schema.num_classes, dtype=torch.float64)
    for run in runs:
        device = run.settings.optimization.device
        with autocast(run.settings.optimization.precision, device):
            outputs = outputs_of_views(
                run.model().to(device),
                Batches(examples, 256, device=device),
                augment=Flip(p=1.0),
                views=1 if mirrored else 0,
                plain_weight=1 - MIRROR_WEIGHT,
                combine="probs",
            )
        total += outputs.double().softmax(dim=1)
    return total / len(runs)


def submitted(rung: str, runs: Sequence[Run], examples: Examples) -> Tensor:
    """Give the probabilities that a rung answers with: the boss looks at mirror images too."""
    return answers(runs, examples, mirrored=rung == "boss")


def measured(rung: str, runs: Sequence[Run], folds: Folds) -> dict[str, Any]:
    """Measure a rung on the test part, and each of its models on what was held out for it.

    Args:
        rung: Its name.
        runs: Its models.
        folds: The data, in the order of the models.
    """
    test, held = folds.test, [folds.split(number).valid for number in range(len(runs))]
    probs = submitted(rung, runs, test)
    unseen = [answers([run], part) for run, part in zip(runs, held, strict=True)]
    labels = torch.cat([labels_of(part) for part in held])
    result: dict[str, Any] = {"test": scores(probs, labels_of(test))}
    result["valid"] = scores(torch.cat(unseen), labels)
    if len(runs) > 1:
        each = [answers([run], test) for run in runs]
        together = torch.stack(each).mean(dim=0)
        right = [scores(one, labels_of(test))["accuracy"] for one in each]
        result["test, one model"] = {"accuracy": sum(right) / len(right), "of each": right}
        result["test, all models"] = scores(together, labels_of(test))
        result["gain of all models"] = gain(together, each[0], labels_of(test))
        result["gain of mirror images"] = gain(probs, together, labels_of(test))
    return result


def labels_of(examples: Examples) -> Tensor:
    """Give the classes of examples that have them."""
    if examples.targets is None:
        raise ValueError("labels_of: `examples` must have targets.")
    return examples.targets


def scores(probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Give the accuracy with its 95% interval over draws of the images, and the loss."""
    right = int((probs.argmax(dim=1) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    loss = -probs.gather(1, labels[:, None]).clamp_min(1e-12).log().mean().item()
    return {"accuracy": right / len(labels), "low": low, "high": high, "loss": loss}


def gain(better: Tensor, worse: Tensor, labels: Tensor) -> dict[str, float]:
    """Give the difference in accuracy on the same images, with its 95% interval."""
    first, second = (probs.argmax(dim=1).tolist() for probs in (better, worse))
    found = pair_answers(
        ("better", "worse"),
        "test",
        target=labels.tolist(),
        first=first,
        second=second,
        by_number=False,
    )
    if found is None:
        raise ValueError("gain: probabilities must be finite.")
    low, high = found.interval
    return {"accuracy": found.difference, "low": low, "high": high}


def cifar10(images: int) -> Folds:
    """Draw images by class from the training part of CIFAR-10; the test part is the published one.

    Args:
        images: How many.
    """
    given = load_builtin("cifar10", valid=images / 50_000, test=0, seed=SEED)
    if given.test is None:
        raise ValueError("cifar10: must have its published test part.")
    where = given.how.partition(":")[0]
    how = f"{where}: {images:,} of the training images, stratified, seed {SEED}"
    return Folds(pool=given.valid, test=given.test, how=how)


def climb(
    rung: str,
    ladder: Ladder,
    folds: Folds,
    folder: Path,
    records: Path | None = RECORDS,
) -> list[Run]:
    """Train what a rung needs, measure it, print and record what it reached.

    Args:
        rung: Its name.
        ladder: What the rungs are made of.
        folds: The data.
        folder: Where the runs go.
        records: Where the result is added; None records nothing.
    """
    runs = RUNGS[rung](ladder, folds, folder)
    begun = time.perf_counter()
    result = measured(rung, runs, folds)
    seconds = time.perf_counter() - begun + sum(run.result["seconds"] for run in runs)
    mirrored = f", each with its mirror image at weight {MIRROR_WEIGHT}"
    together = f"; {len(runs)} folds, mean of probabilities{mirrored}" if rung == "boss" else ""
    found = result["test"]
    print(
        f"{rung:<7} test accuracy {found['accuracy']:.4f}"
        f" ({found['low']:.4f} to {found['high']:.4f}), {seconds:.0f} s",
        flush=True,
    )
    if records is not None:
        first = folds.split(0)
        append_record(
            records,
            what=f"{folder.name} {rung}",
            method=runs[0].manifest["command"] + together,
            result=result,
            seeds=[run.settings.optimization.seed for run in runs],
            seconds=seconds,
            parameters=sum(run.result["parameters"] for run in runs),
            epochs=runs[0].result["epochs"],
            models=len(runs),
            threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
            images={part: len(some) for part, some in first.parts().items()},
            data=first.how,
            fingerprint=first.fingerprint,
        )
    return runs


def few(folds: Folds) -> Folds:
    """Leave as many images in the test part as there are in all folds."""
    step = max(1, len(folds.test) // len(folds.pool))
    return replace(folds, test=folds.test.select(torch.arange(0, len(folds.test), step)))


def quickly(ladder: Ladder) -> Ladder:
    """Cut the rungs to an epoch."""
    short = {"epochs": 1, "quiet": True}
    return Ladder(
        plain={**ladder.plain, **short},
        longer={**ladder.longer, **short},
        strong={**ladder.strong, **short},
    )


def main() -> None:
    """Read the command line and climb."""
    parser = argparse.ArgumentParser(description="Climb from simple to boss on CIFAR-10.")
    parser.add_argument("--runs", default="runs", help="folder that the runs' folder is in")
    parser.add_argument("--rung", choices=tuple(RUNGS), help="one rung; all if left out")
    parser.add_argument("--quick", action="store_true", help="an epoch on a few images each")
    chosen = parser.parse_args()
    if chosen.quick:
        folds, ladder = few(cifar10(QUICK_IMAGES)), quickly(SMALL_IMAGES)
        place, records = Path(chosen.runs) / "ladder_quick", None
    else:
        folds, ladder = cifar10(IMAGES), SMALL_IMAGES
        place, records = Path(chosen.runs) / "ladder", RECORDS
    for rung in [chosen.rung] if chosen.rung else RUNGS:
        climb(rung, ladder, folds, place, records)


if __name__ == "__main__":
    main()
