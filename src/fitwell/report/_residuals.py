"""The lower half of the page of a regression: how far off it is, and where."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final

from ._examples import errors
from ._figures import histogram, scatter
from ._model_figures import quantiles
from ._numbers import count, plain, short
from ._records import Records, mapping, number, sequence
from ._templates import figure

_SQUARE: Final = (360, 330)
_SHARES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_DRAWN: Final = 1_000
"""Points in a scatter; more are only more ink, and a larger file."""


def residual_section(records: Records) -> dict[str, Any] | None:
    """Show predictions against truth and the residuals four ways; None if there are none.

    Args:
        records: Records of the run.
    """
    found = residual_pairs(records)
    if not found:
        return None
    rest = [guess - true for true, guess in found]
    ordered = sorted(rest)
    words = {0.0: "lowest", 0.5: "median", 1.0: "highest"}
    name = plain(mapping(records.run.get("schema")).get("target_name", "target"))
    return {
        "part": records.part,
        "count": count(len(found)),
        "figures": [*_scatters(found[:_DRAWN], name), *_spreads(rest)],
        "shares": [
            (words.get(share, f"{share:.0%}"), short(ordered[round(share * (len(ordered) - 1))]))
            for share in _SHARES
        ],
        "wrong": errors(records),
    }


def _scatters(pairs: Sequence[tuple[float, float]], name: str) -> list[dict[str, Any]]:
    targets, guesses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    against_true = scatter(
        targets,
        guesses,
        title=f"Predicted against true {name}",
        x_label=f"true {name}",
        y_label=f"predicted {name}",
        diagonal=True,
    )
    against_predicted = scatter(
        guesses,
        [guess - true for true, guess in pairs],
        title="Residual against predicted value",
        x_label=f"predicted {name}",
        y_label="predicted − true",
        level=0.0,
    )
    return [
        {
            "title": "Predicted against true",
            "svg": figure(against_true),
            "caption": "A perfect prediction lies on the dashed line.",
        },
        {
            "title": "Residual against predicted",
            "svg": figure(against_predicted),
            "caption": "A slope, a bend or a funnel is something the model has not learned.",
        },
    ]


def _spreads(rest: Sequence[float]) -> list[dict[str, Any]]:
    half = statistics.median(abs(value) for value in rest)
    mean = math.fsum(rest) / len(rest)
    counts = histogram(
        rest,
        title="Histogram of the residuals",
        x_label="predicted − true",
        bins=min(60, math.ceil(2 * len(rest) ** (1 / 3))),
        size=_SQUARE,
    )
    against_normal = quantiles(
        rest, title="Quantiles of the residuals against normal ones", y_label="predicted − true"
    )
    return [
        {
            "title": "Histogram of the residuals",
            "svg": figure(counts),
            "caption": f"Half of the predictions are within {short(half)};"
            f" the mean error is {short(mean)}.",
        },
        {
            "title": "Residuals against a normal distribution",
            "svg": figure(against_normal),
            "caption": "Ends that bend away from the line are more large errors than a normal"
            " distribution has.",
        },
    ]


def residual_pairs(records: Records) -> list[tuple[float, float]]:
    """Give the recorded pairs of truth and prediction that are finite numbers.

    Args:
        records: Records of the run.
    """
    points = mapping(records.evaluation.get("regression"))
    pairs = zip(sequence(points.get("target")), sequence(points.get("prediction")), strict=False)
    known = [(number(true), number(guess)) for true, guess in pairs]
    return [(true, guess) for true, guess in known if true is not None and guess is not None]
