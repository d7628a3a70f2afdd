"""A position of Go that can be played on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final, get_args

from ...core.errors import UsageError
from ._points import (
    BLACK,
    EMPTY,
    NOWHERE,
    WHITE,
    Color,
    Point,
    group_at,
    may_play,
    neighbors,
    place,
)

LARGEST = 52
"""Sides of boards that game records can name."""

_CODES: dict[str, int] = {"black": BLACK, "white": WHITE}
_SIGNS = {EMPTY: ".", BLACK: "X", WHITE: "O"}


@final
class GoBoard:
    """A position of Go: stones, whose turn it is, the ko, and the age of each stone.

    Moves are checked: no stone on a stone, no suicide, no immediate retaking of a ko. A longer
    repetition (superko) is not, and nothing is scored. `moves` counts the moves and passes; `cells`
    holds the stones row by row, 0 for none, 1 for black and 2 for white.

    Args:
        size: Rows and columns.
        black: Points, as (row, column) from the upper left corner, with black stones at the start.
        white: Points with white stones at the start.
        to_play: Whose turn it is.

    Raises:
        UsageError: The size is out of range, a point is taken twice or not on the board, or stones
            have no liberty.

    Checked against: the known counts of legal positions of 2 x 2 and 3 x 3; another set of rules,
        written with sets of points, in random games.
    """

    def __init__(
        self,
        size: int = 19,
        *,
        black: Iterable[Point] = (),
        white: Iterable[Point] = (),
        to_play: Color = "black",
    ) -> None:
        if not 2 <= size <= LARGEST:
            raise UsageError(
                f"GoBoard: `size` must lie in 2 ... {LARGEST}; got {size}. Use 9, 13 or 19."
            )
        self.size = size
        self.moves = 0
        self.cells = [EMPTY] * (size * size)
        self.played = [0] * (size * size)
        self.ko = NOWHERE
        self._turn = _code(to_play)
        for color, points in ((BLACK, black), (WHITE, white)):
            for point in points:
                cell = self.cell(point)
                if self.cells[cell] != EMPTY:
                    raise UsageError(
                        "GoBoard: `black` and `white` must name each point once; got"
                        f" {tuple(point)} again. Leave one of them out."
                    )
                self.cells[cell] = color
        near = neighbors(size)
        for cell, color in enumerate(self.cells):
            if color != EMPTY and not group_at(self.cells, near, cell)[1]:
                raise UsageError(
                    "GoBoard: `black` and `white` must leave every group a liberty; got none for"
                    f" the stone at {divmod(cell, size)}. Leave captured stones out."
                )

    @property
    def to_play(self) -> Color:
        """Whose turn it is; setting it ends a ko, as if the other side had passed."""
        return "black" if self._turn == BLACK else "white"

    @to_play.setter
    def to_play(self, color: Color) -> None:
        if _code(color) != self._turn:
            self._turn = _code(color)
            self.ko = NOWHERE

    @property
    def turn(self) -> int:
        """Whose turn it is, as the cells say it."""
        return self._turn

    def cell(self, point: Point) -> int:
        """Give the place of a point in the cells.

        Args:
            point: Row and column.

        Raises:
            UsageError: It is not on the board.
        """
        row, column = point
        if not (0 <= row < self.size and 0 <= column < self.size):
            raise UsageError(
                f"GoBoard: `point` must be a row and a column in 0 ... {self.size - 1}; got"
                f" {tuple(point)}."
            )
        return row * self.size + column

    def fault(self, point: Point | None) -> str | None:
        """Say what is wrong with a move of the side whose turn it is; None if it is legal.

        Args:
            point: Row and column; None passes, which is always legal.
        """
        if point is None:
            return None
        cell = self.cell(point)
        if may_play(self.cells, neighbors(self.size), cell, self._turn, self.ko):
            return None
        if self.cells[cell] != EMPTY:
            return "a stone is there"
        return "ko" if cell == self.ko else "suicide"

    def is_legal(self, point: Point | None) -> bool:
        """Say whether the side whose turn it is may play there.

        Args:
            point: Row and column; None passes, which is always legal.
        """
        return self.fault(point) is None

    def legal_moves(self) -> list[Point]:
        """Give all legal points, row by row."""
        near = neighbors(self.size)
        return [
            divmod(cell, self.size)
            for cell in range(len(self.cells))
            if may_play(self.cells, near, cell, self._turn, self.ko)
        ]

    def play(self, point: Point | None) -> list[Point]:
        """Play a stone of the side whose turn it is, and give the points it captures.

        Args:
            point: Row and column; None passes.

        Raises:
            UsageError: The move is illegal.
        """
        captured: list[int] = []
        ko = NOWHERE
        if point is not None:
            fault = self.fault(point)
            if fault is not None:
                raise UsageError(
                    f"GoBoard: `point` must be a legal move of {self.to_play}; got"
                    f" {tuple(point)} ({fault}). Choose one of `legal_moves()`."
                )
            cell = self.cell(point)
            captured, ko = place(self.cells, neighbors(self.size), cell, self._turn)
            self.played[cell] = self.moves + 1
        self.moves += 1
        self._turn = BLACK + WHITE - self._turn
        self.ko = ko
        return [divmod(stone, self.size) for stone in captured]

    def copy(self) -> GoBoard:
        """Give an equal board; moves on one of them leave the other alone."""
        other = GoBoard(self.size, to_play=self.to_play)
        other.moves, other.ko = self.moves, self.ko
        other.cells, other.played = self.cells.copy(), self.played.copy()
        return other

    def __str__(self) -> str:
        """Draw the board: X black, O white."""
        signs = [_SIGNS[color] for color in self.cells]
        rows = (signs[start : start + self.size] for start in range(0, len(signs), self.size))
        return "\n".join(" ".join(row) for row in rows)


def _code(color: Color) -> int:
    if color not in _CODES:
        raise UsageError(
            f"GoBoard: `to_play` must be one of {get_args(Color)}; got {color!r}. Use 'black'."
        )
    return _CODES[color]
