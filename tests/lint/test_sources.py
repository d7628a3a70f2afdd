"""Which files are read, and how: encodings, notebooks, files that are no programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitwell.core.errors import UsageError
from fitwell.lint import Config, check_sources, find, read

FAULTY = "from torch import nn\nlayer = nn.Linear(2, 3),\n"


def write(path: Path, text: str = FAULTY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def notebook(path: Path, *cells: tuple[str, str]) -> Path:
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}
            for kind, text in cells
        ],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def places(*paths: Path) -> list[tuple[str, int | None, int]]:
    findings = check_sources([read(path) for path in paths], Config())
    return [(one.rule, one.cell, one.line) for one in findings]


def test_folders_are_walked_and_what_is_not_the_users_is_passed_over(tmp_path: Path) -> None:
    mine = [write(tmp_path / name) for name in ("a.py", "pkg/b.py", "pkg/deep/c.py")]
    for name in (".git/x.py", "pkg/__pycache__/y.py", "node_modules/z.py", "pkg/notes.txt"):
        write(tmp_path / name)
    write(tmp_path / "myenv" / "pyvenv.cfg")
    write(tmp_path / "myenv" / "lib.py")
    assert list(find([tmp_path])) == mine
    assert list(find([tmp_path, mine[0]])) == mine, "each once"
    assert list(find([tmp_path], ["pkg/*"])) == mine[:1]
    assert list(find([tmp_path], ["deep"])) == mine[:2]
    assert list(find([tmp_path / ".git" / "x.py"])) == [tmp_path / ".git" / "x.py"], "it is named"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py", r"`paths` must exist; got '.*missing\.py'"),
        ("data.csv", r"`paths` must be Python files .* got '.*data\.csv'"),
    ],
)
def test_a_path_that_is_no_program_is_named(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "data.csv")
    with pytest.raises(UsageError, match=message):
        list(find([tmp_path / name]))


@pytest.mark.parametrize(
    "data",
    [
        FAULTY.encode("utf-8-sig"),
        FAULTY.replace("\n", "\r\n").encode(),
        b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + FAULTY.encode("latin-1"),
        ("# 线性层\n" + FAULTY).encode(),
    ],
    ids=["bom", "crlf", "latin-1", "chinese"],
)
def test_encodings_and_line_ends(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(data)
    line = 1 + data.replace(b"\r\n", b"\n").split(b"\n").index(b"layer = nn.Linear(2, 3),")
    assert places(path) == [("trailing-comma", None, line)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.py", b"def f(:\n", "is not valid Python: invalid syntax"),
        ("a.py", b"x = '\xff'\n", "is not text"),
        ("a.py", b"# coding: klingon\n", "is not text: unknown encoding"),
        ("a.py", b"x = 1\x00\n", "null bytes"),
        ("a.ipynb", b"{", "is not a notebook"),
        ("a.ipynb", b"[]", "is not a notebook"),
        ("a.ipynb", b'{"cells": [{}]}', "is not a notebook"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    other = write(tmp_path / "other.py")
    first, second = check_sources([read(path), read(other)], Config())
    assert (first.rule, first.severity) == ("syntax-error", "error")
    assert message in first.message
    assert second.rule == "trailing-comma", "the others are read all the same"


def test_cells_of_a_notebook_are_one_program(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "a.ipynb",
        ("markdown", "# A title\n"),
        ("code", "%matplotlib inline\nfrom torch import nn\n!pip install torch\nnn.Linear?\n"),
        ("code", "%%bash\nls -l\n"),
        ("code", "this is not python\n"),
        (
            "code",
            "files = !ls\nif files:\n    %time 3\nx = 7 \\\n    % 4\n\nlayer = nn.Linear(2, 3),",
        ),
        ("code", "%%time\nother = nn.Linear(2, 3),"),
    )
    assert places(path) == [("trailing-comma", 5, 7), ("trailing-comma", 6, 2)]


def test_an_old_notebook_and_one_without_code(tmp_path: Path) -> None:
    old = tmp_path / "old.ipynb"
    cells = [{"cell_type": "code", "input": FAULTY}]
    old.write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}))
    assert places(old) == [("trailing-comma", 1, 2)]
    assert places(notebook(tmp_path / "empty.ipynb", ("markdown", "text"))) == []
