"""Truths of `Examples`, `Schema` and `Splits`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.data import Column, Examples, Schema, Splits

SCHEMA = Schema(kind="table", input_shape=(2,), target_kind="class", class_names=("a", "b"))
INPUTS = torch.arange(8.0).reshape(4, 2)
TARGETS = torch.tensor([0, 1, 0, 1])


def make(**changes: object) -> Examples:
    values = {"inputs": INPUTS, "targets": TARGETS, "schema": SCHEMA, **changes}
    return Examples(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": INPUTS.reshape(2, 4)}, r"`inputs` must have shape \(N, \*\(2,\)\); got \(2, 4"),
        ({"targets": TARGETS[:3]}, "`targets` must have one entry per example; got 3 for 4"),
        ({"targets": TARGETS.float()}, r"must be torch\.int64 for a class; got torch\.float32"),
        ({"ids": ("x",)}, "`ids` must have one entry per example; got 1 for 4"),
        (
            {"schema": replace(SCHEMA, target_kind="number", class_names=())},
            r"must be torch\.float32 for a number; got torch\.int64",
        ),
    ],
)
def test_examples_that_do_not_fit_together_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make(**changes)


def test_select_gives_rows_in_the_order_asked_for() -> None:
    picked = make(ids=("p", "q", "r", "s")).select([2, 0])
    assert picked.ids == ("r", "p")
    assert torch.equal(picked.inputs, INPUTS[[2, 0]])
    assert torch.equal(picked.targets, TARGETS[[2, 0]])
    assert make(targets=None).select(torch.tensor([1])).targets is None


def test_ids_are_numbers_where_there_are_none() -> None:
    assert make().named_ids() == ("0", "1", "2", "3")
    assert make(ids=("007", "8", "9", "10")).named_ids()[0] == "007"


@pytest.mark.parametrize(
    "changed",
    [
        make(inputs=INPUTS + torch.eye(4, 2) * 1e-6),
        make(inputs=INPUTS.double()),
        make(targets=torch.tensor([0, 1, 1, 1])),
        make(targets=None),
        make().select([0, 1, 2]),
        make().select([1, 0, 2, 3]),
        make(
            inputs=INPUTS.reshape(4, 1, 2),
            schema=replace(SCHEMA, kind="tensor", input_shape=(1, 2)),
        ),
    ],
)
def test_fingerprint_changes_with_any_change(changed: Examples) -> None:
    assert changed.fingerprint != make().fingerprint


def test_fingerprint_depends_on_values_not_on_how_they_lie_in_memory() -> None:
    turned = INPUTS.t().contiguous().t()
    assert not turned.is_contiguous()
    assert make(inputs=turned).fingerprint == make().fingerprint


def test_fingerprint_covers_rows_beyond_one_chunk() -> None:
    inputs = torch.zeros(70_000, 2)
    last = inputs.clone()
    last[-1, -1] = 1
    assert (
        make(inputs=inputs, targets=None).fingerprint != make(inputs=last, targets=None).fingerprint
    )


def test_fingerprint_of_no_examples_exists() -> None:
    assert len(make().select([]).fingerprint) == 64


def test_fingerprint_of_splits_knows_which_part_a_row_is_in() -> None:
    one, two = make().select([0, 1]), make().select([2, 3])
    there, back = Splits(train=one, valid=two), Splits(train=two, valid=one)
    assert there.fingerprint != back.fingerprint
    assert there.fingerprint != Splits(train=one, valid=two, test=two).fingerprint


def test_schema_survives_json() -> None:
    schema = replace(
        SCHEMA,
        columns=(Column(name="n"), Column(name="c", kind="category", categories=("x", "y"))),
        source={"skipped": 1, "notes": ["row 3"]},
    )
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert (schema.num_classes, schema.num_outputs) == (2, 2)
    assert replace(schema, target_kind="number", class_names=()).num_outputs == 1


def test_parts_lists_the_parts_that_exist() -> None:
    splits = Splits(train=make(), valid=make())
    assert list(splits.parts()) == ["train", "valid"]
    assert list(replace(splits, test=make()).parts()) == ["train", "valid", "test"]
    assert splits.schema is SCHEMA
