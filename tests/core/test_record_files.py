"""Records: what is written comes back, with machine, versions, commit and date."""

import datetime
from pathlib import Path

import pytest

from fitwell import __version__
from fitwell.core.errors import DataError
from fitwell.core.records import append_record, commit, machine, read_records, versions


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "records.jsonl"
    common = {"method": "MLP(hidden=(8,))", "seeds": (0, 1), "seconds": 2.5}
    first = append_record(file, what="a", result={"accuracy": 0.5}, **common)
    second = append_record(
        file, what="ü", result={"loss": float("nan")}, note="más\u2028", **common
    )
    assert read_records(file) == (first, second)
    assert second["result"] == {"loss": None}
    assert second["note"] == "más\u2028"
    assert first["seeds"] == [0, 1]
    assert first["versions"]["fitwell"] == __version__
    assert first["machine"] == machine()
    assert first["commit"] == commit()
    written = datetime.datetime.fromisoformat(first["date"])
    assert written.tzinfo is not None
    assert abs(datetime.datetime.now(datetime.UTC) - written) < datetime.timedelta(hours=1)


def test_the_machine_is_described() -> None:
    found = machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] is None or found["memory_gib"] > 0


def test_versions_are_of_what_is_imported() -> None:
    import numpy

    assert versions()["numpy"] == numpy.__version__
    assert "lightning" not in versions()


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 2: not JSON"), ("[1]", r"line 2: must be an object; got '\[1\]'")],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text("{}\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_records(file)
