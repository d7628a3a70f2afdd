"""`fitwell check-submission` finds what a leaderboard would refuse, with the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fitwell
from fitwell.core.errors import DataError

from .runs import call

SAMPLE = "id,label\n" + "".join(f"{n:03d},0\n" for n in range(1, 7))
RIGHT = "id,label\n001,4\n002,0\n003,3\n004,2\n005,1\n006,0\n"


def problems(tmp_path: Path, text: str, sample: str = SAMPLE) -> tuple[str, ...]:
    (tmp_path / "sample.csv").write_text(sample)
    (tmp_path / "mine.csv").write_text(text)
    return fitwell.check_submission(tmp_path / "mine.csv", tmp_path / "sample.csv").problems


def test_plat_13_a_right_file_has_no_problems(tmp_path: Path, capsys: Any) -> None:
    assert problems(tmp_path, RIGHT) == ()
    words = ("check-submission", tmp_path / "mine.csv", tmp_path / "sample.csv")
    code, result, _ = call(capsys, *words)
    assert code == 0
    assert result["right"] is True
    assert result["rows"] == 6


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id,label", "Id,label", "line 1: the header must be 'id,label'; got 'Id,label'."),
        ("id,label", "id;label", "line 1: the header must be 'id,label'; got 'id;label'."),
        ("003,", "3,", "line 4: the id '3' is not in the sample. Keep the zeros: '003'."),
        ("003,", "x,", "line 4: the id 'x' is not in the sample."),
        ("003,", "002,", "line 4: the id '002' stands in line 3 already."),
        ("005,1\n", "", "1 ids of the sample are missing: '005'"),
        ("005,1\n", "", "line 7: there must be 6 rows after the header; got 5."),
        ("006,0\n", "006,0\n007,0\n", "line 8: there must be 6 rows after the header; got 7."),
        ("006,0\n", "006,0\n007,0\n", "line 8: the id '007' is not in the sample."),
        (
            "001,4\n002,0\n",
            "002,0\n001,4\n",
            "line 2: the order of ids differs from the sample, which has '001'; got '002'.",
        ),
        ("004,2", "004,", "line 5: 'label' must not be empty."),
        ("004,2", "004,two", "line 5: 'label' must be a number; got 'two'."),
        ("004,2", "004,nan", "line 5: 'label' must be finite; got 'nan'."),
        ("004,2", "004,inf", "line 5: 'label' must be finite; got 'inf'."),
        ("004,2", "004,2,9", "line 5: must have 2 fields; got 3."),
        ("004,2", "004", "line 5: must have 2 fields; got 1."),
    ],
)
def test_plat_13_every_fault_is_named_with_its_line(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    assert expected in problems(tmp_path, RIGHT.replace(old, new, 1))


def test_plat_13_the_type_is_that_of_the_sample(tmp_path: Path) -> None:
    sample = "id,label\n001,3\n002,7\n"
    expected = "line 3: 'label' must be a whole number; got '1.5'."
    assert problems(tmp_path, "id,label\n001,2\n002,1.5\n", sample) == (expected,)
    numbers = "id,value\n001,0.5\n002,1e-3\n"
    assert problems(tmp_path, "id,value\n001,2\n002,1.5\n", numbers) == ()
    words = "id,kind\n001,cat\n002,dog\n"
    assert problems(tmp_path, "id,kind\n001,dog\n002,dog\n", words) == ()
    # A column of one repeated number is a placeholder: fractions are welcome.
    assert problems(tmp_path, RIGHT.replace("001,4", "001,4.25")) == ()


def test_plat_13_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """Empty lines are passed over, and a quoted field may span lines; both count as lines."""
    text = RIGHT.replace("002,0\n", "002,0\n\n\n").replace("004,2", "004,two")
    assert problems(tmp_path, text) == ("line 7: 'label' must be a number; got 'two'.",)


def test_plat_13_all_faults_are_found_at_once(tmp_path: Path, capsys: Any) -> None:
    text = "ID,label\n001,x\n001,2\n3,inf\n"
    found = problems(tmp_path, text)
    assert len(found) == 7
    words = ("check-submission", tmp_path / "mine.csv", tmp_path / "sample.csv")
    code, result, _ = call(capsys, *words)
    assert code == 1
    assert result["right"] is False
    assert tuple(result["problems"]) == found


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    problems(tmp_path, "id,label\n" + "".join(f"{n},x\n" for n in range(100, 200)))
    text = str(fitwell.check_submission(tmp_path / "mine.csv", tmp_path / "sample.csv"))
    assert text.splitlines()[0].endswith("202 problems")
    assert text.splitlines()[-1] == "... and 182 more"


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_plat_13_any_single_change_of_a_right_file_is_found_in_its_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("one")
    lines = RIGHT.splitlines()
    place = data.draw(st.integers(1, len(lines) - 1))
    fault = data.draw(st.sampled_from(["drop", "twice", "id", "value", "fields"]))
    name, value = lines[place].split(",")
    changed = {
        "drop": [],
        "twice": [lines[place]] * 2,
        "id": [f"9{name},{value}"],
        "value": [f"{name},?"],
        "fields": [f"{lines[place]},1"],
    }[fault]
    text = "\n".join([*lines[:place], *changed, *lines[place + 1 :]]) + "\n"
    found = problems(folder, text)
    assert found
    where = {"drop": f"'{name}'", "twice": f"line {place + 2}: "}.get(fault, f"line {place + 1}: ")
    assert any(where in problem for problem in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there. Check the path"),
        (b"", "is empty. It must have a header"),
        (b"id,label\n\xff\xfe,1\n", "is no CSV text in UTF-8"),
    ],
)
def test_a_file_that_is_none_is_said(content: bytes | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text(SAMPLE)
    if content is not None:
        (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"mine\.csv: {message}"):
        fitwell.check_submission(tmp_path / "mine.csv", tmp_path / "sample.csv")


def test_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        fitwell.check_submission(tmp_path, tmp_path)
