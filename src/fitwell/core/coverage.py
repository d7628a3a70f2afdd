"""How much of the course works: one line of ``coverage.tsv`` per catalogue row that has a home.

A line has four columns, `id`, `lives`, `proof`, `status`; several places or proofs are separated
by ``; ``. A place is a dotted name such as ``nn.MLP`` or a path in the repository; a proof is a
test (``tests/nn/test_mlp.py::test_forward``), a record or a recipe. The status is ``works``,
``partial: what is missing`` or ``limit: why it stops here``. Rows without a line are open.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from .errors import DataError
from .text import aligned

CHAPTERS: dict[str, tuple[str, int]] = {
    "INTRO": ("入门 Introduction", 55),
    "TUNE": ("调参 Tuning", 40),
    "NORM": ("Normalization", 15),
    "CLS": ("Classification", 7),
    "OPT": ("beyond Adam", 35),
    "BAYES": ("Bayesian NN", 15),
    "PT": ("pytorch", 30),
    "PLAT": ("Colab & Kaggle & JudgeBoi", 18),
    "CNN": ("CNN", 21),
    "ATT": ("Self-attention", 43),
    "RNN": ("RNN & LSTM & GRU", 51),
    "GNN": ("GNN", 30),
    "TFM": ("Transformer", 41),
    "GAN": ("GAN", 14),
    "VAE": ("VAE", 13),
    "SSL": ("SSL", 10),
    "AE": ("Autoencoder", 18),
    "ADV": ("Adversarial Attack", 34),
    "FED": ("Federated Learning and distributed training", 50),
    "QML": ("Quantum Machine Learning", 22),
    "LLM": ("LLM", 34),
    "LORA": ("LoRA & QLoRA", 8),
    "SAFE": ("LLM safety", 33),
    "AUDIO": ("LLM Audio", 24),
    "HW3": ("HW3 image classification", 9),
    "HW4": ("HW4 speaker identification", 10),
    "HW5": ("HW5 machine translation", 20),
}
"""Title and number of rows of each chapter of the course, by the prefix of its ids."""

COLUMNS = ("id", "lives", "proof", "status")
State = Literal["works", "partial", "limit"]
_STATUS = re.compile(r"(works)|(partial|limit): \S.*")


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the coverage file.

    Args:
        id: Row of the catalogue, such as ``CNN-07``.
        lives: Dotted names or paths where it is implemented.
        proof: Tests, records or recipes that show it.
        state: How far it got.
        note: What is missing, or why it stops; empty when it works.
    """

    id: str
    lives: tuple[str, ...]
    proof: tuple[str, ...]
    state: State
    note: str = ""

    @property
    def chapter(self) -> str:
        """Prefix of the id."""
        return self.id.rpartition("-")[0]


@final
@dataclass(frozen=True, kw_only=True)
class Count:
    """How many rows there are, and how many of them got how far.

    Args:
        rows: All rows.
        works: Rows that work and are proved.
        partial: Rows of which a part works.
        limit: Rows that cannot be finished here, with the reason.
    """

    rows: int
    works: int
    partial: int
    limit: int

    @property
    def open(self) -> int:
        """Rows that nothing is said about yet."""
        return self.rows - self.works - self.partial - self.limit

    def to_dict(self) -> dict[str, int]:
        """Give the numbers as plain data, ready for JSON."""
        numbers = {"rows": self.rows, "works": self.works, "partial": self.partial}
        return {**numbers, "limit": self.limit, "open": self.open}


@final
@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The coverage file, counted.

    Args:
        lines: Its lines in order.
    """

    lines: tuple[Row, ...]

    def count(self, chapter: str | None = None) -> Count:
        """Count the rows of one chapter, or of all.

        Args:
            chapter: Prefix of the chapter's ids; None for the whole course.
        """
        chosen = [row.state for row in self.lines if chapter in (None, row.chapter)]
        sizes = {name: rows for name, (_, rows) in CHAPTERS.items()}
        return Count(
            rows=sum(sizes.values()) if chapter is None else sizes[chapter],
            works=chosen.count("works"),
            partial=chosen.count("partial"),
            limit=chosen.count("limit"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the totals and the chapters as plain data, ready for JSON."""
        chapters = {
            name: {"title": title, **self.count(name).to_dict()}
            for name, (title, _) in CHAPTERS.items()
        }
        return {**self.count().to_dict(), "chapters": chapters}

    def __str__(self) -> str:
        header = ("id", "chapter", "rows", "works", "partial", "limit", "open")
        rows: list[Sequence[object]] = [
            (name, title, *self.count(name).to_dict().values())
            for name, (title, _) in CHAPTERS.items()
        ]
        rows.append(("", "all", *self.count().to_dict().values()))
        return aligned(header, rows, right="rows works partial limit open")


def coverage_file() -> Path:
    """Give the coverage file: the repository's when run from a checkout, else the packaged copy."""
    root = Path(__file__).parents[3]
    in_checkout = root / "docs" / "coverage.tsv"
    if in_checkout.is_file() and (root / "src" / "fitwell").is_dir():
        return in_checkout
    return Path(__file__).with_name("coverage.tsv")


def read_coverage(file: Path | None = None) -> Coverage:
    """Read and check the coverage file.

    Args:
        file: The file; None takes the one of this installation.

    Raises:
        DataError: A line has an unknown or repeated id, or a status of another form.
    """
    file = file or coverage_file()
    with file.open(encoding="utf-8", newline="") as text:
        lines = list(csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise DataError(f"coverage: {file}: the first line must be {', '.join(COLUMNS)} (tabs).")
    rows: dict[str, Row] = {}
    for number, cells in enumerate(lines[1:], start=2):
        where = f"coverage: {file} line {number}"
        if len(cells) != len(COLUMNS):
            raise DataError(f"{where}: there must be {len(COLUMNS)} columns; got {len(cells)}.")
        row = _row(where, *cells)
        if row.id in rows:
            raise DataError(f"{where}: {row.id} is there twice. Merge the two lines.")
        rows[row.id] = row
    return Coverage(lines=tuple(rows.values()))


def _row(where: str, name: str, lives: str, proof: str, status: str) -> Row:
    if not is_row(name):
        raise DataError(f"{where}: `id` must be a row of the catalogue; got {name!r}.")
    match = _STATUS.fullmatch(status)
    if not match:
        raise DataError(
            f"{where}: `status` must be 'works', 'partial: why' or 'limit: why'; got {status!r}."
        )
    state: State = "works" if match[1] else "partial" if match[2] == "partial" else "limit"
    return Row(
        id=name,
        lives=_several(lives),
        proof=_several(proof),
        state=state,
        note=status.partition(": ")[2],
    )


def _several(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def is_row(name: str) -> bool:
    """Say whether the catalogue has a row of that id.

    Args:
        name: Such as ``CNN-07``, two digits as in the catalogue.
    """
    chapter, _, number = name.rpartition("-")
    if chapter not in CHAPTERS or not re.fullmatch(r"\d{2}", number):
        return False
    return 1 <= int(number) <= CHAPTERS[chapter][1]
