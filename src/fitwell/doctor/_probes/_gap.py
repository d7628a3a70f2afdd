"""How much of what a model has learned does not carry over to other examples?

B batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch import nn

from ...core.errors import UsageError
from ...core.intervals import t_quantile
from .._measure import (
    AccuracyGap,
    Answers,
    Loss,
    Pairs,
    accuracy_gap,
    answers_of,
    best_constant,
    class_errors,
    is_classes,
    shares_of,
)
from .._result import Interval, ProbeResult, draw_rows, percent
from .._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS: Final = 32  # parts of the data whose losses say how sure their mean is


@final
@dataclass(frozen=True, kw_only=True)
class GeneralizationGap(ProbeResult):
    """Losses and accuracies of both parts, and what lies between them.

    Args:
        value: Loss on held-out examples minus loss on training examples.
        interval: 95% interval of `value`.
        control: Gap of a model that has learned by heart and knows nothing else: loss of the best
            outputs that are the same for every held-out example, minus the training loss.
        found: Whether the gap is real and more than a share of `control`; None if the evidence does
            not say.
        conclusion: One sentence.
        train_loss: Loss on training examples.
        train_interval: 95% interval of `train_loss`.
        valid_loss: Loss on held-out examples.
        valid_interval: 95% interval of `valid_loss`.
        accuracy: Gap in accuracy between the parts; None if targets are not classes, or all of
            them are left out.
    """

    train_loss: float
    train_interval: Interval
    valid_loss: float
    valid_interval: Interval
    accuracy: AccuracyGap | None

    def _draw(self, axes: Axes) -> None:
        rows = [
            ("training", self.train_loss, self.train_interval),
            ("held out", self.valid_loss, self.valid_interval),
            ("held out, same outputs", self.train_loss + self.control, None),
        ]
        draw_rows(axes, rows, "loss in evaluation mode")


def generalization_gap(
    model: nn.Module,
    loss: Loss,
    train: Pairs,
    valid: Pairs,
    *,
    margin: float = 0.1,
    most: int = 64,
) -> GeneralizationGap:
    """Measure training and held-out examples alike, in evaluation mode, and compare.

    When the training loss is small and the validation loss is not, after `modes`. The curves of a
    training are no measure: its training loss is taken in training mode, with augmentation, while
    the model still changes. A gap alone is no fault either: it is read against that of a model
    which has learned by heart, whose held-out examples are answered no better than by the same
    outputs for all. For a real gap try more data (`learning_curve`), augmentation, regularization,
    a smaller model; look for other statistics (`adversarial_validation`) first.

    Args:
        model: After training; measured on a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch; without what is added to it for
            training alone, such as smoothed labels.
        train: Batches of the training part, in any order; of `Batches`, augmentation is left out
            and the order drawn.
        valid: Batches of held-out examples that nothing was chosen on.
        margin: A gap that is at most this share of `control` is none; where nothing was learned,
            and `control` is not above 0, of the loss of the best outputs that are the same for all.
        most: Batches of each part that are looked at.

    Raises:
        UsageError: There is no batch, or `margin` is negative.

    Source: welch1947generalization, for losses; newcombe1998interval, method 10, for accuracies.
    Checked against: a model that knows seen examples by heart and guesses others; scipy's interval.
    """
    if not 0 <= margin < math.inf:
        raise UsageError(f"generalization_gap: `margin` must be at least 0; got {margin}. Use 0.1.")
    seen = answers_of("generalization_gap", model, train, most)
    held = answers_of("generalization_gap", model, valid, most)
    with sandbox(loss) as (loss,):
        parts = [_losses(loss, answers) for answers in (seen, held)]
        outputs, targets = (torch.cat(some) for some in zip(*held, strict=True))
        constant = best_constant(loss, outputs.detach(), targets)
    (train_loss, train_interval), (valid_loss, valid_interval) = (_mean(part) for part in parts)
    value, interval = _welch(*parts)
    control = constant - train_loss
    little = margin * (control if control > 0 else abs(constant))
    real: bool | None = None
    if value == math.inf or interval[0] > margin * max(control, 0.0):
        real = True
    elif math.isfinite(value) and interval[1] <= little:
        real = False
    accuracy = _accuracy(seen, held) if is_classes(*held[0]) else None
    return GeneralizationGap(
        value=value,
        interval=interval,
        control=control,
        found=real,
        conclusion=_sentence(real, (value, interval), control, (train_loss, valid_loss), accuracy),
        train_loss=train_loss,
        train_interval=train_interval,
        valid_loss=valid_loss,
        valid_interval=valid_interval,
        accuracy=accuracy,
    )


def _accuracy(seen: Answers, held: Answers) -> AccuracyGap | None:
    right, held_right = ([1 - class_errors(*answer) for answer in part] for part in (seen, held))
    if not any(map(len, right)) or not any(map(len, held_right)):
        return None
    known = torch.cat([targets.flatten() for _, targets in held])
    usual = known[known >= 0].mode().values
    chance = torch.cat([1 - shares_of(targets.ne(usual), targets) for _, targets in held])
    return accuracy_gap(right, held_right, chance=float(chance.mean()))


def _losses(loss: Loss, answers: Answers) -> list[tuple[float, int]]:
    """Give losses of parts of all batches, each with the examples that it is of."""
    found = []
    for outputs, targets in answers:
        parts = min(len(outputs), math.ceil(_PARTS / len(answers)))
        for some, wanted in zip(outputs.chunk(parts), targets.chunk(parts), strict=True):
            found.append((float(loss(some, wanted).detach()), len(some)))
    return found


def _spread(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Give the mean over examples and its squared standard error, infinite for a single part."""
    total = sum(count for _, count in parts)
    mean = math.fsum(value * count for value, count in parts) / total
    if len(parts) < 2 or not math.isfinite(mean):
        return mean, math.inf
    squares = math.fsum((count * (value - mean)) ** 2 for value, count in parts)
    return mean, squares / total**2 * len(parts) / (len(parts) - 1)


def _mean(parts: Sequence[tuple[float, int]]) -> tuple[float, Interval]:
    mean, square = _spread(parts)
    if not math.isfinite(square):
        return mean, (-math.inf, math.inf)
    half = t_quantile(0.975, len(parts) - 1) * math.sqrt(square)
    return mean, (mean - half, mean + half)


def _welch(
    train: Sequence[tuple[float, int]], valid: Sequence[tuple[float, int]]
) -> tuple[float, Interval]:
    """Give the difference of the means, whose spreads may differ."""
    (low, one), (high, other) = _spread(train), _spread(valid)
    value = high - low
    if not math.isfinite(one + other):
        return value, (-math.inf, math.inf)
    freedom = len(train) + len(valid) - 2.0
    if one + other > 0:
        freedom = (one + other) ** 2 / (one**2 / (len(train) - 1) + other**2 / (len(valid) - 1))
    half = t_quantile(0.975, max(1, math.floor(freedom))) * math.sqrt(one + other)
    return value, (value - half, value + half)


def _sentence(
    real: bool | None,
    gap: tuple[float, Interval],
    control: float,
    losses: tuple[float, float],
    accuracy: AccuracyGap | None,
) -> str:
    value, interval = gap
    if real and control <= 0:
        start = "The gap is real, though nothing was learned: the parts differ"
    elif real and interval[1] >= control:
        start = "The model has learned by heart, and what it has learned does not carry over"
    elif real:
        start = "The gap is real: part of what was learned does not carry over"
    elif real is None and control <= 0:
        start = (
            "Insufficient evidence whether there is a gap, and nothing was learned: look at the"
            " training loss first"
        )
    elif real is None:
        start = "Insufficient evidence whether the gap is more than a little of what was learned"
    elif control <= 0:
        start = "There is no gap, but nothing was learned either: look at the training loss first"
    else:
        start = "There is no gap to speak of"
    numbers = (
        f"loss {losses[0]:.3g} on training and {losses[1]:.3g} on held-out examples; gap"
        f" {value:.3g}, 95% interval {interval[0]:.3g} to {interval[1]:.3g}; by heart"
        f" {control:.3g}"
    )
    if accuracy is not None:
        numbers += (
            f"; accuracy {percent(accuracy.train)} and {percent(accuracy.valid)}, most frequent"
            f" class {percent(accuracy.chance)}"
        )
    return f"{start} ({numbers})."
