"""Sets of classes that hold the right one as often as promised, by split conformal prediction.

A classifier's way to say "I don't know": a set of several classes, or of none.

Axes: N examples, K classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final, Literal, final, get_args

import torch
from torch import Tensor

from ..core.errors import UsageError
from ..core.intervals import wilson_interval

Score = Literal["lac", "aps"]
"""What makes a class strange for an example: its own probability, or all that is above it."""

_SUM: Final = 1e-3
"""How far the probabilities of an example may be from adding up to 1; half precision needs it."""


@final
@dataclass(frozen=True, kw_only=True)
class Conformal:
    """A rule that turns probabilities into sets of classes.

    Args:
        score: How strange a class is.
        alpha: Share of examples whose set may miss the right class.
        count: Examples that the rule is from.
        threshold: Scores up to it are in the set; infinite if there were too few examples, so
            that only sets of all classes keep the promise.
    """

    score: Score
    alpha: float
    count: int
    threshold: float

    @classmethod
    def from_scores(cls, scores: Tensor, *, alpha: float = 0.1, score: Score = "lac") -> Conformal:
        """Make the rule from the scores of right classes, for any alpha.

        Args:
            scores: What `conformal_scores` gave, in any order.
            alpha: Share of examples whose set may miss the right class.
            score: The kind of the scores.

        Raises:
            UsageError: `alpha` is not in (0, 1), or there are no scores.
        """
        if not 0 < alpha < 1:
            raise UsageError(
                f"conformal: `alpha` must lie in (0, 1); got {alpha}. Use 0.1 for sets that hold"
                " the right class 9 times of 10."
            )
        count = scores.numel()
        if not count:
            raise UsageError("conformal: `scores` must hold at least one number; got none.")
        # As written: 0.9 of 30 is 27, and not the next larger number in binary.
        place = math.ceil((count + 1) * (1 - Fraction(str(float(alpha)))))
        ordered = scores.detach().cpu().double().flatten().sort().values
        threshold = float(ordered[place - 1]) if place <= count else math.inf
        return cls(score=score, alpha=float(alpha), count=count, threshold=threshold)

    @property
    def enough(self) -> bool:
        """Whether there were enough examples for sets smaller than all classes."""
        return self.threshold < math.inf

    def sets(self, probs: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Say which classes are in the set of each example; boolean, (N, K).

        Args:
            probs: Probability of each class; (N, K).
            generator: Of the random part of ``aps``; fresh with seed 1 if left out, as another
                one was used for the threshold.
        """
        _check_probs(probs)
        return _scores(probs, self.score, generator or _seeded(1)) <= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON; an infinite threshold is None."""
        return {**asdict(self), "threshold": self.threshold if self.enough else None}


@final
@dataclass(frozen=True, kw_only=True)
class SetScore:
    """How sets of classes do on examples whose right class is known.

    Args:
        count: Number of sets.
        covered: How many hold the right class.
        coverage: The share of them that does.
        coverage_interval: Its 95% interval.
        mean_size: Classes per set.
        empty: Share of sets without any class.
        several: Share of sets with more than one.
        sure_accuracy: Share of the sets of one class that hold the right one; None without any.
    """

    count: int
    covered: int
    coverage: float
    coverage_interval: tuple[float, float]
    mean_size: float
    empty: float
    several: float
    sure_accuracy: float | None

    @property
    def abstained(self) -> float:
        """The share without an answer: sets that are not one class."""
        return self.empty + self.several

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        return {**asdict(self), "abstained": self.abstained}


def conformal(
    probs: Tensor, targets: Tensor, *, alpha: float = 0.1, score: Score = "lac", seed: int = 0
) -> Conformal:
    """Find how strange a class may be to stay in a set that holds the right one as promised.

    The sets of new examples hold the right class with probability ``1 - alpha`` or more, whatever
    the model and its mistakes, if new examples are drawn like these and the model has not seen
    them: on average over all examples, not for each class, nor for each kind of example. A poor
    model shows in large sets.

        s_i = score of the right class of example i
        threshold = s₍ₖ₎, the k-th smallest,  k = ⌈(n + 1)(1 - alpha)⌉
        set = { c : score of c ≤ threshold }

    ``lac`` scores a class by ``1 - p``: the smallest sets on average, some of them empty. ``aps``
    scores it by the probabilities above it and a random share of its own: larger sets, which cover
    easy and hard examples alike as far as the probabilities are right. With fewer than
    ``1/alpha - 1`` examples, k is above n and every set holds all classes.

    Args:
        probs: Probability of each class, on examples kept for this.
        targets: Right classes.
        alpha: Share of examples whose set may miss the right class.
        score: How strange a class is.
        seed: Of the random part of ``aps``.

    Shapes:
        probs: (N, K)
        targets: (N,)

    Raises:
        UsageError: Shapes differ, `probs` are no probabilities, or `alpha` is not in (0, 1).

    Source: vovk2005algorithmic, section 2.2; ``lac`` is sadinle2019least, ``aps`` is
        romano2020classification, section 2.
    Checked against: the exact quantile by counting; coverage counted on simulated examples.
    """
    scores = conformal_scores(probs, targets, score=score, seed=seed)
    return Conformal.from_scores(scores, alpha=alpha, score=score)


def conformal_scores(
    probs: Tensor, targets: Tensor, *, score: Score = "lac", seed: int = 0
) -> Tensor:
    """Give how strange the right class of each example is: all that `conformal` keeps of them.

    Args:
        probs: Probability of each class.
        targets: Right classes.
        score: How strange a class is.
        seed: Of the random part of ``aps``.

    Shapes:
        probs: (N, K)
        targets: (N,)

    Raises:
        UsageError: Shapes differ, or `probs` are no probabilities.

    Source: vovk2005algorithmic, section 2.2.
    Checked against: both scores written out.
    """
    if score not in get_args(Score):
        raise UsageError(f"conformal: `score` must be 'lac' or 'aps'; got {score!r}. Use 'lac'.")
    _check_probs(probs)
    _check_targets("probs", targets, probs)
    every = _scores(probs, score, _seeded(seed))
    return every.gather(1, targets.cpu().unsqueeze(1)).squeeze(1)


def score_sets(sets: Tensor, targets: Tensor) -> SetScore:
    """Count how often sets hold the right class, how large they are, and how many are no answer.

    Args:
        sets: Whether each class is in the set.
        targets: Right classes.

    Shapes:
        sets: (N, K)
        targets: (N,)

    Raises:
        UsageError: Shapes differ, or there are no examples.

    Source: vovk2005algorithmic, section 2.2.
    Checked against: sets counted by hand.
    """
    _check_targets("sets", targets, sets)
    sets, targets = sets.cpu().bool(), targets.cpu()
    sizes, hits = sets.sum(dim=1), sets.gather(1, targets.unsqueeze(1)).squeeze(1)
    count, covered, single = len(sets), int(hits.sum()), sizes == 1
    return SetScore(
        count=count,
        covered=covered,
        coverage=covered / count,
        coverage_interval=wilson_interval(covered, count),
        mean_size=float(sizes.double().mean()),
        empty=float((sizes == 0).double().mean()),
        several=float((sizes > 1).double().mean()),
        sure_accuracy=float(hits[single].double().mean()) if bool(single.any()) else None,
    )


def _scores(probs: Tensor, score: Score, generator: torch.Generator) -> Tensor:
    p = probs.detach().cpu().double()
    if score == "lac":
        return 1 - p
    ordered, order = p.sort(dim=1, descending=True, stable=True)
    share = torch.rand(len(p), 1, dtype=torch.float64, generator=generator)
    above = ordered.cumsum(dim=1) - ordered
    return torch.empty_like(p).scatter(1, order, above + share * ordered)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_probs(probs: Tensor) -> None:
    if probs.ndim != 2 or not probs.shape[1]:
        raise UsageError(
            f"conformal: `probs` must have shape (N, K); got {tuple(probs.shape)}."
            " Give a row per example."
        )
    if len(probs):
        off = float((probs.detach().double().sum(dim=1) - 1).abs().max())
        if not (off <= _SUM and float(probs.min()) >= 0):
            raise UsageError(
                "conformal: `probs` must be probabilities that add up to 1; got rows that are off"
                f" by up to {off:.3g}, lowest value {float(probs.min()):.3g}. Apply softmax to"
                " logits."
            )


def _check_targets(name: str, targets: Tensor, rows: Tensor) -> None:
    if rows.ndim != 2 or targets.shape != rows.shape[:1] or not len(rows):
        raise UsageError(
            f"conformal: `targets` must have one class per row of `{name}`; got"
            f" {tuple(targets.shape)} for {tuple(rows.shape)}. Give at least one example."
        )
