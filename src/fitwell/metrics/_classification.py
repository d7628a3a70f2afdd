"""Numbers about a classifier, from one confusion matrix.

Axes: B batch, K classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UsageError
from ..core.intervals import wilson_interval


@final
@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class is recognized.

    Args:
        label: Index of the class.
        support: Examples of the class.
        predicted: Examples that were given the class.
        correct: Examples of the class that were given the class.
        precision: Share of those given the class that are of it; None if none was.
        recall: Share of those of the class that were given it; None if there are none.
        f1: Harmonic mean of both; None if the class occurs nowhere.
        precision_interval: Wilson interval of the precision at 95%.
        recall_interval: Wilson interval of the recall at 95%.
    """

    label: int
    support: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Give the row as plain data, ready for JSON."""
        return asdict(self)


@final
class Classification:
    """Count how often each class is taken for each other, batch by batch; give the usual scores.

    Everything is summed on the device; nothing waits for it before `compute`. Classes that occur
    neither in targets nor in predictions are left out of means over classes.

        accuracy = Σₖ nₖₖ / n         balanced_accuracy = mean of recallₖ over classes with examples
        macro_f1 = mean of F1ₖ        loss = mean of -log softmax(outputs)ₖ, k the right class

    Args:
        num_classes: How many classes there are.
        device: Where the batches are.
        top_k: Also count how often the right class is among so many best ones; 0 disables.

    Raises:
        UsageError: Fewer than 1 class, or more in `top_k` than there are classes.

    Source: sokolova2009systematic, table 3.
    Checked against: scikit-learn accuracy_score, balanced_accuracy_score, f1_score, log_loss,
        confusion_matrix, top_k_accuracy_score.
    """

    def __init__(
        self, num_classes: int, device: torch.device | str = "cpu", *, top_k: int = 0
    ) -> None:
        if num_classes < 1:
            raise UsageError(
                f"Classification: `num_classes` must be at least 1; got {num_classes}."
                " Count the classes of the training data."
            )
        if not 0 <= top_k <= num_classes:
            raise UsageError(
                f"Classification: `top_k` must lie in 0 ... {num_classes}; got {top_k}."
                " Use 0 to leave it out."
            )
        self.num_classes = num_classes
        self.top_k = top_k
        self.device = torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        cells = self.num_classes * self.num_classes
        self._cells = torch.zeros(cells, dtype=torch.int64, device=self.device)
        self._loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self._top = torch.zeros((), dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch; labels out of range are not looked for here (`losses.check_labels` does).

        Args:
            outputs: Logits.
            targets: Class indices.

        Shapes:
            outputs: (B, K)
            targets: (B,)

        Raises:
            UsageError: Shapes do not fit together or do not fit the classes.
        """
        if outputs.ndim != 2 or outputs.shape[1] != self.num_classes:
            raise UsageError(
                f"Classification: `outputs` must have shape (B, {self.num_classes}); got"
                f" {tuple(outputs.shape)}. Give one logit per class."
            )
        if targets.shape != outputs.shape[:1]:
            raise UsageError(
                f"Classification: `targets` must have shape ({len(outputs)},); got"
                f" {tuple(targets.shape)}. Give one class index per example."
            )
        cell = targets * self.num_classes + outputs.argmax(1)
        # Not bincount: on an accelerator its output size makes the host wait.
        self._cells.index_add_(0, cell, torch.ones_like(cell))
        logits = outputs.float() if outputs.dtype.itemsize < 4 else outputs
        self._loss += F.cross_entropy(logits, targets, reduction="none").double().sum()
        if self.top_k:
            best = outputs.topk(self.top_k, dim=1).indices
            self._top += (best == targets.unsqueeze(1)).sum()

    def merge(self, other: Classification) -> None:
        """Add what another one counted.

        Args:
            other: Of the same classes; stays as it is.

        Raises:
            UsageError: The other one counts other classes.
        """
        if (other.num_classes, other.top_k) != (self.num_classes, self.top_k):
            raise UsageError(
                f"Classification: `other` must have num_classes={self.num_classes} and"
                f" top_k={self.top_k}; got {other.num_classes} and {other.top_k}."
                " Build both alike."
            )
        self._cells += other._cells.to(self.device)
        self._loss += other._loss.to(self.device)
        self._top += other._top.to(self.device)

    @property
    def confusion(self) -> Tensor:
        """Counts, (K, K): rows are the right classes, columns the predicted ones."""
        return self._cells.view(self.num_classes, self.num_classes).clone()

    def compute(self) -> dict[str, float]:
        """Give the scores by name; this waits for the device.

        Raises:
            UsageError: Nothing was counted yet.
        """
        matrix = self.confusion.cpu()
        count = int(matrix.sum())
        if count == 0:
            raise UsageError(
                "Classification: `update` must come before `compute`; got no examples."
                " Check that the data is not empty."
            )
        correct = int(matrix.diagonal().sum())
        rows = self.per_class()
        recalls = [row.recall for row in rows if row.recall is not None]
        scores = [row.f1 for row in rows if row.f1 is not None]
        result = {
            "loss": float(self._loss) / count,
            "accuracy": correct / count,
            "error": (count - correct) / count,
            "balanced_accuracy": math.fsum(recalls) / len(recalls),
            "macro_f1": math.fsum(scores) / len(scores),
        }
        if self.top_k:
            result[f"top{self.top_k}_accuracy"] = int(self._top) / count
        return result

    def accuracy_interval(self, *, level: float = 0.95) -> tuple[float, float]:
        """Give the Wilson interval of the accuracy.

        Args:
            level: Probability with which the range covers the true accuracy.
        """
        matrix = self.confusion
        return wilson_interval(int(matrix.diagonal().sum()), int(matrix.sum()), level=level)

    def per_class(self) -> list[ClassScore]:
        """Give one row per class, in their order."""
        matrix = self.confusion.cpu()
        correct = matrix.diagonal().tolist()
        support = matrix.sum(1).tolist()
        predicted = matrix.sum(0).tolist()
        return [
            ClassScore(
                label=label,
                support=support[label],
                predicted=predicted[label],
                correct=hits,
                precision=hits / predicted[label] if predicted[label] else None,
                recall=hits / support[label] if support[label] else None,
                f1=(
                    2 * hits / (support[label] + predicted[label])
                    if support[label] + predicted[label]
                    else None
                ),
                precision_interval=wilson_interval(hits, predicted[label]),
                recall_interval=wilson_interval(hits, support[label]),
            )
            for label, hits in enumerate(correct)
        ]
