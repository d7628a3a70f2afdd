"""Decide what a column of a table is, from its training rows, and turn it into numbers.

N rows, M distinct texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ._examples import Column
from ._table_dates import FEATURES, SHARE, find_form, read_dates
from ._table_file import MISSING

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_COMMA_NUMBER = r"^[+-]?\d{1,3}(,\d+)+(\.\d+)?$"
# Texts are categories up to this many; beyond it only if they repeat at least twice on average,
# and never beyond the second number.
FEW_WORDS = 20
MOST_WORDS = 10_000
# Longer texts are cut short in messages.
LONGEST = 60
# Arrow's cast writes an error for every value that fails; in pieces the first failure ends it.
_CAST_ROWS = 16384


@final
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one column of the file becomes input features.

    Args:
        name: Header of the column.
        kind: What it holds.
        form: How dates are written; empty for other kinds.
        features: Which features of the dates are used.
    """

    name: str
    kind: Literal["number", "category", "date"]
    form: str = ""
    features: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the reading as plain data."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Reading:
        """Read it back from plain data.

        Args:
            value: What `to_dict` gave.
        """
        return cls(**{**value, "features": tuple(value["features"])})


@final
@dataclass(frozen=True)
class LeftOut:
    """A column that is not used.

    Args:
        reason: Why, in a few words.
    """

    reason: str


@final
@dataclass(frozen=True)
class Converted:
    """Features of one column for all rows.

    Args:
        features: One array (N,) per feature; NaN is a missing number, 0 a missing category.
        bad: Rows whose value does not fit the column; (N,).
        unseen: Rows whose category was not in the vocabulary; (N,), None for other kinds.
    """

    features: tuple[Floats, ...]
    bad: Mask
    unseen: Mask | None = None


@final
@dataclass(frozen=True)
class Words:
    """A column of text as codes into its distinct texts, without surrounding blanks.

    Args:
        codes: Position of each row's text among the distinct texts, -1 for missing; (N,).
        texts: Arrow array of the distinct texts; (M,).
    """

    codes: Places
    texts: Any


def is_text(values: Any) -> bool:
    """Whether a column holds text rather than numbers.

    Args:
        values: Arrow array of the column.
    """
    import pyarrow as pa

    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


def as_words(values: Any) -> Words:
    """Give the distinct texts of a column; numbers are written out.

    Args:
        values: Arrow array of the column; (N,).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(values):
        values = values.cast(pa.string())
    first = values.dictionary_encode()
    trimmed = pc.utf8_trim_whitespace(first.dictionary)
    missing = pc.is_in(trimmed, pa.array(MISSING, trimmed.type))
    second = pc.if_else(missing, pa.scalar(None, trimmed.type), trimmed).dictionary_encode()
    merged = pc.fill_null(second.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    codes = pc.fill_null(first.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Words(np.append(merged, -1)[codes], second.dictionary)


def as_numbers(values: Any) -> tuple[Floats, Mask]:
    """Give a column as numbers, and which rows are neither a finite number nor missing.

    ``true`` and ``false`` are 1 and 0. Beyond the range of float32 a number counts as infinite.

    Args:
        values: Arrow array of the column; (N,).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = np.empty(len(values))
        for start in range(0, len(values), _CAST_ROWS):
            part = pc.cast(values[start : start + _CAST_ROWS], pa.float64(), safe=is_text(values))
            numbers[start : start + _CAST_ROWS] = part.to_numpy(zero_copy_only=False)
        refused = np.zeros(len(numbers), dtype=bool)
    except pa.ArrowInvalid:
        numbers, refused = _numbers_of_words(as_words(values))
    with np.errstate(over="ignore"):
        return numbers, refused | np.isinf(numbers.astype(np.float32))


def _numbers_of_words(words: Words) -> tuple[Floats, Mask]:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = words.texts
    lower = pc.utf8_lower(texts)
    texts = pc.if_else(pc.equal(lower, "true"), "1", texts)
    texts = pc.if_else(pc.equal(lower, "false"), "0", texts)
    fits = pc.match_substring_regex(texts, _NUMBER)
    readable = pc.if_else(fits, texts, pa.scalar(None, texts.type))
    table = pc.cast(readable, pa.float64()).to_numpy(zero_copy_only=False)
    refused = ~np.asarray(fits, dtype=bool)
    return np.append(table, np.nan)[words.codes], np.append(refused, False)[words.codes]


def read_column(name: str, values: Any, train: Places) -> tuple[Reading, Column] | LeftOut:
    """Decide from the training rows what a column holds and what its vocabulary is.

    Dates give a reading whose features become columns of their own; the column given with it has
    the categories, if any.

    Args:
        name: Header of the column.
        values: Arrow array of the column; (N,).
        train: Positions of the training rows.

    Raises:
        DataError: Numbers are written with commas, or numbers and texts are mixed.
    """
    numbers, refused = as_numbers(values)
    numbers, refused = numbers[train], refused[train]
    known = ~np.isnan(numbers)
    good, total = int((known & ~refused).sum()), int((known | refused).sum())
    if total == 0:
        return LeftOut("all missing")
    padded = is_text(values) and good == total and _padded(values, train)
    if good >= SHARE * total and not padded:
        seen = numbers[known & ~refused]
        if (seen == seen[0]).all() and total == len(train):
            return LeftOut("constant")
        return Reading(name=name, kind="number"), Column(name=name)
    words = as_words(values)
    counts = np.bincount(words.codes[train] + 1, minlength=len(words.texts) + 1)[1:]
    share = 0.0 if padded else good / total
    return _read_text(name, words.texts, counts, len(train), share)


def _padded(values: Any, train: Places) -> bool:
    """Whether all values are digits of one length, some starting with 0, such as postal codes."""
    import pyarrow.compute as pc

    lengths = pc.binary_length(values).to_numpy(zero_copy_only=False)[train]
    lengths = lengths[~np.isnan(lengths)]
    if lengths.min() != lengths.max() or lengths.min() < 2:
        return False
    chosen = values.take(train)
    if not pc.any(pc.starts_with(chosen, "0")).as_py():
        return False
    return bool(pc.all(pc.match_substring_regex(chosen, r"^\d+$")).as_py())


def _read_text(
    name: str, texts: Any, counts: Places, rows: int, share: float
) -> tuple[Reading, Column] | LeftOut:
    import pyarrow.compute as pc

    used = np.flatnonzero(counts)
    texts, counts = texts.take(used), counts[used]
    total = int(counts.sum())
    if len(texts) == 1 and total == rows:
        return LeftOut("constant")
    form = find_form(texts, counts)
    if form is not None:
        return _read_dates(name, texts, counts, form, rows)
    commas = np.asarray(pc.match_substring_regex(texts, _COMMA_NUMBER), dtype=bool)
    if counts[commas].sum() + share * total >= SHARE * total and commas.any():
        example = texts[int(np.flatnonzero(commas)[0])].as_py()
        raise DataError(
            f"column {name!r} holds numbers with commas such as {example!r}. Write them with a"
            " decimal point and without thousands separators, or leave the column out with"
            " `ignore`."
        )
    if len(texts) <= max(FEW_WORDS, total // 2) and len(texts) <= MOST_WORDS:
        if len(texts) == total and total > 1:
            return LeftOut("all different")
        categories = tuple(sorted(texts.to_pylist()))
        return (
            Reading(name=name, kind="category"),
            Column(name=name, kind="category", categories=categories),
        )
    if share > 0.5:
        plain = np.asarray(pc.match_substring_regex(texts, _NUMBER), dtype=bool)
        example = texts[int(np.flatnonzero(~plain)[0])].as_py()
        raise DataError(
            f"column {name!r} mixes numbers with texts such as {example!r}. Clean it, or leave it"
            " out with `ignore`."
        )
    return LeftOut("all different" if len(texts) == total else "too many different texts")


def _read_dates(
    name: str, texts: Any, counts: Places, form: str, rows: int
) -> tuple[Reading, Column] | LeftOut:
    parts = read_dates(texts, form)
    used = []
    for feature in FEATURES:
        seen = np.isfinite(parts[feature])
        values = parts[feature][seen]
        if len(values) and ((values != values[0]).any() or counts[seen].sum() < rows):
            used.append(feature)
    if not used:
        return LeftOut("constant")
    return Reading(name=name, kind="date", form=form, features=tuple(used)), Column(name=name)


def convert(reading: Reading, column: Column, values: Any) -> Converted:
    """Turn a column into its features.

    Args:
        reading: What the column holds.
        column: Its categories.
        values: Arrow array of the column; (N,).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if reading.kind == "number":
        numbers, bad = as_numbers(values)
        return Converted((numbers,), bad)
    words = as_words(values)
    known = words.codes >= 0
    if reading.kind == "date":
        parts = read_dates(words.texts, reading.form)
        wrong = np.append(np.isnan(parts["days"]), False)[words.codes]
        chosen = tuple(np.append(parts[f], np.nan)[words.codes] for f in reading.features)
        return Converted(chosen, wrong)
    places = pc.index_in(words.texts, pa.array(column.categories, words.texts.type))
    codes = np.append(pc.fill_null(places, -1).to_numpy(zero_copy_only=False) + 1, 0)[words.codes]
    return Converted(
        (codes.astype(np.float64),), np.zeros(len(codes), dtype=bool), known & (codes == 0)
    )


def problem(reading: Reading, value: Any) -> tuple[str, str]:
    """Say what is wrong with a bad value, and what to do.

    Args:
        reading: What the column holds.
        value: The value as it stands in the file.
    """
    where = f"column {reading.name!r} holds {clip(value)}"
    remedy = "Correct it, or leave the column out with `ignore`."
    if reading.kind == "date":
        return f"{where}, which is no date in the form {reading.form}", remedy
    if re.match(_NUMBER, str(value).strip()):
        return f"{where}, which is not a finite number", "Correct it, or leave it empty if unknown."
    return f"{where}, which is not a number", remedy


def clip(value: Any) -> str:
    """Write a value for a message, long texts cut short.

    Args:
        value: The value as it stands in the file.
    """
    text = str(value)
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...")
