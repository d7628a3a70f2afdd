"""Arrays of every kind become the same examples, and bad ones are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fitwell.core.errors import DataError, UsageError
from fitwell.data import load_arrays

TABLE = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.arange(60) % 3
PIXELS = np.random.default_rng(1).integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)


def test_numpy_and_torch_give_the_same(tmp_path: Path) -> None:
    one = load_arrays(TABLE, LABELS)
    two = load_arrays(torch.from_numpy(TABLE), torch.from_numpy(LABELS))
    np.savez(tmp_path / "d.npz", x=TABLE, y=LABELS)
    three = load_arrays(tmp_path / "d.npz")
    assert one.fingerprint == two.fingerprint == three.fingerprint
    assert one.schema.kind == "table"
    assert [column.name for column in one.schema.columns] == ["x0", "x1", "x2"]
    assert (len(one.train), len(one.valid), len(one.test)) == (42, 9, 9)
    rows = list(one.indices["test"])
    np.testing.assert_allclose(one.test.inputs, TABLE[rows].astype(np.float32))
    assert one.test.targets.tolist() == LABELS[rows].tolist()


def test_frames_of_pandas_keep_their_column_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE, columns=["a", "b", "c"])
    splits = load_arrays(frame, pandas.Series(LABELS))
    assert [column.name for column in splits.schema.columns] == ["a", "b", "c"]
    assert splits.fingerprint == load_arrays(TABLE, LABELS).fingerprint


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (PIXELS, (3, 8, 6)),
        (PIXELS.transpose(0, 3, 1, 2), (3, 8, 6)),
        (PIXELS[..., 0], (1, 8, 6)),
        (PIXELS[..., :1], (1, 8, 6)),
    ],
)
def test_bytes_are_images(array: np.ndarray, shape: tuple[int, ...]) -> None:
    splits = load_arrays(array, LABELS)
    assert splits.schema.kind == "images"
    assert splits.schema.input_shape == shape
    assert splits.train.inputs.dtype == torch.uint8
    wanted = PIXELS.transpose(0, 3, 1, 2)[list(splits.indices["train"]), : shape[0]]
    np.testing.assert_array_equal(splits.train.inputs, wanted)


def test_other_arrays_are_tensors() -> None:
    splits = load_arrays(PIXELS / 255.0, LABELS)
    assert (splits.schema.kind, splits.schema.input_shape) == ("tensor", (8, 6, 3))
    assert splits.train.inputs.dtype == torch.float32


@pytest.mark.parametrize(
    ("targets", "kind", "names"),
    [
        (LABELS, "class", ("0", "1", "2")),
        (LABELS * 10 - 5, "class", ("-5", "5", "15")),
        (LABELS.astype(np.uint8).reshape(-1, 1), "class", ("0", "1", "2")),
        (LABELS > 0, "class", ("False", "True")),
        ([["b", "a", "c"][label] for label in LABELS], "class", ("a", "b", "c")),
        (np.array([b"b", b"a", b"c"])[LABELS], "class", ("a", "b", "c")),
        (np.array(["b", "a", "c"], dtype=object)[LABELS], "class", ("a", "b", "c")),
        (LABELS.astype(float), "number", ()),
        (TABLE[:, 0], "number", ()),
    ],
)
def test_kind_of_targets(targets: Any, kind: str, names: tuple[str, ...]) -> None:
    splits = load_arrays(TABLE, targets)
    assert (splits.schema.target_kind, splits.schema.class_names) == (kind, names)
    row = splits.indices["train"][0]
    wanted = np.asarray(targets).ravel()[row]
    got = splits.train.targets[0].item()
    if kind == "class":
        wanted = wanted.decode() if isinstance(wanted, bytes) else str(wanted)
        assert names[got] == wanted
    else:
        assert got == pytest.approx(wanted)


def test_target_kind_and_class_names_can_be_said() -> None:
    assert load_arrays(TABLE, LABELS, target_kind="number").schema.target_kind == "number"
    floats = load_arrays(TABLE, LABELS.astype(float), target_kind="class")
    assert floats.schema.class_names == ("0", "1", "2")
    named = load_arrays(TABLE, LABELS, class_names=["c", "a", "b", "never seen"])
    assert named.schema.class_names == ("c", "a", "b", "never seen")
    assert named.train.targets.tolist() == LABELS[list(named.indices["train"])].tolist()


def test_given_parts_are_used_as_they_are() -> None:
    part = (TABLE[:5], LABELS[:5])
    both = load_arrays(TABLE, LABELS, valid_arrays=part, test_arrays=part)
    assert (len(both.train), len(both.valid), len(both.test)) == (60, 5, 5)
    assert both.test.targets.tolist() == LABELS[:5].tolist()
    one = load_arrays(TABLE, LABELS, test_arrays=part)
    assert (len(one.train), len(one.valid), len(one.test)) == (51, 9, 5)
    assert one.how == "stratified split, seed 0; given: test"
    named = load_arrays(TABLE, LABELS, class_names="abc", test_arrays=part)
    assert named.test.targets.tolist() == LABELS[:5].tolist()


@pytest.mark.parametrize("names", ["{key}_{part}", "{part}_{key}"])
@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("X", "Y"), ("images", "labels")])
def test_an_npz_file_may_hold_parts(tmp_path: Path, names: str, x: str, y: str) -> None:
    arrays = {}
    for part, count in (("train", 40), ("val", 10), ("test", 5)):
        arrays[names.format(key=x, part=part)] = TABLE[:count]
        arrays[names.format(key=y, part=part)] = LABELS[:count]
    np.savez(tmp_path / "d.npz", **arrays)
    splits = load_arrays(tmp_path / "d.npz")
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (40, 10, 5)


def test_splits_by_group_and_by_time() -> None:
    groups = load_arrays(TABLE, LABELS, mode="grouped", split_by=np.arange(60) // 4)
    held = [{row // 4 for row in rows} for rows in groups.indices.values()]
    assert sum(map(len, held)) == 15
    times = load_arrays(TABLE, LABELS, mode="by_time", split_by=np.arange(60)[::-1])
    assert min(times.indices["train"]) > max(times.indices["valid"])


def test_missing_numbers_stay_in_tables_only() -> None:
    table = TABLE.copy()
    table[4, 1] = np.nan
    assert int(load_arrays(table, LABELS, test=0).train.inputs.isnan().sum()) <= 1
    with pytest.raises(DataError, match=r"`inputs`, row 4: the value at \[1, 0\] is nan"):
        load_arrays(table[:, :, None], LABELS)


def with_infinity() -> np.ndarray:
    table = TABLE.copy()
    table[7, 2] = np.inf
    return table


@pytest.mark.parametrize(
    ("inputs", "targets", "arguments", "message"),
    [
        (TABLE, None, {}, "`targets` must be an array; got None"),
        (TABLE, LABELS[:9], {}, "one entry per example; got 9 for 60 inputs"),
        (TABLE, np.eye(3)[LABELS], {}, r"must have shape \(N,\); got \(60, 3\).*argmax"),
        (TABLE[:, 0], LABELS, {}, r"`inputs` must have shape \(N, \.\.\.\).*; got \(60,\)"),
        (TABLE[:0], LABELS[:0], {}, r"got \(0, 3\)"),
        (TABLE.astype(str), LABELS, {}, "`inputs` must hold numbers; got dtype <U"),
        (np.array([[1, "a"], [None, 2]], dtype=object), [0, 1], {}, r"objects \(NoneType, int, "),
        ([[1, 2], [3]], [0, 1], {}, "must be a regular array"),
        (TABLE.astype(complex), LABELS, {}, "must hold numbers or texts; got dtype complex"),
        (np.zeros((60, 9, 9, 9), np.uint8), LABELS, {}, "1 to 4 channels on the second or the l"),
        (TABLE, LABELS / 2, {"target_kind": "class"}, r"whole numbers or texts .* got 0\.5"),
        (TABLE, ["a", "b"] * 30, {"target_kind": "number"}, "`targets` must be numbers; got"),
        (TABLE, LABELS / 2, {"class_names": "ab", "target_kind": "number"}, "must be left out"),
        (TABLE, LABELS, {"mode": "grouped"}, "mode 'grouped' needs a column"),
        (TABLE, LABELS, {"mode": "grouped", "split_by": [1, 2]}, "per example; got 2 for 60"),
        (TABLE, LABELS, {"test_arrays": (TABLE[:, :2], LABELS)}, r"\(N, \*\(3,\)\) as for train"),
        (TABLE, LABELS, {"test_arrays": (PIXELS, LABELS)}, "got images of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(inputs, targets, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        load_arrays(inputs, targets, **arguments)


@pytest.mark.parametrize(
    ("inputs", "targets", "arguments", "message"),
    [
        (with_infinity(), LABELS, {}, r"`inputs`, row 7: the value at \[2\] is inf"),
        (TABLE, with_infinity()[:, 2], {}, "`targets`, row 7: the target is inf"),
        (TABLE, np.zeros(60, int), {}, "got the same target in all 60 rows"),
        (TABLE, np.append(LABELS[:-1], 9), {}, "row 59: class '9' has 1 of 60 examples"),
        (TABLE, LABELS, {"class_names": "ab"}, "row 2: the label 2 is none of the 2 classes a, b"),
        (TABLE, LABELS - 1, {"class_names": "abc"}, "row 0: the label -1 is none of"),
        (
            TABLE,
            LABELS,
            {"test_arrays": (TABLE, LABELS + 1)},
            "test part: `targets`, row 2: the label 3 is none of the 3 classes 0, 1, 2",
        ),
    ],
)
def test_bad_values_are_named_with_their_row(inputs, targets, arguments, message) -> None:
    with pytest.raises(DataError, match=message):
        load_arrays(inputs, targets, **arguments)


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with pytest.raises(DataError, match=r"d\.npz: there is no such file"):
        load_arrays(path)
    np.savez(path, a=TABLE, b=LABELS)
    with pytest.raises(DataError, match=r"needs arrays named x and y.* got a, b"):
        load_arrays(path)
    with pytest.raises(UsageError, match="`targets` must be left out when `inputs` is a path"):
        load_arrays(path, LABELS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        load_arrays(path)
    np.save(tmp_path / "d.npy", TABLE)
    with pytest.raises(DataError, match="holds one array"):
        load_arrays(tmp_path / "d.npy")


def test_a_pickle_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    np.savez(tmp_path / "d.npz", x=np.array([Trap(), Trap()], dtype=object), y=np.arange(2))
    with pytest.raises(DataError, match="of plain arrays"):
        load_arrays(tmp_path / "d.npz")
    assert not (tmp_path / "sprung").exists()
