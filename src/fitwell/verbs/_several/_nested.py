"""Choosing settings inside each fold, so that the held-out rows have no say in the choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

from ...core.cards import read_card
from ...core.errors import UsageError
from ...core.spec import Spec, parse
from ...data import Splits
from ...train import Run
from .._train import train
from ._folds import Folds, held_out_scores, variations_of
from ._group import Group
from ._members import Launch, try_members
from ._options import check_lent
from ._outputs import better, headline_metric, outputs_on, scores_of, targets_of
from ._together import Variation, sessions


@final
@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Settings to choose among.

    Args:
        names: As they were written.
        settings: Arguments of `train` that each sets.
        folds: Folds inside each fold that they are compared by.
    """

    names: tuple[str, ...]
    settings: tuple[Mapping[str, Any], ...]
    folds: int

    @classmethod
    def of(cls, texts: Sequence[str], folds: int) -> Self:
        """Read candidates.

        Args:
            texts: Such as ``lr=0.01, model=MLP(hidden=(64,))``.
            folds: Folds inside each fold.

        Raises:
            UsageError: There is nothing to choose among, or a candidate cannot be read.
            UnknownName: A candidate sets what `train` does not have.
        """
        if not texts and folds == 0:
            return cls(names=(), settings=(), folds=0)
        if len(texts) < 2 or folds < 2:
            raise UsageError(
                "crossval: `nested` must be at least 2, with at least 2 candidates; got"
                f" nested={folds} and {len(texts)} candidates. Add --nested 3 --candidates lr=0.01"
                " lr=0.001."
            )
        settings = tuple(_settings(text) for text in texts)
        return cls(names=tuple(map(str, texts)), settings=settings, folds=folds)

    def check(self, made: Folds, folder: Path) -> None:
        """Settle each candidate on the first fold, so that a wrong one fails before any trains.

        Args:
            made: The folds.
            folder: Of the group; nothing is written.

        Raises:
            UsageError: A setting does not fit, or losses that differ are what is compared.
        """
        if not self.settings:
            return
        found = [
            session.run.settings.loss
            for own in ({}, *self.settings)
            for session in sessions(
                made.given,
                made.data,
                variations_of(made.pool, made.plan[:1], ["fold-1"], [own], made.inner, made.given),
                folder,
            )
        ]
        differ = list(dict.fromkeys(chosen.loss for chosen in found))
        if len(differ) > 1 and found[0].metric == "loss":
            raise UsageError(
                "crossval: `candidates` must have one loss when it is the metric that compares"
                f" them; got {' and '.join(differ)}. Give it for all by --loss, or compare them by"
                " another --metric."
            )


def _settings(text: str) -> dict[str, Any]:
    try:
        read = parse(f"candidate({text})")
    except UsageError as err:
        raise UsageError(
            "crossval: `candidates` must be settings such as lr=0.01, model=MLP(hidden=(64,)); got"
            f" {text!r}."
        ) from err
    if read.args or not read.kwargs:
        raise UsageError(
            f"crossval: `candidates` must name what they set, such as lr=0.01; got {text!r}."
        )
    check_lent("crossval", read.kwargs)
    fixed = {"metric", "smoke", *read_card(train.__doc__).groups["Data"]}
    for name in read.kwargs:
        if name in fixed:
            raise UsageError(
                f"crossval: `candidates` must differ in how they are trained; got {name}, which is"
                f" the same for all that are compared. Give it for all: --{name.replace('_', '-')}"
            )
    return {
        name: str(value) if isinstance(value, Spec) else value
        for name, value in read.kwargs.items()
    }


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What each fold chose.

    Args:
        names: The candidates as they were written.
        chosen: Number of the candidate for each fold; empty if there were none.
        scores: Mean score of each candidate inside each fold.
        settings: Arguments of `train` for each fold; empty if there were no candidates.
    """

    names: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    settings: tuple[Mapping[str, Any], ...] = field(default=())

    def facts(self, metric: str) -> dict[str, Any]:
        """Give what the result says of it; empty if there were no candidates.

        Args:
            metric: What the scores are of.
        """
        if not self.chosen:
            return {}
        inside = [row[place] for row, place in zip(self.scores, self.chosen, strict=True)]
        return {
            "metric": metric,
            "chosen": dict(Counter(self.names[place] for place in self.chosen)),
            "by_fold": [self.names[place] for place in self.chosen],
            "scores": [dict(zip(self.names, row, strict=True)) for row in self.scores],
            "inside": math.fsum(inside) / len(inside),
        }


def choose(candidates: Candidates, made: Folds, group: Group, launch: Launch, judge: Run) -> Choice:
    """Compare the candidates inside each fold, on folds of its training rows.

    Args:
        candidates: What to choose among.
        made: The folds.
        group: Where the trainings inside go, in ``inner/members``.
        launch: Where they are trained.
        judge: Whose loss is compared, where that is the metric.

    Source: cawley2010over, section 5.
    """
    if not candidates.settings:
        return Choice()
    variations: list[Variation] = []
    for number, (stays, _) in enumerate(made.plan, start=1):
        pool = made.pool.among(stays, made.pool.seed + number)
        plan = pool.folds(candidates.folds)
        for place, settings in enumerate(candidates.settings, start=1):
            names = [f"fold-{number}-{place}-{part}" for part in range(1, len(plan) + 1)]
            own = [settings] * len(plan)
            variations += variations_of(pool, plan, names, own, made.inner, made.given)
    folder = group.folder / "inner"
    members = sessions(made.given, made.data, variations, folder)
    runs, metric = try_members(members, launch), headline_metric(judge)
    values = iter(
        [_score(run, own.splits, metric, judge) for run, own in zip(runs, members, strict=True)]
    )
    scores = [
        tuple(
            math.fsum(next(values) for _ in range(candidates.folds)) / candidates.folds
            for _ in candidates.settings
        )
        for _ in made.plan
    ]
    chosen = tuple(_best(metric, row) for row in scores)
    return Choice(
        names=candidates.names,
        chosen=chosen,
        scores=tuple(scores),
        settings=tuple(candidates.settings[place] for place in chosen),
    )


def _score(run: Run, splits: Splits, metric: str, judge: Run) -> float:
    """Measure a member on its held-out rows; NaN if it failed."""
    score = held_out_scores(run).get(metric, math.nan)
    if metric != "loss" or math.isnan(score):
        return score
    held = splits.parts()[run.manifest["fold"]["held_out"]]
    return scores_of(judge, outputs_on(run, held), targets_of(held))["loss"]


def _best(metric: str, scores: Sequence[float]) -> int:
    """Give the place of the best score; of equal ones the first, and of failures the last."""
    best = 0
    for place, score in enumerate(scores):
        if better(metric, score, scores[best]):
            best = place
    return best
