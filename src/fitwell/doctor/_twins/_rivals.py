"""Would another setting train better? Losses of twins against those of the training as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, final

from ...core.errors import TrainingError
from .._result import Interval
from ._compare import gain, not_begun
from ._twin import Build, Grown

LARGEST: Final = 700.0
"""Logarithms of numbers are smaller."""

_MARGIN: Final = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class Rival:
    """A setting, and what it trains to.

    Args:
        name: What is different.
        factor: By which the setting was multiplied.
        loss: Loss on the training examples, a mean over the seeds.
        interval: 95% interval of `loss`, from differences to the training as it is with the same
            seed; that of all rivals together.
        held_out: Mean loss on held-out examples; NaN if there are none.
        better: Whether it trains better; None if the evidence does not say.
    """

    name: str
    factor: float
    loss: float
    interval: Interval
    held_out: float
    better: bool | None


@final
@dataclass(frozen=True, kw_only=True)
class Start:
    """Losses before training; one that ends higher has not learned.

    Args:
        train: On the training examples of each seed.
        valid: On held-out examples of each seed; infinite if there are none.
    """

    train: tuple[float, ...]
    valid: tuple[float, ...]


def starts(owner: str, build: Build, *, seeds: int, seed: int) -> Start:
    """Measure trainings before they begin.

    Args:
        owner: Who asks, for messages.
        build: Gives the trainings.
        seeds: How many.
        seed: The first of them.

    Raises:
        TrainingError: A loss is not finite before any step.
    """
    train, valid = [], []
    for member, loss in not_begun(build, seeds=seeds, seed=seed):
        train.append(loss)
        found = {} if member.valid is None else member.evaluate(member.valid)
        valid.append(found.get("loss", math.inf))
    if not all(map(math.isfinite, train)):
        raise TrainingError(
            f"{owner}: the loss is not finite before any step; got {train}. Look at the inputs:"
            " first_nonfinite of fitwell.train names the layer where it begins."
        )
    return Start(train=tuple(train), valid=tuple(valid))


def bounded(losses: Sequence[float], start: Sequence[float]) -> list[float]:
    """Count what was lost, or is worse than before training, as not begun.

    Args:
        losses: After training.
        start: Before it.
    """
    both = zip(losses, start, strict=True)
    return [loss if loss < begun else begun for loss, begun in both]


def rivals_of(control: Grown, others: Sequence[tuple[float, Grown]], start: Start) -> list[Rival]:
    """Compare twins with the training as it is; that comes first, then they in their order.

    A rival is better if its training loss is lower by at least 5%, with an interval that excludes
    that of the control, and its held-out loss, where there is one, is as well. A lower training
    loss alone may be overfitting. It is not better if an interval excludes a gain of 5%; else the
    evidence does not say. Positive losses are compared by their logarithms, since trainings
    that go wrong do so by factors; means are geometric then.

    Args:
        control: As it is.
        others: Factors, and twins of the same seeds.
        start: Losses before training.
    """
    everyone = [(1.0, control), *others]
    trained = [bounded(twin.train, start.train) for _, twin in everyone]
    measured = all(map(math.isfinite, start.valid)) and all(all(t.valid) for _, t in everyone)
    held_out = [bounded(t.valid_loss, start.valid) for _, t in everyone] if measured else []
    gains = _gains(trained, among=len(others))
    proofs = [gains, _gains(held_out, among=1)] if measured else [gains]
    return [
        Rival(
            name=twin.name,
            factor=factor,
            loss=gains[place].loss,
            interval=gains[place].interval,
            held_out=proofs[1][place].loss if measured else math.nan,
            better=_all([proof[place].counts for proof in proofs]),
        )
        for place, (factor, twin) in enumerate(everyone)
    ]


@final
@dataclass(frozen=True, kw_only=True)
class _Compared:
    loss: float
    interval: Interval
    counts: bool | None


def _gains(losses: Sequence[Sequence[float]], *, among: int) -> list[_Compared]:
    """Compare the losses of the first with all, itself included; one of so many may be chosen."""
    positive = min(map(min, losses)) > 0
    scaled = [[math.log(x) if positive else x for x in some] for some in losses]
    own = fmean(scaled[0])
    margin = -math.log(1 - _MARGIN) if positive else _MARGIN * abs(own)
    found = []
    for some in scaled:
        less = gain(scaled[0], some, margin, among=among)
        loss, low, high = (
            _power(own - x) if positive else own - x for x in (less.mean, *less.interval[::-1])
        )
        found.append(_Compared(loss=loss, interval=(low, high), counts=less.counts))
    return found


def _power(logarithm: float) -> float:
    return math.exp(logarithm) if logarithm < LARGEST else math.inf


def _all(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


def winner(rivals: Sequence[Rival]) -> Rival:
    """Give the one to speak of: the best of those that are better, or else that might be.

    Args:
        rivals: At least one.
    """
    rank = {True: 0, None: 1, False: 2}
    return min(rivals, key=lambda rival: (rank[rival.better], rival.loss))


def view(
    limits: Callable[[float, float], Any], scale: Callable[[str], Any], rivals: Sequence[Rival]
) -> None:
    """Show the losses, and of their intervals what lies around them.

    Args:
        limits: Sets the limits of an axis.
        scale: Sets its scale.
        rivals: Losses.
    """
    losses = [rival.loss for rival in rivals]
    low, high = min(losses), max(losses)
    if low > 0:
        scale("log")
        limits(low / 2, high * 2)
    else:
        room = (high - low) or 1.0
        limits(low - room / 2, high + room / 2)


def learned(rivals: Sequence[Rival], start: Start) -> bool:
    """Say whether any training has got below its beginning.

    Args:
        rivals: And the training as it is.
        start: Losses before training.
    """
    begun = fmean(start.train)
    return min(rival.loss for rival in rivals) < begun - _MARGIN * abs(begun)


def losses_of(rival: Rival) -> str:
    """Write the losses of a training.

    Args:
        rival: The training.
    """
    held_out = "" if math.isnan(rival.held_out) else f" (held-out {rival.held_out:.3g})"
    return f"{rival.loss:.3g}{held_out}"
