"""What AlphaGo's networks see of a position: 48 planes of zeros and ones.

H W rows and columns of the board.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._board import GoBoard
from ._ladder import Ladders
from ._points import EMPTY, Table, diagonals, group_at, may_play, neighbors, opponent

_STEPS = 8


def _counted(title: str, first: int, last: int) -> tuple[str, ...]:
    return (*(f"{title} {n}" for n in range(first, last)), f"{title} {last} or more")


GO_PLANES = (
    *("own stone", "opponent's stone", "empty", "ones"),
    *_counted("turns since:", 0, 7),
    *_counted("liberties:", 1, 8),
    *_counted("stones captured:", 0, 7),
    *_counted("own stones put into atari:", 1, 8),
    *_counted("liberties after the move:", 1, 8),
    *("ladder capture", "ladder escape", "sensible", "zeros"),
)
"""What each of the planes says, in their order."""

_ONES = 3
_TURNS, _LIBERTIES, _CAPTURED, _ATARI, _AFTER = (4 + _STEPS * block for block in range(5))
_LADDER_CAPTURE, _LADDER_ESCAPE, _SENSIBLE = 44, 45, 46


def go_planes(board: GoBoard) -> Tensor:
    """Give the 48 planes that describe a position to AlphaGo's policy network.

    From the view of the side whose turn it is, and for every legal move what it would do. A
    network for them keeps the size of the board from layer to layer: every point counts, so pooling
    has nothing to throw away.

    Args:
        board: The position.

    Shapes:
        return: (48, H, W)

    Returns:
        Zeros and ones, uint8, in the order of `GO_PLANES`.

    Source: silver2016mastering, extended data table 2.
    Differs: where the table leaves it open: a count of 8 stands for 8 or more; the last stone
        played is 0 turns old, stones set up before the game are as old as it; capture size counts
        from 0; illegal moves are 0 in all planes about moves. A ladder capture is a move at a group
        with two liberties after which neither extending nor capturing saves it, an escape a move at
        one's own group with one liberty that gives it three, or two and no ladder; what 1,000 moves
        of search do not decide is 0. An own eye is a point whose neighbors are all one's own and of
        whose diagonals at most one, at the edge none, is the opponent's or empty and no eye. The
        plane of the color to play, of the value network alone, is left out.
    Checked against: a second implementation with sets of points and copied boards, in random games;
        ladders, snapbacks and kos drawn by hand.
    """
    size = len(board.cells)
    near = neighbors(board.size)
    groups = _groups(board.cells, near)
    ladders = Ladders(board.cells, near)
    ones: list[int] = []  # plane · size + cell of each one, written at once

    def mark(plane: int, cell: int) -> None:
        ones.append(plane * size + cell)

    for cell, color in enumerate(board.cells):
        if color == EMPTY:
            mark(2, cell)
            continue
        mark(0 if color == board.turn else 1, cell)
        mark(_TURNS + min(board.moves - board.played[cell], _STEPS - 1), cell)
        mark(_LIBERTIES + min(len(groups[cell].liberties), _STEPS) - 1, cell)
    for cell in range(size):
        if not may_play(board.cells, near, cell, board.turn, board.ko):
            continue
        around = dict.fromkeys(groups[beside] for beside in near[cell] if beside in groups)
        own = [group for group in around if group.color == board.turn]
        others = [group for group in around if group.color != board.turn]
        captured, stones, liberties = _after(board.cells, near, cell, own, others)
        mark(_CAPTURED + min(len(captured), _STEPS - 1), cell)
        mark(_AFTER + min(len(liberties), _STEPS) - 1, cell)
        if len(liberties) == 1:
            mark(_ATARI + min(len(stones), _STEPS) - 1, cell)
        chased = (min(group.stones) for group in others if len(group.liberties) == 2)
        if any(ladders.captures(cell, prey, board.turn, board.ko) for prey in chased):
            mark(_LADDER_CAPTURE, cell)
        chased = (min(group.stones) for group in own if len(group.liberties) == 1)
        if any(ladders.escapes(cell, prey, board.turn, board.ko) for prey in chased):
            mark(_LADDER_ESCAPE, cell)
        if not _is_eye(board, cell, ()):
            mark(_SENSIBLE, cell)
    planes = torch.zeros(len(GO_PLANES) * size, dtype=torch.uint8)
    planes[ones] = 1
    planes[_ONES * size : (_ONES + 1) * size] = 1
    return planes.view(len(GO_PLANES), board.size, board.size)


@final
@dataclass(frozen=True, eq=False)
class _Group:
    color: int
    stones: set[int]
    liberties: set[int]


def _groups(cells: list[int], near: Table) -> dict[int, _Group]:
    """Give the group of each stone, by its cell."""
    found: dict[int, _Group] = {}
    for cell, color in enumerate(cells):
        if color != EMPTY and cell not in found:
            group = _Group(color, *group_at(cells, near, cell))
            found |= dict.fromkeys(group.stones, group)
    return found


def _after(
    cells: list[int], near: Table, cell: int, own: list[_Group], others: list[_Group]
) -> tuple[set[int], set[int], set[int]]:
    """Give what a move captures, the group it makes, and the liberties of that."""
    captured: set[int] = set()
    for group in others:
        if len(group.liberties) == 1:
            captured |= group.stones
    stones = {cell}.union(*(group.stones for group in own))
    liberties = {beside for beside in near[cell] if cells[beside] == EMPTY}
    liberties = liberties.union(*(group.liberties for group in own)) - {cell}
    if captured:
        liberties |= {beside for stone in stones for beside in near[stone] if beside in captured}
    return captured, stones, liberties


def _is_eye(board: GoBoard, cell: int, asked: tuple[int, ...]) -> bool:
    """Say whether a point is an eye of the side whose turn it is; `asked` stops circles."""
    cells, near = board.cells, neighbors(board.size)
    if cells[cell] != EMPTY or any(cells[beside] != board.turn for beside in near[cell]):
        return False
    bad = 0
    for corner in diagonals(board.size)[cell]:
        if cells[corner] == opponent(board.turn):
            bad += 1
        elif cells[corner] == EMPTY and corner not in asked:
            bad += not _is_eye(board, corner, (*asked, cell))
    return bad <= (1 if len(near[cell]) == 4 else 0)
