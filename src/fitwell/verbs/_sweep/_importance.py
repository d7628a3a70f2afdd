"""Which setting mattered: a forest learns the metric from the settings, and is taken apart.

The share of a setting is the variance of the forest's mean answer over that setting alone, over
the variance of its answers: a main effect. What is left are settings that matter together.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._methods import Sobol
from ._rows import Row
from ._space import Choice, Dimension, Space

FEWEST: Final = 8
"""Members with a score, below which nothing is said."""

_TREES, _BACKGROUND, _PLACES = 200, 256, 16
_INACTIVE: Final = -1.0
"""Stands for a dimension that does not matter for a member; shares lie between 0 and 1."""


def importance_of(space: Space, rows: Sequence[Row], metric: str, mode: str) -> dict[str, Any]:
    """Give the share of each setting in how the metric varies, and its mean along the setting.

    Args:
        space: What was chosen from.
        rows: Of the members; those without a score count as the worst there is.
        metric: Its name, for the words.
        mode: Whether ``min`` or ``max`` of it is best.

    Returns:
        ``shares`` by dimension, largest first; ``together`` for what they do together;
        ``explained``, the share of the variance that the forest predicts for members it has not
        seen; ``effects``, places and mean metric by dimension. Empty for fewer than 8 members with
        a score, or where all scores are the same.

    Source: hutter2014efficient; breiman2001random.
    Differs: marginals are means over Sobol points of the space, not over boxes of the trees.
    Checked against: an additive function, whose shares are known.
    """
    known = [row.valid for row in rows if row.valid is not None]
    if len(known) < FEWEST or len(set(known)) < 2 or not space.dimensions:
        return {}
    from sklearn.ensemble import RandomForestRegressor

    worst = max(known) if mode == "min" else min(known)
    scores = [worst if row.valid is None else row.valid for row in rows]
    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=2, oob_score=True, random_state=0, max_features=None
    )
    forest.fit([encoded(space, row.values) for row in rows], scores)
    return {
        "metric": metric,
        "members": len(rows),
        "explained": max(0.0, float(forest.oob_score_)),
        **taken_apart(space, forest.predict),
    }


def taken_apart(space: Space, predict: Any) -> dict[str, Any]:
    """Give the main effect of each dimension on a function of the space.

    Args:
        space: What it is a function of.
        predict: Gives the values at encoded points.
    """
    rows = [encoded(space, point.values) for point in Sobol().points(space, _BACKGROUND)]
    base = [float(value) for value in predict(rows)]
    whole = statistics.pvariance(base)
    shares: dict[str, float] = {}
    effects: dict[str, Any] = {}
    for place, dimension in enumerate(space.dimensions):
        active = [row for row in rows if row[place] != _INACTIVE]
        if not active or whole <= 0:
            continue
        at = _places(dimension)
        changed = [[*row[:place], share, *row[place + 1 :]] for share in at for row in active]
        answers = [float(value) for value in predict(changed)]
        means = [
            statistics.fmean(answers[k * len(active) : (k + 1) * len(active)])
            for k in range(len(at))
        ]
        shares[dimension.name] = len(active) / len(rows) * statistics.pvariance(means) / whole
        effects[dimension.name] = {
            "at": [_value(dimension, share) for share in at],
            "mean": means,
        }
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return {
        "shares": ordered,
        "together": max(0.0, 1.0 - math.fsum(shares.values())),
        "effects": {name: effects[name] for name in ordered},
    }


def encoded(space: Space, values: Mapping[str, Any]) -> list[float]:
    """Give a member's settings as numbers: where in its range each lies, from 0 to 1.

    Args:
        space: What was chosen from.
        values: What was chosen, by the name of the dimension.
    """
    return [
        _share(dimension, values[dimension.name]) if dimension.name in values else _INACTIVE
        for dimension in space.dimensions
    ]


def _share(dimension: Dimension, value: Any) -> float:
    if isinstance(dimension, Choice):
        return dimension.labels.index(value) / max(1, len(dimension.labels) - 1)
    if dimension.log:
        return math.log(value / dimension.low) / math.log(dimension.high / dimension.low)
    return float((value - dimension.low) / (dimension.high - dimension.low))


def _places(dimension: Dimension) -> list[float]:
    if isinstance(dimension, Choice):
        return [_share(dimension, label) for label in dimension.labels]
    return [(place + 0.5) / _PLACES for place in range(_PLACES)]


def _value(dimension: Dimension, share: float) -> Any:
    if isinstance(dimension, Choice):
        return dimension.labels[round(share * max(1, len(dimension.labels) - 1))]
    return dimension.at(share)
