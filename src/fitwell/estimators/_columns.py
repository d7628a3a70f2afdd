"""Columns of text in a pandas frame as codes, by the categories seen in training.

N rows, F columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import UsageError
from ..data import Column


def text_columns(X: Any, owner: str) -> tuple[Column, ...]:
    """Give the columns of a frame with texts or categories among them; of all else, none.

    Args:
        X: What the user passed.
        owner: Who asks, for messages.

    Raises:
        UsageError: A column holds dates or times.
    """
    if not hasattr(X, "iloc") or X.ndim != 2:
        return ()
    columns = tuple(
        _column(str(name), X.iloc[:, place], owner) for place, name in enumerate(X.columns)
    )
    return columns if any(column.kind == "category" for column in columns) else ()


def _column(name: str, values: Any, owner: str) -> Column:
    kind = values.dtype.kind
    if kind in "mM":
        raise UsageError(
            f"{owner}: `X` must hold numbers, texts or categories; got dates or times in column"
            f" {name!r}. Replace it by numbers such as year, month and day."
        )
    _, distinct = values.factorize()
    named = values.dtype.name == "category" or any(isinstance(word, str) for word in distinct)
    if kind in "buif" or not named:
        return Column(name=name)
    words = sorted({str(word) for word in distinct})
    return Column(name=name, kind="category", categories=tuple(words))


def encode(X: Any, columns: Sequence[Column]) -> Any:
    """Give a table of numbers: codes of categories, 0 for missing and unseen ones; (N, F).

    Args:
        X: A frame, or an array of objects, with these columns.
        columns: What `text_columns` gave in training.
    """
    import pandas as pd

    frame = X if hasattr(X, "iloc") else pd.DataFrame(np.asarray(X, dtype=object))
    values = [_numbers(frame.iloc[:, place], column) for place, column in enumerate(columns)]
    table = np.column_stack(values)
    return pd.DataFrame(table, columns=X.columns) if hasattr(X, "iloc") else table


def _numbers(values: Any, column: Column) -> npt.NDArray[np.float64]:
    if column.kind == "number":
        numbers: npt.NDArray[np.float64] = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    places, distinct = values.factorize()  # a missing value has the place -1
    known = {word: code for code, word in enumerate(column.categories, start=1)}
    codes = [known.get(str(word), 0) for word in distinct]
    of_rows: npt.NDArray[np.float64] = np.array([*codes, 0], dtype=np.float64)[places]
    return of_rows
