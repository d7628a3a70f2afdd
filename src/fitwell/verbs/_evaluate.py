"""The verb `evaluate`: measure a run again, on its own parts or on new labelled data."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from ..core.errors import UsageError
from ..data import Batches, Examples
from ..tasks import ModelChoice
from ..train import Combine, Run, autocast
from ..train import evaluate as measure
from ._open_run import open_run
from ._session import pick_device
from ._several._group import Group, as_group, refuse_views
from ._several._outputs import Together
from ._several._pool import own_splits
from ._views import ViewGain, Views


@final
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Args:
        run: Folder of the run.
        task: Its task.
        model: Its model.
        parameters: Trainable numbers of the model.
        epochs: Passes it was trained for.
        steps: Updates it was trained for.
        seconds: Time the measuring took.
        parts: Metrics by part; new data is the part ``data``.
        counts: Examples by part.
        views: What views gain by part, if they were asked for.
        together: The members of a group by part, alone and together.
        note: What to know about the numbers.
    """

    run: str
    task: str
    model: str
    parameters: int
    epochs: int
    steps: int
    seconds: float
    parts: dict[str, dict[str, float]]
    counts: dict[str, int] = field(default_factory=dict)
    views: dict[str, ViewGain] = field(default_factory=dict)
    together: dict[str, Together] = field(default_factory=dict)
    note: str = ""

    @property
    def examples_per_second(self) -> float:
        """How fast it was measured."""
        return sum(self.counts.values()) / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, with a key per part."""
        fields = {name: value for name, value in vars(self).items() if name != "parts"}
        fields["examples_per_second"] = self.examples_per_second
        fields["views"] = {part: gain.to_dict() for part, gain in self.views.items()}
        fields["together"] = {part: found.to_dict() for part, found in self.together.items()}
        return {**fields, "train": {}, "valid": {}, "test": {}, **self.parts}

    def __str__(self) -> str:
        lines = [f"run      {self.run}: {self.model}, {self.parameters:,} parameters"]
        for part, scores in self.parts.items():
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            lines.append(f"{part:<8} {numbers}  ({self.counts[part]:,} examples)")
        for part, gain in self.views.items():
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in gain.scores.items())
            lines += ["", f"{part:<8} with views: {numbers}", f"{gain.paired or ''}"]
        lines += [str(found) for found in self.together.values()]
        lines += [f"note     {self.note}"] if self.note else []
        return "\n".join(lines)


def evaluate(
    run: str | Path | Run | Group,
    data: Any = None,
    /,
    *,
    views: int = 0,
    augment: str | None = None,
    plain_weight: float | None = None,
    combine: Combine = "logits",
    batch_size: int | None = None,
    device: str = "cpu",
    model: ModelChoice | None = None,
) -> Evaluation:
    """Measure a run's kept weights on its train, valid and test parts, or on new labelled data.

    Args:
        run: Folder of the run; or of a group, whose members are measured alone and together; of a
            sweep the best one is.
        data: New labelled data of the same kind: a folder or a file, from Python also `Examples`;
            for a run on data in memory, that data.
        views: Random views of each image whose outputs are averaged with the plain one's, on every
            part but the training one; 0 uses none. What they gain comes with its interval.
        augment: How views are made, such as `Flip(), Crop(padding=2)`; as in training if left out.
        plain_weight: Weight of the plain view, the others share the rest; all the same if left out.
        combine: Average logits or probabilities, or let the views vote.
        batch_size: Examples per forward pass; as in training if left out.
        device: What to measure on.
        model: The model again, for a run of your own module.

    Raises:
        RunError: The folder is no run, has no weights, or its data has changed.
        DataError: The new data is bad.
        UsageError: The new data has no targets, or there is nothing to make views by.
    """
    device = pick_device(device)
    group, note = as_group(run), ""
    if group is not None:
        from ._several._use import evaluate_group

        found = group.stand_in()
        if found is None:
            refuse_views("evaluate", views)
            return evaluate_group(group, data, batch_size=batch_size, device=device, model=model)
        run, note = found
    single: Any = run
    opened = open_run(single, model=model)
    chosen = Views.of("evaluate", opened, views, augment, plain_weight, combine)
    network = opened.model().to(device)
    settings = opened.settings
    task = opened.known_task
    parts = _parts(opened, data)
    objective = task.objective(settings.loss.loss, opened.schema, opened.manifest["scaling"])
    context = autocast(settings.optimization.precision, device)
    size = batch_size or max(settings.optimization.batch_size, 256)
    started = time.perf_counter()
    scores, gains = {}, {}
    for name, part in parts.items():
        batches = Batches(part.to(device), size, device=device)
        with context:
            scores[name] = measure(objective, network, batches)
            if chosen is not None and name != "train":
                gains[name] = chosen.gain(opened, network, name, batches)
    seconds = time.perf_counter() - started
    counts = {name: len(part) for name, part in parts.items()}
    result = opened.result
    return Evaluation(
        run=str(opened.folder),
        task=task.name,
        model=settings.model.spec,
        parameters=sum(p.numel() for p in network.parameters()),
        epochs=result.get("epochs", 0),
        steps=result.get("steps", 0),
        seconds=seconds,
        parts=scores,
        counts=counts,
        views=gains,
        note="; ".join(words for words in (note, seen_before([opened], data)) if words),
    )


def seen_before(runs: Sequence[Run], data: Any) -> str:
    """Say if new data is what runs were trained on; nothing if it is another.

    Args:
        runs: The runs.
        data: What was given as new data.
    """
    if not isinstance(data, (str, Path)) or not Path(data).exists():
        return ""
    for run in runs:
        source = run.settings.loss.path
        if source is not None and _is_same(Path(source), Path(data)):
            return (
                f"{data} is what {run.folder} was trained on: most of these rows are not new. Leave"
                " the file out to measure on the rows that were held out"
            )
    return ""


def _is_same(one: Path, other: Path) -> bool:
    if not one.is_file() or not other.is_file():
        return one.resolve() == other.resolve()
    return filecmp.cmp(one, other, shallow=False)


def _parts(run: Run, data: Any) -> dict[str, Examples]:
    chosen = run.settings.loss
    if data is None or (chosen.source == "memory" and not isinstance(data, (str, Path, Examples))):
        return own_splits(run, data, owner="evaluate").parts()
    examples = run.read(data)
    if examples.targets is None:
        raise UsageError(
            f"evaluate: `data` must hold the targets {run.schema.target_name!r};"
            f" got {data} without. Use 'fitwell predict' for data without targets."
        )
    return {"data": examples}
