"""Intervals for shares, such as an accuracy."""

from __future__ import annotations

import math
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
    if not 0 < level < 1:
        raise UsageError(
            f"wilson_interval: `level` must lie in (0, 1); got {level}. Use a share such as 0.95."
        )
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
