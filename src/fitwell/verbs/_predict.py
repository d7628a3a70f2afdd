"""The verb `predict`: answers for new data, in the file that a leaderboard wants."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Literal, final

from ..core.errors import DataError, UsageError
from ..core.files import atomic_path
from ..data import BUILTIN, Batches, Examples, open_unlabelled
from ..tasks import ModelChoice
from ..train import Combine, Run, autocast, outputs_of
from ._confidence import read_confidence
from ._open_run import open_run
from ._session import pick_device
from ._several._group import Group, as_group, refuse_views
from ._views import Views


@final
@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """A file of answers.

    Args:
        path: The file.
        rows: Answers in it.
        header: Its first line.
        skipped: Bad rows that were left out.
        note: What to know about the answers.
    """

    path: str
    rows: int
    header: tuple[str, ...]
    skipped: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        return dict(vars(self))

    def __str__(self) -> str:
        left_out = f"; {self.skipped} bad rows skipped" if self.skipped else ""
        said = f"\nnote     {self.note}" if self.note else ""
        return f"{self.path}: {self.rows:,} rows, {','.join(self.header)}{left_out}{said}"


def predict(
    run: str | Path | Run | Group,
    data: Any,
    /,
    *,
    output: str | Path | None = None,
    labels: Literal["names", "indices"] = "names",
    id_name: str | None = None,
    target_name: str | None = None,
    sample: str | Path | None = None,
    probs: bool = False,
    sets: float | None = None,
    views: int = 0,
    augment: str | None = None,
    plain_weight: float | None = None,
    combine: Combine = "logits",
    on_bad_row: Literal["stop", "skip"] = "stop",
    batch_size: int = 256,
    device: str = "cpu",
    model: ModelChoice | None = None,
) -> PredictionFile:
    """Answer for new data and write a CSV file: one row per example, ids as they are in the data.

    Args:
        run: Folder of the run; or of a group, whose members answer as one; of a sweep the best one
            answers.
        data: A folder or file of the same kind as the training data, or a built-in set with
            examples that have no targets.
        output: The file; predictions.csv in the run if left out.
        labels: Write classes by name or by index.
        id_name: Header of the ids.
        target_name: Header of the answers.
        sample: A leaderboard's sample file, whose header and order of ids are taken over.
        probs: Add a column with the probability of each class.
        sets: Add a column with the classes that hold the right one except for this share of
            examples, such as 0.1, joined by ``|``, and one with the confidence after temperature
            scaling. Both are from the run's validation part. No class or several: the model does
            not know.
        views: Random views of each image whose outputs are averaged with the plain one's; 0 uses
            none. `evaluate` says what they gain.
        augment: How views are made, such as `Flip(), Crop(padding=2)`; as in training if left out.
        plain_weight: Weight of the plain view, the others share the rest; all the same if left out.
        combine: Average logits or probabilities, or let the views vote.
        on_bad_row: Stop at a bad row or file, or skip and count it.
        batch_size: Examples per forward pass.
        device: What to predict on.
        model: The model again, for a run of your own module.

    Raises:
        RunError: The folder is no run, has no weights yet, or nothing to make sets from.
        DataError: The data is bad, or the sample names other ids.
        UsageError: `probs` or `sets` is asked of a run whose target is a number, there is nothing
            to make views by, or `sets` is asked of views, whose confidence was not measured.
    """
    note, group = "", as_group(run)
    if group is not None and (found := group.stand_in()) is not None:
        (run, note), group = found, None
    _refuse_for_group(group, views, sets)
    member: Any = run if group is None else next(iter(group.runs().values()))
    opened = open_run(member, model=model)
    seen = Views.of("predict", opened, views, augment, plain_weight, combine)
    if seen is not None and sets is not None:
        raise UsageError(
            "predict: `sets` must be left out with `views`, since they hold for the plain outputs"
            f" that the validation part was measured with; got {sets}."
        )
    names = [] if sets is None else _set_names(opened, sets, labels)
    confidence = None if sets is None else read_confidence(opened)
    examples = _examples(opened, data, on_bad_row)
    device = pick_device(device)
    if group is not None:
        outputs = group.outputs(examples, device=device, batch_size=batch_size, model=model)
    else:
        network = opened.model().to(device)
        with autocast(opened.settings.optimization.precision, device):
            batches = Batches(examples, batch_size, device=device)
            outputs = seen.outputs(network, batches) if seen else outputs_of(network, batches)
    schema = opened.schema
    answers = opened.known_task.describe(outputs, schema)
    header = [id_name or schema.id_name, target_name or schema.target_name]
    columns = [list(examples.named_ids()), answers.words(labels)]
    if probs:
        if answers.probs is None:
            raise UsageError("predict: `probs` must be left out when the target is a number.")
        header += [f"p_{name}" for name in schema.class_names]
        columns += [[format(p, ".6g") for p in column.tolist()] for column in answers.probs.T]
    if sets is not None and confidence is not None:
        header += ["set", "confidence"]
        members, sure = confidence.sets(outputs, sets)
        columns += [["|".join(compress(names, row)) for row in members.tolist()]]
        columns += [[format(value, ".6g") for value in sure.tolist()]]
    rows = list(zip(*columns, strict=True))
    if sample is not None:
        header[:2], rows = _as_sample(Path(sample), rows)
    folder = opened.folder if group is None else group.folder
    target = Path(output) if output is not None else folder / "predictions.csv"
    with atomic_path(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    skipped = int(examples.schema.source.get("skipped", 0))
    return PredictionFile(
        path=str(target), rows=len(rows), header=tuple(header), skipped=skipped, note=note
    )


def _refuse_for_group(group: Group | None, views: int, sets: float | None) -> None:
    """Refuse what only a run can do."""
    if group is None:
        return
    refuse_views("predict", views)
    if sets is not None:
        raise UsageError(
            f"predict: `sets` must be left out for a group, whose confidence was not measured; got"
            f" {sets}. Name a run."
        )


def _examples(run: Run, data: Any, on_bad_row: Literal["stop", "skip"]) -> Examples:
    if isinstance(data, str) and data in BUILTIN and not Path(data).exists():
        return run.read(open_unlabelled(data))
    if isinstance(data, (str, Path)):
        return run.known_task.read(data, run.schema, on_bad_row=on_bad_row)
    return run.read(data)


def _set_names(run: Run, alpha: float, labels: Literal["names", "indices"]) -> list[str]:
    """Give how classes are written in a set."""
    if run.schema.target_kind == "number":
        raise UsageError("predict: `sets` must be left out when the target is a number.")
    if not 0 < alpha < 1:
        raise UsageError(
            f"predict: `sets` must lie in (0, 1), the share of sets that may be wrong; got {alpha}."
            " Use 0.1."
        )
    names = run.schema.class_names
    if labels == "indices":
        return [str(place) for place in range(len(names))]
    if any("|" in name for name in names):
        raise UsageError(
            "predict: `labels` must be indices when a class has '|' in its name, which separates"
            " the classes of a set; got names. Use --labels indices."
        )
    return list(names)


def _as_sample(
    sample: Path, rows: list[tuple[str, ...]]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Put rows in the order of a sample file's ids."""
    from ._submission import read_rows

    header, wanted, lines = read_rows(sample)
    ids = [row[0] for row in wanted]
    found = {row[0]: row for row in rows}
    missing = [name for name in ids if name not in found]
    if missing:
        raise DataError(
            f"{sample}: names the id {missing[0]!r} (line {lines[ids.index(missing[0])]}) and"
            f" {len(missing) - 1} more that the data does not have. Give the data that belongs"
            " to this sample."
        )
    return header[:2], [found[name] for name in ids]
