"""Turn the columns of a table into one matrix of inputs, by a plan made from the training rows.

N rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from ..core.errors import DataError
from ._bad_rows import BadRows
from ._examples import Column, Examples, Schema
from ._table_columns import LeftOut, Reading, as_words, convert, problem, read_column
from ._table_file import RawTable
from ._table_rows import Places, RowProblems, is_id_name, read_ids
from ._table_target import Target, read_target, target_problem


@final
@dataclass(frozen=True)
class Plan:
    """Which columns of a file are inputs, and how each is read.

    Args:
        readings: One per column of the file that is used.
        columns: Its categories, one per reading.
        left_out: Name and reason for each column that is not used.
    """

    readings: tuple[Reading, ...]
    columns: tuple[Column, ...]
    left_out: tuple[str, ...] = ()

    def features(self) -> tuple[Column, ...]:
        """Give the input features in order; a date gives several, such as ``column.year``."""
        features: list[Column] = []
        for reading, column in zip(self.readings, self.columns, strict=True):
            if reading.kind == "date":
                features += [Column(name=f"{reading.name}.{part}") for part in reading.features]
            else:
                features.append(column)
        return tuple(features)


@final
@dataclass(frozen=True)
class Part:
    """Rows of one file as arrays.

    Args:
        inputs: (N, F), float32.
        targets: (N,) classes or numbers; None when they are not known.
        ids: The id of each row; None when there is no such column.
        rows: Positions of the good rows.
        unseen: How many good rows have a category that training did not see, by column.
    """

    inputs: npt.NDArray[np.float32]
    targets: npt.NDArray[Any] | None
    ids: list[str] | None
    rows: Places
    unseen: Mapping[str, int] = field(default_factory=dict)

    def examples(self, schema: Schema, rows: Places) -> Examples:
        """Give some rows as examples.

        Args:
            schema: What the features and classes are.
            rows: Positions of the rows.
        """
        ids = self.ids
        return Examples(
            inputs=torch.from_numpy(self.inputs[rows]),
            targets=None if self.targets is None else torch.from_numpy(self.targets[rows]),
            schema=schema,
            ids=None if ids is None else tuple(ids[row] for row in rows.tolist()),
        )


def make_plan(raw: RawTable, aside: set[str], train: Places) -> Plan:
    """Decide from the training rows which columns are inputs and how each is read.

    Args:
        raw: The table.
        aside: Columns that serve another purpose.
        train: Positions of the training rows.

    Raises:
        DataError: A column is written in a way that cannot be read, or none is left.
    """
    readings: list[Reading] = []
    columns: list[Column] = []
    left_out = list(raw.dropped)
    for name, values in raw.columns.items():
        if name in aside:
            continue
        if is_id_name(name) and _all_differ(values, train):
            left_out.append(f"{name} (an id)")
            continue
        try:
            found = read_column(name, values, train)
        except DataError as err:
            raise DataError(f"{raw.path}: {err}") from err
        if isinstance(found, LeftOut):
            left_out.append(f"{name} ({found.reason})")
            continue
        readings.append(found[0])
        columns.append(found[1])
    if not readings:
        shown = ", ".join(left_out) or "there are no other columns"
        raise DataError(f"{raw.path}: no column is left as an input: {shown}. Add columns.")
    return Plan(tuple(readings), tuple(columns), tuple(left_out))


def _all_differ(values: Any, train: Places) -> bool:
    codes = as_words(values).codes[train]
    return bool(codes.min() >= 0) and len(np.unique(codes)) == len(codes) > 1


def plan_of(schema: Schema) -> Plan:
    """Give the plan that a schema was made with.

    Args:
        schema: The schema of a table; one made without a file has a column per feature.
    """
    if "readings" not in schema.source:
        plain = tuple(Reading(name=column.name, kind=column.kind) for column in schema.columns)
        return Plan(plain, schema.columns)
    readings = tuple(Reading.from_dict(value) for value in schema.source["readings"])
    features = iter(schema.columns)
    columns = []
    for reading in readings:
        taken = [next(features) for _ in range(len(reading.features) or 1)]
        columns.append(replace(taken[0], name=reading.name))
    return Plan(readings, tuple(columns))


def encode(
    raw: RawTable, plan: Plan, problems: RowProblems
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.bool_]]]:
    """Give the inputs of all rows, (N, F), and where each column has an unseen category, (N,).

    Args:
        raw: The table.
        plan: Which columns are inputs.
        problems: Where bad rows are noted.

    Raises:
        DataError: A column of the plan is missing.
    """
    found = {reading.name: raw.need(reading.name, "input column") for reading in plan.readings}
    inputs = np.empty((raw.count, len(plan.features())), dtype=np.float32)
    unseen: dict[str, npt.NDArray[np.bool_]] = {}
    place = 0
    for reading, column in zip(plan.readings, plan.columns, strict=True):
        values = found[reading.name]
        result = convert(reading, column, values)
        _note(problems, result.bad, reading, values)
        for feature in result.features:
            with np.errstate(over="ignore"):
                inputs[:, place] = feature
            place += 1
        if result.unseen is not None and result.unseen.any():
            unseen[reading.name] = result.unseen
    return inputs, unseen


def _note(problems: RowProblems, rows: Any, reading: Reading, values: Any) -> None:
    problems.add(rows, lambda position: problem(reading, values[position].as_py()))


def read_part(raw: RawTable, plan: Plan, target: Target, id_name: str | None, bad: BadRows) -> Part:
    """Read all rows of a file by a plan that is known; target and ids may be absent.

    Args:
        raw: The table.
        plan: Which columns are inputs.
        target: What the target column is.
        id_name: Header of the id column; None if there is none.
        bad: What happens to bad rows.

    Raises:
        DataError: A column of the plan is missing, or a row is bad.
    """
    problems = RowProblems(raw)
    inputs, unseen = encode(raw, plan, problems)
    targets = None
    if target.name in raw.columns:
        values = raw.columns[target.name]
        targets, wrong = read_target(target, values)
        problems.add(wrong, lambda i: target_problem(target, values[i].as_py()))
    ids = read_ids(raw, id_name, problems) if id_name in raw.columns and id_name else None
    problems.report(bad)
    rows = problems.good()
    counts = {name: int(mask[rows].sum()) for name, mask in unseen.items()}
    return Part(inputs, targets, ids, rows, {name: n for name, n in counts.items() if n})
