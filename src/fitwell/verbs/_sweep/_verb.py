"""The verb `sweep`: many settings tried, the best one named, and what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ...core.errors import RunError, UsageError
from ...core.files import write_text
from ...core.groups import is_group, read_group
from ...core.intervals import corrected_t_interval, wilson_interval
from ...core.spec import parse
from ...train import Run
from .._prepare import command, defaults
from .._several._members import Launch, begin_group, group_folder, typed
from .._several._options import LENT, check_lent, with_training_options
from .._several._together import arguments, data_for
from ._importance import importance_of
from ._methods import Method, default_trials, learns, make_method
from ._read_space import read_space
from ._result import Final, SweepResult, best_row
from ._rounds import Rounds
from ._rows import Row, write_csv
from ._space import Space
from ._stops import ASHA, Never, Stop, make_stop

_THE_SAME = (
    *("target", "target_kind", "labels", "id_column", "on_bad_row", "metric", "device", "smoke"),
    *("valid", "test", "valid_path", "test_path", "max_steps"),
)
"""What all members share, so that their metrics can be compared."""

_MOST = 100_000
"""Trials in a round, of a grid whose size is not known."""

DIFFERENT = tuple(
    name for name in (*LENT, "freeze", "layer_decay", "lr_for_batch") if name not in _THE_SAME
)
"""Options that may differ between members."""


@with_training_options
def sweep(
    source: Any = None,
    path: str | Path | None = None,
    /,
    *,
    over: Mapping[str, Any] | Sequence[str] = (),
    method: str = "random",
    trials: int | None = None,
    stop: str = "none",
    together: int | None = None,
    draw_seed: int = 0,
    refit_seeds: int = 0,
    keep: Literal["all", "best"] = "all",
    workers: int = 1,
    cluster: str | None = None,
    group: str | Path | None = None,
    resume: bool = False,
    report: bool = True,
    quiet: bool = False,
    **training: Any,
) -> SweepResult:
    """Train with many settings, and say which is best, what it is worth, and what mattered.

    Every option of `train` that may differ is written with what is open in it: `lr=log(1e-4, 0.1)`,
    `model=MLP(hidden=repeat(integer(16, 128), choice(1, 2)))`, `seed=each(0, 1, 2)`. Members are
    ordinary runs; the best is chosen by the validation part and measured on the test part.

    Args:
        source: As for `train`, or a finished run to vary.
        path: As for `train`.
        over: What differs, as `option=space`. Spaces are `uniform(a, b)`, `log(a, b)`,
            `integer(a, b)`, `choice(x, y)` anywhere in a value, `repeat(value, times)` for a row of
            equal values, and `each(x, y)`: all of these for each draw of the rest, as for seeds.
        method: How settings are chosen: `random`, `grid(points=3)`, `sobol`, or
            `optuna(sampler=TPESampler)`, which learns from round to round.
        trials: Settings to try; 20 if left out, all of a grid.
        stop: Which trials end early: `none`, `halving(factor=3, min_epochs=1)`, or `asha()` for
            several rounds. `--patience` ends each member by its own curve.
        together: Trials of a round, which train together; all if left out, a quarter for `optuna`
            and `asha`.
        draw_seed: Seed of the draw; the same one gives the same trials.
        refit_seeds: Train the best setting again with so many new seeds, for an honest number.
        keep: Keep the weights of all members, or of the best one only.
        workers: Processes that each train a part of the members; 1 with `stop`.
        cluster: Address of a Ray cluster to start the processes on; this machine if left out.
        group: Folder of the sweep; a new one in runs/ if left out.
        resume: Go on with a sweep that was stopped, or add trials; finished members stay.
        report: Whether report.html is written.
        quiet: Show no progress.

    Returns:
        The trials, best first; `best_run()` opens the best member.

    Raises:
        UsageError: An argument does not fit; nothing was written.
        DataError: The data is bad; nothing was written.
        RunError: The folder holds something else, or no member has a score.

    Groups:
        Sweep: over, method, trials, stop, together, draw_seed, refit_seeds, keep
        Run: workers, cluster, group, resume, report, quiet
    """
    check_lent("sweep", training)
    space = read_space(over, DIFFERENT)
    chosen, rule = make_method(method), make_stop(stop)
    launch = Launch(workers=workers, cluster=cluster, quiet=quiet)
    _check(space, training, trials=trials, together=together, refit_seeds=refit_seeds)
    _check_launch(rule, launch)
    given = arguments(source, path, {**training, "quiet": quiet})
    data = data_for(given)
    wanted = default_trials(chosen) if trials is None else trials
    folder = group_folder(group, data, "sweep")
    before = read_group(folder) if resume and is_group(folder) else {"settings": {}}
    kept = together or before["settings"].get("together")
    size = int(kept or min(_round_size(chosen, rule, wanted), _MOST))
    own = {
        "over": dict(space.texts),
        "method": str(parse(method)),
        "stop": str(parse(stop)),
        "draw_seed": draw_seed,
        "together": size if learns(chosen) or not isinstance(rule, Never) else together,
        "training": {name: _plain(value) for name, value in training.items() if _told(name, value)},
        "data": data.splits.fingerprint,
    }
    words = typed(sweep, {**_typed_here(locals()), **training})
    rounds = Rounds(
        place=folder,
        begin=partial(begin_group, folder, "sweep", words, own, resume),
        given=given,
        data=data,
        space=space,
        method=chosen,
        stop=rule,
        seed=draw_seed,
        launch=launch,
    )
    try:
        rounds.go(wanted, size)
        return _finish(rounds, refit_seeds=refit_seeds, keep=keep, report=report)
    except KeyboardInterrupt as err:
        raise KeyboardInterrupt(
            f"stopped by Ctrl-C. Go on with the same command, --resume and --group {folder}"
        ) from err


def _check(
    space: Space,
    training: Mapping[str, Any],
    *,
    trials: int | None,
    together: int | None,
    refit_seeds: int,
) -> None:
    for name in space.texts:
        if training.get(name) is not None:
            raise UsageError(
                f"sweep: `over` must not name {name} when it is given as an option too; got"
                f" {training[name]!r}. Leave one of them out."
            )
    for name, value, least in (
        ("trials", trials, 1),
        ("together", together, 1),
        ("refit_seeds", refit_seeds, 0),
    ):
        if value is not None and value < least:
            raise UsageError(f"sweep: `{name}` must be at least {least}; got {value}.")


def _check_launch(rule: Stop, launch: Launch) -> None:
    if not isinstance(rule, Never) and (launch.workers > 1 or launch.cluster is not None):
        raise UsageError(
            "sweep: `workers` must be 1 with `stop`, which compares all members after every epoch;"
            f" got {launch.workers}. Leave one of them out."
        )


def _round_size(method: Method, rule: Stop, trials: float) -> float:
    if learns(method) or isinstance(rule, ASHA):
        return max(1, math.ceil(min(trials, _MOST) / 4))
    return trials


def _told(name: str, value: Any) -> bool:
    return bool(value != defaults().get(name))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _typed_here(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of `sweep` as they are typed."""
    source = given["source"]
    over = [f"{name}={text}" for name, text in given["space"].texts.items()]
    names = ("path", "method", "trials", "stop", "together", "draw_seed", "refit_seeds", "keep")
    kept = {name: given[name] for name in (*names, "workers", "cluster", "group", "report")}
    source = source.folder if isinstance(source, Run) else source
    return {"source": source, "over": over, **kept}


def _finish(rounds: Rounds, *, refit_seeds: int, keep: str, report: bool) -> SweepResult:
    """Name the best, measure what it is worth, and write the table and the page."""
    folder, (metric, mode) = rounds.place, rounds.base
    results = rounds.results()
    if not results or results[0].valid is None:
        said = str(results[0].rows[0].stopped if results else "nothing")
        raise RunError(f"sweep: no member of {folder} has a score; one ended with {said}")
    best = best_row(results[0], mode)
    refitted = rounds.refit(best, refit_seeds) if refit_seeds else []
    final = _final(rounds, best, refitted)
    found = importance_of(rounds.space, rounds.rows(), metric, mode)
    page = folder / "report.html" if report else None
    result = SweepResult(
        group=folder,
        metric=metric,
        mode=mode,
        trials=results,
        final=final,
        command=_alone(rounds, best),
        importance=found,
        page=page,
    )
    write_csv(folder / "sweep.csv", rounds.rows(), metric)
    scored = [row.member for trial in results for row in trial.rows if row.valid is not None]
    alone = keep == "best"
    rounds.list_members([best.member] if alone else scored, alone=alone)
    rounds.group.update(
        status="finished",
        result={
            **result.to_dict(),
            "refit": [row.to_dict() for row in refitted],
            "rungs": [[_rung(rung) for rung in one] for one in rounds.rungs if one],
            "dimensions": [_dimension(d) for d in rounds.space.dimensions],
        },
    )
    if page is not None:
        from ...report import render_sweep

        write_text(page, render_sweep(folder))
    return result


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
    return command("train", given)


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
