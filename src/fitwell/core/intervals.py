"""Intervals for shares, such as an accuracy, and for means of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from .errors import UsageError


def wilson_interval(successes: float, count: float, *, level: float = 0.95) -> tuple[float, float]:
    """Give the range in which the true share lies, as far as so many tries can tell.

    Right for small counts and for shares near 0 and 1, where the usual plus-minus formula fails.

        (p + z²/2n ± z √( p(1 - p)/n + z²/4n² )) / (1 + z²/n),  p = successes / n

    Args:
        successes: How many tries succeeded.
        count: How many tries there were; 0 gives (0, 1).
        level: Probability with which the range covers the true share.

    Raises:
        UsageError: More successes than tries, or a level outside (0, 1).

    Source: wilson1927probable.
    Checked against: scipy.stats.binomtest(...).proportion_ci("wilson").
    """
    if not 0 <= successes <= count:
        raise UsageError(
            f"wilson_interval: `successes` must lie in 0 ... count; got {successes} of {count}."
            " Give successes first, then tries."
        )
    _check_level("wilson_interval", level)
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / count
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count)
    half *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Exact at the ends, where rounding could leave the range.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == count else min(1.0, center + half)
    return low, high


def corrected_t_interval(
    scores: Sequence[float], held_out_ratio: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Give the range of the mean score of trainings that share most of their rows.

    The folds of a cross-validation are not independent, since any two of them train on common
    rows; the plain standard error of their mean is too small. The correction adds the share of
    the held-out rows to the variance, which errs on the side of caution for disjoint folds.

        mean ± t · √( (1/n + held_out_ratio) s² ),  t the quantile at n - 1 degrees of freedom

    Args:
        scores: The score of each training; at least two.
        held_out_ratio: Rows held out over rows trained on; 1/(k - 1) for k folds.
        level: Probability with which the range covers the score of another such training.

    Raises:
        UsageError: Fewer than two scores, a ratio below 0, or a level outside (0, 1).

    Source: nadeau2003inference, section 3.
    Reduces to: Student's interval of a mean at `held_out_ratio=0`.
    Checked against: scipy.stats.t.interval with the corrected scale.
    """
    count = len(scores)
    if count < 2 or held_out_ratio < 0:
        raise UsageError(
            "corrected_t_interval: `scores` must be at least two, with a held-out ratio of 0 or"
            f" more; got {count} and {held_out_ratio}. Use more folds."
        )
    _check_level("corrected_t_interval", level)
    mean = math.fsum(scores) / count
    variance = math.fsum((score - mean) ** 2 for score in scores) / (count - 1)
    half = t_quantile((1 + level) / 2, count - 1)
    half *= math.sqrt((1 / count + held_out_ratio) * variance)
    return mean - half, mean + half


def slope_interval(
    x: Sequence[float], y: Sequence[float], *, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Give the slope of the straight line through some points, and its interval.

        slope = Σ (xᵢ - x̄)(yᵢ - ȳ) / S,  S = Σ (xᵢ - x̄)²
        slope ± t · √( rest / (n - 2) / S ),  t the quantile at n - 2 degrees of freedom

    Two points leave no scatter to judge by: their interval has no ends.

    Args:
        x: Places; not all the same.
        y: Values there, whose scatter around the line is normal and everywhere the same.
        level: Probability with which the range covers the slope.

    Raises:
        UsageError: Fewer than two places, not as many values, or a level outside (0, 1).

    Checked against: scipy.stats.linregress.
    """
    if len(x) != len(y) or len(set(x)) < 2:
        raise UsageError(
            "slope_interval: `x` must be at least two places, with a value each in `y`; got"
            f" {len(set(x))} places of {len(x)} and {len(y)} values. Use more points."
        )
    _check_level("slope_interval", level)
    count = len(x)
    center, mean = math.fsum(x) / count, math.fsum(y) / count
    spread = math.fsum((a - center) ** 2 for a in x)
    slope = math.fsum((a - center) * (b - mean) for a, b in zip(x, y, strict=True)) / spread
    if count < 3:
        return slope, (-math.inf, math.inf)
    rest = math.fsum((b - mean - slope * (a - center)) ** 2 for a, b in zip(x, y, strict=True))
    half = t_quantile((1 + level) / 2, count - 2) * math.sqrt(rest / (count - 2) / spread)
    return slope, (slope - half, slope + half)


def t_quantile(share: float, freedom: int) -> float:
    """Give the point below which this share of Student's t distribution lies.

    Args:
        share: In (0.5, 1).
        freedom: Degrees of freedom, a whole number of at least 1.

    Checked against: scipy.stats.t.ppf.
    """
    low, high = 0.0, math.pi / 2  # of the angle atan(t / √freedom)
    for _ in range(80):
        angle = (low + high) / 2
        low, high = (angle, high) if (1 + _t_middle(angle, freedom)) / 2 < share else (low, angle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _t_middle(angle: float, freedom: int) -> float:
    """Give the share between -t and t, a finite sum for whole degrees of freedom."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = total = (cosine if odd else 1.0) if freedom > 1 else 0.0
    for power in range(3 if odd else 2, freedom - 1, 2):
        term *= (power - 1) / power * cosine * cosine
        total += term
    return (2 / math.pi) * (angle + sine * total) if odd else sine * total


def _check_level(owner: str, level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(
            f"{owner}: `level` must lie in (0, 1); got {level}. Use a share such as 0.95."
        )
