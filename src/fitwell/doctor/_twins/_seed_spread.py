"""How much does a result vary by the seed alone, and how much by the held-out examples?"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any, Final, final

import torch

from ...core.errors import TrainingError, UsageError
from ...core.intervals import t_quantile
from ...data import Batches
from ...train import Measured, Member, autocast, measure
from .._measure import mean_interval
from .._result import Interval, ProbeResult, draw_rows
from .._sandbox import sandbox
from ._twin import Build, OnEpoch, Stacking, Twin, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS: Final = 100  # of the held-out examples, each left out in turn
_ENOUGH: Final = 1000  # degrees of freedom beyond which t is the normal distribution


@final
@dataclass(frozen=True, kw_only=True)
class SeedSpread(ProbeResult):
    """How much a result varies by the seed alone.

    Args:
        value: Standard deviation of the metric over the seeds.
        interval: 95% interval of `value`.
        control: Standard error of the metric of one training, from the held-out examples being a
            sample; NaN where it cannot be told.
        found: Whether seeds matter more than the held-out sample; None if the evidence does not
            say, or if all seeds gave the same.
        conclusion: One sentence.
        metric: Its name.
        mean: Of the metric over the seeds.
        mean_interval: 95% interval of `mean`.
        least_difference: Two single trainings that differ by less may differ by their seeds alone,
            at the level of 5%.
        scores: The metric of each seed.
    """

    metric: str
    mean: float
    mean_interval: Interval
    least_difference: float
    scores: tuple[float, ...]

    def seeds_for(self, difference: float, *, power: float = 0.8) -> int:
        """Give the seeds that each of two ways to train needs, for their difference to be seen.

            n such that (t(0.975, 2n - 2) + t(power, 2n - 2)) · value · √(2/n) ≤ difference

        Args:
            difference: Of the mean metrics of the two.
            power: Probability with which a test at the level of 5% then finds it.

        Raises:
            UsageError: A value is out of range.
        """
        if not difference > 0 or not 0.5 < power < 1:
            raise UsageError(
                "SeedSpread: `difference` must be above 0 and `power` between 0.5 and 1; got"
                f" {difference} and {power}. Give the difference that would matter to you."
            )
        normal = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
        seeds = max(2, math.ceil(2 * (normal * self.value / difference) ** 2))
        while True:
            freedom = min(2 * seeds - 2, _ENOUGH)
            needed = t_quantile(0.975, freedom) + t_quantile(power, freedom)
            if needed * self.value * math.sqrt(2 / seeds) <= difference or freedom == _ENOUGH:
                return seeds
            seeds += 1

    def _draw(self, axes: Axes) -> None:
        half = 1.96 * self.control
        sample = (self.mean - half, self.mean + half) if math.isfinite(half) else None
        rows = [
            ("each seed", self.mean, None),
            ("mean of the seeds", self.mean, self.mean_interval),
            ("other held-out examples", self.mean, sample),
        ]
        draw_rows(axes, rows, self.metric)
        axes.lines[0].remove()  # in the place of the mean, each seed
        axes.plot(self.scores, [2] * len(self.scores), "o", color="black", markersize=4, alpha=0.6)


def seed_spread(
    build: Build,
    *,
    seeds: int = 8,
    metric: str = "loss",
    seed: int = 0,
    watch: OnEpoch | None = None,
    stack: Stacking = "auto",
) -> SeedSpread:
    """Train the same with several seeds, and say what a difference between trainings must exceed.

    Before two ways to train are compared. The spread over seeds is what initial weights, order of
    the examples and noise make of one and the same program; a single training that is better by
    less than `least_difference` is not better. The control is the sampling error of the held-out
    examples, measured by leaving parts of them out: where it is the larger, more held-out examples
    tell more than more seeds.

        standard deviation s:   s √( (n - 1) / χ² ), with its quantiles at n - 1
        least difference:       t(0.975, n - 1) · s · √2
        sampling error:         √( (g - 1)/g Σ (θ₋ₖ - mean)² ), θ₋ₖ without part k of g ≤ 100 parts

    Two trainings measured on the same held-out examples share most of their sampling error; what
    they would do on other examples, they do not.

    Args:
        build: Gives a training, with ``valid`` set; a seed must decide all that is random in it.
        seeds: Trainings; the interval of a standard deviation is wide with few.
        metric: Name of a number that the objective measures on held-out examples.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: Fewer than two seeds, no held-out examples, or no metric of that name.
        TrainingError: A training gave a number that is not finite.

    Source: bouthillier2021accounting.
    Checked against: scores of a known distribution; SciPy, ``chi2`` and the noncentral ``nct``; the
        binomial error of an accuracy.
    """
    if seeds < 2:
        raise UsageError(f"seed_spread: `seeds` must be at least 2; got {seeds}. Use 8.")
    twin = Twin()
    grown = grow(
        "seed_spread",
        build,
        [twin],
        seeds=seeds,
        seed=seed,
        watch=watch,
        stack=stack,
        held_out=True,
    )[twin.name]
    known = sorted(set.intersection(*(set(found) for found in grown.valid)))
    if metric not in known:
        raise UsageError(
            f"seed_spread: `metric` must be one of {', '.join(known)}; got {metric!r}. Give the"
            " objective the metrics that it is to measure."
        )
    scores = [float(found[metric]) for found in grown.valid]
    if not all(map(math.isfinite, scores)):
        raise TrainingError(
            f"seed_spread: every training must end with a finite {metric}; got {scores}. Lower the"
            " learning rate."
        )
    with sandbox():
        errors = [sampling_error(member, metric) for member in grown.members]
    return _concluded(metric, scores, math.sqrt(fmean(error**2 for error in errors)))


def sampling_error(member: Member, metric: str) -> float:
    """Give the standard error of a held-out metric, by leaving out parts in turn.

    Of numbers that an objective measures by an ``evaluate`` of its own, the mean over the parts is
    taken for the number of all.

    Args:
        member: After its training.
        metric: Name of the number.
    """
    with autocast(member.precision, member.device):
        parts = [
            measure(member.objective, member.model, part) for part in _parts(member.valid or ())
        ]
    count = len(parts)
    if count < 2:
        return math.nan
    if all(isinstance(part, Measured) for part in parts):
        left = [float(rest.compute()[metric]) for rest in _without_each(parts)]
    else:
        values = [float(part.compute()[metric]) for part in parts]
        left = [(math.fsum(values) - value) / (count - 1) for value in values]
    return stdev(left) * (count - 1) / math.sqrt(count)


def _parts(batches: Iterable[Any]) -> list[Iterable[Any]]:
    """Cut held-out examples into parts that are as good as drawn."""
    if isinstance(batches, Batches):
        examples, count = batches.examples, len(batches.examples)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        return [
            Batches(examples.select(some), len(some), device=batches.device)
            for some in order.chunk(min(_PARTS, count))
        ]
    held = list(batches)
    count = min(_PARTS, len(held))
    return [held[first::count] for first in range(count)]


def _without_each(parts: Sequence[Any]) -> list[Any]:
    """Merge all but one, for each."""
    before, after = _running(parts[:-1]), _running(parts[:0:-1])[::-1]
    middle = [_merged(*both) for both in zip(before[:-1], after[1:], strict=True)]
    return [after[0], *middle, before[-1]]


def _running(parts: Sequence[Any]) -> list[Any]:
    found = [parts[0]]
    for part in parts[1:]:
        found.append(_merged(found[-1], part))
    return found


def _merged(one: Any, other: Any) -> Any:
    made = copy.deepcopy(one)
    made.merge(other)
    return made


def deviation_interval(deviation: float, count: int) -> Interval:
    """Give the 95% interval of a standard deviation of normal numbers.

    Args:
        deviation: Of the sample.
        count: How many numbers it is of.

    Checked against: scipy.stats.chi2.
    """
    freedom = count - 1
    low, high = (freedom / _chi_square(share, freedom) for share in (0.975, 0.025))
    return deviation * math.sqrt(low), deviation * math.sqrt(high)


def _chi_square(share: float, freedom: int) -> float:
    """Give the point below which this share of the chi-square distribution lies."""
    half = torch.tensor(freedom / 2, dtype=torch.float64)
    low, high = 0.0, freedom + 20 * math.sqrt(freedom) + 20
    for _ in range(100):
        middle = (low + high) / 2
        below = torch.special.gammainc(half, torch.tensor(middle / 2, dtype=torch.float64))
        low, high = (middle, high) if below < share else (low, middle)
    return low


def _concluded(metric: str, scores: list[float], control: float) -> SeedSpread:
    value = stdev(scores)
    interval = deviation_interval(value, len(scores))
    least = t_quantile(0.975, len(scores) - 1) * value * math.sqrt(2)
    seeds_matter: bool | None = None
    if value == 0:
        pass  # no other seed was tried
    elif interval[0] > control:
        seeds_matter = True
    elif interval[1] < control:
        seeds_matter = False
    mean, around = mean_interval(scores)
    starts = {
        True: "Seeds matter more than the held-out sample",
        False: "The held-out sample matters more than the seeds",
        None: "Insufficient evidence whether seeds or the held-out sample matter more",
    }
    start = starts[seeds_matter] if value > 0 else "The seed is not used: all gave the same"
    advice = (
        f"single trainings that differ by less than {least:.3g} may differ by their seeds alone"
        if value > 0
        else "see whether `build` uses its seed"
    )
    return SeedSpread(
        value=value,
        interval=interval,
        control=control,
        found=seeds_matter,
        conclusion=(
            f"{start} (standard deviation of the {metric} over {len(scores)} seeds"
            f" {value:.3g}, 95% interval {interval[0]:.3g} to {interval[1]:.3g}; standard error"
            f" from the held-out examples {control:.3g}); {advice}."
        ),
        metric=metric,
        mean=mean,
        mean_interval=around,
        least_difference=least,
        scores=tuple(scores),
    )
