"""The verb `resume`: go on with a run that was stopped, to the bit where it was."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from ..core.groups import group_of, remedy
from ..data import DecodingProgress
from ..tasks import TASKS, ModelChoice
from ..train import Run, World, joined
from ._checks import check_same_data
from ._open_run import open_run, splits_again
from ._session import Session, pick_device
from ._workers import launch, must_launch


def resume(
    run: str | Path | Run,
    /,
    *,
    data: Any = None,
    model: ModelChoice | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    device: str | None = None,
    report: bool = True,
    quiet: bool = False,
) -> Run:
    """Go on with a run that was stopped, killed or cut short, from its newest checkpoint.

    On a CPU with the same number of threads the losses are those of a run that never stopped, bit
    for bit. The data is read again and must be what it was.

    Args:
        run: Folder of the run.
        data: The data again, if it was in memory or is somewhere else now.
        model: The model again, for a run of your own module.
        epochs: Passes over the training part in all, in place of the run's.
        max_steps: Updates in all, in place of the run's.
        max_minutes: Minutes at most.
        device: Where to go on, if not where it was.
        report: Whether report.html is written at the end.
        quiet: Show no progress.

    Raises:
        RunError: The folder is no run, or its data has changed.
        UsageError: Data or model of your own were not given again, or the run is a member of a
            group.
    """
    given = dict(locals())
    opened = open_run(run, model=model)
    _refuse_member(opened)
    workers = opened.settings.optimization.workers
    if must_launch(workers):
        return _launched(opened, given, workers)
    with joined() as world:
        return _resume(opened, given, world)


def _refuse_member(run: Run) -> None:
    """Refuse a run that is trained with others: it has no checkpoints, and rows of its own."""
    if "member" not in run.manifest:
        return
    if group_of(run.folder) is not None:
        raise UsageError(
            f"resume: `run` must be trained on its own; {run.folder} is a member of a group, which"
            f" is trained with the others. Go on with: {remedy(run.folder)}"
        )
    raise UsageError(
        f"resume: `run` must be trained on its own; {run.folder} was a member of a group and is no"
        " longer in it. Go on with the group, or train a run with its settings: fitwell train"
        f" --like {run.folder}"
    )


def _resume(opened: Run, given: Mapping[str, Any], world: World) -> Run:
    settings, data = opened.settings, given["data"]
    epochs, max_steps, device = given["epochs"], given["max_steps"], given["device"]
    if world.size != settings.optimization.workers:
        raise UsageError(
            f"{opened.folder}: must go on with as many processes as it began with,"
            f" {settings.optimization.workers}; got {world.size}. Leave torchrun out."
        )
    told = None if given["quiet"] or not world.leads else DecodingProgress()
    splits = world.after_leader(lambda: splits_again(opened, data, owner="resume", progress=told))
    check_same_data(opened, splits)
    if settings.model.own and opened.own_model is None:
        opened.model()  # raises with the remedy
    changes: dict[str, Any] = {}
    if epochs is not None or max_steps is not None:
        changes |= {"epochs": epochs, "max_steps": max_steps}
    if device is not None:
        changes["device"] = pick_device(device)
    if changes:
        changed = replace(settings, optimization=replace(settings.optimization, **changes))
        opened.manifest["settings"] = changed.to_dict()  # written when training starts
        opened.manifest["command"] = _repeated(opened.manifest.get("command", ""), given)
    session = Session(
        run=opened,
        task=TASKS[opened.manifest["task"]],
        splits=splits,
        choice=opened.own_model if settings.model.own else settings.model.spec,
        max_minutes=given["max_minutes"],
        quiet=given["quiet"],
        world=world,
    )
    return session.finish(given["report"])


def _repeated(command: str, given: Mapping[str, Any]) -> str:
    """Give the command of a run as it would be typed for the length it has now."""
    words = shlex.split(command)
    for name in ("epochs", "max_steps"):
        option = f"--{name.replace('_', '-')}"
        if option in words:
            place = words.index(option)
            del words[place : place + 2]
        if words and given[name] is not None:
            words += [option, str(given[name])]
    return shlex.join(words)


def _launched(opened: Run, given: Mapping[str, Any], workers: int) -> Run:
    """Go on in new processes."""
    words = ["resume", str(opened.folder)]
    for name in ("data", "model", "epochs", "max_steps", "max_minutes", "device"):
        value = given[name]
        if value is None:
            continue
        if not isinstance(value, (str, int, float, Path)):
            raise UsageError(
                f"{opened.folder}: was trained by {workers} processes, which cannot be given"
                f" `{name}` from this one. Start your script with torchrun"
                f" --nproc-per-node {workers}."
            )
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += [f"--no-{name}" for name in ("report",) if not given[name]]
    words += [f"--{name}" for name in ("quiet",) if given[name]]
    launch(words, workers, opened.folder)
    return open_run(opened.folder)
