"""The end of a sweep: the best is named, measured, and written down with all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...core.errors import RunError
from ...core.files import write_text
from ...core.intervals import corrected_t_interval, wilson_interval
from .._prepare import command
from ._failures import reason_of
from ._importance import importance_of
from ._result import Final, SweepResult, best_row
from ._rounds import Rounds
from ._rows import Row, write_csv


def finish(rounds: Rounds, *, refit_seeds: int, keep: str, report: bool) -> SweepResult:
    """Name the best, measure what it is worth, and write the table and the page.

    Args:
        rounds: The sweep, all of whose members have come to their end.
        refit_seeds: With how many new seeds the best is trained again.
        keep: Whether ``all`` weights stay, or those of the ``best``.
        report: Whether the page is written.

    Raises:
        RunError: No member has a score.
    """
    folder, (metric, mode) = rounds.place, rounds.base
    results = rounds.results()
    write_csv(folder / "sweep.csv", rounds.rows(), metric)
    if not results or results[0].valid is None:
        raise _nothing_scored(rounds, report=report)
    best = best_row(results[0], mode)
    refitted = rounds.refit(best, refit_seeds) if refit_seeds else []
    scored = [row.member for trial in results for row in trial.rows if row.valid is not None]
    answering = [best.member] if keep == "best" else rounds.with_weights(scored)
    page = folder / "report.html" if report else None
    result = SweepResult(
        group=folder,
        metric=metric,
        mode=mode,
        trials=results,
        final=_final(rounds, best, refitted),
        command=_alone(rounds, best),
        importance=importance_of(rounds.space, rounds.rows(), metric, mode),
        page=page,
        answering=len(answering),
        model=rounds.own_model(best.member),
    )
    rounds.list_members(answering, alone=keep == "best")
    facts = {**result.to_dict(), "refit": [row.to_dict() for row in refitted]}
    gone = len(scored) > len(answering)
    rounds.group.update(
        status="finished", error=None, weights_removed=gone, result=facts | _drawn(rounds)
    )
    _write_page(rounds, report=report)
    return result


def _nothing_scored(rounds: Rounds, *, report: bool) -> RunError:
    """Write down what became of the members, none of which has a score, and give the error."""
    folder, (metric, mode) = rounds.place, rounds.base
    rows = rounds.rows()
    said = f"{rounds.members[0]} ended with {rows[0].stopped}" if rows else "nothing was drawn"
    error = RunError(
        f"sweep: no member of {folder} has a score; {said}. All are in {folder / 'sweep.csv'}."
    )
    page = str(folder / "report.html") if report else None
    facts: dict[str, Any] = {"group": str(folder), "metric": metric, "mode": mode, "best": None}
    facts |= {"members": [row.to_dict() for row in rows], "page": page}
    rounds.list_members([], alone=False)
    rounds.group.update(status="failed", error=reason_of(error), result=facts | _drawn(rounds))
    _write_page(rounds, report=report)
    return error


def _write_page(rounds: Rounds, *, report: bool) -> None:
    if report:
        from ...report import render_sweep

        write_text(rounds.place / "report.html", render_sweep(rounds.place))


def _drawn(rounds: Rounds) -> dict[str, Any]:
    """Give what was drawn from, and what was decided on the way."""
    return {
        "rungs": [[_rung(rung) for rung in one] for one in rounds.rungs if one],
        "dimensions": [_dimension(d) for d in rounds.space.dimensions],
    }


def _final(rounds: Rounds, best: Row, refitted: Sequence[Row]) -> Final:
    """Give the test metric of the best setting, over seeds where there are several."""
    share = rounds.base[0] == "accuracy"
    rows = refitted or [row for row in rounds.rows() if _same_but_seed(row, best)]
    tests = [row.test for row in rows if row.test is not None]
    interval = corrected_t_interval(tests, 0.0) if len(tests) > 1 else None
    if interval is not None and share:
        interval = max(0.0, interval[0]), min(1.0, interval[1])
    if refitted or interval is not None:
        mean = math.fsum(tests) / len(tests) if tests else None
        new = bool(refitted)
        return Final(test=mean, interval=interval, over="seeds", seeds=len(rows), new=new)
    part = rounds.data.splits.test
    if best.test is not None and part is not None and share:
        interval = wilson_interval(best.test * len(part), len(part))
    return Final(test=best.test, interval=interval, over="examples")


def _same_but_seed(row: Row, best: Row) -> bool:
    """Say whether members were chosen together and differ in nothing but the seed."""
    alike = [{k: v for k, v in one.values.items() if k != "seed"} for one in (row, best)]
    return row.trial == best.trial and alike[0] == alike[1]


def _alone(rounds: Rounds, best: Row) -> str:
    """Give the command that trains the best member alone."""
    (member,) = [one for one in rounds.members if one.name == best.member]
    given = {**rounds.given, **member.settings, "report": True, "quiet": False}
    line = command("train", given)
    own = rounds.own_model(best.member)
    if own is None:
        return line
    name = getattr(own, "__qualname__", type(own).__name__)
    return f"{line}  # from Python, with model={name}"


def _rung(rung: Any) -> dict[str, Any]:
    return {
        "epochs": rung.epochs,
        "scores": {str(trial): score for trial, score in rung.scores.items()},
        "kept": list(rung.kept),
        "judged": list(rung.judged),
    }


def _dimension(dimension: Any) -> dict[str, Any]:
    facts = {"name": dimension.name, "kind": type(dimension).__name__.lower()}
    if facts["kind"] == "range":
        more = {name: getattr(dimension, name) for name in ("low", "high", "log", "whole")}
        return {**facts, **more}
    return {**facts, "labels": list(dimension.labels), "each": dimension.each}
