"""The coverage file: its form, and that everything it names is there."""

import ast
import importlib
from pathlib import Path

import pytest

from fitwell.core.coverage import CHAPTERS, Row, coverage_file, is_row, read_coverage
from fitwell.core.errors import DataError

ROOT = Path(__file__).parents[2]
HEADER = "id\tlives\tproof\tstatus\n"


def missing(row: Row, root: Path = ROOT) -> list[str]:
    """Give the places and proofs of a line that are not there."""
    gone = [place for place in row.lives if not _place_exists(place, root)]
    return gone + [proof for proof in row.proof if not _proof_exists(proof, root)]


def _place_exists(place: str, root: Path) -> bool:
    if "/" in place or (root / place).exists():
        return (root / place).exists()
    words = place.removeprefix("fitwell.").split(".")
    for size in range(len(words), -1, -1):
        try:
            value: object = importlib.import_module(".".join(["fitwell", *words[:size]]))
        except ModuleNotFoundError:
            continue
        for word in words[size:]:
            value = getattr(value, word, None)
        return value is not None
    return False


def _proof_exists(proof: str, root: Path) -> bool:
    path, _, test = proof.partition("::")
    if not (root / path).exists():
        return False
    if not path.startswith("tests/"):
        return not test
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return test.rpartition("::")[2] in names


def test_chapters_sum_to_the_catalogue() -> None:
    assert sum(rows for _, rows in CHAPTERS.values()) == 700
    assert len(CHAPTERS) == 27


@pytest.mark.parametrize("name", ["CNN-00", "CNN-22", "CNN-7", "cnn-07", "CNN", "NO-01", ""])
def test_other_ids_are_no_rows(name: str) -> None:
    assert not is_row(name)
    assert is_row("CNN-21")


def test_every_line_names_what_is_there() -> None:
    coverage = read_coverage()
    assert {row.id: gone for row in coverage.lines if (gone := missing(row))} == {}


def test_every_line_has_a_place_and_a_proof_unless_it_is_a_limit() -> None:
    lines = [row for row in read_coverage().lines if row.state != "limit"]
    assert [row.id for row in lines if not (row.lives and row.proof)] == []


@pytest.mark.parametrize(
    ("lives", "proof"),
    [
        ("nn.NoSuchThing", ""),
        ("no_such_family.Thing", ""),
        ("src/fitwell/no_such_file.py", ""),
        ("", "tests/core/test_coverage.py::test_that_is_not_there"),
        ("", "tests/core/no_such_file.py::test_x"),
        ("", "tests/core/test_coverage.py"),
        ("", "recipes/no_such_recipe.py"),
    ],
)
def test_a_line_that_names_what_is_not_there_is_caught(lives: str, proof: str) -> None:
    row = Row(
        id="CNN-01", lives=(lives,) * bool(lives), proof=(proof,) * bool(proof), state="works"
    )
    assert missing(row) == [lives or proof]


def test_a_line_that_names_what_is_there_passes() -> None:
    proof = "tests/core/test_coverage.py::test_chapters_sum_to_the_catalogue"
    lives = ("core.coverage.Row", "fitwell.core.spec", "pyproject.toml", "src/fitwell")
    assert missing(Row(id="CNN-01", lives=lives, proof=(proof,), state="works")) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NO-01\tnn.X\ttests/x\tworks", "line 2: `id` must be a row of the catalogue; got 'NO-01'"),
        ("CNN-01\tnn.X\ttests/x\tdone", "line 2: `status` must be 'works', .*; got 'done'"),
        ("CNN-01\tnn.X\ttests/x\tpartial", "line 2: `status` must be .*; got 'partial'"),
        ("CNN-01\tnn.X\ttests/x\tworks: well", "line 2: `status` must be .*; got 'works: well'"),
        ("CNN-01\tnn.X\tworks", "line 2: there must be 4 columns; got 3"),
        ("CNN-01\ta\tb\tworks\nCNN-01\ta\tb\tworks", "line 3: CNN-01 is there twice"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "coverage.tsv"
    file.write_text(HEADER + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_coverage(file)


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "coverage.tsv"
    file.write_text("CNN-01\ta\tb\tworks\n", encoding="utf-8")
    with pytest.raises(DataError, match="the first line must be id, lives, proof, status"):
        read_coverage(file)


def test_counts(tmp_path: Path) -> None:
    file = tmp_path / "coverage.tsv"
    lines = [
        "CNN-01\tnn.A; nn.B\ttests/a\tworks",
        "CNN-02\tnn.A\ttests/a\tpartial: no padding",
        'CLS-07\t\t\tlimit: needs "more" data',
    ]
    file.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    coverage = read_coverage(file)
    assert coverage.lines[0].lives == ("nn.A", "nn.B")
    assert coverage.lines[2].note == 'needs "more" data'
    value = coverage.to_dict()
    chapters = value.pop("chapters")
    assert value == {"rows": 700, "works": 1, "partial": 1, "limit": 1, "open": 697}
    cnn = {"title": "CNN", "rows": 21, "works": 1, "partial": 1, "limit": 0, "open": 19}
    assert chapters["CNN"] == cnn
    for key in ("rows", "works", "partial", "limit", "open"):
        assert sum(chapter[key] for chapter in chapters.values()) == value[key]
    assert str(coverage).splitlines()[-1].split() == ["all", "700", "1", "1", "1", "697"]


def test_a_checkout_reads_its_own_file() -> None:
    assert coverage_file() == ROOT / "docs" / "coverage.tsv"
