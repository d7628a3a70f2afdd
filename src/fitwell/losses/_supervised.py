"""Losses for numbers: callables of outputs and targets that give one mean.

Each is a frozen object whose printed form builds it again. They call `torch.nn.functional`; what
they add is a check of shapes and kinds, since a wrong one often trains without an error.

Axes: B batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]


def _same_shape(owner: str, outputs: Tensor, targets: Tensor) -> None:
    # (B, 1) against (B,) would broadcast to (B, B) and train towards the mean of the targets.
    if outputs.shape != targets.shape:
        raise UsageError(
            f"{owner}: `outputs` must have the shape of `targets`, {tuple(targets.shape)}; got"
            f" {tuple(outputs.shape)}. Squeeze or reshape one of them."
        )
    if not targets.is_floating_point():
        raise UsageError(
            f"{owner}: `targets` must be floating point numbers; got {targets.dtype}."
            " Use CrossEntropy for classes, or convert the targets to float."
        )


@final
@dataclass(frozen=True)
class MSE:
    """Measure the mean squared error; the loss for numbers.

    Large errors count most; with outliers in the targets take `Huber` or `MAE`.

        loss = mean( (outputs - targets)² )

    Shapes:
        outputs: (B,)
        targets: (B,)
        return: ()

    Raises:
        UsageError: Shapes differ, or the targets are not numbers.

    Source: legendre1805nouvelles.
    Checked against: torch.nn.MSELoss; scikit-learn mean_squared_error.
    """

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _same_shape("MSE", outputs, targets)
        return F.mse_loss(outputs, targets)


@final
@dataclass(frozen=True)
class MAE:
    """Measure the mean absolute error; the loss for numbers with outliers among them.

    Its minimum is the median instead of the mean.

        loss = mean( |outputs - targets| )

    Shapes:
        outputs: (B,)
        targets: (B,)
        return: ()

    Raises:
        UsageError: Shapes differ, or the targets are not numbers.

    Source: laplace1793quelques.
    Checked against: torch.nn.L1Loss; scikit-learn mean_absolute_error.
    """

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _same_shape("MAE", outputs, targets)
        return F.l1_loss(outputs, targets)


@final
@dataclass(frozen=True, kw_only=True)
class Huber:
    """Measure errors by their square when small and by their size when large.

    Between `MSE` and `MAE`: smooth at the target, little moved by outliers.

        loss = mean( ½ e² where |e| ≤ delta, else delta · (|e| - ½ delta) ),  e = outputs - targets

    Args:
        delta: Where the square turns into a line, in the unit of the targets.

    Shapes:
        outputs: (B,)
        targets: (B,)
        return: ()

    Raises:
        UsageError: `delta` is not positive, shapes differ, or the targets are not numbers.

    Source: huber1964robust.
    Reduces to: half of `MSE` for `delta` above every error.
    Checked against: torch.nn.HuberLoss.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < math.inf:
            raise UsageError(
                f"Huber: `delta` must be positive and finite; got {self.delta}."
                " Use the size of an error that is still ordinary."
            )

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _same_shape("Huber", outputs, targets)
        return F.huber_loss(outputs, targets, delta=self.delta)
