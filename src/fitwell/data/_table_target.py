"""The target column of a table: classes or numbers, and the names of the classes.

N rows, M distinct texts, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ._examples import TargetKind
from ._table_columns import FEW_WORDS, Words, as_numbers, as_words, clip
from ._table_dates import SHARE

Mask = npt.NDArray[np.bool_]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@final
@dataclass(frozen=True)
class Target:
    """What a target column is.

    Args:
        name: Header of the column.
        kind: Classes or numbers.
        class_names: Names of classes 0, 1, ...; empty for numbers.
    """

    name: str
    kind: TargetKind
    class_names: tuple[str, ...] = ()


def decide_target(
    path: Path, name: str, values: Any, kind: Literal["auto", "class", "number"]
) -> Target:
    """Decide whether a target is a class or a number, and name the classes.

    Args:
        path: The file, for messages.
        name: Header of the column.
        values: Arrow array of the column; (N,).
        kind: What the user says it is.

    Raises:
        DataError: All targets are missing, or are texts too many to be classes.
    """
    if kind == "number":
        return Target(name, "number")
    words = None
    numbers, refused = as_numbers(values)
    known = ~np.isnan(numbers) & ~refused
    good, total = int(known.sum()), int((known | refused).sum())
    if total == 0:
        raise DataError(f"{path}: the target column {name!r} has no values. Name another column.")
    numeric = kind == "auto" and good >= SHARE * total
    if numeric:
        seen = numbers[known]
        if (seen != np.floor(seen)).any() or len(np.unique(seen)) > FEW_WORDS:
            return Target(name, "number")
    words = as_words(values)
    names = [str(text) for text in words.texts.to_pylist()]
    if numeric:
        names = [text for text in names if _is_number(text) or text.lower() in ("true", "false")]
    elif kind == "auto" and len(names) > max(FEW_WORDS, total // 2):
        raise DataError(
            f"{path}: the target column {name!r} holds {len(names)} different texts in {total}"
            f" rows, such as {clip(names[0])}, too many for classes. Write numbers plainly, or say"
            " `target_kind='class'` (--target-kind class) if these are classes."
        )
    return Target(name, "class", _sort_names(names))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _sort_names(names: Sequence[str]) -> tuple[str, ...]:
    """Sort class names, by value if they are numbers; 1 and 1.0 are one class."""
    if not all(map(_is_number, names)):
        return tuple(sorted(names))
    shortest: dict[float, str] = {}
    for text in sorted(names, key=lambda text: (len(text), text)):
        shortest.setdefault(float(text), text)
    return tuple(shortest[value] for value in sorted(shortest))


def read_target(target: Target, values: Any) -> tuple[npt.NDArray[Any], Mask]:
    """Give the targets as class indices or numbers, and which rows have no valid one.

    Args:
        target: What the column is.
        values: Arrow array of the column; (N,).
    """
    if target.kind == "number":
        numbers, refused = as_numbers(values)
        bad = refused | np.isnan(numbers)
        return np.where(bad, 0, numbers).astype(np.float32), bad
    words = as_words(values)
    codes = np.append(_class_of(words, target.class_names), -1)[words.codes]
    return codes, codes < 0


def _class_of(words: Words, class_names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Class of each distinct text, -1 for an unknown one."""
    place = {name: index for index, name in enumerate(class_names)}
    by_value: dict[float, int] = {}
    if all(map(_is_number, class_names)):
        by_value = {float(name): index for name, index in place.items()}
    codes = np.empty(len(words.texts), dtype=np.int64)
    for number, text in enumerate(words.texts.to_pylist()):
        code = place.get(text, -1)
        if code < 0 and by_value and _is_number(text):
            code = by_value.get(float(text), -1)
        codes[number] = code
    return codes


def target_problem(target: Target, value: Any) -> tuple[str, str]:
    """Say what is wrong with a target, and what to do.

    Args:
        target: What the column is.
        value: The value as it stands in the file; None if it is missing.
    """
    if value is None or not str(value).strip():
        return f"the target in column {target.name!r} is missing", "Fill it in or remove the row."
    where = f"the target in column {target.name!r} is {clip(value)}"
    if target.kind == "number":
        return f"{where}, which is not a finite number", "Correct it or remove the row."
    shown = ", ".join(target.class_names[:20]) + (" ..." if len(target.class_names) > 20 else "")
    return f"{where}, which is none of the classes {shown}", "Correct it or remove the row."


def check_varies(path: Path, target: Target, targets: npt.NDArray[Any]) -> None:
    """Refuse a target that never changes.

    Args:
        path: The file, for messages.
        target: What the column is.
        targets: Targets of the rows that are used; (N,).

    Raises:
        DataError: All targets are equal, or there are none.
    """
    if len(targets) == 0:
        raise DataError(f"{path}: no row is left to learn from. Correct the bad rows.")
    if (targets == targets[0]).all():
        value = target.class_names[int(targets[0])] if target.class_names else targets[0]
        raise DataError(
            f"{path}: the target column {target.name!r} is always {clip(value)}, so there is"
            " nothing to learn. Name another column with `target`."
        )
