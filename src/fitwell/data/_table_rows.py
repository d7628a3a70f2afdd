"""Which rows of a table are used: bad rows, ids, and the cut into parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError, UsageError
from ._bad_rows import BadRows
from ._splits import SplitMode, cut
from ._table_columns import Words, as_numbers, as_words, clip, is_text
from ._table_dates import find_form, read_dates
from ._table_file import RawTable

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
TableSplitMode = SplitMode | Literal["auto", "given"]

_ID = re.compile(r"(?i:id)|.*_(?i:id)|.*[a-z](Id|ID)|Unnamed: 0")
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# A column named "id" is one when at least this share of its values differ; the rest are mistakes.
_DISTINCT = 0.9


@final
class RowProblems:
    """Bad rows of one table, reported in the order of the file and each row once.

    Args:
        raw: The table.
    """

    def __init__(self, raw: RawTable) -> None:
        self.raw = raw
        self._found: dict[int, Callable[[int], tuple[str, str]]] = {}
        self._good = np.ones(raw.count, dtype=bool)

    def add(self, rows: Mask, describe: Callable[[int], tuple[str, str]]) -> None:
        """Note bad rows.

        Args:
            rows: Which rows are bad; (N,).
            describe: Gives problem and remedy for a position.
        """
        for position in np.flatnonzero(rows & self._good).tolist():
            self._found[position] = describe
        self._good &= ~rows

    def report(self, bad: BadRows) -> None:
        """Report what was noted since the last report.

        Args:
            bad: Stops or counts.

        Raises:
            DataError: A row is bad and `bad` stops.
        """
        for position in sorted(self._found):
            described, remedy = self._found[position](position)
            bad.report(self.raw.path, self.raw.row(position), described, remedy)
        self._found.clear()

    def good(self) -> Places:
        """Give the positions of the rows with nothing wrong, ascending."""
        return np.flatnonzero(self._good)


def find_id(raw: RawTable, wanted: str | None, taken: set[str]) -> str | None:
    """Give the name of the id column: the one asked for, or one named like an id with no repeats.

    Args:
        raw: The table.
        wanted: The name the user gave.
        taken: Columns that serve another purpose.

    Raises:
        DataError: There is no column of the wanted name.
    """
    if wanted is not None:
        raw.need(wanted, "id column")
        return wanted
    named = [name for name in raw.columns if _ID.fullmatch(name) and name not in taken]
    if next(iter(raw.columns)) == "column 1" and "column 1" not in taken:
        named.append("column 1")
    for name in sorted(named, key=lambda name: name.lower() != "id"):
        words = as_words(raw.columns[name])
        distinct = len(words.texts) / raw.count
        if distinct == 1 or (name.lower() == "id" and distinct >= _DISTINCT):
            return name
    return None


def is_id_name(name: str) -> bool:
    """Whether a header looks like that of an id.

    Args:
        name: The header.
    """
    return _ID.fullmatch(name) is not None


def read_ids(raw: RawTable, name: str, problems: RowProblems) -> list[str]:
    """Give the ids as they stand in the file, and note missing and repeated ones.

    Args:
        raw: The table.
        name: Header of the id column.
        problems: Where bad rows are noted.
    """
    words = as_words(raw.columns[name])
    problems.add(
        words.codes < 0,
        lambda _: (f"the id in column {name!r} is missing", "Give the row an id."),
    )
    _, first = np.unique(words.codes, return_index=True)
    again = np.ones(raw.count, dtype=bool)
    again[first] = False
    where = dict(zip(words.codes[first].tolist(), first.tolist(), strict=True))

    def describe(position: int) -> tuple[str, str]:
        earlier = raw.row(where[int(words.codes[position])])
        return (
            f"the id {clip(texts[position])} in column {name!r} is also that of row {earlier}",
            "Ids must differ: correct or remove one of the two.",
        )

    texts = _spell(words)
    problems.add(again & (words.codes >= 0), describe)
    return texts


def _spell(words: Words) -> list[str]:
    table = np.empty(len(words.texts) + 1, dtype=object)
    table[:-1] = words.texts.to_numpy(zero_copy_only=False)
    spelled: list[str] = table[words.codes].tolist()
    return spelled


def split_keys(
    raw: RawTable, name: str, mode: TableSplitMode, problems: RowProblems
) -> npt.NDArray[np.generic]:
    """Give the column a split goes by: codes of groups, times as numbers, or names of parts.

    Args:
        raw: The table.
        name: Header of the column.
        mode: ``grouped``, ``by_time`` or ``given``.
        problems: Where bad rows are noted.

    Raises:
        DataError: There is no such column.
    """
    values = raw.need(name, "column to split by")
    words = as_words(values)
    keys: npt.NDArray[np.generic]
    if mode == "by_time":
        keys, wrong = _times(values, words)
        problems.add(
            wrong | np.isnan(keys),
            lambda i: (
                f"column {name!r} holds {clip(values[i].as_py())}, which is no date or number",
                "The split by time needs the time of every row: fill it in.",
            ),
        )
        return keys
    if mode == "given":
        parts = [_PARTS.get(text.lower(), "") for text in words.texts.to_pylist()]
        keys = np.array([*parts, ""], dtype="U5")[words.codes]
        problems.add(
            keys == "",
            lambda i: (
                f"column {name!r} holds {clip(values[i].as_py())}, which is no part",
                "Write train, valid or test.",
            ),
        )
        return keys
    problems.add(
        words.codes < 0,
        lambda _: (f"the group in column {name!r} is missing", "Fill it in."),
    )
    names = words.texts.to_pylist()
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    ranks = np.empty(len(names) + 1, dtype=np.int64)
    ranks[order], ranks[-1] = np.arange(len(names)), -1
    return ranks[words.codes]


def _times(values: Any, words: Words) -> tuple[npt.NDArray[np.float64], Mask]:
    counts = np.bincount(words.codes + 1, minlength=len(words.texts) + 1)[1:]
    form = find_form(words.texts, counts) if is_text(values) else None
    if form is None:
        return as_numbers(values)
    times = np.append(read_dates(words.texts, form)["days"], np.nan)[words.codes]
    return times, np.isnan(times)


def lonely(
    labels: npt.NDArray[np.int64], rows: Places, valid: float, test: float, classes: int
) -> tuple[Mask, Places]:
    """Mark the rows of classes with too few members to be in every part.

    Args:
        labels: Class of each row; (N,).
        rows: Positions of the rows that are used.
        valid: Share of the validation part; 0 if it is not cut.
        test: Share of the test part; 0 if it is not cut.
        classes: Number of classes.

    Returns:
        Which rows to leave out, (N,), and how many members each class has, (K,).
    """
    counts = np.bincount(labels[rows], minlength=classes)
    needed = 1 + (valid > 0 or test > 0)
    if valid > 0 and test > 0:
        # Both cuts need two members; the first takes at most its rounded-up share.
        left = 1 - np.ceil(test * len(rows)) / max(len(rows), 1)
        needed = next((m for m in range(3, 100) if np.floor(m * left) >= 2), 3)
    marked = np.zeros(len(labels), dtype=bool)
    marked[rows] = counts[labels[rows]] < needed
    return marked, counts


def split_rows(
    count: int,
    mode: TableSplitMode,
    *,
    valid: float,
    test: float,
    seed: int,
    labels: Places | None,
    keys: npt.NDArray[np.generic] | None,
) -> tuple[dict[str, Places], str]:
    """Cut rows into parts, and say how.

    Args:
        count: Number of rows.
        mode: How rows are drawn; ``auto`` is stratified for classes and random for numbers.
        valid: Share of the validation part; 0 if it is not cut.
        test: Share of the test part; 0 if it is not cut.
        seed: Seed of the draw.
        labels: Class of each row; None for numbers.
        keys: What the split goes by, in the modes that need it.

    Raises:
        UsageError: The shares do not fit the rows.
        DataError: No row is given to the training part.
    """
    if mode == "given" and keys is not None:
        return _given(keys, valid, seed, labels)
    if valid == 0 and test == 0:
        return {"train": np.arange(count)}, "parts as given"
    chosen: SplitMode
    if mode == "auto" or mode == "given":
        chosen = "random" if labels is None else "stratified"
    else:
        chosen = mode
    # One part is cut as if it were the validation part, and renamed below.
    first, second = (valid, test) if valid else (test, 0.0)
    try:
        parts = cut(
            count, mode=chosen, valid=first, test=second, seed=seed, labels=labels, keys=keys
        )
    except UsageError:
        if mode != "auto" or chosen == "random":
            raise
        chosen = "random"
        parts = cut(count, mode=chosen, valid=first, test=second, seed=seed)
    if not valid:
        parts["test"] = parts.pop("valid")
    return parts, f"{chosen} split, seed {seed}"


def _given(
    keys: npt.NDArray[np.generic], valid: float, seed: int, labels: Places | None
) -> tuple[dict[str, Places], str]:
    parts: Mapping[str, Places] = {
        name: np.flatnonzero(keys == name) for name in ("train", "valid", "test")
    }
    train = parts["train"]
    if len(train) == 0:
        raise DataError("split: no row is marked 'train'. Mark the rows to learn from.")
    found = {name: rows for name, rows in parts.items() if len(rows)}
    if "valid" in found or valid == 0:
        return found, "parts as given"
    inner, how = split_rows(
        len(train),
        "auto",
        valid=valid,
        test=0.0,
        seed=seed,
        labels=None if labels is None else labels[train],
        keys=None,
    )
    cuts = {"train": train[inner["train"]], "valid": train[inner["valid"]]}
    return {**found, **cuts}, f"parts as given, validation cut from train ({how})"
