"""The verb `sweep`: many settings tried, the best one named, and what mattered."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ...core.errors import FitwellError, UsageError
from ...core.groups import is_group, read_group
from ...core.spec import Spec, parse
from ...train import Run
from .._prepare import defaults
from .._several._group import Group
from .._several._members import Launch, begin_group, group_folder, typed
from .._several._options import LENT, check_lent, with_training_options
from .._several._together import arguments, data_for
from ._failures import reason_of
from ._finish import finish
from ._methods import Method, default_trials, learns, make_method
from ._read_space import read_space
from ._result import SweepResult
from ._rounds import Rounds
from ._space import Choice, Space
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
            From Python also lists by option, of `model` with classes of your own; those are not
            stored, so `resume` needs them again.
        method: How settings are chosen: `random`, `grid(points=3)`, `sobol`, or
            `optuna(sampler=TPESampler)`, which learns from round to round.
        trials: Settings to try; 20 if left out, all of a grid. What cannot be trained counts as
            failed, and the others go on.
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
        resume: Go on with a sweep that was stopped, or add trials; what is trained stays, and what
            failed is tried again.
        report: Whether report.html is written at the end.
        quiet: Show no progress.

    Returns:
        The trials, best first; `best_run()` opens the best member.

    Raises:
        UsageError: An argument does not fit, or no trial can be trained; nothing was written.
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
    _check_rates(space, training)
    _check_launch(rule, launch)
    given = arguments(source, path, {**training, "quiet": quiet})
    with _as_sweep():
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
        begin=partial(_begin, partial(begin_group, folder, "sweep", words, own, resume), space),
        given=given,
        data=data,
        space=space,
        method=chosen,
        stop=rule,
        seed=draw_seed,
        launch=launch,
    )
    with _as_sweep(), _ended(rounds):
        rounds.go(wanted, size)
        return finish(rounds, refit_seeds=refit_seeds, keep=keep, report=report)


def _begin(make: Callable[[], Group], space: Space) -> Group:
    """Make the group, or find it; and write down which models it does not keep."""
    group = make()
    if space.own:
        group.update(own_models=[one.name for one in space.own])
    return group


@contextlib.contextmanager
def _as_sweep() -> Iterator[None]:
    """Let `sweep` say what `train` found wrong."""
    try:
        yield
    except FitwellError as err:
        if not str(err).startswith("train: "):
            raise
        raise type(err)(f"sweep: {str(err).removeprefix('train: ')}") from err


@contextlib.contextmanager
def _ended(rounds: Rounds) -> Iterator[None]:
    """Write down that a sweep was stopped, or why it failed."""
    try:
        yield
    except KeyboardInterrupt as err:
        rounds.note(status="stopped")
        raise KeyboardInterrupt(
            f"stopped by Ctrl-C. Go on with the same command, --resume and --group {rounds.place}"
        ) from err
    except Exception as err:
        with contextlib.suppress(OSError):  # what failed may be the disk
            rounds.note(status="failed", error=reason_of(err))
        raise


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


def _check_rates(space: Space, training: Mapping[str, Any]) -> None:
    """Refuse a rate beside optimizers with rates of their own, which it would replace."""
    if "optimizer" not in space.texts or not _has_rate(space.templates["optimizer"]):
        return
    if "lr" in space.texts:
        raise UsageError(
            "sweep: `over` must say the rate once; got"
            f" optimizer={space.texts['optimizer']} and lr={space.texts['lr']}, which would replace"
            " the rate in it. Leave one of them out."
        )
    if training.get("lr") is not None:
        raise UsageError(
            "sweep: `lr` must be left out where `over` says the rate; got"
            f" lr={training['lr']} and optimizer={space.texts['optimizer']}. Leave one of them out."
        )


def _has_rate(template: Any) -> bool:
    if isinstance(template, Choice):
        return any(map(_has_rate, template.options))
    return isinstance(template, Spec) and "lr" in template.kwargs


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
