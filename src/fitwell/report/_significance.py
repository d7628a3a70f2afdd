"""What chance may explain: intervals and paired tests that the pages state.

Everything is exact or seeded, so the same records give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

Z95: Final = 1.959963984540054
"""97.5% point of the normal distribution: half-width of a 95% interval in standard errors."""

_RESAMPLES: Final = 2_000
_MOST_DRAWS: Final = 40_000_000
"""Examples drawn by one bootstrap at most, some seconds' worth; fewer resamples beyond it."""
_CHUNK: Final = 1_000_000
_EXACT: Final = 25
"""Differences up to which all their signs are counted."""


def rmse_interval(residuals: Sequence[float]) -> tuple[float, float]:
    """Give a 95% interval of the root mean squared error, from the spread of squared residuals.

    The normal interval of the mean square, then its root; rough below some thirty residuals.

    Args:
        residuals: Prediction minus target, at least two.
    """
    squares = [value * value for value in residuals]
    mean = math.fsum(squares) / len(squares)
    variance = math.fsum((value - mean) ** 2 for value in squares) / (len(squares) - 1)
    half = Z95 * math.sqrt(variance / len(squares))
    return math.sqrt(max(0.0, mean - half)), math.sqrt(mean + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Give the exact two-sided p-value that two classifiers err equally often on the same examples.

        p = min(1, 2 · P(X ≤ min(b, c))),  X binomial with b + c tries of chance 1/2

    Args:
        only_first: Examples that only the first classifier gets right (b).
        only_second: Examples that only the second classifier gets right (c).

    Source: mcnemar1947note, in the exact binomial form.
    Checked against: SciPy, ``binomtest(b, b + c)``.
    """
    tries, fewer = only_first + only_second, min(only_first, only_second)
    total = math.lgamma(tries + 1) - tries * math.log(2)
    terms = (
        math.exp(total - math.lgamma(hits + 1) - math.lgamma(tries - hits + 1))
        for hits in range(fewer + 1)
    )
    return min(1.0, 2 * math.fsum(terms))


def signed_rank(differences: Sequence[float]) -> float:
    """Give the two-sided p-value that differences of pairs lie symmetrically about 0.

    The test of two regression models on the same examples, with their squared errors: it looks at
    ranks, so a single huge error does not decide it. Zeros are left out, equal sizes share their
    mean rank. Up to 25 differences all signs that they could have are counted, so the value is
    exact; beyond, the normal limit is used.

        z = (W - n(n + 1)/4) / √( n(n + 1)(2n + 1)/24 - Σ(t³ - t)/48 ),  W = Σ ranks of positives

    with t the number of equal sizes in each group of them.

    Args:
        differences: One per pair.

    Source: wilcoxon1945individual.
    Checked against: SciPy, ``wilcoxon(..., method="asymptotic")``; the mean over all signs, one
        by one, of few differences.
    """
    import numpy as np

    found = np.asarray(differences, dtype=np.float64)
    found = found[found != 0]
    n = len(found)
    if n == 0:
        return 1.0
    _, places, sizes = np.unique(np.abs(found), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[places]
    surplus = float(ranks[found > 0].sum()) - n * (n + 1) / 4
    if n <= _EXACT:
        return _share_as_far(np.rint(2 * ranks).astype(np.int64), 2 * surplus)
    ties = sizes.astype(np.float64)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    return math.erfc(abs(surplus) / math.sqrt(2 * variance))


def _share_as_far(sizes: Any, surplus: float) -> float:
    """Give the share of all choices of sizes whose sum lies as far from its middle as one does."""
    import numpy as np

    total = int(sizes.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1
    for size in sizes:
        ways[size:] += ways[: total + 1 - size].copy()
    far = np.abs(np.arange(total + 1) - total / 2) >= abs(surplus) - 1e-9
    return float(ways[far].sum() / ways.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Raise p-values of a family of tests so that the chance of any false alarm stays as stated.

    Args:
        p_values: One value per test.

    Source: holm1979simple.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def accuracy_difference(only_first: int, only_second: int, examples: int) -> tuple[float, float]:
    """Give a 95% interval of first minus second accuracy, by bootstrap of the paired examples.

    To draw examples with replacement is to draw how many of them only one model gets right. The
    interval is the percentile one; it is rough if the models differ on fewer than ten examples.

    Args:
        only_first: Examples that only the first classifier gets right.
        only_second: Examples that only the second classifier gets right.
        examples: All examples.

    Source: efron1979bootstrap.
    Checked against: the normal interval of a paired difference of shares, for many examples.
    """
    import numpy as np

    shares = np.array([only_first, only_second, examples - only_first - only_second]) / examples
    drawn = np.random.default_rng(0).multinomial(examples, shares, size=10_000)
    return _middle((drawn[:, 0] - drawn[:, 1]) / examples)


def rmse_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Give a 95% interval of first minus second RMSE, by bootstrap of the paired examples.

    Args:
        first: Squared errors of the first model.
        second: Squared errors of the second model, on the same examples.

    Source: efron1979bootstrap, percentile interval.
    Checked against: SciPy, ``bootstrap(..., paired=True)``.
    """
    import numpy as np

    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)

    def difference(rows: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
        return np.sqrt(one[rows].mean(axis=1)) - np.sqrt(two[rows].mean(axis=1))

    return _bootstrap(difference, len(one))


def _bootstrap(statistic: Callable[[Any], Any], size: int) -> tuple[float, float]:
    """Draw rows with replacement, a bounded number of them at a time."""
    import numpy as np

    random = np.random.default_rng(0)
    left = max(200, min(_RESAMPLES, _MOST_DRAWS // size))
    most = max(1, _CHUNK // size)
    found = []
    while left > 0:
        found.append(statistic(random.integers(size, size=(min(left, most), size))))
        left -= most
    return _middle(np.concatenate(found))


def _middle(values: Any, level: float = 0.95) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def normal_quantiles(count: int) -> list[float]:
    """Give where so many values of a standard normal distribution lie, ascending.

        Φ⁻¹((i - 3/8) / (n + 1/4)),  i = 1 … n

    Args:
        count: Number of values.

    Source: blom1958statistical.
    Checked against: means of sorted normal draws.
    """
    normal = NormalDist()
    return [normal.inv_cdf((place + 0.625) / (count + 0.25)) for place in range(count)]
