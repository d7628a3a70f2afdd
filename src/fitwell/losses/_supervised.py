"""Losses of supervised learning: callables of outputs and targets that give one mean.

Each is a frozen object whose printed form builds it again. They call `torch.nn.functional`; what
they add is a check of shapes and kinds, since a wrong one often trains without an error.

Axes: B batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import torch
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
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Measure how improbable the model finds the right classes; takes logits, not probabilities.

    The loss for classes. Softmax is part of it: a softmax layer before it slows learning and is a
    common mistake. Targets are class indices, or one probability per class.

        loss = mean over b of wₖ · (-log softmax(outputs_b)ₖ) / mean of wₖ,  k = targets_b

    Args:
        label_smoothing: Share of the target that is spread evenly over all classes.
        weights: Weight of each class, to count rare ones more; empty for equal weights.

    Shapes:
        outputs: (B, K)
        targets: (B,)
        return: ()

    Raises:
        UsageError: A setting is out of range, or outputs and targets do not fit together.

    Source: bridle1990training; label smoothing from szegedy2016rethinking, section 7.
    Reduces to: the negative log likelihood at `label_smoothing=0` and no weights.
    Checked against: torch.nn.CrossEntropyLoss; scikit-learn log_loss.
    """

    label_smoothing: float = 0.0
    weights: tuple[float, ...] = ()
    _placed: dict[tuple[torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(
                "CrossEntropy: `label_smoothing` must lie in [0, 1); got"
                f" {self.label_smoothing}. Use 0 to switch it off."
            )
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if any(not (0 <= weight < math.inf) for weight in self.weights):
            raise UsageError(
                f"CrossEntropy: `weights` must be finite and not negative; got {self.weights}."
                " Use 1 for a class of ordinary importance."
            )

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        self._check(outputs, targets)
        weight = self._weight(outputs) if self.weights else None
        return F.cross_entropy(outputs, targets, weight, label_smoothing=self.label_smoothing)

    def _weight(self, outputs: Tensor) -> Tensor:
        place = (outputs.device, outputs.dtype)
        if place not in self._placed:
            self._placed[place] = torch.tensor(
                self.weights, device=outputs.device, dtype=outputs.dtype
            )
        return self._placed[place]

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.ndim < 2:
            raise UsageError(
                "CrossEntropy: `outputs` must have shape (B, K), one logit per class; got"
                f" {tuple(outputs.shape)}. Build the model with `out_features` of the classes."
            )
        if self.weights and len(self.weights) != outputs.shape[1]:
            raise UsageError(
                f"CrossEntropy: `weights` must have one entry per class; got {len(self.weights)}"
                f" for {outputs.shape[1]} outputs. Give one weight per class."
            )
        indices = (outputs.shape[0], *outputs.shape[2:])
        if targets.is_floating_point():
            if targets.shape != outputs.shape:
                raise UsageError(
                    "CrossEntropy: `targets` must be class indices (int64), or probabilities of"
                    f" shape {tuple(outputs.shape)}; got {targets.dtype} of shape"
                    f" {tuple(targets.shape)}. Convert indices with .long(); numbers take MSE."
                )
        elif targets.shape != indices:
            raise UsageError(
                f"CrossEntropy: `targets` must have shape {indices}; got {tuple(targets.shape)}."
                " Give one class index per example."
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


def check_labels(targets: Tensor, num_classes: int) -> None:
    """Refuse class indices outside of the classes; do this once per data set, not per batch.

    On an accelerator such an index ends the process with a message that names neither. Reads the
    targets, so it waits for the device.

    Args:
        targets: Class indices.
        num_classes: How many classes there are.

    Shapes:
        targets: (B,)

    Raises:
        UsageError: An index is below 0 or not below `num_classes`.
    """
    wrong = (targets < 0) | (targets >= num_classes)
    if bool(wrong.any()):
        row = int(wrong.flatten().to(torch.uint8).argmax())
        raise UsageError(
            f"check_labels: `targets` must lie in 0 ... {num_classes - 1}; got"
            f" {targets.flatten()[row].item()} in row {row}. Renumber the classes from 0 on."
        )
