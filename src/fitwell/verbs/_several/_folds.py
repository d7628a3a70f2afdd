"""Members of a cross-validation: which rows each is trained on and measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from ...tasks import Source
from ...train import Run
from ._members import with_own_models
from ._pool import Pool, Rows
from ._together import Variation


@final
@dataclass(frozen=True, kw_only=True)
class Folds:
    """What the members of a cross-validation are made from.

    Args:
        given: Arguments of `train` for all.
        data: What was read.
        pool: What was dealt.
        plan: The rows that stay and those that are held out, for each member.
        inner: Share of a fold's training rows that its epoch is chosen by.
    """

    given: dict[str, Any]
    data: Source
    pool: Pool
    plan: Sequence[tuple[Rows, Rows]]
    inner: float

    def variations(self, settings: Sequence[Mapping[str, Any]]) -> list[Variation]:
        """Give a member per fold.

        Args:
            settings: What differs, for each member.
        """
        names = [f"fold-{number}" for number in range(1, len(self.plan) + 1)]
        return variations_of(self.pool, self.plan, names, settings, self.inner, self.given)


def variations_of(
    pool: Pool,
    plan: Sequence[tuple[Rows, Rows]],
    names: Sequence[str],
    settings: Sequence[Mapping[str, Any]],
    inner: float,
    given: Mapping[str, Any],
) -> list[Variation]:
    """Give a member for each fold.

    Args:
        pool: What was dealt.
        plan: The rows that stay and those that are held out, for each member.
        names: Of the members.
        settings: What differs, for each member.
        inner: Share of rows that the epoch is chosen by.
        given: Arguments of `train` for all.
    """
    made = []
    for number, (name, (stays, held), own) in enumerate(
        zip(names, plan, settings, strict=True), start=1
    ):
        parts = pool.parts(stays, held, inner, pool.seed + number)
        made.append(
            Variation(
                name=name,
                settings=dict(own),
                splits=pool.splits(parts, f"{name}, {pool.mode}, seed {pool.seed}"),
                facts={
                    "fold": {"number": number, "held_out": "test" if inner else "valid"},
                    "rows": "pool",
                },
            )
        )
    return with_own_models(made, given["model"])


def held_out_scores(run: Run) -> dict[str, float]:
    """Give the metrics of a member on its held-out rows; none if it failed.

    Args:
        run: The member.
    """
    scores: dict[str, float] = run.result.get(run.manifest["fold"]["held_out"], {})
    return scores
