"""Ladders: can a group with two liberties be chased until it is captured?

The hunter plays one of the two liberties; the prey extends, or captures a hunting group that has
one liberty; at three liberties it has escaped, at one it has not.
"""

from __future__ import annotations

from collections.abc import Callable

from ._points import Table, group_at, may_play, opponent, place, take_back

_NODES = 1000
"""Moves tried for one question; the longest ladder of a 19 x 19 board takes fewer than half."""

_DEPTH = 200
"""Moves in a row."""


class _Undecided(Exception):
    """The search took too long."""


class Ladders:
    """Questions about ladders on one position, which is left as it is.

    Args:
        cells: The board.
        near: `neighbors` of its size.
    """

    def __init__(self, cells: list[int], near: Table) -> None:
        self.cells = cells.copy()
        self.near = near
        self.nodes = 0

    def captures(self, cell: int, prey: int, color: int, ko: int) -> bool:
        """Say whether a move of the hunter begins a ladder that works; False if it is undecided.

        Args:
            cell: Liberty of the prey that the hunter plays.
            prey: Cell of a stone of the prey, which has two liberties.
            color: Of the hunter.
            ko: Cell that must not be played now.
        """
        return self._decided(self._catches, cell, prey, color, ko)

    def escapes(self, cell: int, prey: int, color: int, ko: int) -> bool:
        """Say whether a move of the prey gets it out of a ladder; False if it is undecided.

        Args:
            cell: Liberty of the prey that it plays.
            prey: Cell of a stone of the prey, which has one liberty.
            color: Of the prey.
            ko: Cell that must not be played now.
        """
        return self._decided(self._flees, cell, prey, color, ko)

    def _decided(self, search: Callable[..., bool], *about: int) -> bool:
        """Search from a full count; False, and the board as it was, if that does not suffice."""
        self.nodes = 0
        before = self.cells.copy()
        try:
            return search(*about, 0)
        except _Undecided:
            self.cells = before
            return False

    def _count(self, depth: int) -> None:
        self.nodes += 1
        if self.nodes > _NODES or depth > _DEPTH:
            raise _Undecided

    def _catches(self, cell: int, prey: int, color: int, ko: int, depth: int) -> bool:
        self._count(depth)
        cells, near = self.cells, self.near
        if not may_play(cells, near, cell, color, ko):
            return False
        captured, ko = place(cells, near, cell, color)
        stones, ways = group_at(cells, near, prey)
        for stone in stones:
            for beside in near[stone]:
                if cells[beside] == color:
                    liberties = group_at(cells, near, beside)[1]
                    if len(liberties) == 1:
                        ways |= liberties
        prey_color = opponent(color)
        free = any(self._flees(way, prey, prey_color, ko, depth + 1) for way in sorted(ways))
        take_back(cells, cell, captured)
        return not free

    def _flees(self, cell: int, prey: int, color: int, ko: int, depth: int) -> bool:
        self._count(depth)
        cells, near = self.cells, self.near
        if not may_play(cells, near, cell, color, ko):
            return False
        captured, ko = place(cells, near, cell, color)
        liberties = group_at(cells, near, prey)[1]
        free = len(liberties) > 2
        if len(liberties) == 2:
            hunter = opponent(color)
            free = not any(
                self._catches(way, prey, hunter, ko, depth + 1) for way in sorted(liberties)
            )
        take_back(cells, cell, captured)
        return free
