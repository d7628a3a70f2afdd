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
    header, rows, lines = read_rows(Path(path))
    wanted_header, wanted, _ = read_rows(Path(sample))
    problems = []
    if header != wanted_header:
        problems.append(
            f"line 1: the header must be {','.join(wanted_header)!r}; got {','.join(header)!r}."
        )
    problems += _ids(rows, lines, wanted)
    if len(rows) != len(wanted):
        line = lines[len(wanted)] if len(rows) > len(wanted) else (lines or [1])[-1] + 1
        problems.append(
            f"line {line}: there must be {len(wanted)} rows after the header; got {len(rows)}."
        )
    problems += _values(header, rows, lines, wanted)
    return SubmissionCheck(
        path=str(path), sample=str(sample), rows=len(rows), problems=tuple(problems)
    )


def read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Read a CSV file as text; empty lines are passed over, as leaderboards do.

    Args:
        path: The file.

    Returns:
        The header, the rows after it, and the line that each of these rows ends on.

    Raises:
        DataError: The file is missing, empty or no UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(row, reader.line_num) for row in reader if row]
    except FileNotFoundError as err:
        raise DataError(f"{path}: is not there. Check the path.") from err
    except IsADirectoryError as err:
        raise DataError(f"{path}: is a folder. Name the CSV file.") from err
    except (UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path}: is no CSV text in UTF-8 ({err}). Save it as CSV.") from err
    if not rows:
        raise DataError(f"{path}: is empty. It must have a header and a row per example.")
    return rows[0][0], [row for row, _ in rows[1:]], [line for _, line in rows[1:]]


def _ids(rows: list[list[str]], lines: list[int], wanted: list[list[str]]) -> list[str]:
    problems = []
    known = {row[0] for row in wanted}
    padded = {int(name): name for name in known if name.isdecimal()}
    seen: dict[str, int] = {}
    for place, (row, line) in enumerate(zip(rows, lines, strict=True)):
        name = row[0]
        if name in seen:
            problems.append(f"line {line}: the id {name!r} stands in line {seen[name]} already.")
            continue
        seen[name] = line
        if name not in known:
            alike = padded.get(int(name)) if name.isdecimal() else None
            hint = "" if alike is None else f" Keep the zeros: {alike!r}."
            problems.append(f"line {line}: the id {name!r} is not in the sample.{hint}")
        elif place < len(wanted) and wanted[place][0] != name and not problems:
            expected = wanted[place][0]
            problems.append(
                f"line {line}: the order of ids differs from the sample, which has {expected!r};"
                f" got {name!r}."
            )
    missing = [row[0] for row in wanted if row[0] not in seen]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (" ..." if len(missing) > 3 else "")
        problems.append(f"{len(missing)} ids of the sample are missing: {shown}")
    return problems


def _values(
    header: list[str], rows: list[list[str]], lines: list[int], wanted: list[list[str]]
) -> list[str]:
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
    for line, row in zip(lines, rows, strict=True):
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
