"""What a training measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor


@final
@dataclass
class History:
    """What a training measured, in order.

    Args:
        epochs: One record per epoch: epoch, step, train and valid metrics, seconds,
            examples_per_second.
        losses: The loss of every step of this process's life, before the update.
        seconds: Time spent in `fit`, over all processes of a resumed training.
        stopped: Why training ended before its time, or None.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str | None = None


def epoch_record(
    training: Any, *, loss: float, valid: Mapping[str, float], seconds: float, examples: int
) -> dict[str, Any]:
    """Give the record of an epoch.

    Args:
        training: Its epoch, its step and its optimizer, with the rate of the last step.
        loss: Mean over the examples.
        valid: What was measured.
        seconds: Time of the steps.
        examples: How many were trained on.
    """
    return {
        "epoch": training.epoch,
        "step": training.step,
        "lr": training.optimizer.param_groups[0]["lr"],
        "train": {"loss": loss},
        "valid": valid,
        "seconds": seconds,
        "examples_per_second": examples / max(seconds, 1e-9),
    }


@final
class EpochLosses:
    """The losses of the steps of an epoch, kept on the device until somebody looks at them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._known: list[float] = []
        self._counts: list[int] = []
        self._pending: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def examples(self) -> int:
        """Examples of the epoch so far."""
        return sum(self._counts)

    def add(self, loss: Tensor, count: int) -> None:
        """Take in a step.

        Args:
            loss: Mean over its examples.
            count: How many they are.
        """
        self._pending.append(loss)
        self._counts.append(count)

    def fetch(self) -> list[float]:
        """Bring what is pending over from the device in one transfer, and give it."""
        if not self._pending:
            return []
        fetched: list[float] = torch.stack(self._pending).tolist()
        self._pending.clear()
        self._known += fetched
        return fetched

    def recent(self, steps: int) -> float:
        """Give the mean loss of the last steps.

        Args:
            steps: How many, or all of the epoch if there are fewer.
        """
        window = self._known[-steps:]
        return math.fsum(window) / max(len(window), 1)

    def mean(self) -> float:
        """Give the mean loss of the epoch so far, over examples."""
        terms = (a * b for a, b in zip(self._known, self._counts, strict=True))
        return math.fsum(terms) / self.examples

    def state_dict(self) -> dict[str, Any]:
        """Give the losses, for going on in the middle of an epoch."""
        return {
            "losses": list(self._known),
            "counts": list(self._counts),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over saved losses.

        Args:
            state: What `state_dict` gave.
        """
        self._known, self._counts = list(state["losses"]), list(state["counts"])
        self._pending, self.seconds = [], state["seconds"]
