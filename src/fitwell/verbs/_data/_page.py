"""What the verbs on data sets give: a list, a page about one set, the places of its files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, final

_BAR = 24  # characters of the longest bar
_SHOWN = 20  # classes or columns in the text form; the JSON form has all


@final
@dataclass(frozen=True)
class DataEntry:
    """One built-in data set in a list.

    Args:
        name: What it is called.
        kind: What the inputs are.
        examples: Number of labelled examples.
        classes: Number of classes; 0 when the target is a number.
        where: Whether its files are at hand.
        license: Terms of the data.
        title: What it is about.
    """

    name: str
    kind: Literal["images", "table"]
    examples: int
    classes: int
    where: str
    license: str
    title: str


@final
@dataclass(frozen=True)
class DataList:
    """The built-in data sets.

    Args:
        entries: One entry per set.
    """

    entries: tuple[DataEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the list as plain data, ready for JSON."""
        return {"datasets": [asdict(entry) for entry in self.entries]}

    def __str__(self) -> str:
        rows = [("name", "kind", "examples", "target", "files", "licence")]
        rows += [
            (e.name, e.kind, f"{e.examples:,}", _target(e.classes), e.where, e.license)
            for e in self.entries
        ]
        return _table(rows, right={2})


@final
@dataclass(frozen=True)
class DataFiles:
    """Where the files of a data set are.

    Args:
        name: What the set is called.
        files: Path of each file; empty for an embedded set.
    """

    name: str
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the paths as plain data, ready for JSON."""
        return {"name": self.name, "files": [str(path) for path in self.files]}

    def __str__(self) -> str:
        if not self.files:
            return f"{self.name} comes with scikit-learn; there is nothing to get."
        return "\n".join([f"{self.name} is here:", *(f"  {path}" for path in self.files)])


@final
@dataclass(frozen=True)
class ColumnRange:
    """What the values of one feature are like in the training part.

    Args:
        name: Name of the feature.
        kind: A number or a category.
        low: Smallest number; None for a category, or when all are missing.
        mean: Mean of the numbers that are there.
        high: Largest number.
        categories: Number of categories; 0 for a number.
        missing: Number of missing values.
    """

    name: str
    kind: Literal["number", "category"]
    low: float | None
    mean: float | None
    high: float | None
    categories: int
    missing: int


@final
@dataclass(frozen=True)
class DataPage:
    """All there is to know about a data set before training on it.

    Args:
        name: What the set is called.
        title: What it is about.
        kind: What the inputs are.
        input_shape: Shape of one input.
        terms: Licence and homepage; empty for data of the user.
        counts: Number of examples of each part.
        balance: Number of examples of each class in each part, by class; empty for a number.
        target: What the target is like in the training part, when it is a number.
        columns: What the features are like, for a table.
        how: How the parts were made.
        fingerprint: SHA-256 of the parts.
        picture: Contact sheet of the training part, for images.
    """

    name: str
    title: str
    kind: str
    input_shape: tuple[int, ...]
    terms: Mapping[str, str]
    counts: Mapping[str, int]
    balance: Mapping[str, Mapping[str, int]]
    target: ColumnRange | None
    columns: tuple[ColumnRange, ...]
    how: str
    fingerprint: str
    picture: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Give the page as plain data, ready for JSON."""
        picture = None if self.picture is None else str(self.picture)
        return {**asdict(self), "picture": picture}

    def __str__(self) -> str:
        shape = "x".join(str(size) for size in self.input_shape)
        unit = " features" if self.kind == "table" else ""
        facts = [
            ("inputs", f"{self.kind}, {shape}{unit}"),
            ("target", _target(len(self.balance))),
            *((part, f"{count:,}") for part, count in self.counts.items()),
            ("cut", self.how),
            *self.terms.items(),
            ("fingerprint", self.fingerprint[:16]),
        ]
        if self.picture is not None:
            facts.append(("picture", str(self.picture)))
        blocks = [f"{self.name}: {self.title}", _table(facts)]
        if self.balance:
            blocks.append(_balance(self.balance, tuple(self.counts)))
        if self.columns:
            blocks.append(_ranges(self.columns))
        if self.target is not None:
            low, mean, high = (
                _number(x) for x in (self.target.low, self.target.mean, self.target.high)
            )
            blocks.append(f"target of train: {self.target.name}, {low} to {high}, mean {mean}")
        return "\n\n".join(blocks)


def _target(classes: int) -> str:
    return f"{classes} classes" if classes else "a number"


def _balance(balance: Mapping[str, Mapping[str, int]], parts: tuple[str, ...]) -> str:
    """Draw a bar per class by its count in the training part, beside the counts of all parts."""
    longest = max(1, *(counts.get("train", 0) for counts in balance.values()))
    total = max(1, sum(counts.get("train", 0) for counts in balance.values()))
    rows: list[tuple[str, ...]] = [("class", *parts, "share of train")]
    for name, counts in list(balance.items())[:_SHOWN]:
        train = counts.get("train", 0)
        bar = "█" * round(_BAR * train / longest) or "▏"
        shown = [f"{counts.get(part, 0):,}" for part in parts]
        rows.append((name, *shown, f"{train / total:6.1%} {bar}"))
    return _table(rows, right=set(range(1, len(parts) + 1))) + _more(len(balance), "classes")


def _ranges(columns: tuple[ColumnRange, ...]) -> str:
    rows = [("feature of train", "smallest", "mean", "largest", "missing")]
    rows += [_range_row(column) for column in columns[:_SHOWN]]
    return _table(rows, right={1, 2, 3, 4}) + _more(len(columns), "features")


def _range_row(column: ColumnRange) -> tuple[str, str, str, str, str]:
    if column.kind == "category":
        return (column.name, f"{column.categories} categories", "", "", f"{column.missing:,}")
    low, mean, high = (_number(value) for value in (column.low, column.mean, column.high))
    return (column.name, low, mean, high, f"{column.missing:,}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _more(count: int, what: str) -> str:
    return f"\n({count - _SHOWN:,} more {what}; --json lists all)" if count > _SHOWN else ""


def _table(rows: Sequence[tuple[str, ...]], right: Collection[int] = ()) -> str:
    """Align columns of text; those in `right` to the right."""
    widths = [max(len(cell) for cell in cells) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
