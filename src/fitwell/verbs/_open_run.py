"""Open a run together with its task, and read its data again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import RunError, UsageError
from ..data import Splits
from ..tasks import TASKS, ModelChoice, open_source, smoke
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


def splits_again(
    run: Run, data: Any = None, *, owner: str, progress: Callable[[int, int], None] | None = None
) -> Splits:
    """Read the data of a run again, as it was cut when the run was begun.

    Args:
        run: The run.
        data: The data, if it was in memory or is somewhere else now.
        owner: The verb, for messages.
        progress: Told how many images are decoded, of how many.

    Raises:
        UsageError: The data was in memory and is not given.
        DataError: The data is bad.
    """
    chosen = run.settings.loss
    if chosen.source == "memory" and data is None:
        raise UsageError(
            f"{run.folder}: was trained on data in memory; give it again: {owner}(..., data=...)."
        )
    moved = chosen.path is not None and isinstance(data, (str, Path))
    source = chosen.source if data is None or moved else data
    path = data if moved else chosen.path if data is None else None
    splits = open_source(source, path, chosen.reader, progress=progress).splits
    return smoke(splits) if chosen.smoke else splits
