"""A group used like a run: what `evaluate` and `predict` do with one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from ...core.errors import UsageError
from ...data import Examples
from ...tasks import ModelChoice
from ...train import Run
from .._evaluate import Evaluation, seen_before
from ._combined import best_run
from ._group import Group
from ._outputs import judge, outputs_on
from ._runs import common_parts


def evaluate_group(
    group: Group,
    data: Any = None,
    *,
    batch_size: int | None = None,
    device: str = "cpu",
    model: ModelChoice | None = None,
) -> Evaluation:
    """Measure the members of a group, alone and together.

    Args:
        group: The group.
        data: New labelled data; the parts that no member was trained on if left out.
        batch_size: Examples per forward pass.
        device: What to measure on.
        model: The model again, for members of your own module.

    Raises:
        RunError: There are no members, or their data has changed.
        DataError: The new data is bad.
        UsageError: The new data has no targets.
    """
    runs = group.runs(model=model)
    first, started = next(iter(runs.values())), time.perf_counter()
    parts = _parts(first, runs, data)
    weights = group.weights(runs)
    best, together, seen = _best(group, runs), {}, seen_before(list(runs.values()), data)
    for name, part in parts.items():
        outputs = torch.stack(
            [
                outputs_on(run, part, device=device, batch_size=batch_size or 256)
                for run in runs.values()
            ]
        )
        together[name] = judge(
            runs,
            outputs,
            part,
            part=name,
            combine=group.combine,
            weights=weights,
            best=best,
            fair=name != "valid" and not seen,
        )
    seconds = time.perf_counter() - started
    results = [run.result for run in runs.values()]
    counts = {name: len(part) for name, part in parts.items()}
    specs = dict.fromkeys(run.settings.model.spec for run in runs.values())
    return Evaluation(
        run=str(group.folder),
        task=first.known_task.name,
        model=f"{len(runs)} of {', '.join(specs)}",
        parameters=sum(result.get("parameters", 0) for result in results),
        epochs=max(result.get("epochs", 0) for result in results),
        steps=sum(result.get("steps", 0) for result in results),
        seconds=seconds,
        parts={name: dict(found.scores) for name, found in together.items()},
        counts=counts,
        together=together,
        note=seen,
    )


def _best(group: Group, runs: dict[str, Run]) -> str:
    """Give the member that the group was compared to when it was made, if it still answers."""
    judged = [group.result.get("test"), *(group.result.get("parts") or {}).values()]
    known = next((str(one["best"]) for one in judged if one and "best" in one), None)
    return best_run(runs) if known not in runs else known


def _parts(first: Run, runs: dict[str, Run], data: Any) -> dict[str, Examples]:
    chosen = first.settings.loss
    if data is None or (chosen.source == "memory" and not isinstance(data, (str, Path, Examples))):
        return common_parts(runs, data, owner="evaluate")
    examples = first.read(data)
    if examples.targets is None:
        raise UsageError(
            f"evaluate: `data` must hold the targets {first.schema.target_name!r};"
            f" got {data} without. Use 'fitwell predict' for data without targets."
        )
    return {"data": examples}
