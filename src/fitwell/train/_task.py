"""The protocol between the engine and the tasks. The engine knows only this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from ..data import Examples, OnBadRow, Schema
from ._objective import Supervised
from ._settings import Recipe


class Task(Protocol):
    """Knows a kind of data: how to read, model, measure and write it."""

    @property
    def name(self) -> str:
        """Name of the task."""
        ...

    def recipe(self, schema: Schema, count: int) -> Recipe:
        """Propose settings.

        Args:
            schema: Of the data.
            count: Number of training examples.
        """
        ...

    def fit_scaling(self, schema: Schema, train: Examples) -> dict[str, Any]:
        """Measure what normalization needs, as plain data.

        Args:
            schema: Of the data.
            train: The training part, and nothing else.
        """
        ...

    def build_model(self, choice: Any, schema: Schema, fitted: Mapping[str, Any]) -> nn.Module:
        """Build a model with its normalization.

        Args:
            choice: Printed form of the body, the body, or what makes it.
            schema: Of the data.
            fitted: What `fit_scaling` gave.
        """
        ...

    def objective(self, loss: str, schema: Schema, fitted: Mapping[str, Any]) -> Supervised:
        """Build what is minimized and measured.

        Args:
            loss: Printed form of the loss.
            schema: Of the data.
            fitted: What `fit_scaling` gave.
        """
        ...

    def read(self, path: str | Path, schema: Schema, *, on_bad_row: OnBadRow = "stop") -> Examples:
        """Read more data of a known kind.

        Args:
            path: Where it is.
            schema: What it must be.
            on_bad_row: Whether a bad row stops the reading.
        """
        ...

    def describe(self, outputs: Tensor, schema: Schema) -> Predictions:
        """Turn a model's outputs into answers.

        Args:
            outputs: Of the model, for all examples.
            schema: Of the data.
        """
        ...


class Predictions(Protocol):
    """Answers for examples in their order."""

    @property
    def values(self) -> Tensor:
        """Class indices or numbers; (N,)."""
        ...

    @property
    def probs(self) -> Tensor | None:
        """Probability of each class; (N, K), or None for numbers."""
        ...

    def words(self, labels: Literal["names", "indices"]) -> list[str]:
        """Give the answers as they are written to a file.

        Args:
            labels: Whether classes are written by name or by index.
        """
        ...
