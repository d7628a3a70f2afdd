"""What chance may explain: exact paired tests of two models, and the interval of an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Final

Z95: Final = 1.959963984540054
"""97.5% point of the normal distribution: half-width of a 95% interval in standard errors."""

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
    found = sorted((value for value in differences if value != 0), key=abs)
    n, place, positives, ties = len(found), 0, 0.0, 0
    if n == 0:
        return 1.0
    ranks: list[float] = []
    for _, same in groupby(found, key=abs):
        group = list(same)
        t, rank = len(group), place + (len(group) + 1) / 2
        ranks += [rank] * t
        positives += rank * sum(value > 0 for value in group)
        ties, place = ties + t**3 - t, place + t
    surplus = positives - n * (n + 1) / 4
    if n <= _EXACT:
        return _share_as_far([round(2 * rank) for rank in ranks], 2 * surplus)
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    return math.erfc(abs(surplus) / math.sqrt(2 * variance))


def _share_as_far(sizes: Sequence[int], surplus: float) -> float:
    """Give the share of all choices of sizes whose sum lies as far from its middle as one does."""
    total = sum(sizes)
    ways = [1] + [0] * total
    for size in sizes:
        for reached in range(total, size - 1, -1):
            ways[reached] += ways[reached - size]
    limit = abs(surplus) - 1e-9
    far = sum(count for reached, count in enumerate(ways) if abs(reached - total / 2) >= limit)
    return far / sum(ways)


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
