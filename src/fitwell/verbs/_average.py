"""The verb `average`: the mean of the weights of several runs, as a run of its own."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import numpy as np

from ..core.errors import RunError, UsageError
from ..core.files import finite, write_json
from ..core.groups import remedy
from ..core.records import versions
from ..core.text import aligned
from ..data import Batches, augmentation
from ..optim import SGD
from ..report import Comparison, compare_runs
from ..tasks import TASKS, ModelChoice
from ..train import Run, Trainer, average_weights, freeze, load_into, update_batch_norm
from ._measure import measure
from ._open_run import open_run
from ._session import pick_device
from ._several._pool import own_splits

_CHANCE = 0.05
_PARTS = ("valid", "test")


@final
@dataclass(frozen=True, kw_only=True)
class AverageResult:
    """An average of runs beside its members.

    Args:
        run: Folder of the average, a run like any other.
        members: Folders of the runs that were averaged.
        metric: What they are compared by.
        comparison: All metrics with intervals; the average comes first and is tested against each.
    """

    run: str
    members: tuple[str, ...]
    metric: str
    comparison: Comparison

    @property
    def better(self) -> dict[str, bool]:
        """Whether the average beats each member where both answered the same examples."""
        return {pair.second: self._gain(pair) > 0 for pair in self.comparison.paired}

    def _gain(self, pair: Any) -> float:
        return float(pair.difference if pair.metric == "accuracy" else -pair.difference)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        comparison = finite(self.comparison.to_dict())
        kept = {name: comparison[name] for name in ("names", "metrics", "paired", "warnings")}
        return {
            "run": self.run,
            "members": list(self.members),
            "metric": self.metric,
            "better": self.better,
            **kept,
        }

    def __str__(self) -> str:
        found = self.comparison
        columns = [row for row in found.metrics if row.metric == self.metric and row.part in _PARTS]
        columns.sort(key=lambda row: _PARTS.index(row.part))
        verdicts = {pair.second: self._verdict(pair) for pair in found.paired}
        rows = [
            [name, *(_cell(row, place) for row in columns), verdicts.get(name, "")]
            for place, name in enumerate(found.names)
        ]
        header = ["run", *(f"{row.part} {row.metric}" for row in columns), "the average is"]
        return "\n".join([aligned(header, rows), "", f"run      {self.run}", *found.warnings])

    def _verdict(self, pair: Any) -> str:
        gain = self._gain(pair)
        word = "better" if gain > 0 else "worse" if gain < 0 else "equal"
        chance = "" if pair.p < _CHANCE else ", may be chance"
        return f"{word} (p = {pair.p:.2g}{chance})"


def _cell(row: Any, place: int) -> str:
    """Give a value with its interval, as words."""
    value, ends = row.values[place], row.intervals[place]
    if value is None:
        return "-"
    return f"{value:.4g}" + ("" if ends is None else f" ({ends[0]:.4g} to {ends[1]:.4g})")


def average(
    *runs: str | Path | Run,
    output: str | Path,
    data: Any = None,
    model: ModelChoice | None = None,
    device: str = "cpu",
) -> AverageResult:
    """Average the kept weights of runs into a new run, and say whether it beats each of them.

    For runs that went apart late, such as refinements of one common training with different seeds
    (SWAP) or fine-tunings of the same weights with different settings (a model soup). Runs that
    began from different weights have a useless average. Batch-norm statistics are measured anew on
    the training part; `evaluate`, `predict` and `report` take the new run like any other.

    Args:
        runs: Folders of at least two finished runs of one model on the same parts of the same data.
        output: Folder of the new run.
        data: The data again, if it was in memory or is somewhere else now.
        model: The model again, for runs of your own module.
        device: What to measure on.

    Raises:
        UsageError: Fewer than two different runs, or they differ in model, data or parts.
        RunError: One is no run or is not finished, or the output is not empty.
    """
    members = _members(runs, model)
    first, started = members[0], time.perf_counter()
    target = Path(output)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"average: `output` must be new or empty; got {target}. Choose another.")
    weights = average_weights([member.load_model() for member in members])
    splits = own_splits(first, data, owner="average")
    task = TASKS[first.manifest["task"]]
    settings = first.settings
    choice = first.own_model if settings.model.own else settings.model.spec
    network = task.build_model(choice, splits.schema, first.manifest["scaling"])
    load_into(network, weights, first.folder)
    if len({member.settings.model.freeze for member in members}) == 1:
        freeze(network, settings.model.freeze)  # what was frozen kept its statistics in all
    device = pick_device(device)
    network.to(device)
    chosen = settings.optimization
    trainer = Trainer(
        network,
        task.objective(settings.loss.loss, splits.schema, first.manifest["scaling"]),
        SGD(network.parameters(), lr=0.0),
        precision="float32" if chosen.precision == "fp16" and device == "cpu" else chosen.precision,
    )
    batches = Batches(
        splits.train.to(device),
        chosen.batch_size,
        shuffle=True,
        seed=chosen.seed,
        augment=augmentation(chosen.augment),
        device=device,
    )
    with trainer.autocast():
        update_batch_norm(network, batches)
    run = Run.create(target, _manifest(members, target))
    run.save_split(splits)
    run.save_model(network.state_dict())
    measure(run, task, splits, trainer, best_epoch=0)
    _complete_result(run, members, time.perf_counter() - started)
    run.update(status="finished")
    comparison = compare_runs([run.folder, *(member.folder for member in members)])
    return AverageResult(
        run=str(run.folder),
        members=tuple(str(member.folder) for member in members),
        metric="accuracy" if splits.schema.target_kind == "class" else "rmse",
        comparison=comparison,
    )


def _members(runs: Sequence[str | Path | Run], model: ModelChoice | None) -> list[Run]:
    """Open runs that can be averaged."""
    opened: dict[Path, Run] = {}
    for run in runs:
        member = open_run(run, model=model)
        opened.setdefault(member.folder.resolve(), member)
    members = list(opened.values())
    if len(members) < 2:
        raise UsageError(
            f"average: `runs` must be at least two different runs; got {len(members)}. Name the"
            " runs one after the other."
        )
    for member in members:
        if member.status != "finished":
            raise RunError(
                f"{member.folder}: must be finished to be averaged; it is {member.status}. Go on"
                f" with: {remedy(member.folder)}"
            )
    for member in members[1:]:
        _check_alike(members[0], member)
    if members[0].settings.model.own and members[0].own_model is None:
        members[0].model()  # raises with the remedy
    return members


def _check_alike(first: Run, other: Run) -> None:
    facts: dict[str, Callable[[Run], Any]] = {
        "task": lambda run: run.manifest["task"],
        "model": lambda run: run.settings.model.spec,
        "data": lambda run: run.manifest["data"]["fingerprint"][:12],
        "scaling": lambda run: json.dumps(run.manifest["scaling"], sort_keys=True),
        "loss": lambda run: run.settings.loss.loss,
    }
    for name, fact in facts.items():
        if fact(first) != fact(other):
            raise UsageError(
                f"average: `runs` must have the same {name}; got {fact(first)} in {first.folder}"
                f" and {fact(other)} in {other.folder}. Average refinements of one training."
            )
    if _rows(first) != _rows(other):
        raise UsageError(
            f"average: `runs` must have the same parts of the data; those of {first.folder} and"
            f" {other.folder} differ. Train them with the same --split-seed."
        )


def _rows(run: Run) -> dict[str, list[int]]:
    """Give the rows of each part, as the run recorded them."""
    try:
        with np.load(run.folder / "split.npz", allow_pickle=False) as file:
            return {part: file[part].tolist() for part in file.files}
    except (OSError, ValueError, KeyError, EOFError) as err:
        raise RunError(
            f"{run.folder}: split.npz cannot be read ({err}). Restore it from a copy."
        ) from err


def _manifest(members: Sequence[Run], target: Path) -> dict[str, Any]:
    """Give the manifest of the first run, with where the weights are from."""
    folders = [str(member.folder) for member in members]
    origin = [
        {
            "run": folder,
            "seed": member.settings.optimization.seed,
            "command": member.manifest.get("command", ""),
        }
        for folder, member in zip(folders, members, strict=True)
    ]
    words = ["fitwell", "average", *folders, "--output", str(target)]
    kept: Mapping[str, Any] = {
        name: members[0].manifest[name]
        for name in ("task", "settings", "best_mode", "recording", "schema", "scaling", "data")
    }
    of_folds = {
        name: members[0].manifest[name] for name in ("rows",) if name in members[0].manifest
    }
    return {
        **kept,
        **of_folds,
        "averaged_from": origin,
        "versions": versions(),
        "command": shlex.join(words),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _complete_result(run: Run, members: Sequence[Run], seconds: float) -> None:
    """Say what the average cost: all updates of its members, and the epochs of the longest."""
    results = [member.result for member in members]
    trained = sum(result.get("seconds", 0.0) for result in results)
    changes = {
        "epochs": max(result.get("epochs", 0) for result in results),
        "steps": sum(result.get("steps", 0) for result in results),
        "seconds": trained + seconds,
        "examples_per_second": results[0].get("examples_per_second", 0.0),
    }
    write_json(run.folder / "result.json", {**run.result, **changes})
