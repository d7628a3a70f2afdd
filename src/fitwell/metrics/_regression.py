"""Numbers about a model that predicts numbers.

Axes: B batch.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from ..core.errors import UsageError


@final
class Regression:
    """Sum the errors of predicted numbers, batch by batch, in float64, and give the usual scores.

    Everything is summed on the device; nothing waits for it before `compute`. The spread of the
    targets is tracked about their running mean, so that targets far from 0 lose no digits.

        e = output - y,  mse = mean e²,  rmse = √mse,  mae = mean |e|
        r2 = 1 - Σ e² / Σ (y - mean y)²

    With constant targets `r2` is 1 for a perfect prediction and 0 otherwise. The number under the
    name loss is `mse`, whatever the model was trained with.

    Args:
        device: Where the batches are.

    Source: chan1983algorithms for the merging of spreads.
    Checked against: scikit-learn mean_squared_error, mean_absolute_error, r2_score.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.count = 0
        # Squared errors, absolute errors, mean of the targets, squared distances from that mean.
        self._square, self._absolute, self._mean, self._spread = torch.zeros(
            4, dtype=torch.float64, device=self.device
        ).unbind()

    @torch.no_grad()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            outputs: Predicted numbers.
            targets: Right numbers.

        Shapes:
            outputs: (B,)
            targets: (B,)

        Raises:
            UsageError: Shapes differ.
        """
        if outputs.shape != targets.shape:
            raise UsageError(
                f"Regression: `outputs` must have the shape of `targets`, {tuple(targets.shape)};"
                f" got {tuple(outputs.shape)}. Squeeze or reshape one of them."
            )
        if targets.numel() == 0:
            return
        wanted = targets.to(torch.float64)
        errors = outputs.to(torch.float64) - wanted
        mean = wanted.mean()
        self._add(
            targets.numel(),
            errors.square().sum(),
            errors.abs().sum(),
            mean,
            (wanted - mean).square().sum(),
        )

    def _add(
        self, count: int, square: Tensor, absolute: Tensor, mean: Tensor, spread: Tensor
    ) -> None:
        total = self.count + count
        shift = mean - self._mean
        self._square = self._square + square
        self._absolute = self._absolute + absolute
        self._mean = self._mean + shift * (count / total)
        self._spread = self._spread + spread + shift.square() * (self.count * count / total)
        self.count = total

    def merge(self, other: Regression) -> None:
        """Add what another one summed.

        Args:
            other: Stays as it is.
        """
        if other.count:
            parts = (other._square, other._absolute, other._mean, other._spread)
            self._add(other.count, *(part.to(self.device) for part in parts))

    def compute(self) -> dict[str, float]:
        """Give the scores by name; this waits for the device.

        Raises:
            UsageError: Nothing was added yet.
        """
        if self.count == 0:
            raise UsageError(
                "Regression: `update` must come before `compute`; got no examples."
                " Check that the data is not empty."
            )
        square, spread = float(self._square), float(self._spread)
        if spread > 0:
            r2 = 1 - square / spread
        else:
            r2 = 1.0 if square == 0 else 0.0
        mse = square / self.count
        mae = float(self._absolute) / self.count
        return {"loss": mse, "mse": mse, "rmse": math.sqrt(mse), "mae": mae, "r2": r2}
