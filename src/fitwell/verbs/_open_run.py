"""Open a run together with its task, so that it can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import RunError
from ..tasks import TASKS, ModelChoice
from ..train import Run
from ._own_model import resolve_model


def open_run(run: str | Path | Run, *, model: ModelChoice | None = None) -> Run:
    """Open a run that exists, ready to predict.

    Args:
        run: Its folder, or the run itself.
        model: The model, if it is one of your own; its code is not kept in the run.

    Raises:
        RunError: The folder is no run, or is of a task that this fitwell lacks.
    """
    opened: Any = run if isinstance(run, Run) else Run.open(run)
    task = TASKS.get(opened.manifest.get("task"))
    if task is None:
        raise RunError(
            f"{opened.folder}: is a run of task {opened.manifest.get('task')!r}; this fitwell knows"
            f" {', '.join(TASKS)}. Use the version that made it."
        )
    opened.task = task
    if model is not None:
        opened.own_model = resolve_model(model)[0]
    return opened  # type: ignore[no-any-return]
