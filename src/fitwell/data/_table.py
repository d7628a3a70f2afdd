"""Tables (CSV, TSV, Parquet) as examples: one call to train on them, one to read new rows.

Kinds and vocabularies of the columns come from the training rows alone; only the names of the
classes, and whether a column of ids has repeats, are taken from all rows of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final, get_args

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError, UsageError
from ._bad_rows import BadRows, OnBadRow
from ._examples import Examples, Schema, Splits
from ._splits import SplitMode
from ._table_encode import Part, Plan, encode, make_plan, plan_of, read_part
from ._table_file import RawTable, read_file
from ._table_rows import (
    Places,
    RowProblems,
    TableSplitMode,
    find_id,
    lonely,
    read_ids,
    split_keys,
    split_rows,
)
from ._table_target import Target, check_varies, decide_target, read_target, target_problem

# So many sentences about rows left out are kept in the schema; the count is always kept.
_NOTES_KEPT = 50


def load_table(
    path: str | Path,
    *,
    target: str,
    target_kind: Literal["auto", "class", "number"] = "auto",
    id_column: str | None = None,
    ignore: Sequence[str] = (),
    valid_path: str | Path | None = None,
    test_path: str | Path | None = None,
    mode: TableSplitMode = "auto",
    split_by: str | None = None,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    on_bad_row: OnBadRow = "stop",
) -> Splits:
    """Read a table to learn from, decide what its columns are, and cut it into parts.

    Columns hold numbers (``true`` and ``false`` are 1 and 0), categories, or dates, which become
    several numbers. Empty, ``NA``, ``NaN``, ``null``, ``None`` and ``?`` are missing. A column is
    one of numbers when at least nine in ten of its training values are; the others are bad rows.
    Left out, and named in `Splits.how`: columns that are constant, empty, or texts that (nearly)
    never repeat. Read new rows of the same kind with `read_table`. Not covered: decimal commas,
    free text as input, tables that do not fit into memory.

    Args:
        path: CSV, TSV (also ``.gz``) or Parquet, with a header.
        target: Header of the column to predict.
        target_kind: What the target is; ``auto`` takes text and up to 20 different whole numbers
            for classes, and other numbers for numbers.
        id_column: Header of the column that names the rows; found by itself if it is called
            ``id`` or ``..._id`` and no value repeats.
        ignore: Headers of columns that are not to be used.
        valid_path: File of the validation part; otherwise it is cut from `path`.
        test_path: File of the test part; otherwise it is cut from `path`.
        mode: How rows are drawn; ``auto`` is stratified for classes, random for numbers; ``given``
            takes train, valid or test from the column `split_by`.
        split_by: Header of the column of groups, times or parts; groups and parts are no inputs.
        valid: Share of the validation part, unless it has a file.
        test: Share of the test part, unless it has a file; 0 makes none.
        seed: Seed of the draw.
        on_bad_row: Stop at a bad row, or leave it out; ``schema.source["skipped"]`` has the count.

    Raises:
        UsageError: The arguments do not go together.
        DataError: A file, a column or a row is bad; the message names it.
    """
    _check_mode(mode, split_by, valid_path or test_path)
    bad = BadRows(on_bad_row)
    raw = read_file(path, bad)
    for name in ignore:
        raw.need(name, "column to ignore")
    if f"{target}.1" in raw.columns:
        raise DataError(
            f"{raw.path}: the header has the name {target!r} more than once, so it does not say"
            f" which column to predict. Take {target}.1, {target}.2 ..., or rename the first."
        )
    about = decide_target(raw.path, target, raw.need(target, "target column"), target_kind)
    cuts = _Cuts(mode, 0 if valid_path else valid, 0 if test_path else test, seed)
    aside = {target, *ignore, *([split_by] if split_by and mode != "by_time" else [])}
    id_name = find_id(raw, id_column, aside)
    rows = _label_rows(raw, about, id_name, split_by, cuts, bad)
    parts, how = rows.cut(cuts)
    check_varies(raw.path, rows.about, rows.targets[parts["train"]])
    plan = make_plan(raw, {*aside, *([id_name] if id_name else [])}, parts["train"])
    inputs, _ = encode(raw, plan, rows.problems)
    rows.problems.report(bad)
    main = Part(inputs, rows.targets, rows.ids, rows.problems.good())
    files = {
        name: read_part(_labelled(other, target, name, bad), plan, rows.about, id_name, bad)
        for name, other in (("valid", valid_path), ("test", test_path))
        if other is not None
    }
    kept = {name: part[np.isin(part, main.rows)] for name, part in parts.items()}
    _check_sizes(raw.path, {**kept, **{name: part.rows for name, part in files.items()}})
    how = _describe(how, rows.about, plan, files, bad)
    schema = _schema(raw, plan, rows.about, id_name, how, bad)
    made = {name: main.examples(schema, part) for name, part in kept.items()}
    made |= {name: part.examples(schema, part.rows) for name, part in files.items()}
    return Splits(
        train=made["train"],
        valid=made["valid"],
        test=made.get("test"),
        indices={name: tuple(part.tolist()) for name, part in kept.items()},
        how=how,
    )


def read_table(path: str | Path, schema: Schema, *, on_bad_row: OnBadRow = "stop") -> Examples:
    """Read new rows with the schema that `load_table` made.

    Columns are found by name in any order, others are ignored. Categories that training did not
    see get code 0 and are counted in ``schema.source["unseen"]`` of the result.

    Args:
        path: CSV, TSV (also ``.gz``) or Parquet, with a header; the target may be absent.
        schema: The schema of the training examples.
        on_bad_row: Stop at a bad row, or leave it out; ``schema.source["skipped"]`` has the count.

    Raises:
        UsageError: The schema is not that of a table.
        DataError: A needed column is missing, or a file or a row is bad; the message names it.
    """
    if schema.kind != "table":
        raise UsageError(
            f"read_table: `schema` must be that of a table; got kind={schema.kind!r}."
            " Read images with the reader of images."
        )
    bad = BadRows(on_bad_row)
    raw = read_file(path, bad)
    about = Target(schema.target_name, schema.target_kind, schema.class_names)
    id_name = schema.source.get("id_column", schema.id_name)
    part = read_part(raw, plan_of(schema), about, id_name, bad)
    source = {**schema.source, "skipped": bad.count, "notes": bad.messages[:_NOTES_KEPT]}
    source["unseen"] = dict(part.unseen)
    return part.examples(replace(schema, source=source), part.rows)


def _check_mode(mode: TableSplitMode, split_by: str | None, other: object) -> None:
    known = (*get_args(SplitMode), "auto", "given")
    if mode not in known:
        raise UsageError(
            f"load_table: `mode` must be one of {', '.join(known)}; got {mode!r}. Choose one."
        )
    by_column = mode in ("grouped", "by_time", "given")
    if by_column and split_by is None:
        raise UsageError(
            f"load_table: `split_by` must name a column for mode {mode!r}; got None."
            " Name the column of groups, times or parts."
        )
    if split_by is not None and not by_column:
        raise UsageError(
            f"load_table: `mode` must say what the column split_by={split_by!r} holds;"
            f" got {mode!r}. Use 'grouped', 'by_time' or 'given'."
        )
    if mode == "given" and other:
        raise UsageError(
            f"load_table: `mode` must not be 'given' when a part has its own file; got {other!r}."
            " Leave out one of the two."
        )


@final
@dataclass(frozen=True)
class _Cuts:
    """What the user wants of the parts; a share of 0 is a part that is not cut."""

    mode: TableSplitMode
    valid: float
    test: float
    seed: int


@final
@dataclass(frozen=True)
class _Rows:
    """The rows of the main file with all but their inputs; `problems` knows which are good."""

    about: Target
    targets: npt.NDArray[Any]
    ids: list[str] | None
    keys: npt.NDArray[np.generic] | None
    problems: RowProblems

    def cut(self, cuts: _Cuts) -> tuple[dict[str, Places], str]:
        """Cut the good rows into parts, as positions in the file, and say how."""
        rows = self.problems.good()
        parts, how = split_rows(
            len(rows),
            cuts.mode,
            valid=cuts.valid,
            test=cuts.test,
            seed=cuts.seed,
            labels=self.targets[rows] if self.about.kind == "class" else None,
            keys=None if self.keys is None else self.keys[rows],
        )
        return {name: rows[places] for name, places in parts.items()}, how


def _label_rows(
    raw: RawTable,
    about: Target,
    id_name: str | None,
    split_by: str | None,
    cuts: _Cuts,
    bad: BadRows,
) -> _Rows:
    """Read target, ids and split column, and report the rows in which one of them is bad."""
    problems = RowProblems(raw)
    keys = None if split_by is None else split_keys(raw, split_by, cuts.mode, problems)
    values = raw.columns[about.name]
    if cuts.mode == "given" and about.kind == "class":
        codes, _ = read_target(about, values)
        known = np.unique(codes[(keys != "test") & (codes >= 0)])
        about = replace(about, class_names=tuple(about.class_names[code] for code in known))
    targets, wrong = read_target(about, values)
    shown = about
    problems.add(wrong, lambda i: target_problem(shown, values[i].as_py()))
    ids = None if id_name is None else read_ids(raw, id_name, problems)
    problems.report(bad)
    if cuts.mode == "stratified" and about.kind == "number":
        raise UsageError(
            "load_table: `mode` must not be 'stratified' when the target is a number;"
            f" got target={about.name!r}. Use 'random'."
        )
    if cuts.mode in ("auto", "stratified") and about.kind == "class":
        about, targets = _leave_out_lonely(about, targets, cuts, problems, bad)
    return _Rows(about, targets, ids, keys, problems)


def _leave_out_lonely(
    about: Target, targets: Places, cuts: _Cuts, problems: RowProblems, bad: BadRows
) -> tuple[Target, Places]:
    """Report classes with too few members to be in every part; give classes without them."""
    few, counts = lonely(
        targets, problems.good(), cuts.valid, cuts.test, classes=len(about.class_names)
    )

    def describe(position: int) -> tuple[str, str]:
        code = targets[position]
        members = "one member" if counts[code] == 1 else f"{counts[code]} members"
        return (
            f"class {about.class_names[code]!r} has {members}, too few to be in every part",
            "Add examples of it, remove it, or split with mode 'random'.",
        )

    problems.add(few, describe)
    problems.report(bad)
    used = np.flatnonzero(np.bincount(targets[problems.good()], minlength=len(counts)))
    names = tuple(about.class_names[code] for code in used)
    return replace(about, class_names=names), np.searchsorted(used, targets)


def _labelled(path: str | Path, target: str, part: str, bad: BadRows) -> RawTable:
    raw = read_file(path, bad)
    if target not in raw.columns:
        raw.need(target, f"target column, which a {part} file must have,")
    return raw


def _check_sizes(path: Path, parts: Mapping[str, Places]) -> None:
    for name in ("train", "valid", *parts):
        if name not in parts or len(parts[name]) == 0:
            raise DataError(
                f"{path}: the {name} part has no rows. Add rows, or cut it differently."
            )


def _describe(how: str, about: Target, plan: Plan, files: Mapping[str, Part], bad: BadRows) -> str:
    what = f"{len(about.class_names)} classes" if about.kind == "class" else "a number"
    notes = [how, *(f"{name} from its own file" for name in files)]
    notes.append(f"target {about.name!r} is {what}")
    if plan.left_out:
        notes.append("left out: " + ", ".join(plan.left_out))
    if bad.count:
        notes.append(f"{bad.count} bad {'row' if bad.count == 1 else 'rows'} skipped")
    return "; ".join(notes)


def _schema(
    raw: RawTable, plan: Plan, about: Target, id_name: str | None, how: str, bad: BadRows
) -> Schema:
    columns = plan.features()
    source = {
        "reader": "table",
        "file": raw.path.name,
        "readings": [reading.to_dict() for reading in plan.readings],
        "left_out": list(plan.left_out),
        "id_column": id_name,
        "skipped": bad.count,
        "notes": bad.messages[:_NOTES_KEPT],
    }
    return Schema(
        kind="table",
        input_shape=(len(columns),),
        target_kind=about.kind,
        class_names=about.class_names,
        columns=columns,
        id_name=id_name or "id",
        target_name=about.name,
        source=source,
    )
