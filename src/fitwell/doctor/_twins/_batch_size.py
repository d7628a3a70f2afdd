"""Is the batch size right? Twins with smaller and larger batches and as many epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, final

from ...core.errors import UsageError
from ...data import Batches
from .._result import ProbeResult, draw_rows
from .._sandbox import sandbox
from ._rivals import Rival, Start, learned, losses_of, rivals_of, starts, view, winner
from ._twin import Build, OnEpoch, Stacking, Twin, built, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["too large", "too small", "right", "none learns"]

_STARTS: Final = {
    "too large": "Batches of {size} are too large: they make too few steps in as many epochs",
    "too small": "Batches of {size} are too small: their gradients are too noisy for the rate",
    "right": "None of the sizes that were tried is better than batches of {size}",
    "none learns": "Batches of {size} are not the fault: no size that was tried learns",
    None: "Insufficient evidence whether batches of {size} are too large or too small",
}


@final
@dataclass(frozen=True, kw_only=True)
class BatchSizes(ProbeResult):
    """What other batch sizes come to.

    Args:
        value: Training loss of the best other size at the same rate, a mean over the seeds; of one
            that might be better, if there is any, or else of the one with the lowest.
        interval: 95% interval of `value`, from differences to `control` with the same seed.
        control: Training loss with the batch size as it is.
        found: Whether batches are too large or too small; None if the evidence does not say.
        conclusion: One sentence.
        verdict: Which of them; ``right`` if none of the sizes that were tried is better; or that no
            training learns. None if the evidence does not say.
        batch_size: As it is.
        best: Factor on it that `value` is of.
        rivals: What each came to, the training as it is first.
        not_tried: Factors that make no other batches, and why.
    """

    verdict: Verdict | None
    batch_size: int
    best: float
    rivals: tuple[Rival, ...]
    not_tried: Mapping[str, str]

    def _draw(self, axes: Axes) -> None:
        rows = [(rival.name, rival.loss, rival.interval) for rival in self.rivals]
        draw_rows(axes, [(*rows[0][:2], None), *rows[1:]], "training loss")
        axes.axvline(self.control, color="tab:gray", linewidth=1, zorder=0)
        view(axes.set_xlim, axes.set_xscale, self.rivals)


def batch_size(
    build: Build,
    *,
    factors: Sequence[float] = (0.25, 4.0),
    scaled: bool = True,
    seeds: int = 3,
    seed: int = 0,
    watch: OnEpoch | None = None,
    stack: Stacking = "auto",
) -> BatchSizes:
    """Train with smaller and larger batches for as many epochs, and say which train better.

    When the loss still falls at the end, or jumps about. Smaller batches make more steps in as many
    epochs: if they train better, there were too few. Larger ones make less noise: if they train
    better, noise was what held the loss up. That is judged at the rate as it is. With `scaled`,
    each size is also tried with the rate multiplied by the same factor, which keeps the noise about
    the same: a size that is better only without that asks for another rate as much as for another
    size, see `learning_rate`. What a step costs is not looked at.

    A size is better if its training loss, and its held-out loss where there is one, is lower by at
    least 5%, with an interval over the seeds that excludes no gain; none is better only if the
    intervals exclude such a gain. A loss above that of the model before training counts as that.

    Args:
        build: Gives a training; asks the twin for its batch size, and for its rate if `scaled`.
        factors: On the batch size; those that make more than there are examples, or as many as
            there are now, are left out.
        scaled: Also try each factor on size and rate.
        seeds: Trainings with each size, paired by seed.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: A value is out of range, no factor makes another size, or `build` does not ask
            for the batch size.
        TrainingError: The loss is not finite before any step.

    Source: goyal2017accurate, section 2.1, for the rate that goes with the size.
    Checked against: batches as large as the data, batches of single noisy examples, and right ones.
    """
    others = sorted({float(factor) for factor in factors} - {1.0})
    if not others or not all(0 < factor < math.inf for factor in others) or seeds < 1:
        raise UsageError(
            "batch_size: `factors` must be positive with one that is not 1, and `seeds` at least 1;"
            f" got {tuple(factors)} and {seeds}. Use the defaults."
        )
    size, rows = _own(build, seed)
    others, not_tried = _kept(others, size, rows)
    start = starts("batch_size", build, seeds=seeds, seed=seed)
    kinds = [(factor, with_rate) for factor in others for with_rate in sorted({False, scaled})]
    twins = [_twin(factor, with_rate) for factor, with_rate in kinds]
    grown = grow(
        "batch_size", build, [Twin(), *twins], seeds=seeds, seed=seed, watch=watch, stack=stack
    )
    pairs = [(factor, grown[twin.name]) for (factor, _), twin in zip(kinds, twins, strict=True)]
    rivals = rivals_of(grown[Twin().name], pairs, start)
    return _concluded(rivals, kinds, size, start, not_tried)


def _own(build: Build, seed: int) -> tuple[int, int | None]:
    """Give the batch size as it is, and the number of training examples if it is known."""
    found: list[int] = []

    def note(size: int) -> int:
        found.append(size)
        return size

    with sandbox():
        member = built("batch_size", build, Twin(name="a size", changes={"batch_size": note}), seed)
    rows = len(member.train.examples) if isinstance(member.train, Batches) else None
    return found[0], rows


def _kept(
    factors: Sequence[float], size: int, rows: int | None
) -> tuple[list[float], dict[str, str]]:
    """Give the factors that make other batches, and why the rest does not."""
    kept: list[float] = []
    not_tried: dict[str, str] = {}
    for factor in factors:
        made = _sized(size, factor)
        if made == size:
            not_tried[_name(factor)] = f"batches would have {size} examples as they have"
        elif rows is not None and made > rows:
            not_tried[_name(factor)] = f"there are {rows} examples for batches of {made}"
        else:
            kept.append(factor)
    if not kept:
        raise UsageError(
            f"batch_size: `factors` must make batches of other sizes; got {tuple(factors)} for"
            f" batches of {size}: {'; '.join(not_tried.values())}. Give others."
        )
    return kept, not_tried


def _concluded(
    rivals: Sequence[Rival],
    kinds: Sequence[tuple[float, bool]],
    size: int,
    start: Start,
    not_tried: Mapping[str, str],
) -> BatchSizes:
    own, others = rivals[0], list(zip(kinds, rivals[1:], strict=True))
    scaled = {factor: rival for (factor, with_rate), rival in others if with_rate}
    best = winner([rival for (_, with_rate), rival in others if not with_rate])
    verdict: Verdict | None = None
    if best.better:
        verdict = "too large" if best.factor < 1 else "too small"
    elif best.better is False:
        verdict = "right" if learned(rivals, start) else "none learns"
    advice = ""
    better = [rival for rival in scaled.values() if rival.better]
    if best.better and not scaled.get(best.factor, best).better:
        advice = "; with the rate scaled alike it is no better, so another rate may do as well"
    elif not best.better and better:
        also = winner(better)
        advice = f"; {also.name} {losses_of(also)} is better, so look at the rate"
    low, high = best.interval
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return BatchSizes(
        value=best.loss,
        interval=best.interval,
        control=own.loss,
        found=None if verdict is None else verdict in ("too large", "too small"),
        conclusion=(
            f"{_STARTS[verdict].format(size=size)} ({best.name}: training loss {losses_of(best)},"
            f" 95% interval {low:.3g} to {high:.3g}; as it is {losses_of(own)}{advice}"
            f"{missing})."
        ),
        verdict=verdict,
        batch_size=size,
        best=best.factor,
        rivals=tuple(rivals),
        not_tried=dict(not_tried),
    )


def _sized(size: int, factor: float) -> int:
    return max(min(size, 2), round(size * factor))  # a single example has no batch statistics


def _name(factor: float) -> str:
    return f"batches × {factor:g}"


def _twin(factor: float, with_rate: bool) -> Twin:
    changes: dict[str, Any] = {"batch_size": lambda size: _sized(size, factor)}
    if with_rate:
        changes["lr"] = lambda lr: lr * factor
    return Twin(name=_name(factor) + (", rate too" if with_rate else ""), changes=changes)
