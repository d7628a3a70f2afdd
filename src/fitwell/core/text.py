"""Plain-text tables for results that a person reads in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def display_width(text: str) -> int:
    """Count the terminal cells a text fills; East Asian wide letters fill two.

    Args:
        text: One line.
    """
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def aligned(header: Sequence[str], rows: Sequence[Sequence[object]], *, right: str = "") -> str:
    """Set rows in columns, two spaces apart, with a rule under the header.

    Args:
        header: Column titles.
        rows: Cells; None is shown as a dash.
        right: Titles of the columns that are flush right, separated by spaces.
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [
        max(display_width(line[i]) for line in [list(header), *cells]) for i in range(len(header))
    ]
    flush_right = [title in right.split() for title in header]

    def line(values: Sequence[str]) -> str:
        parts = []
        for value, width, flush in zip(values, widths, flush_right, strict=True):
            pad = " " * (width - display_width(value))
            parts.append(pad + value if flush else value + pad)
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def shorten(text: str, width: int) -> str:
    """Cut a text to a number of terminal cells, marking the cut with dots.

    Args:
        text: One line.
        width: Cells to keep, at least 4.
    """
    if display_width(text) <= width:
        return text
    kept = ""
    for letter in text:
        if display_width(kept + letter) > width - 3:
            break
        kept += letter
    return kept.rstrip() + "..."
