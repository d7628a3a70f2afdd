"""The verb `check-submission`: find what a leaderboard would refuse, line by line."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..core.errors import DataError

_SHOWN = 20


@final
@dataclass(frozen=True, kw_only=True)
class SubmissionCheck:
    """What is wrong with a file of answers; nothing if it may be handed in.

    Args:
        path: The file.
        sample: The sample it was compared with.
        rows: Rows of the file, without the header.
        problems: One sentence each, with the line.
    """

    path: str
    sample: str
    rows: int
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 if the file may be handed in, else 1."""
        return 1 if self.problems else 0

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, and whether the file is right."""
        return {**vars(self), "right": not self.problems}

    def __str__(self) -> str:
        if not self.problems:
            return f"{self.path}: right; {self.rows:,} rows agree with {self.sample}"
        more = len(self.problems) - _SHOWN
        lines = [f"{self.path}: {len(self.problems)} problems", *self.problems[:_SHOWN]]
        return "\n".join(lines + ([f"... and {more} more"] if more > 0 else []))


def check_submission(path: str | Path, sample: str | Path, /) -> SubmissionCheck:
    """Compare a file of answers with a leaderboard's sample file: header, ids, order, rows, types.

    Args:
        path: The file to hand in.
        sample: The sample file of the leaderboard.

    Raises:
        DataError: A file is missing or is no CSV text.
    """
    header, rows = read_rows(Path(path))
    wanted_header, wanted = read_rows(Path(sample))
    problems = []
    if header != wanted_header:
        problems.append(
            f"line 1: the header must be {','.join(wanted_header)!r}; got {','.join(header)!r}."
        )
    problems += _ids(rows, wanted)
    if len(rows) != len(wanted):
        problems.append(
            f"line {min(len(rows), len(wanted)) + 2}: there must be {len(wanted)} rows after the"
            f" header; got {len(rows)}."
        )
    problems += _values(header, rows, wanted)
    return SubmissionCheck(
        path=str(path), sample=str(sample), rows=len(rows), problems=tuple(problems)
    )


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a CSV file as text.

    Args:
        path: The file.

    Returns:
        The header and the rows after it.

    Raises:
        DataError: The file is missing, empty or no UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for row in csv.reader(file) if row]
    except FileNotFoundError as err:
        raise DataError(f"{path}: is not there. Check the path.") from err
    except IsADirectoryError as err:
        raise DataError(f"{path}: is a folder. Name the CSV file.") from err
    except (UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path}: is no CSV text in UTF-8 ({err}). Save it as CSV.") from err
    if not lines:
        raise DataError(f"{path}: is empty. It must have a header and a row per example.")
    return lines[0], lines[1:]


def _ids(rows: list[list[str]], wanted: list[list[str]]) -> list[str]:
    problems = []
    known = {row[0]: line for line, row in enumerate(wanted, start=2)}
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        name = row[0]
        if name in seen:
            problems.append(f"line {line}: the id {name!r} stands in line {seen[name]} already.")
            continue
        seen[name] = line
        if name not in known:
            alike = [other for other in known if _same_number(other, name)]
            hint = f" Keep the zeros: {alike[0]!r}." if alike else ""
            problems.append(f"line {line}: the id {name!r} is not in the sample.{hint}")
        elif line - 2 < len(wanted) and wanted[line - 2][0] != name and not problems:
            expected = wanted[line - 2][0]
            problems.append(
                f"line {line}: the order of ids differs from the sample, which has {expected!r};"
                f" got {name!r}."
            )
    missing = [name for name in known if name not in seen]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (" ..." if len(missing) > 3 else "")
        problems.append(f"{len(missing)} ids of the sample are missing: {shown}")
    return problems


def _same_number(one: str, other: str) -> bool:
    return one.isdecimal() and other.isdecimal() and int(one) == int(other)


def _values(header: list[str], rows: list[list[str]], wanted: list[list[str]]) -> list[str]:
    problems = []
    width = len(header)
    numeric = [
        bool(wanted) and all(len(row) > place and _kind(row[place]) != "text" for row in wanted)
        for place in range(width)
    ]
    whole = [
        bool(wanted) and all(len(row) > place and _kind(row[place]) == "whole" for row in wanted)
        for place in range(width)
    ]
    for line, row in enumerate(rows, start=2):
        if len(row) != width:
            problems.append(f"line {line}: must have {width} fields; got {len(row)}.")
            continue
        for place in range(1, width):
            value, name = row[place], header[place]
            if value == "":
                problems.append(f"line {line}: {name!r} must not be empty.")
            elif numeric[place] and _kind(value) == "text":
                problems.append(f"line {line}: {name!r} must be a number; got {value!r}.")
            elif _kind(value) == "infinite":
                problems.append(f"line {line}: {name!r} must be finite; got {value!r}.")
            elif whole[place] and _kind(value) == "fraction" and not _all_zero(wanted, place):
                problems.append(f"line {line}: {name!r} must be a whole number; got {value!r}.")
    return problems


def _all_zero(rows: list[list[str]], place: int) -> bool:
    """Whether a sample's column holds placeholders, which say nothing about whole numbers."""
    return len({row[place] for row in rows}) == 1


def _kind(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return "text"
    if not math.isfinite(value):
        return "infinite"
    return "whole" if text.strip().lstrip("+-").isdecimal() else "fraction"
