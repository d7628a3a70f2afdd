"""What chance may explain: intervals by bootstrap that the pages state, and normal quantiles.

Everything is exact or seeded, so the same records give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

_RESAMPLES: Final = 2_000
_MOST_DRAWS: Final = 40_000_000
"""Examples drawn by one bootstrap at most, some seconds' worth; fewer resamples beyond it."""
_CHUNK: Final = 1_000_000


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
