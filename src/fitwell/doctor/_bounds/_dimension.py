"""The same for infinitely many hypotheses, which label a finite sample in finitely many ways.

N examples, F features.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.errors import UsageError
from ._hoeffding import log_failure


def growth_function(n: int, vc_dimension: int) -> int:
    """Give the most ways in which hypotheses of such a dimension can label so many examples.

    All 2ⁿ up to the dimension, then a polynomial of that degree, so that infinitely many hypotheses
    count as few. Linear classifiers reach somewhat less; `linear_dichotomies` has their number.

        Σ_{i ≤ vc_dimension} C(n, i)

    Args:
        n: Examples.
        vc_dimension: Largest number of examples that can be labelled in all ways.

    Raises:
        UsageError: A number is out of its range.

    Source: sauer1972density, theorem 1.
    Checked against: intervals and thresholds, which reach it, by enumeration.
    """
    _check("growth_function", n, vc_dimension)
    return sum(math.comb(n, i) for i in range(min(n, vc_dimension) + 1))


def linear_dichotomies(n: int, features: int) -> int:
    """Give the number of ways in which hyperplanes separate so many points in two.

    The points are in general position: no more than F of them in a hyperplane. All 2ⁿ ways up to
    F + 1 points, which is the dimension of linear classifiers with a bias; half of all ways at
    2 (F + 1).

        2 Σ_{i ≤ features} C(n - 1, i)

    Args:
        n: Points.
        features: Numbers of a point.

    Raises:
        UsageError: A number is out of its range.

    Source: cover1965geometrical, theorem 1.
    Checked against: linear programs for every labelling of random points.
    """
    _check("linear_dichotomies", n, features)
    return 2 * sum(math.comb(n - 1, i) for i in range(min(n - 1, features) + 1))


def vc_bound(n: int, epsilon: float, vc_dimension: int) -> float:
    """Bound the probability that a sample is bad, for infinitely many classifiers.

    As `hoeffding_bound`, for the share of wrong classes. The second sample of the proof doubles the
    examples that are labelled. It is looser by far: where the choice is among few, count them.

        P(bad) ≤ 4 · growth(2n) · exp(-n epsilon² / 8)

    Args:
        n: Examples, drawn independently.
        epsilon: Difference of the share of errors on the sample and on all data that is still good.
        vc_dimension: Largest number of examples that can be labelled in all ways; features + 1 for
            linear classifiers with a bias.

    Raises:
        UsageError: A number is out of its range.

    Source: vapnik1971uniform, theorem 2; abumostafa2012learning, theorem 2.5.
    Differs: the sum of binomial coefficients, not the larger (2n)^vc_dimension + 1.
    Checked against: the formula in whole numbers; enumeration for thresholds.
    """
    _check("vc_bound", n, vc_dimension)
    if not 0 < epsilon < math.inf:
        raise UsageError(f"vc_bound: `epsilon` must be above 0; got {epsilon}. Use 0.1.")
    log = _log_constant(n, vc_dimension) - n * epsilon**2 / 8
    return math.exp(log) if log < 709 else math.inf


def vc_deviation(n: int, failure: float, vc_dimension: int) -> float:
    """Give the difference of error rates that is not exceeded, but for a probability of `failure`.

    `vc_bound`, solved for `epsilon`. At 1 or more it says nothing.

        √( 8/n · ln(4 · growth(2n) / failure) )

    Args:
        n: Examples.
        failure: Probability that it does not hold.
        vc_dimension: As for `vc_bound`.

    Raises:
        UsageError: A number is out of its range.

    Source: abumostafa2012learning, equation 2.12.
    Checked against: `vc_bound`, which gives `failure` back.
    """
    _check("vc_deviation", n, vc_dimension)
    log = _log_constant(n, vc_dimension) - log_failure("vc_deviation", failure)
    return math.sqrt(8 / n * log)


def vc_sample_size(epsilon: float, failure: float, vc_dimension: int) -> int:
    """Give how many examples make a bad sample as improbable as `failure`.

    `vc_bound`, solved for `n`. A rule of thumb is ten examples for each dimension; the bound asks
    for far more, since it holds for every distribution.

    Args:
        epsilon: Difference of the share of errors on the sample and on all data that is still good.
        failure: Probability of a bad sample.
        vc_dimension: As for `vc_bound`.

    Raises:
        UsageError: A number is out of its range.

    Source: abumostafa2012learning, section 2.2.1.
    Checked against: `vc_bound` at the size and at one less.
    """
    owner = "vc_sample_size"
    _check(owner, 1, vc_dimension)
    if not 0 < epsilon < math.inf:
        raise UsageError(f"{owner}: `epsilon` must be above 0; got {epsilon}. Use 0.1.")
    wanted = log_failure(owner, failure)

    def enough(n: int) -> bool:
        return _log_constant(n, vc_dimension) - n * epsilon**2 / 8 <= wanted

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2  # too few, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _log_constant(n: int, vc_dimension: int) -> float:
    """Give ln(4 growth(2n)) without numbers as large."""
    rows = 2 * n
    if vc_dimension >= rows:
        return math.log(4) + rows * math.log(2)
    i = np.arange(1, vc_dimension + 1, dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log((rows - i + 1) / i))])
    top = float(logs.max())
    return math.log(4) + top + math.log(float(np.exp(logs - top).sum()))


def _check(owner: str, n: int, dimension: int) -> None:
    if n < 1 or dimension < 1:
        raise UsageError(
            f"{owner}: the number of examples and the dimension must be at least 1; got {n} and"
            f" {dimension}. Count them."
        )
