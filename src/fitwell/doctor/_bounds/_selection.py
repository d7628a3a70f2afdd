"""What it costs to choose: the best of many validation scores is too good.

K candidates, N validation examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UsageError
from ...core.intervals import wilson_interval
from .._result import Interval, ProbeResult, percent
from ._hoeffding import hoeffding_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]

_KEPT: Final = 1000  # scores that a result keeps, for its picture
_POINTS: Final = 500  # of the grid of true shares
_ROUNDS: Final = 50
_PASSES: Final = 10  # of a round, after which it may be seen to have come to its end
_ROUNDED: Final = 5.01e-5  # by which a score with four decimals is off


@final
@dataclass(frozen=True, kw_only=True)
class Selection(ProbeResult):
    """What the best of several validation scores is worth.

    Args:
        value: Estimate of the true score of the candidate that was chosen.
        interval: 95% interval of `value`. It holds whatever the candidates have in common.
        control: Its validation score, which is the estimate for a single candidate.
        found: Whether the choice has raised the score beyond the noise of a single candidate; None
            if the evidence does not say.
        conclusion: One sentence.
        control_interval: 95% interval that a single candidate with this score would have.
        candidates: How many the choice was among.
        n: Validation examples.
        by_chance: How far the best of as many candidates, all as good as `value`, is expected to
            lie above it.
        bound: Difference from the true score that no candidate exceeds in 95 of 100 cases.
        scores: Validation scores, the best first; at most 1000.
    """

    control_interval: Interval
    candidates: int
    n: int
    by_chance: float
    bound: float
    scores: tuple[float, ...]

    @property
    def inflation(self) -> float:
        """Estimate of how much too high the score is for having been chosen."""
        return self.control - self.value

    def _draw(self, axes: Axes) -> None:
        ranks = range(1, len(self.scores) + 1)
        axes.plot(ranks, self.scores, "o", color="tab:gray", markersize=3, label="validation score")
        errors = [[self.value - self.interval[0]], [self.interval[1] - self.value]]
        axes.errorbar(
            [1], [self.value], yerr=errors, fmt="o", color="tab:blue", label="the best, corrected"
        )
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("rank")
        axes.set_ylabel("share that is right")
        axes.legend(frameon=False)


def selection(scores: ArrayLike, n: int) -> Selection:
    """Correct the best validation score for having been chosen among others.

    After a sweep without a test part, or with so many trials that the validation part has become a
    training part for the choice. Few candidates cost little; of many, the best is the luckiest as
    well. A test part that was not looked at needs no correction, and is better.

    The distribution of the candidates' true shares is estimated from all scores by maximum
    likelihood, without a form, as if their errors were independent; the mean of the true share
    given the best score is `value`. Candidates that are wrong about the same examples, as those of
    a sweep are, gain less by being chosen: for them `value` errs on the side of caution. The
    interval does not use this: its lower end allows for every candidate (Bonferroni), its upper end
    is that of a single one, since the candidate that is truly best would have to be unlucky too.

    Args:
        scores: (K,). Validation score of every candidate that was tried, not of the best alone:
            shares of right answers, which are accuracies, higher is better; four decimals do.
        n: Validation examples, the same for all.

    Raises:
        UsageError: A score is no share of so many examples, or there are none.

    Source: kiefer1956consistency, for the distribution; cawley2010over, for the fault.
    Checked against: coverage and bias on candidates whose true shares are known.
    """
    given = np.asarray(scores, dtype=np.float64).reshape(-1)
    if not len(given) or not ((given >= 0) & (given <= 1)).all() or n < 1:
        raise UsageError(
            "selection: `scores` must be shares from 0 to 1 on at least one example; got"
            f" {given[:3].tolist()} on {n}. Give 1 - error for error rates."
        )
    hits = np.rint(given * n).astype(np.int64)
    off = np.abs(hits / n - given)
    if off.max() > _ROUNDED:
        odd = float(given[off.argmax()])
        raise UsageError(
            f"selection: `scores` must be shares of {n} examples, k / {n}; got {odd}, which would"
            f" be {odd * n:.4g} of them. Give accuracies with four decimals or more, on as many"
            " examples; for other scores, as F1 and AUC, expected_maximum says what choosing adds."
        )
    best, count = int(hits.max()), len(hits)
    raw = best / n
    alone = wilson_interval(best, n)
    value = _mean_of_best(hits, n)
    interval = (wilson_interval(best, n, level=1 - 0.05 / count)[0], alone[1])
    raised: bool | None = None
    if value < alone[0]:
        raised = True
    elif raw - value <= (raw - alone[0]) / 2:
        raised = False
    starts = {
        True: "The best validation score is too high for having been chosen",
        False: "The choice has hardly raised the best validation score",
        None: "Insufficient evidence whether the choice has raised the best score beyond its noise",
    }
    return Selection(
        value=value,
        interval=(min(interval[0], value), interval[1]),
        control=raw,
        found=raised,
        conclusion=(
            f"{starts[raised]} ({percent(raw)} is the best of {count}, worth {percent(value)}, 95%"
            f" interval {percent(interval[0])} to {percent(interval[1])}; a single candidate"
            f" with that score has {percent(alone[0])} to {percent(alone[1])})."
        ),
        control_interval=alone,
        candidates=count,
        n=n,
        by_chance=expected_best(n, count, value) - value,
        bound=hoeffding_deviation(n, 0.05, count),
        scores=tuple(np.sort(given)[::-1][:_KEPT].tolist()),
    )


def expected_best(n: int, candidates: int, share: float) -> float:
    """Give the expected best score of candidates that are all equally good, and independent.

    Exact, by the distribution of the largest of K binomial counts. What lies above `share` is what
    choosing adds, and vanishes on new examples.

        Σ_{j < n} ( 1 - F(j)^candidates ) / n,  F the binomial distribution

    Args:
        n: Validation examples.
        candidates: How many the choice is among.
        share: Probability that a candidate is right about an example.

    Raises:
        UsageError: A number is out of its range.

    Reduces to: `share` for one candidate.
    Checked against: scipy.stats.binom; a simulation of a million candidates.
    """
    if n < 1 or candidates < 1 or not 0 <= share <= 1:
        raise UsageError(
            "expected_best: `share` must lie in [0, 1], with at least one example and candidate;"
            f" got {share}, {n} and {candidates}. Give an accuracy, not a percentage."
        )
    above = _binomial(np.arange(n + 1), n, np.array([share]))[:, 0][::-1].cumsum()[::-1][1:]
    with np.errstate(divide="ignore"):
        logs = candidates * np.log1p(-np.minimum(above, 1.0))
    return float(-np.expm1(logs).sum() / n)


def expected_maximum(candidates: int) -> float:
    """Give the expected largest of so many independent standard normal numbers.

    For scores that are means with a known standard error: choosing adds so many of them.

        ∫₀^∞ (1 - Φ(x)^K - Φ(-x)^K) dx

    Args:
        candidates: How many the choice is among.

    Raises:
        UsageError: There is no candidate.

    Reduces to: 0 for one candidate, 1/√π for two.
    Checked against: closed forms for two and three.
    """
    if candidates < 1:
        raise UsageError(
            f"expected_maximum: `candidates` must be at least 1; got {candidates}. Count all that"
            " were tried."
        )
    x = torch.linspace(0, 40, 40_001, dtype=torch.float64)
    below = torch.exp(candidates * torch.special.log_ndtr(x))
    rest = 1 - below - torch.exp(candidates * torch.special.log_ndtr(-x))
    return float(torch.trapezoid(rest, x))


def _mean_of_best(hits: NDArray[np.int64], n: int) -> float:
    """Give the mean of the true share of a candidate with the most hits, among all of them."""
    values, times = np.unique(hits, return_counts=True)
    if len(values) == 1:  # as for a single candidate: nothing tells them apart
        return float(values[0] / n)
    shares = _grid(values[0] / n, values[-1] / n, n)
    likelihood = _binomial(values, n, shares)
    likelihood /= likelihood.max(axis=1, keepdims=True)
    weights = np.full(len(shares), 1 / len(shares))
    often = times / len(hits)
    for _ in range(_ROUNDS):
        before = weights
        for _ in range(_PASSES):
            weights = weights * ((often / (likelihood @ weights)) @ likelihood)
        if np.abs(weights - before).max() < 1e-6 * _PASSES:
            break
    given = likelihood[-1] * weights  # of the largest count, which is the best
    return float(given @ shares / given.sum())


def _grid(low: float, high: float, n: int) -> Numbers:
    """Give true shares to choose from, half a standard error apart; that of the angle is 1/2√n."""
    first, last = (math.asin(math.sqrt(end)) for end in (low, high))
    points = min(_POINTS, 1 + math.ceil((last - first) * 4 * math.sqrt(n)))
    shares: Numbers = np.sin(np.linspace(first, last, points)) ** 2
    return shares


def _binomial(hits: NDArray[np.int64], n: int, shares: Numbers) -> Numbers:
    """Give the probability of each count of hits, down, for each true share, across."""
    j = torch.as_tensor(hits, dtype=torch.float64)[:, None]
    p = torch.as_tensor(shares, dtype=torch.float64)
    size = torch.tensor(float(n), dtype=torch.float64)
    log = torch.lgamma(size + 1) - torch.lgamma(j + 1) - torch.lgamma(size - j + 1)
    log = log + torch.xlogy(j, p) + torch.xlogy(size - j, 1 - p)
    found: Numbers = log.exp().numpy()
    return found
