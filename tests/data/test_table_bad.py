"""Bad tables: each fault is one sentence with file, row and remedy, and can be skipped."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fitwell.core.errors import DataError, UsageError
from fitwell.data import load_table, read_table

GOOD = [f"r{i},{i / 4},{'ab'[i % 2]},{'no yes'.split()[i % 2]}" for i in range(40)]
HEADER = "id,size,kind,label"


def write(tmp_path: Path, lines: list[str], header: str = HEADER) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def refused(path: Path | str, **arguments: Any) -> str:
    """The one sentence that a table is refused with."""
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        load_table(path, **{"target": "label", **arguments})
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# Each fault is put into line 12 of a file that is otherwise good.
ROWS = {
    "text in a number column": (
        "r99,large,a,no",
        "column 'size' holds 'large', which is not a number. Correct it, or leave the column out",
    ),
    "infinite number": ("r99,inf,a,no", "column 'size' holds 'inf', which is not a finite number"),
    "number beyond float32": ("r99,1e99,a,no", "'1e99', which is not a finite number"),
    "missing target": ("r99,1,a,", "the target in column 'label' is missing. Fill it in"),
    "duplicate id": ("r3,1,a,no", "the id 'r3' in column 'id' is also that of row 5. Ids must"),
    "missing id": (",1,a,no", "the id in column 'id' is missing. Give the row an id"),
    "too few fields": ("r99,1,a", "this row has 3 fields where the header has 4. Look for"),
    "too many fields": ("r99,1,a,no,more", "this row has 5 fields where the header has 4"),
    "lonely class": ("r99,1,a,maybe", "class 'maybe' has one member, too few to be in every part"),
}


@pytest.mark.parametrize(("line", "message"), ROWS.values(), ids=ROWS.keys())
def test_a_bad_row_is_named_or_skipped(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, [*GOOD[:10], line, *GOOD[10:]])
    got = refused(path)
    assert got.startswith(f"{path}, row 12: ")
    assert message in got
    assert got.endswith("Or go on without bad rows: --on-bad-row skip.")
    splits = load_table(path, target="label", on_bad_row="skip")
    clean = load_table(write(tmp_path, GOOD), target="label")
    source = splits.schema.source
    assert source["skipped"] == 1
    assert source["notes"][0].startswith(f"{path}, row 12: ")
    assert "1 bad row skipped" in splits.how
    assert sum(map(len, splits.parts().values())) == 40
    assert splits.schema.class_names == clean.schema.class_names == ("no", "yes")
    assert "r99" not in [name for part in splits.parts().values() for name in part.ids]


def test_rows_are_counted_as_in_an_editor(tmp_path: Path) -> None:
    lines = ["", '"r9\n9",1,a,no', "", "", "r98,1,a", "r97,large,b,yes"]
    path = write(tmp_path, [*GOOD, *lines])
    assert "row 47: this row has 3 fields" in refused(path)
    splits = load_table(path, target="label", on_bad_row="skip")
    assert splits.schema.source["skipped"] == 2
    assert "row 48: column 'size' holds 'large'" in splits.schema.source["notes"][1]


def test_a_row_with_two_faults_is_skipped_once(tmp_path: Path) -> None:
    path = write(tmp_path, [*GOOD, "r3,large,a,"])
    assert load_table(path, target="label", on_bad_row="skip").schema.source["skipped"] == 1


def test_a_wrong_date_is_a_bad_row(tmp_path: Path) -> None:
    lines = [f"{line},2024-01-{1 + i % 28:02d}" for i, line in enumerate(GOOD)]
    path = write(tmp_path, [*lines, "r99,1,a,no,2023-02-30"], HEADER + ",when")
    message = "row 42: column 'when' holds '2023-02-30', which is no date in the form year-month"
    assert message in refused(path)
    assert load_table(path, target="label", on_bad_row="skip").schema.source["skipped"] == 1


@pytest.mark.parametrize("part", ["valid", "test"])
def test_an_unknown_label_in_another_file_is_a_bad_row(tmp_path: Path, part: str) -> None:
    path = write(tmp_path, GOOD)
    other = tmp_path / "other.csv"
    other.write_text(f"{HEADER}\nx1,1,a,yes\nx2,1,a,perhaps\n")
    with pytest.raises(DataError, match=r"other\.csv, row 3: .* is 'perhaps', .* classes no, yes"):
        load_table(path, target="label", **{f"{part}_path": other})
    splits = load_table(path, target="label", on_bad_row="skip", **{f"{part}_path": other})
    assert len(splits.parts()[part]) == 1
    with pytest.raises(DataError, match=r"other\.csv, row 3: .* is 'perhaps'"):
        read_table(other, splits.schema)


def test_an_unknown_label_in_a_given_test_part_is_a_bad_row(tmp_path: Path) -> None:
    lines = [f"{line},{'train' if i < 30 else 'test'}" for i, line in enumerate(GOOD)]
    path = write(tmp_path, [*lines, "r99,1,a,perhaps,test"], HEADER + ",split")
    message = refused(path, mode="given", split_by="split")
    assert "row 42: the target in column 'label' is 'perhaps', which is none of" in message


@pytest.mark.parametrize(
    ("mode", "value", "message"),
    [
        ("given", "later", "row 42: column 'extra' holds 'later', which is no part. Write train"),
        ("grouped", "", "row 42: the group in column 'extra' is missing. Fill it in"),
        ("by_time", "", "row 42: column 'extra' holds 'None', which is no date or number"),
        ("by_time", "noon", "row 42: column 'extra' holds 'noon', which is no date or number"),
    ],
)
def test_a_row_without_its_key_is_bad(tmp_path: Path, mode: Any, value: str, message: str) -> None:
    keys = {"given": ["train", "train", "test"], "grouped": "abcdefgh", "by_time": range(40)}[mode]
    lines = [f"{line},{keys[i % len(keys)]}" for i, line in enumerate(GOOD)]
    path = write(tmp_path, [*lines, f"r99,1,a,no,{value}"], HEADER + ",extra")
    assert message in refused(path, mode=mode, split_by="extra")


FILES = {
    "empty": (b"", "the file is empty. Write a header row"),
    "blank": (b" \n\n", "the file is empty. Write a header row"),
    "only a header": (b"a,label\n", "there is a header but no row of data"),
    "no header": (b"1,2,0\n3,4,1\n", "the header is missing: the first row holds only numbers"),
    "header of data": (b"1,x,0\n3,y,1\n", "The first row may be data: add a header row"),
    "doubled target": (b"a,label,label\n1,2,3\n", "the header has the name 'label' more than once"),
    "no target": (b"a,labels\n1,2\n", "no target column named 'label'; nearest: 'labels'"),
    "far target": (b"a,b\n1,2\n", "no target column named 'label'; columns: 'a', 'b'"),
    "constant": (b"a,label\n1,x\n2,x\n3,x\n4,x\n5,x\n6,x\n", "is always 'x', so there is nothing"),
    "empty target": (b"a,label\n1,\n2,NA\n", "the target column 'label' has no values"),
    "latin-1": (b"a,label\n1,x\ncaf\xe9,y\n", "row 3: byte 0xe9 is not UTF-8; the file is pro"),
    "utf-16": ("a,label\n1,2\n".encode("utf-16"), "this is UTF-16 text. Save it as UTF-8"),
    "binary": (b"a,label\n\0\0\n", "this is not a text file"),
    "spreadsheet": (b"PK\x03\x04 and so on", "this is a spreadsheet or a zip file. Export"),
    "old spreadsheet": (b"\xd0\xcf\x11\xe0 and so on", "Export the sheet to CSV"),
    "open quote": (b'a,label\n1,x\n2,"y\n3,x\n4,y\n', "a quote is opened before 'y' and never"),
    "damaged parquet": (b"PAR1 and so on", "the Parquet file is cut short or damaged"),
    "truncated gzip": (gzip.compress(b"a,label\n" * 99)[:30], "the compressed file is cut short"),
    "empty gzip": (gzip.compress(b""), "the file is empty"),
}


@pytest.mark.parametrize("mode", ["stop", "skip"])
@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES.keys())
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes, message: str, mode: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    assert message in refused(path, on_bad_row=mode)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "there is no such file. Check the path" in refused(tmp_path / "none.csv")
    assert "this is a folder, not a table" in refused(tmp_path)
    (tmp_path / "book.xlsx").write_bytes(b"anything")
    assert "Export the sheet to CSV" in refused(tmp_path / "book.xlsx")


COLUMNS = {
    "mixed": ([f"{i}" if i % 3 else f"n{i}" for i in range(60)], "mixes numbers with texts such"),
    "commas": ([f'"{i},5"' for i in range(60)], "holds numbers with commas such as '"),
    "thousands": ([f'"1,{i:03d},000"' for i in range(60)], "decimal point and without thousands"),
}


@pytest.mark.parametrize(("values", "message"), COLUMNS.values(), ids=COLUMNS.keys())
def test_a_column_that_cannot_be_read_is_refused_or_ignored(
    tmp_path: Path, values: list[str], message: str
) -> None:
    lines = [f"{i / 4},{'ab'[i % 2]},{value}" for i, value in enumerate(values)]
    path = write(tmp_path, lines, "size,label,extra")
    got = refused(path)
    assert message in got
    assert "column 'extra'" in got
    splits = load_table(path, target="label", ignore=["extra"])
    assert [column.name for column in splits.schema.columns] == ["size"]


def test_a_target_of_many_texts_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{i},${i}" for i in range(60)], "size,label")
    assert "holds 60 different texts in 60 rows, such as '$0', too many" in refused(path)


def test_a_text_among_numbers_to_predict_is_a_bad_row(tmp_path: Path) -> None:
    lines = [f"{i},{i / 7}" for i in range(40)]
    path = write(tmp_path, [*lines, "3,unknown"], "size,label")
    message = "row 42: the target in column 'label' is 'unknown', which is not a finite number"
    assert message in refused(path)
    assert load_table(path, target="label", on_bad_row="skip").schema.target_kind == "number"


def test_a_class_too_small_for_three_parts_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [*GOOD, "r98,1,a,rare", "r99,1,a,rare"])
    assert "row 42: class 'rare' has 2 members, too few" in refused(path)
    assert load_table(path, target="label", test=0).schema.num_classes == 3
    assert load_table(path, target="label", mode="random").schema.num_classes == 3


@pytest.mark.parametrize("members", [3, 4, 5])
@pytest.mark.parametrize("test", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_a_class_is_refused_by_name_or_is_in_training(
    tmp_path: Path, members: int, test: float, seed: int
) -> None:
    rare = [f"q{i},1,a,rare" for i in range(members)]
    path = write(tmp_path, [*GOOD, *rare])
    try:
        splits = load_table(path, target="label", test=test, valid=0.3, seed=seed)
    except DataError as err:
        assert f"class 'rare' has {members} members" in str(err)  # noqa: PT017
        assert members * (1 - test) < 3
    else:
        assert (splits.train.targets == splits.schema.class_names.index("rare")).any()


def test_missing_columns_of_new_rows_are_named(tmp_path: Path) -> None:
    schema = load_table(write(tmp_path, GOOD), target="label").schema
    path = write(tmp_path, ["1,a"], "sizes,kind")
    with pytest.raises(DataError, match="no input column named 'size'; nearest: 'sizes'"):
        read_table(path, schema)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,large,a,no", "row 3: column 'size' holds 'large'"),
        ("x,1,a,", "row 3: the target in column 'label' is missing"),
        ("r0,1,a,no", "row 3: the id 'r0' in column 'id' is also that of row 2"),
    ],
)
def test_bad_new_rows_are_named_or_skipped(tmp_path: Path, line: str, message: str) -> None:
    schema = load_table(write(tmp_path, GOOD), target="label").schema
    path = write(tmp_path, [GOOD[0], line, GOOD[1]])
    with pytest.raises(DataError, match=message):
        read_table(path, schema)
    examples = read_table(path, schema, on_bad_row="skip")
    assert examples.ids == ("r0", "r1")
    assert examples.schema.source["skipped"] == 1


def test_a_label_file_must_have_the_target(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    other = tmp_path / "other.csv"
    other.write_text("id,size,kind\nx1,1,a\n")
    with pytest.raises(DataError, match="no target column, which a test file must have, named"):
        load_table(path, target="label", test_path=other)


def test_infinite_numbers_in_parquet_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    numbers = np.where(np.arange(40) == 7, np.inf, np.arange(40) / 3)
    parquet.write_table(pa.table({"x": numbers, "label": ["a", "b"] * 20}), path)
    assert "row 8: column 'x' holds 'inf', which is not a finite number" in refused(path)


def test_all_rows_bad_leaves_nothing_to_learn_from(tmp_path: Path) -> None:
    path = write(tmp_path, ["1,?,a", "2,?,b"], "x,label,z")
    assert "has no values" in refused(path, on_bad_row="skip")
    path = write(tmp_path, ["5,a,1", "5,b,1"] * 20, "x,label,z")
    assert "no column is left as an input: x (constant), z (constant)" in refused(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "grouped"}, "`split_by` must name a column for mode 'grouped'; got None"),
        ({"split_by": "kind"}, "`mode` must say what the column split_by='kind' holds; got 'auto'"),
        ({"mode": "sorted"}, "`mode` must be one of random, stratified, .* got 'sorted'"),
        ({"mode": "stratified", "target": "size"}, "must not be 'stratified' when the target is"),
        ({"valid": 0.6, "test": 0.6}, "`valid` and `test` must be shares"),
        (
            {"mode": "given", "split_by": "kind", "test_path": "other.csv"},
            "`mode` must not be 'given' when a part has its own file",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_table(write(tmp_path, GOOD), **{"target": "label", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id_column": "ids"}, "no id column named 'ids'; nearest: 'id'"),
        ({"ignore": ["kin"]}, "no column to ignore named 'kin'; nearest: 'kind'"),
        ({"split_by": "group", "mode": "grouped"}, "no column to split by named 'group'"),
    ],
)
def test_columns_that_are_not_there_are_named(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    assert message in refused(write(tmp_path, GOOD), **arguments)
