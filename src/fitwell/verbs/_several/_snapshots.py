"""Snapshots: one model that learns in cycles of the rate, kept at the end of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ...tasks import Source
from ...train import Run
from .._session import Session
from ._members import Launch, train_members
from ._together import Variation, sessions


def cycles(first: Session, count: int) -> list[int]:
    """Share the epochs of a training among cycles, the last ones longer where it does not divide.

    Args:
        first: The training as a whole.
        count: Number of cycles.

    Raises:
        UsageError: A cycle would have no epoch.
    """
    epochs = first.run.settings.optimization.epochs
    if epochs is None or epochs < count:
        raise UsageError(
            f"ensemble: `epochs` must be at least `snapshots`, {count}, an epoch per cycle; got"
            f" {epochs}. Add --epochs {10 * count}."
        )
    short, longer = divmod(epochs, count)
    return [short] * (count - longer) + [short + 1] * longer


def train_snapshots(
    given: Mapping[str, Any],
    data: Source,
    folder: Path,
    lengths: Sequence[int],
    launch: Launch,
) -> list[Run]:
    """Train cycle after cycle, each from the weights that the one before has left.

    The rate falls along half a cosine in each cycle and jumps back; what the members have in
    common is only where they began, so they err on different examples.

    Args:
        given: Arguments of `train`.
        data: What was read.
        folder: Of the group.
        lengths: Epochs of each cycle.
        launch: Where they are trained.

    Source: huang2017snapshot, section 3.
    Differs: the optimizer starts anew in each cycle, and the cycle leaves its best epoch.
    """
    runs: list[Run] = []
    for number, epochs in enumerate(lengths, start=1):
        settings: dict[str, Any] = {
            "epochs": epochs,
            "schedule": "Cosine()",
            "seed": (given["seed"] or 0) + number - 1,
        }
        if runs:
            settings["weights"] = str(runs[-1].folder)
        one = Variation(name=f"snapshot-{number}", settings=settings)
        runs += train_members(sessions(dict(given), data, [one], folder), launch)
    return runs
