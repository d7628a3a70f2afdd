"""Losses that fall with the number of examples as a power, fitted and continued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from ...core.errors import UsageError
from .._result import Interval
from .._rows import Floats

_POWERS: Final = np.geomspace(0.02, 3.0, 60)
_RESAMPLES: Final = 400
_FREE: Final = 3


@final
@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """A loss that falls with the number of examples: ``a + b n^-c``.

    Args:
        a: What is left with any number of examples; at least 0.
        b: What one example leaves on top of it; at least 0.
        c: How fast it falls; between 0.02 and 3.
        sizes: Numbers of examples that were fitted.
        losses: Their losses.
    """

    a: float
    b: float
    c: float
    sizes: tuple[float, ...]
    losses: tuple[float, ...]

    def at(self, size: float) -> float:
        """Give the loss for a number of examples.

        Args:
            size: The number.
        """
        return float(self.a + self.b * size**-self.c)

    def interval(self, size: float, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Give where the loss of one more training of that size will lie.

        That is for other seeds and parts of these data; other data from the same source may differ
        by more.

        Residuals, widened for the three numbers that were fitted, are dealt anew to the fitted
        curve, and the fit repeated; another residual is added to what it says.

        Args:
            size: Number of examples.
            level: Probability with which the loss lies within, if the law holds.
            seed: Of the draws.
        """
        sizes, losses = np.array(self.sizes), np.array(self.losses)
        fitted = self.a + self.b * sizes**-self.c
        residuals = (losses - fitted) * np.sqrt(len(losses) / max(len(losses) - _FREE, 1))
        random = np.random.default_rng(seed)
        drawn = random.choice(residuals, size=(_RESAMPLES, len(losses)))
        a, b, c = _fitted(sizes, fitted + drawn)
        said = a + b * size**-c + random.choice(residuals, size=_RESAMPLES)
        low, high = np.quantile(said, [(1 - level) / 2, (1 + level) / 2])
        return min(float(low), self.at(size)), max(float(high), self.at(size))


def fit_power_law(sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """Fit ``a + b n^-c`` to losses by least squares, a and b at least 0.

    For each power c of a fine grid, a and b follow in closed form; the best c is refined.

    Args:
        sizes: Numbers of examples; the same number may come several times.
        losses: Of one training each.

    Raises:
        UsageError: Fewer than four trainings or three sizes, or a loss that is negative or not
            finite.

    Source: hestness2017deep.
    Checked against: curves made from the law; SciPy, ``curve_fit`` with the same bounds.
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if n.shape != y.shape or len(n) < 4 or len(np.unique(n)) < 3:
        raise UsageError(
            "fit_power_law: `sizes` and `losses` must be of at least four trainings and three"
            f" sizes; got {len(n)} sizes and {len(y)} losses. Train on more sizes."
        )
    if not np.isfinite(y).all() or n.min() <= 0 or y.min() < 0:
        raise UsageError(
            "fit_power_law: `losses` must be finite and not negative, `sizes` positive; got"
            f" {y} for {n}. The law falls towards a loss that is at least 0: fit another measure."
        )
    a, b, c = _fitted(n, y[None])
    return PowerLaw(
        a=float(a[0]),
        b=float(b[0]),
        c=float(c[0]),
        sizes=tuple(n.tolist()),
        losses=tuple(y.tolist()),
    )


def _fitted(n: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit many curves over the same sizes; (R, N) losses."""
    best = _best(n, y, np.broadcast_to(_POWERS, (len(y), len(_POWERS))))
    step = _POWERS[1] / _POWERS[0]
    for _ in range(3):
        around = best[2][:, None] * np.geomspace(1 / step, step, 21)
        best = _best(n, y, np.clip(around, _POWERS[0], _POWERS[-1]))
        step = step**0.1
    return best


def _best(n: Floats, y: Floats, powers: Floats) -> tuple[Floats, Floats, Floats]:
    """Give the best of some powers for each curve; (R, P) powers."""
    scale = np.exp(np.log(n).mean())
    x = (n / scale)[None, None] ** -powers[:, :, None]  # (R, P, N)
    target = y[:, None]
    mean_x, mean_y = x.mean(axis=2), target.mean(axis=2)
    spread = ((x - mean_x[..., None]) ** 2).mean(axis=2)
    together = ((x - mean_x[..., None]) * (target - mean_y[..., None])).mean(axis=2)
    b = np.maximum(together / np.maximum(spread, 1e-300), 0.0)
    a = mean_y - b * mean_x
    through = (x * target).mean(axis=2) / (x * x).mean(axis=2)  # with a = 0
    b = np.where(a < 0, np.maximum(through, 0.0), b)
    a = np.maximum(a, 0.0)
    error = ((a[..., None] + b[..., None] * x - target) ** 2).sum(axis=2)
    row, place = np.arange(len(y)), error.argmin(axis=1)
    c = powers[row, place]
    return a[row, place], b[row, place] * scale**c, c
