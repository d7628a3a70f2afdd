"""Games of Go, read from records in the Smart Game Format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, final

from ...core.errors import DataError, UsageError
from ._board import LARGEST, GoBoard
from ._points import Color, Point
from ._sgf import Node, decoded, main_line

_MOVES: Mapping[str, Color] = {"B": "black", "W": "white"}
_SETUP = {"AB": "black", "AW": "white", "AE": None}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PASS_TT = 19  # up to this size, older records write a pass as tt


@final
@dataclass(frozen=True, kw_only=True)
class GoGame:
    """A game of Go: the stones set up before it, and its moves.

    Args:
        size: Rows and columns of the board.
        black: Points, as (row, column) from the upper left corner, with black stones set up before
            the first move, such as a handicap.
        white: Points with white stones set up.
        moves: Who played where, in order; None for a pass.
        info: What else the record says, such as players (PB, PW) and result (RE).

    Source: hollosi2006sgf.
    """

    size: int = 19
    black: tuple[Point, ...] = ()
    white: tuple[Point, ...] = ()
    moves: tuple[tuple[Color, Point | None], ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_sgf(cls, text: str, *, where: str = "SGF") -> Self:
        """Read a game from the text of a record; see `read_sgf`.

        Args:
            text: The record.
            where: Its name, for messages.

        Raises:
            DataError: The text is no record of Go, or holds what is not covered.
        """
        nodes = main_line(text, where)
        size = _size(nodes[0], where)
        stones: dict[Point, str] = {}
        moves: list[tuple[Color, Point | None]] = []
        for node in nodes:
            _set_up(node, size, stones, bool(moves), where)
            for key, color in _MOVES.items():
                for value in node.get(key, ()):
                    moves.append((color, _point(value, size, where)))
        apart = {*_MOVES, *_SETUP, "SZ", "GM", "FF", "CA", "AP", "ST"}
        game = cls(
            size=size,
            black=tuple(sorted(point for point, color in stones.items() if color == "black")),
            white=tuple(sorted(point for point, color in stones.items() if color == "white")),
            moves=tuple(moves),
            info={key: values[0] for key, values in nodes[0].items() if key not in apart},
        )
        try:
            game.board()
        except UsageError as err:
            raise DataError(f"{where}: {err}") from err
        return game

    def board(self, moves: int | None = None) -> GoBoard:
        """Give the position after some moves; its turn is that of the move that follows.

        Args:
            moves: How many; None plays all.

        Raises:
            UsageError: The game is shorter, or a move is illegal.
        """
        count = len(self.moves) if moves is None else moves
        if not 0 <= count <= len(self.moves):
            raise UsageError(
                f"GoGame: `moves` must lie in 0 ... {len(self.moves)}; got {moves}. Leave it out"
                " to play all."
            )
        board = GoBoard(self.size, black=self.black, white=self.white)
        for number in range(count):
            self._play(board, number)
        if count < len(self.moves):
            board.to_play = self.moves[count][0]
        return board

    def positions(self) -> Iterator[tuple[GoBoard, Point | None]]:
        """Give the position before each move, and the move: what a policy network learns from.

        Raises:
            UsageError: A move is illegal.
        """
        board = GoBoard(self.size, black=self.black, white=self.white)
        for number, (color, point) in enumerate(self.moves):
            board.to_play = color
            yield board.copy(), point
            self._play(board, number)

    def _play(self, board: GoBoard, number: int) -> None:
        color, point = self.moves[number]
        board.to_play = color
        fault = board.fault(point)
        if fault is not None:
            raise UsageError(
                f"GoGame: `moves` must be legal; got move {number + 1}, {color} at {point}"
                f" ({fault}). Leave this move and those after it out."
            )
        board.play(point)


def read_sgf(path: str | Path) -> GoGame:
    """Read the main line of the first game of a Go record in the Smart Game Format (.sgf).

    Covers square boards, stones set up before the first move, passes, comments and variations
    (which are skipped). Every move is checked against the rules. Records of other games, of boards
    that are not square and with stones set up in the middle of the game are refused.

    Args:
        path: The file.

    Raises:
        DataError: The file is not there, is no record of Go, or holds an illegal move or what is
            not covered.

    Source: hollosi2006sgf.
    Checked against: records written by hand, with every part of the format that is covered.
    """
    return GoGame.from_sgf(decoded(Path(path)), where=str(path))


def _size(root: Node, where: str) -> int:
    game = root.get("GM", ["1"])[0]
    if game != "1":
        raise DataError(f"{where}: must be a game of Go, GM[1]; got GM[{game}]. Leave it out.")
    written = root.get("SZ", ["19"])[0]
    sides = written.split(":")
    if not all(side.isascii() and side.isdigit() for side in sides) or len(set(sides)) != 1:
        raise DataError(
            f"{where}: the board must be square; got SZ[{written}]. Leave the file out."
        )
    if not 2 <= int(sides[0][:3]) <= LARGEST:
        raise DataError(
            f"{where}: the board must have 2 to {LARGEST} rows; got SZ[{written}]. Leave it out."
        )
    return int(sides[0])


def _set_up(node: Node, size: int, stones: dict[Point, str], begun: bool, where: str) -> None:
    for key, color in _SETUP.items():
        for value in node.get(key, ()):
            if begun:
                raise DataError(
                    f"{where}: stones must be set up before the first move; got {key}[{value}]"
                    " later. Leave the file out, or cut it there."
                )
            for point in _rectangle(value, size, where):
                stones.pop(point, None)
                if color is not None:
                    stones[point] = color


def _point(value: str, size: int, where: str) -> Point | None:
    if not value or (value == "tt" and size <= _PASS_TT):
        return None
    column, row = (_LETTERS.find(letter) for letter in value) if len(value) == 2 else (-1, -1)
    if not (0 <= row < size and 0 <= column < size):
        raise DataError(
            f"{where}: a point must be two letters for a column and a row of {size}; got"
            f" [{value}]. Correct it, or leave the file out."
        )
    return row, column


def _rectangle(value: str, size: int, where: str) -> list[Point]:
    """Give the points of a value such as ``dd`` or ``aa:cc``, which names two corners."""
    corners = [_point(corner, size, where) for corner in value.split(":")]
    ends = [corner for corner in corners if corner is not None]
    if len(corners) > 2 or len(ends) != len(corners):
        raise DataError(
            f"{where}: stones must be set up on a point or a rectangle; got [{value}]. Correct it,"
            " or leave the file out."
        )
    (top, left), (bottom, right) = ends[0], ends[-1]
    return [(r, c) for r in range(top, bottom + 1) for c in range(left, right + 1)]
