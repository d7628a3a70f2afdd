"""The column that rows of a table are dealt by, for those who deal them again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ._bad_rows import BadRows, OnBadRow
from ._table_file import read_file
from ._table_rows import RowProblems, split_keys


def table_keys(
    path: str | Path,
    split_by: str,
    mode: Literal["grouped", "by_time"],
    *,
    on_bad_row: OnBadRow = "stop",
) -> npt.NDArray[np.generic]:
    """Give the group or the time of each row of a table, in the order of the file.

    Args:
        path: As `load_table` has read it.
        split_by: Header of the column.
        mode: What the column holds.
        on_bad_row: As `load_table` was told, so that rows count alike.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    raw = read_file(path, BadRows(on_bad_row))
    return split_keys(raw, split_by, mode, RowProblems(raw))
