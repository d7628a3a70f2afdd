"""The verb `resume`: go on with a run that was stopped, to the bit where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from ..tasks import TASKS, ModelChoice, open_source, smoke
from ..train import LossSettings, Run
from ._open_run import open_run
from ._session import Session, check_same_data, pick_device
from ._train import finish


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
        report: Write report.html at the end.
        quiet: Show no progress.

    Raises:
        RunError: The folder is no run, or its data has changed.
        UsageError: Data or model of your own were not given again.
    """
    opened = open_run(run, model=model)
    settings = opened.settings
    if settings.loss.source == "memory" and data is None:
        raise UsageError(
            f"{opened.folder}: was trained on data in memory; give it again: resume(run, data=...)."
        )
    source = open_source(*_where(settings.loss, data), settings.loss.reader)
    splits = smoke(source.splits) if settings.loss.smoke else source.splits
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
        opened.update(settings=changed.to_dict())
    session = Session(
        run=opened,
        task=TASKS[opened.manifest["task"]],
        splits=splits,
        choice=opened.own_model if settings.model.own else settings.model.spec,
        max_minutes=max_minutes,
        quiet=quiet,
    )
    return finish(session, report)


def _where(chosen: LossSettings, data: Any) -> tuple[Any, Any]:
    """Give the source and the path to read again; data given by path is read as it was."""
    if data is None:
        return chosen.source, chosen.path
    if chosen.path is not None and isinstance(data, (str, Path)):
        return chosen.source, data
    return data, None
