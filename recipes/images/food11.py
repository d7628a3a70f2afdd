"""HW3 from simple to boss, on the photos of the homework (Food-11), for those who have them.

The folder is the one that the homework unpacks to:

    food11/train/0_0.jpg ...   classes 0 to 10 before the underscore
    food11/valid/0_0.jpg ...   likewise
    food11/test/0001.jpg ...   without classes

The rungs are those of ``ladder.py``: the training photos are dealt to five folds, and what is
reported is measured on the photos of ``valid``, which nothing is learned from or chosen on. Each
rung writes ``submission.csv`` for ``test`` in the form of the leaderboard, Id,Category.

    python recipes/images/food11.py food11 --device cuda
    python recipes/images/food11.py food11 --rung simple

Sizes are those of the course's sample: 128 x 128 pixels, batches of 64. Nothing here has been
measured: the photos could not be had when this was written. Start with ``--quick``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ladder import RECORDS, RUNGS, Folds, Ladder, climb, quickly, submitted
from torch import Tensor

from fitwell.core.files import atomic_path
from fitwell.data import Examples, load_images, read_images

SIDE, QUICK_SIDE = 128, 32

PHOTOS = Ladder(
    plain={
        "model": "CNN(widths=(64, 128, 256, 512, 512), convs=1, dropout=0.0)",
        "optimizer": "Adam(lr=0.0003, weight_decay=1e-05)",
        "schedule": "Constant()",
        "augment": "none",
        "epochs": 10,
        "batch_size": 64,
    },
    longer={"augment": "RandomResizedCrop(scale=(0.5, 1.0)), Flip(), ColorJitter()", "epochs": 80},
    strong={
        "model": "ResNet18()",
        "loss": "CrossEntropy(label_smoothing=0.1)",
        "optimizer": "SGD(lr=0.1, momentum=0.9, weight_decay=0.0005, nesterov=True)",
        "schedule": "OneCycle()",
        "augment": "RandomResizedCrop(scale=(0.3, 1.0)), Flip(), ColorJitter(), Mixup()",
        "epochs": 150,
        "batch_size": 64,
    },
)


def photos(folder: Path, side: int) -> tuple[Folds, Examples]:
    """Read the folds, and the photos to answer for.

    Args:
        folder: With ``train``, ``valid`` and ``test``.
        side: Side of the images in pixels.
    """
    given = load_images(folder, image_size=side)
    how = f"Food-11 form, {len(given.train):,} training photos, measured on its validation part"
    unknown = read_images(folder / "test", given.schema)
    return Folds(pool=given.train, test=given.valid, how=how), unknown


def write_submission(path: Path, probs: Tensor, examples: Examples) -> None:
    """Write answers as the leaderboard wants them: ids with their zeros, and classes.

    Args:
        path: The file.
        probs: Of each class; (N, K).
        examples: What they are for.
    """
    names = examples.schema.class_names
    answers = [names[place] for place in probs.argmax(dim=1).tolist()]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Id", "Category"])
        writer.writerows(zip(examples.named_ids(), answers, strict=True))


def on(device: str | None, ladder: Ladder) -> Ladder:
    """Train on a device; None leaves the choice to fitwell."""

    def placed(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "device": device}

    return replace(ladder, plain=placed(ladder.plain), strong=placed(ladder.strong))


def main() -> None:
    """Read the command line and climb."""
    parser = argparse.ArgumentParser(description="Climb from simple to boss on Food-11.")
    parser.add_argument("folder", type=Path, help="with train, valid and test")
    parser.add_argument("--runs", default="runs", help="folder that the runs' folder is in")
    parser.add_argument("--rung", choices=tuple(RUNGS), help="one rung; all if left out")
    parser.add_argument("--device", help="such as cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="an epoch on tiny photos, no record")
    chosen = parser.parse_args()
    folds, unknown = photos(chosen.folder, QUICK_SIDE if chosen.quick else SIDE)
    ladder = on(chosen.device, quickly(PHOTOS) if chosen.quick else PHOTOS)
    place = Path(chosen.runs) / ("food11_quick" if chosen.quick else "food11")
    for rung in [chosen.rung] if chosen.rung else RUNGS:
        runs = climb(rung, ladder, folds, place, None if chosen.quick else RECORDS)
        answers = submitted(rung, runs, unknown)
        write_submission(place / rung / "submission.csv", answers, unknown)


if __name__ == "__main__":
    main()
