"""Is the learning rate right? Twins with other rates, and the range test, over several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Literal, final

from ...core.errors import UsageError
from ...train import RateRange, autocast, lr_range_test
from .._measure import mean_interval
from .._result import Interval, ProbeResult
from .._sandbox import sandbox
from ._rivals import (
    LARGEST,
    Rival,
    Start,
    learned,
    losses_of,
    rivals_of,
    starts,
    view,
    winner,
)
from ._twin import Build, OnEpoch, Stacking, Twin, built, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["too high", "too low", "right", "none learns"]

_APART: Final = 0.2  # of logarithms of rates that are tried
_STARTS: Final = {
    "too high": "The learning rate {lr:.3g} is too high",
    "too low": "The learning rate {lr:.3g} is too low",
    "right": "None of the rates that were tried is better than the learning rate {lr:.3g}",
    "none learns": "The learning rate {lr:.3g} is not the fault: none that was tried learns",
    None: "Insufficient evidence whether the learning rate {lr:.3g} is too high or too low",
}


@final
@dataclass(frozen=True, kw_only=True)
class LearningRates(ProbeResult):
    """What other learning rates come to.

    Args:
        value: Training loss of the best other rate after `epochs`, a mean over the seeds; of one
            that might be better, if there is any, or else of the one with the lowest.
        interval: 95% interval of `value`, from differences to `control` with the same seed.
        control: Training loss with the rate as it is after `whole_epochs`.
        found: Whether the rate is too high or too low; None if the evidence does not say.
        conclusion: One sentence.
        verdict: Which of them; ``right`` if none of the rates that were tried is better; or that no
            training learns. None if the evidence does not say.
        lr: The rate as it is.
        best: Factor on it that `value` is of.
        epochs: Of the trainings with other rates.
        whole_epochs: Of the training as it is.
        rivals: What each came to: first the whole training as it is, then the shorter ones; among
            these the rate as it is has factor 1.
        suggestion: Rate that the range test gives, the median over the seeds; None if its loss
            never fell.
        suggestion_interval: 95% interval of the suggestion, from logarithms.
        ranges: The range test of each seed.
    """

    verdict: Verdict | None
    lr: float
    best: float
    epochs: int
    whole_epochs: int
    rivals: tuple[Rival, ...]
    suggestion: float | None
    suggestion_interval: Interval | None
    ranges: tuple[RateRange, ...]

    def _draw(self, axes: Axes) -> None:
        shorter = sorted(self.rivals[1:], key=lambda rival: rival.factor)
        rates = [self.lr * rival.factor for rival in shorter]
        for rate, rival in zip(rates, shorter, strict=True):
            if all(map(math.isfinite, rival.interval)):
                axes.plot([rate, rate], rival.interval, color="tab:blue", linewidth=2)
        axes.plot(rates, [rival.loss for rival in shorter], "o-", color="tab:blue", linewidth=1)
        whole = f"as it is, {self.whole_epochs} epochs"
        axes.axhline(self.control, color="tab:gray", linewidth=1, label=whole)
        axes.plot([self.lr], [self.control], "s", color="tab:gray")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="tab:green", linestyle=":", label="range test")
        axes.legend(frameon=False, fontsize="small")
        view(axes.set_ylim, axes.set_yscale, self.rivals)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel(f"training loss after {self.epochs} epochs")


def learning_rate(
    build: Build,
    *,
    factors: Sequence[float] = (0.1, 10.0),
    share: float = 0.25,
    seeds: int = 3,
    seed: int = 0,
    watch: OnEpoch | None = None,
    stack: Stacking = "auto",
) -> LearningRates:
    """Train shortly with other learning rates, and compare with the whole training as it is.

    When the training loss stays large or falls slowly, and one batch can be learned by heart. Tried
    are multiples of the rate, and the rate that a range test suggests, repeated with each seed;
    that test leaves out clipping and schedules. All have a share of the epochs, through which a
    schedule runs in full. Large rates are ahead after few steps in sound trainings too, so that the
    control is the training as it is with all its epochs: a rate that reaches less in a quarter of
    them proves that it is too low, or too high.

    A rate is better if its training loss, and its held-out loss where there is one, is lower by at
    least 5%, with an interval over the seeds that excludes no gain; none is better only if the
    intervals exclude such a gain. A loss above that of the model before training counts as that.

    Args:
        build: Gives a training; asks the twin for its rate and its epochs.
        factors: On the rate.
        share: Of the epochs, for all but the training as it is; at least one epoch.
        seeds: Trainings with each rate, paired by seed.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: A value is out of range, the rate is 0, or `build` does not ask for rate and
            epochs.
        TrainingError: The loss is not finite before any step.

    Source: smith2017cyclical, section 3.3, for the range test.
    Checked against: rates far too high, far too low, and right.
    """
    others = {float(factor) for factor in factors} - {1.0}
    if not others or not all(0 < f < math.inf for f in others) or not 0 < share <= 1 or seeds < 1:
        raise UsageError(
            "learning_rate: `factors` must be positive with one that is not 1, `share` in (0, 1]"
            f" and `seeds` at least 1; got {tuple(factors)}, {share} and {seeds}. Use the defaults."
        )
    start = starts("learning_rate", build, seeds=seeds, seed=seed)
    lr, ranges = _ranges(build, seeds, seed)
    suggestion, around = _suggested(ranges)
    if suggestion is not None:
        hint = suggestion / lr
        if all(abs(math.log(hint / factor)) > _APART for factor in (*others, 1.0)):
            others.add(hint)
    twins = {factor: _twin(factor, share) for factor in sorted({*others, 1.0})}
    everyone = [Twin(), *twins.values()]
    grown = grow("learning_rate", build, everyone, seeds=seeds, seed=seed, watch=watch, stack=stack)
    whole = grown[everyone[0].name]
    pairs = [(factor, grown[twin.name]) for factor, twin in twins.items()]
    return _concluded(
        rivals=rivals_of(whole, pairs, start),
        start=start,
        lr=lr,
        epochs=(pairs[0][1].members[0].epochs, whole.members[0].epochs),
        suggestion=suggestion,
        suggestion_interval=around,
        ranges=ranges,
    )


def _twin(factor: float, share: float) -> Twin:
    def short(whole: int) -> int:
        return max(1, round(share * whole))

    return Twin(
        name=f"rate × {factor:g}, shorter",
        changes={"lr": lambda lr: lr * factor, "epochs": short},
    )


def _ranges(build: Build, seeds: int, seed: int) -> tuple[float, tuple[RateRange, ...]]:
    """Give the rate as it is, and the range test of a fresh training of each seed."""
    found, lr = [], 0.0
    for number in range(seed, seed + seeds):
        with sandbox(seed=number):
            made = built("learning_rate", build, Twin(), number)
            lr = made.base_rates[0]
            if lr <= 0:
                raise UsageError(
                    f"learning_rate: `build` must give a rate above 0; got {lr}. Set `lr`."
                )
            with autocast(made.precision, made.device):
                test = lr_range_test(made.model, made.objective, made.optimizer, made.train)
            found.append(test)
    return lr, tuple(found)


def _suggested(ranges: Sequence[RateRange]) -> tuple[float | None, Interval | None]:
    """Give the median of the suggestions, and the interval of their mean on a log scale."""
    logs = [math.log(found.suggestion) for found in ranges if found.suggestion is not None]
    if not logs:
        return None, None
    middle = median(logs)
    _, (low, high) = mean_interval(logs)
    low, high = min(low, middle), max(high, middle)
    return math.exp(middle), (math.exp(low), math.exp(high) if high < LARGEST else math.inf)


def _concluded(
    *,
    rivals: Sequence[Rival],
    start: Start,
    lr: float,
    epochs: tuple[int, int],
    suggestion: float | None,
    suggestion_interval: Interval | None,
    ranges: tuple[RateRange, ...],
) -> LearningRates:
    own = rivals[0]
    best = winner([rival for rival in rivals if rival.factor != 1])
    verdict: Verdict | None = None
    if best.better:
        verdict = "too low" if best.factor > 1 else "too high"
    elif best.better is False:
        verdict = "right" if learned(rivals, start) else "none learns"
    numbers = (
        f"{best.factor * lr:.3g}, {best.factor:.3g} times it, in {epochs[0]} of {epochs[1]} epochs:"
        f" training loss {losses_of(best)}, 95% interval {best.interval[0]:.3g} to"
        f" {best.interval[1]:.3g}; as it is, in all {losses_of(own)}"
    )
    if suggestion is not None and suggestion_interval is not None:
        low, high = suggestion_interval
        numbers += f"; range test {suggestion:.2g}, {low:.2g} to {high:.2g}"
    return LearningRates(
        value=best.loss,
        interval=best.interval,
        control=own.loss,
        found=None if verdict is None else verdict in ("too low", "too high"),
        conclusion=f"{_STARTS[verdict].format(lr=lr)} ({numbers}).",
        verdict=verdict,
        lr=lr,
        best=best.factor,
        epochs=epochs[0],
        whole_epochs=epochs[1],
        rivals=tuple(rivals),
        suggestion=suggestion,
        suggestion_interval=suggestion_interval,
        ranges=ranges,
    )
