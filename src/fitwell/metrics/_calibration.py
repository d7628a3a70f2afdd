"""Whether a classifier's confidence can be believed: of answers given with 80%, are 80% right?

Axes: N examples, K classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, final

from torch import Tensor

from ..core.errors import UsageError

_SUM = 1e-3
"""How far the probabilities of an example may be from adding up to 1; half precision needs it."""


@final
@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """The answers whose confidence lies between two bounds.

    Args:
        low: Lower bound, outside unless it is 0.
        high: Upper bound, inside.
        count: Number of answers.
        correct: How many of them are right.
        confidence: Their mean confidence; None if there are none.
        accuracy: The share that is right; None if there are none.
    """

    low: float
    high: float
    count: int
    correct: int
    confidence: float | None
    accuracy: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far confidence and accuracy are apart.

    Args:
        count: Number of answers.
        confidence: Mean confidence of all answers.
        accuracy: Share of them that is right.
        ece: Expected calibration error.
        ece_interval: Where the error lies that more examples of the kind would show.
        bins: The answers by confidence.
    """

    count: int
    confidence: float
    accuracy: float
    ece: float
    ece_interval: tuple[float, float]
    bins: tuple[CalibrationBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        return asdict(self)


def calibration(
    probs: Tensor, targets: Tensor, *, bins: int = 15, level: float = 0.95
) -> Calibration:
    """Measure how far a classifier's confidence is from the share of its answers that is right.

    The confidence of an answer is the probability of its class, the largest of all. Answers are
    put into bins of equal width by it, each without its lower bound and with its upper one.

        ECE = Σₘ (nₘ / n) |accuracyₘ - confidenceₘ|

    Even a perfectly calibrated model has an ECE above 0 on finitely many examples, as each bin's
    accuracy is off by chance, by ``sₘ = √(p(1 - p) / nₘ)`` with the smoothed share
    ``p = (correctₘ + 2) / (nₘ + 4)``. Summed over bins, chance hardly exceeds

        c = √(2/π) Σ wₘ sₘ + z √( (1 - 2/π) Σ (wₘ sₘ)² ),   wₘ = nₘ / n

    and by the triangle inequality the true value lies within ``ECE - c`` and ``ECE + c``, with
    about the stated probability or more. An interval that begins at 0 means that no
    miscalibration was shown. Compare models by their log loss: the ECE of a model that always
    answers with the shares of the classes is 0.

    Args:
        probs: Probability of each class.
        targets: Right classes.
        bins: Number of bins.
        level: Probability with which the interval covers the true value.

    Shapes:
        probs: (N, K)
        targets: (N,)

    Raises:
        UsageError: Shapes differ, there are no examples, or `probs` are no probabilities.

    Source: guo2017calibration, equations 1 to 3; the interval is our own.
    Checked against: a loop over examples; coverage counted on simulated models.
    """
    _check(probs, targets, bins, level)
    confidence, answers = probs.detach().double().cpu().max(dim=1)
    hits = (answers == targets.cpu()).double()
    places = (confidence.clamp(max=1) * bins).ceil().long().clamp(1, bins) - 1
    counts = places.bincount(minlength=bins).tolist()
    correct = places.bincount(hits, minlength=bins).tolist()
    sums = places.bincount(confidence, minlength=bins).tolist()
    total = len(confidence)
    ece = math.fsum(abs(c - s) for c, s in zip(correct, sums, strict=True)) / total
    chance = _chance([int(c) for c in correct], counts, NormalDist().inv_cdf((1 + level) / 2))
    return Calibration(
        count=total,
        confidence=float(confidence.mean()),
        accuracy=float(hits.mean()),
        ece=ece,
        ece_interval=(max(0.0, ece - chance), min(1.0, ece + chance)),
        bins=tuple(
            CalibrationBin(
                low=place / bins,
                high=(place + 1) / bins,
                count=count,
                correct=int(correct[place]),
                confidence=sums[place] / count if count else None,
                accuracy=correct[place] / count if count else None,
            )
            for place, count in enumerate(counts)
        ),
    )


def _chance(correct: list[int], counts: list[int], z: float) -> float:
    """Give what the errors of the bins' accuracies, weighted and added, hardly exceed."""
    spreads = []
    for hits, count in zip(correct, counts, strict=True):
        share = (hits + 2) / (count + 4)
        spreads.append(math.sqrt(share * (1 - share) * count))
    mean = math.sqrt(2 / math.pi) * math.fsum(spreads)
    spread = math.sqrt((1 - 2 / math.pi) * math.fsum(s * s for s in spreads))
    return (mean + z * spread) / sum(counts)


def _check(probs: Tensor, targets: Tensor, bins: int, level: float) -> None:
    if probs.ndim != 2 or targets.shape != probs.shape[:1] or not len(probs):
        raise UsageError(
            "calibration: `probs` and `targets` must have shapes (N, K) and (N,), N at least 1;"
            f" got {tuple(probs.shape)} and {tuple(targets.shape)}. Give a row per example."
        )
    off = float((probs.detach().double().sum(dim=1) - 1).abs().max())
    if not (off <= _SUM and float(probs.min()) >= 0):
        raise UsageError(
            "calibration: `probs` must be probabilities that add up to 1; got rows that are off by"
            f" up to {off:.3g}, lowest value {float(probs.min()):.3g}. Apply softmax to logits."
        )
    if bins < 1 or not 0 < level < 1:
        raise UsageError(
            "calibration: `bins` must be at least 1 and `level` in (0, 1); got"
            f" {bins} and {level}. Use 15 and 0.95."
        )
