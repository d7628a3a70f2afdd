"""Tables: what columns become, how parts are cut, and that nothing leaks into training."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from fitwell.core.errors import DataError, UsageError
from fitwell.data import Schema, Splits, load_table, read_table

COLORS = ("red", "green", "blue")


def frame(count: int = 60) -> dict[str, list[Any]]:
    random = np.random.default_rng(0)
    return {
        "id": [f"{i:04d}" for i in range(count)],
        "size": random.normal(size=count).round(4).tolist(),
        "color": [COLORS[i % 3] for i in range(count)],
        "when": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(count)],
        "label": ["yes" if i % 2 else "no" for i in range(count)],
    }


def write(path: Path, columns: dict[str, list[Any]], delimiter: str = ",") -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = [delimiter.join(columns), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def with_column(path: Path, values: list[Any], name: str = "extra") -> Splits:
    columns = frame(len(values))
    del columns["when"], columns["color"]
    return load_table(write(path, {**columns, name: values}), target="label")


def feature(splits: Splits, name: str) -> torch.Tensor:
    """All values of one feature, in the order of the file."""
    place = [column.name for column in splits.schema.columns].index(name)
    values = torch.cat([part.inputs[:, place] for part in splits.parts().values()])
    rows = torch.tensor([row for name in splits.parts() for row in splits.indices[name]])
    return values[rows.argsort()]


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    return write(tmp_path / "data.csv", frame())


def test_columns_become_numbers_codes_and_parts_of_dates(csv_path: Path) -> None:
    splits = load_table(csv_path, target="label")
    schema = splits.schema
    assert [column.name for column in schema.columns] == [
        *("size", "color"),
        *("when.month", "when.day_of_week", "when.days"),
    ]
    assert schema.columns[1].categories == ("blue", "green", "red")
    assert schema.class_names == ("no", "yes")
    assert (schema.id_name, schema.target_name) == ("id", "label")
    assert {name: len(part) for name, part in splits.parts().items()} == {
        "train": 42,
        "valid": 9,
        "test": 9,
    }
    columns = frame()
    torch.testing.assert_close(feature(splits, "size"), torch.tensor(columns["size"]))
    assert feature(splits, "color").tolist() == [[3.0, 2.0, 1.0][i % 3] for i in range(60)]
    dates = np.array(columns["when"], dtype="datetime64[D]")
    days = dates.astype(int)
    assert feature(splits, "when.days").tolist() == days.tolist()
    assert feature(splits, "when.day_of_week").tolist() == ((days + 3) % 7).tolist()
    assert feature(splits, "when.month").tolist() == [1 + i % 12 for i in range(60)]


def test_ids_and_targets_follow_their_rows(csv_path: Path) -> None:
    splits = load_table(csv_path, target="label")
    for name, part in splits.parts().items():
        assert part.ids == tuple(f"{row:04d}" for row in splits.indices[name])
        assert part.targets.tolist() == [row % 2 for row in splits.indices[name]]


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "gz", "bom", "crlf", "parquet"])
def test_all_formats_give_the_same_examples(tmp_path: Path, csv_path: Path, form: str) -> None:
    path = tmp_path / {"tsv": "d.tsv", "gz": "d.csv.gz", "parquet": "d.parquet"}.get(form, "d.csv")
    if form == "parquet":
        table = pa.table(frame())
        when = table["when"].cast(pa.date32())
        color = table["color"].dictionary_encode()
        table = table.set_column(3, "when", when).set_column(2, "color", color)
        parquet.write_table(table, path)
    elif form in ("tsv", "semicolon"):
        write(path, frame(), "\t" if form == "tsv" else ";")
    else:
        content = csv_path.read_bytes()
        content = gzip.compress(content) if form == "gz" else content
        content = b"\xef\xbb\xbf" + content if form == "bom" else content
        path.write_bytes(content.replace(b"\n", b"\r\n") if form == "crlf" else content)
    wanted, got = load_table(csv_path, target="label"), load_table(path, target="label")
    assert got.fingerprint == wanted.fingerprint
    assert got.schema.columns == wanted.schema.columns
    assert got.train.ids == wanted.train.ids


def test_parquet_keeps_typed_columns(tmp_path: Path) -> None:
    columns = {
        "whole": pa.array([*range(19), None] * 2, pa.int32()),
        "flag": pa.array([True, False] * 20),
        "nested": pa.array([[1]] * 40),
        "y": pa.array(np.arange(40) / 7),
    }
    parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    splits = load_table(tmp_path / "d.parquet", target="y")
    assert [column.name for column in splits.schema.columns] == ["whole", "flag"]
    assert feature(splits, "flag").tolist() == [1.0, 0.0] * 20
    assert feature(splits, "whole")[:19].tolist() == list(range(19))
    assert feature(splits, "whole")[19].isnan()
    assert "nested (a nested or binary column)" in splits.how


def test_quoted_fields_may_hold_delimiters_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    lines = [f'"a, ""quoted""\nname",{i},{i % 2}' for i in range(20)]
    lines += [f"plain,{i},{i % 2}" for i in range(20)]
    path.write_text("name,x,y\n" + "\n".join(lines))
    splits = load_table(path, target="y")
    assert splits.schema.columns[0].categories == ('a, "quoted"\nname', "plain")


@pytest.mark.parametrize("word", ["", "NA", "NaN", "null", "?", "None", " ? "])
def test_missing_words_are_nan_in_numbers_and_code_zero_in_categories(
    tmp_path: Path, word: str
) -> None:
    numbers = [word if i % 10 == 3 else i / 4 for i in range(60)]
    missing = feature(with_column(tmp_path / "n.csv", numbers), "extra").isnan()
    assert missing.tolist() == [i % 10 == 3 for i in range(60)]
    words = [word if i % 10 == 3 else "ab"[i % 2] for i in range(60)]
    splits = with_column(tmp_path / "c.csv", words)
    assert splits.schema.columns[1].categories == ("a", "b")
    assert (feature(splits, "extra") == 0).tolist() == [i % 10 == 3 for i in range(60)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"{i}.5" for i in range(60)], "number"),
        ([f" {i} " for i in range(60)], "number"),
        ([f"+{i}e-1" for i in range(60)], "number"),
        (["TRUE", "false", "True"] * 20, "number"),
        ([f"{i % 9:05d}" for i in range(60)], "category"),
        ([f"{i:05d}" for i in range(60)], "left out"),
        (["1", "2", "3 or more"] * 20, "category"),
        ([f"{1 + i % 28:02d}.02.2023 12:{i:02d}" for i in range(60)], "date"),
        ([f"2/{1 + i % 28}/2023" for i in range(60)], "date"),
        ([f"{1 + i % 28} March 2023" for i in range(60)], "date"),
        ([f"Mar {1 + i % 28}, 2023" for i in range(60)], "date"),
        ([f"2023-02-{1 + i % 28:02d}T10:00:00Z" for i in range(60)], "date"),
    ],
)
def test_kind_of_a_column(tmp_path: Path, values: list[str], kind: str) -> None:
    if any("," in value for value in values):
        values = [f'"{value}"' for value in values]
    schema = with_column(tmp_path / "d.csv", values).schema
    kinds = {reading["name"]: reading["kind"] for reading in schema.source["readings"]}
    assert kinds.get("extra", "left out") == kind


def test_day_and_month_are_told_apart_by_the_values(tmp_path: Path) -> None:
    values = [f"{1 + i % 28}/{1 + i % 5}/2023" for i in range(60)]
    splits = with_column(tmp_path / "d.csv", values)
    assert feature(splits, "extra.month").tolist() == [1 + i % 5 for i in range(60)]


def test_time_of_day_is_an_hour_and_a_fraction_of_the_day(tmp_path: Path) -> None:
    values = [f"1970-01-0{1 + i % 2} {i % 24:02d}:30" for i in range(60)]
    splits = with_column(tmp_path / "d.csv", values)
    assert feature(splits, "extra.hour").tolist() == [i % 24 for i in range(60)]
    wanted = torch.tensor([i % 2 + (i % 24 + 0.5) / 24 for i in range(60)])
    torch.testing.assert_close(feature(splits, "extra.days"), wanted)


@given(st.lists(st.datetimes(), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_dates_equal_those_of_the_standard_library(moments) -> None:
    from fitwell.data._table_dates import read_dates

    parts = read_dates(pa.array([m.isoformat(" ", "seconds") for m in moments]), "year-month-day")
    assert parts["year"].tolist() == [m.year for m in moments]
    assert parts["month"].tolist() == [m.month for m in moments]
    assert parts["day_of_week"].tolist() == [m.weekday() for m in moments]
    assert np.floor(parts["days"]).tolist() == [m.toordinal() - 719163 for m in moments]
    assert parts["hour"].tolist() == [m.hour for m in moments]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["7"] * 60, "constant"),
        (["seven"] * 60, "constant"),
        (["NA"] * 60, "all missing"),
        ([f"Mr {i}" for i in range(60)], "all different"),
        ([f"Mr {i // 2 if i > 50 else i}" for i in range(60)], "too many different texts"),
    ],
)
def test_columns_without_use_are_left_out_and_named(
    tmp_path: Path, values: list[str], reason: str
) -> None:
    splits = with_column(tmp_path / "d.csv", values)
    assert f"left out: extra ({reason})" in splits.how
    assert [column.name for column in splits.schema.columns] == ["size"]


@pytest.mark.parametrize(
    ("header", "taken"),
    [("id", True), ("ID", True), ("user_id", True), ("PassengerId", True), ("width", False)],
)
def test_an_id_column_is_found_by_name_if_no_value_repeats(
    tmp_path: Path, header: str, taken: bool
) -> None:
    columns = {header: list(range(100, 160)), "x": list(range(60)), "y": [0, 1] * 30}
    splits = load_table(write(tmp_path / "d.csv", columns), target="y")
    assert (splits.schema.source["id_column"] == header) is taken
    assert (splits.train.ids is not None) is taken


def test_the_index_that_pandas_writes_is_an_id(tmp_path: Path) -> None:
    columns = {"": list(range(60)), "x": list(range(60)), "y": [0, 1] * 30}
    splits = load_table(write(tmp_path / "d.csv", columns), target="y")
    assert [column.name for column in splits.schema.columns] == ["x"]
    assert splits.train.ids is not None


def test_repeated_values_in_a_column_called_id_make_it_an_input(tmp_path: Path) -> None:
    columns = {"user_id": [i // 3 for i in range(60)], "y": [0, 1] * 30}
    splits = load_table(write(tmp_path / "d.csv", columns), target="y")
    assert [column.name for column in splits.schema.columns] == ["user_id"]
    assert splits.train.ids is None


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["b", "a"] * 30, "class", ("a", "b")),
        ([10, 9, 2] * 20, "class", ("2", "9", "10")),
        (["1", "1.0", "0"] * 20, "class", ("0", "1")),
        (["True", "False"] * 30, "class", ("False", "True")),
        (["01", "02"] * 30, "class", ("01", "02")),
        ([0.5, 1.5] * 30, "number", ()),
        (list(range(60)), "number", ()),
        ([i % 20 for i in range(60)], "class", tuple(map(str, range(20)))),
    ],
)
def test_kind_of_a_target(tmp_path: Path, values, kind: str, names: tuple[str, ...]) -> None:
    columns = {"x": np.arange(60) / 7, "y": values}
    splits = load_table(write(tmp_path / "d.csv", columns), target="y", mode="random")
    assert (splits.schema.target_kind, splits.schema.class_names) == (kind, names)
    assert ("3 classes" in splits.how) is (len(names) == 3)


def test_target_kind_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"x": np.arange(60) / 7, "y": [3, 4, 5] * 20})
    numbers = load_table(path, target="y", target_kind="number")
    assert set(numbers.train.targets.tolist()) == {3.0, 4.0, 5.0}
    path = write(tmp_path / "e.csv", {"x": np.arange(60) / 7, "y": [0.5, 1.5] * 30})
    assert load_table(path, target="y", target_kind="class").schema.class_names == ("0.5", "1.5")


def test_ignored_columns_are_no_inputs(csv_path: Path) -> None:
    splits = load_table(csv_path, target="label", ignore=["when", "color"])
    assert [column.name for column in splits.schema.columns] == ["size"]


def test_parts_from_files(tmp_path: Path, csv_path: Path) -> None:
    other = write(tmp_path / "other.csv", frame(20))
    both = load_table(csv_path, target="label", valid_path=other, test_path=other)
    assert (len(both.train), len(both.valid), len(both.test)) == (60, 20, 20)
    one = load_table(csv_path, target="label", test_path=other)
    assert (len(one.train), len(one.valid), len(one.test)) == (51, 9, 20)
    rest = load_table(csv_path, target="label", valid_path=other)
    assert (len(rest.train), len(rest.valid), len(rest.test)) == (51, 20, 9)
    assert load_table(csv_path, target="label", valid_path=other, test=0).test is None
    assert "test from its own file" in one.how
    torch.testing.assert_close(both.test.inputs, read_table(other, both.schema).inputs)


def test_given_parts(tmp_path: Path) -> None:
    part = (["train"] * 4 + ["Validation"] + ["test"]) * 10
    path = write(tmp_path / "d.csv", {**frame(), "split": part})
    splits = load_table(path, target="label", mode="given", split_by="split")
    assert splits.indices["test"] == tuple(range(5, 60, 6))
    assert splits.indices["valid"] == tuple(range(4, 60, 6))
    assert "split" not in [column.name for column in splits.schema.columns]


def test_given_parts_without_validation_get_one_cut_from_training(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {**frame(), "split": ["train"] * 40 + ["test"] * 20})
    splits = load_table(path, target="label", mode="given", split_by="split")
    assert splits.indices["test"] == tuple(range(40, 60))
    assert (len(splits.train), len(splits.valid)) == (34, 6)


def test_groups_stay_together_and_are_no_input(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {**frame(), "house": [f"h{i // 4}" for i in range(60)]})
    splits = load_table(path, target="label", mode="grouped", split_by="house")
    houses = [{row // 4 for row in rows} for rows in splits.indices.values()]
    assert sum(map(len, houses)) == len(set().union(*houses)) == 15
    assert "house" not in [column.name for column in splits.schema.columns]


def test_a_split_by_time_holds_out_the_latest_rows(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(60)
    times = [str(np.datetime64("2024-01-01") + int(day)) for day in order]
    path = write(tmp_path / "d.csv", {**frame(), "when": times})
    splits = load_table(path, target="label", mode="by_time", split_by="when")
    days = {name: order[list(rows)] for name, rows in splits.indices.items()}
    assert days["train"].max() < days["valid"].min() <= days["valid"].max() < days["test"].min()
    assert "when.days" in [column.name for column in splits.schema.columns]


def test_a_table_too_small_to_stratify_is_cut_at_random(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"x": range(9), "y": ["a", "b", "c"] * 3})
    assert "random split" in load_table(path, target="y").how
    with pytest.raises(UsageError, match="at least one row per class"):
        load_table(path, target="y", mode="stratified")


def test_nothing_of_held_out_rows_enters_what_is_learnt_from_training(tmp_path: Path) -> None:
    columns = frame()
    columns |= {"zip": [f"{i % 9:05d}" for i in range(60)], "flat": [1] * 60}
    clean = load_table(write(tmp_path / "a.csv", columns), target="label")
    strange = {
        "color": "violet",
        "size": "1e9",
        "zip": "zipless",
        "flat": "5",
        "when": "1999-01-01",
    }
    for name in ("valid", "test"):
        for row in clean.indices[name]:
            for column, value in strange.items():
                columns[column][row] = value
    changed = load_table(write(tmp_path / "b.csv", columns), target="label")
    assert changed.indices == clean.indices
    assert changed.schema.columns == clean.schema.columns
    assert changed.schema.source["readings"] == clean.schema.source["readings"]
    assert changed.train.fingerprint == clean.train.fingerprint
    assert changed.valid.fingerprint != clean.valid.fingerprint
    codes = [column.name for column in clean.schema.columns].index("color")
    assert changed.valid.inputs[:, codes].unique().tolist() == [0.0]


def test_a_text_in_a_held_out_number_column_does_not_change_its_kind(tmp_path: Path) -> None:
    columns = frame()
    clean = load_table(write(tmp_path / "a.csv", columns), target="label")
    for name in ("valid", "test"):
        for row in clean.indices[name]:
            columns["size"][row] = "large"
    path = write(tmp_path / "b.csv", columns)
    with pytest.raises(DataError, match="column 'size' holds 'large', which is not a number"):
        load_table(path, target="label")


def test_new_rows_are_read_by_name_in_any_order(tmp_path: Path, csv_path: Path) -> None:
    splits = load_table(csv_path, target="label")
    columns = frame()
    shuffled = {"unknown": range(60), **{name: columns[name] for name in reversed(columns)}}
    again = read_table(write(tmp_path / "new.csv", shuffled), splits.schema)
    rows = list(splits.indices["train"])
    assert torch.equal(again.inputs[rows], splits.train.inputs)
    assert torch.equal(again.targets[rows], splits.train.targets)
    assert again.ids == tuple(columns["id"])


def test_new_rows_may_lack_target_and_id_and_have_unseen_categories(
    tmp_path: Path, csv_path: Path
) -> None:
    schema = load_table(csv_path, target="label").schema
    columns = frame(6)
    columns["color"][2] = columns["color"][4] = "violet"
    columns["color"][5] = ""
    del columns["label"], columns["id"]
    new = read_table(write(tmp_path / "new.csv", columns), schema)
    assert new.targets is None
    assert new.ids is None
    assert new.inputs[:, 1].tolist() == [3.0, 2.0, 0.0, 3.0, 0.0, 0.0]
    assert new.schema.source["unseen"] == {"color": 2}
    assert new.schema.columns == schema.columns


def test_a_schema_that_went_through_json_reads_the_same(csv_path: Path) -> None:
    schema = load_table(csv_path, target="label").schema
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert read_table(csv_path, again).fingerprint == read_table(csv_path, schema).fingerprint


def test_a_schema_made_without_a_file_reads_a_file(tmp_path: Path, csv_path: Path) -> None:
    from dataclasses import replace

    from fitwell.data import Column

    schema = load_table(csv_path, target="label").schema
    plain = replace(schema, columns=(Column(name="size"),), input_shape=(1,), source={})
    new = read_table(csv_path, plain)
    assert torch.equal(new.inputs[:, 0], torch.tensor(frame()["size"]))
    assert new.ids == tuple(frame()["id"])


def test_labels_written_as_other_numbers_are_the_same_class(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"x": range(60), "y": ["0", "1"] * 30})
    schema = load_table(path, target="y").schema
    new = read_table(write(tmp_path / "n.csv", {"x": [1, 2], "y": ["1.0", "0"]}), schema)
    assert new.targets.tolist() == [1, 0]


@given(
    numbers=st.lists(
        st.one_of(st.none(), st.floats(-(2.0**100), 2.0**100, width=32)), min_size=12, max_size=40
    )
)
@settings(deadline=None, max_examples=40)
def test_numbers_come_back_as_they_were_written(tmp_path_factory, numbers) -> None:
    from fitwell.data._table_columns import as_numbers

    path = tmp_path_factory.mktemp("n") / "d.csv"
    arrow_csv.write_csv(pa.table({"x": pa.array(numbers, pa.float64())}), path)
    texts = [line if line else None for line in path.read_text().splitlines()[1:]]
    got, bad = as_numbers(pa.array(texts, pa.string()))
    wanted = [np.nan if number is None else number for number in numbers]
    np.testing.assert_array_equal(got, wanted)
    assert not bad.any()


def test_repeated_headers_are_numbered_and_the_last_can_be_predicted(tmp_path: Path) -> None:
    lines = [f"{i % 7},{i % 3},{i / 7}" for i in range(40)]
    path = tmp_path / "waves.csv"
    path.write_text("\n".join(["cases,cases,cases", *lines]) + "\n")
    splits = load_table(path, target="cases.2")
    assert [column.name for column in splits.schema.columns] == ["cases", "cases.1"]
    assert splits.schema.target_name == "cases.2"
