"""Is the batch size right? Twins with smaller and larger batches and as many epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, final

from ...core.errors import UsageError
from .._result import ProbeResult, draw_rows
from ._rivals import Rival, Start, learned, losses_of, rivals_of, starts, view, winner
from ._twin import Build, BySeed, Twin, Watch, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["too large", "too small", "right", "none learns"]

_STARTS: Final = {
    "too large": "Batches of {size} are too large: they make too few steps in as many epochs",
    "too small": "Batches of {size} are too small: their gradients are too noisy for the rate",
    "right": "Batches of {size} are right: no size that was tried trains better",
    "none learns": "Batches of {size} are not the fault: no size that was tried learns",
    None: "Insufficient evidence whether batches of {size} are right",
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
        verdict: Which of them, or that no training learns; None if the evidence does not say.
        batch_size: As it is.
        best: Factor on it that `value` is of.
        rivals: What each came to, the training as it is first.
    """

    verdict: Verdict | None
    batch_size: int
    best: float
    rivals: tuple[Rival, ...]

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
    watch: Watch | None = None,
) -> BatchSizes:
    """Train with smaller and larger batches for as many epochs, and say which train better.

    When the loss still falls at the end, or jumps about. Smaller batches make more steps in as many
    epochs: if they train better, there were too few. Larger ones make less noise: if they train
    better, noise was what held the loss up. That is judged at the rate as it is. With `scaled`,
    each size is also tried with the rate multiplied by the same factor, which keeps the noise about
    the same: a size that is better only without that asks for another rate as much as for another
    size, see `learning_rate`. What a step costs is not looked at.

    A size is better if its training loss, and its held-out loss where there is one, is lower by at
    least 5%, with an interval over the seeds that excludes no gain. A loss above that of the model
    before training counts as that.

    Args:
        build: Gives a training; asks the twin for its batch size, and for its rate if `scaled`.
        factors: On the batch size.
        scaled: Also try each factor on size and rate.
        seeds: Trainings with each size, paired by seed.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.

    Raises:
        UsageError: A value is out of range, or `build` does not ask for the batch size.
        TrainingError: The loss is not finite before any step.

    Source: goyal2017accurate, section 2.1, for the rate that goes with the size.
    Checked against: batches as large as the data, batches of single noisy examples, and right ones.
    """
    others = sorted({float(factor) for factor in factors} - {1.0})
    if not others or not all(0 < factor < math.inf for factor in others) or seeds < 1:
        raise UsageError(
            "batch_size: `factors` must be positive with one that is not 1, and `seeds` at least 1;"
            f" got {tuple(factors)} and {seeds}."
        )
    sizes: dict[int, int] = {}
    own = Twin(changes={"batch_size": BySeed(lambda size, number: sizes.setdefault(number, size))})
    start = starts("batch_size", build, seeds=seeds, seed=seed)
    kinds = [(factor, with_rate) for factor in others for with_rate in sorted({False, scaled})]
    twins = [_twin(factor, with_rate) for factor, with_rate in kinds]
    grown = grow("batch_size", build, [own, *twins], seeds=seeds, seed=seed, watch=watch)
    pairs = [(factor, grown[twin.name]) for (factor, _), twin in zip(kinds, twins, strict=True)]
    return _concluded(rivals_of(grown[own.name], pairs, start), kinds, sizes[seed], start)


def _concluded(
    rivals: Sequence[Rival], kinds: Sequence[tuple[float, bool]], size: int, start: Start
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
    return BatchSizes(
        value=best.loss,
        interval=best.interval,
        control=own.loss,
        found=None if verdict is None else verdict in ("too large", "too small"),
        conclusion=(
            f"{_STARTS[verdict].format(size=size)} ({best.name}: training loss {losses_of(best)},"
            f" 95% interval {low:.3g} to {high:.3g}; as it is {losses_of(own)}{advice})."
        ),
        verdict=verdict,
        batch_size=size,
        best=best.factor,
        rivals=tuple(rivals),
    )


def _twin(factor: float, with_rate: bool) -> Twin:
    def sized(size: int) -> int:
        return max(min(size, 2), round(size * factor))  # a single example has no batch statistics

    changes: dict[str, Any] = {"batch_size": sized}
    if with_rate:
        changes["lr"] = lambda lr: lr * factor
    return Twin(name=f"batches × {factor:g}" + (", rate too" if with_rate else ""), changes=changes)
