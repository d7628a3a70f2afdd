"""The rules of Go on a plain list of cells; boards and searches stand on these functions.

A cell is its row times the size plus its column; it holds `EMPTY`, `BLACK` or `WHITE`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

Color = Literal["black", "white"]
Point = tuple[int, int]
Table = tuple[tuple[int, ...], ...]

EMPTY, BLACK, WHITE = 0, 1, 2
NOWHERE = -1


def opponent(color: int) -> int:
    """Give the other color.

    Args:
        color: `BLACK` or `WHITE`.
    """
    return BLACK + WHITE - color


@lru_cache
def neighbors(size: int) -> Table:
    """Give the cells beside each cell.

    Args:
        size: Of the board.
    """
    return _around(size, ((-1, 0), (0, -1), (0, 1), (1, 0)))


@lru_cache
def diagonals(size: int) -> Table:
    """Give the cells that touch each cell at a corner.

    Args:
        size: Of the board.
    """
    return _around(size, ((-1, -1), (-1, 1), (1, -1), (1, 1)))


def _around(size: int, steps: tuple[Point, ...]) -> Table:
    inside = range(size)
    return tuple(
        tuple(
            (row + down) * size + column + right
            for down, right in steps
            if row + down in inside and column + right in inside
        )
        for row in inside
        for column in inside
    )


def group_at(cells: list[int], near: Table, cell: int) -> tuple[set[int], set[int]]:
    """Give the connected stones that a stone belongs to, and their liberties.

    Args:
        cells: The board.
        near: `neighbors` of its size.
        cell: Where the stone is.
    """
    color = cells[cell]
    stones, liberties = {cell}, set()
    reached = [cell]
    for one in reached:
        for beside in near[one]:
            found = cells[beside]
            if found == EMPTY:
                liberties.add(beside)
            elif found == color and beside not in stones:
                stones.add(beside)
                reached.append(beside)
    return stones, liberties


def may_play(cells: list[int], near: Table, cell: int, color: int, ko: int) -> bool:
    """Say whether a move is neither on a stone, nor in the ko, nor suicide.

    Args:
        cells: The board.
        near: `neighbors` of its size.
        cell: Where the stone would go.
        color: Of the stone.
        ko: Cell that must not be played now, or `NOWHERE`.
    """
    if cells[cell] != EMPTY or cell == ko:
        return False
    for beside in near[cell]:
        found = cells[beside]
        if found == EMPTY:
            return True
        # A friend must live on without this liberty; an enemy must not.
        more = len(group_at(cells, near, beside)[1]) > 1
        if more == (found == color):
            return True
    return False


def place(cells: list[int], near: Table, cell: int, color: int) -> tuple[list[int], int]:
    """Put a stone down and take off what it captures; give the captured cells and the new ko.

    Args:
        cells: The board, changed in place.
        near: `neighbors` of its size.
        cell: Where `may_play`.
        color: Of the stone.
    """
    cells[cell] = color
    captured: list[int] = []
    for beside in near[cell]:
        if cells[beside] == opponent(color):
            stones, liberties = group_at(cells, near, beside)
            if not liberties:
                captured += stones
                for stone in stones:
                    cells[stone] = EMPTY
    if len(captured) == 1:
        stones, liberties = group_at(cells, near, cell)
        if len(stones) == 1 and len(liberties) == 1:
            return captured, captured[0]
    return captured, NOWHERE


def take_back(cells: list[int], cell: int, captured: list[int]) -> None:
    """Undo `place`.

    Args:
        cells: The board, changed in place.
        cell: Where the stone was put.
        captured: What it captured.
    """
    enemy = opponent(cells[cell])
    cells[cell] = EMPTY
    for stone in captured:
        cells[stone] = enemy
