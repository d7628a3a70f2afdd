"""The rules of Go and the 48 planes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.data import GO_PLANES, GoBoard, go_planes

from .go_by_sets import Position, planes, random_game

Point = tuple[int, int]


def drawn(text: str, to_play: Any = "black") -> tuple[GoBoard, dict[str, Point]]:
    """Read a picture: X black, O white; small letters name points, which are empty."""
    points: dict[str, list[Point]] = {}
    rows = [line.split() for line in text.strip().splitlines()]
    for row, line in enumerate(rows):
        for column, sign in enumerate(line):
            points.setdefault(sign, []).append((row, column))
    stones = {"black": points.get("X", ()), "white": points.get("O", ())}
    board = GoBoard(len(rows), **stones, to_play=to_play)
    return board, {sign: found[0] for sign, found in points.items() if sign.islower()}


def ones(board: GoBoard) -> set[tuple[str, Point]]:
    return {(GO_PLANES[n], (r, c)) for n, r, c in go_planes(board).nonzero().tolist()}


def where(board: GoBoard, name: str) -> set[Point]:
    return {point for plane, point in ones(board) if plane == name}


# Rules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "legal"), [(2, 57), (3, 12_675)])
def test_as_many_positions_are_legal_as_are_known_to_be(size: int, legal: int) -> None:
    points = list(itertools.product(range(size), repeat=2))
    count = 0
    for colors in itertools.product(".XO", repeat=size * size):
        pairs = list(zip(points, colors, strict=True))
        black = [point for point, color in pairs if color == "X"]
        white = [point for point, color in pairs if color == "O"]
        try:
            GoBoard(size, black=black, white=white)
        except UsageError:
            continue
        count += 1
    assert count == legal


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (3, 1), (4, 2), (5, 3), (5, 4), (7, 5)])
def test_random_games_follow_the_rules_written_with_sets(size: int, seed: int) -> None:
    position, board = Position(size), GoBoard(size)
    for move in random_game(size, 120, seed):
        legal = sorted(point for point in position.points() if position.after(point) is not None)
        assert board.legal_moves() == legal
        after = position.after(move)
        assert after is not None
        assert sorted(board.play(move)) == sorted(position.captured(move))
        position = after
    assert board.to_play == position.turn
    assert board.moves == position.count


def test_groups_of_any_number_are_captured_at_once() -> None:
    board, points = drawn("""
        . X X . .
        X O O X .
        X O a O X
        . X X O X
        . . . X .""")
    assert sorted(board.play(points["a"])) == [(1, 1), (1, 2), (2, 1), (2, 3), (3, 3)]
    assert str(board).split("\n")[1:4] == ["X . . X .", "X . X . X", ". X X . X"]


def test_a_ko_must_wait_one_move_and_a_snapback_need_not() -> None:
    board, points = drawn("""
        . X O . .
        X O a O .
        . X O . .
        . . . . .
        . . . . .""")
    assert board.play(points["a"]) == [(1, 1)]
    assert not board.is_legal((1, 1))
    with pytest.raises(UsageError, match=r"legal move of white; got \(1, 1\) \(ko\). Choose one"):
        board.play((1, 1))
    board.play((4, 4))
    board.play((4, 0))
    assert board.play((1, 1)) == [points["a"]]


SNAPBACK = """
    a b O X
    O O O X
    X X X X
    . . . ."""


def test_a_snapback_is_no_ko() -> None:
    board, points = drawn(SNAPBACK)
    board.play(points["b"])
    assert board.play(points["a"]) == [points["b"]]
    # One stone was taken, but by a group: black may take all of that at once.
    taken = [points["a"], (0, 2), (1, 0), (1, 1), (1, 2)]
    assert sorted(board.play(points["b"])) == taken


def test_suicide_is_refused_and_a_capture_is_none() -> None:
    board, points = drawn(
        """
        a X . .
        X . . .
        . . . .
        . . . .""",
        "white",
    )
    assert not board.is_legal(points["a"])
    with pytest.raises(UsageError, match=r"got \(0, 0\) \(suicide\)"):
        board.play(points["a"])
    board, points = drawn(
        """
        a X O .
        X O . .
        O . . .
        . . . .""",
        "white",
    )
    assert sorted(board.play(points["a"])) == [(0, 1), (1, 0)]


def test_copies_are_apart_and_passes_change_the_turn() -> None:
    board = GoBoard(5)
    board.play((2, 2))
    other = board.copy()
    other.play((1, 1))
    assert board.is_legal((1, 1))
    assert board.to_play == "white"
    assert board.play(None) == []
    assert board.to_play == "black"
    assert board.moves == other.moves == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GoBoard(1), r"GoBoard: `size` must lie in 2 ... 52; got 1"),
        (lambda: GoBoard(5, to_play="red"), r"`to_play` must be one of .*; got 'red'"),  # type: ignore[arg-type]
        (lambda: GoBoard(5, black=[(5, 0)]), r"`point` must be .* in 0 ... 4; got \(5, 0\)"),
        (lambda: GoBoard(5, black=[(1, 1)], white=[(1, 1)]), r"once; got \(1, 1\) again"),
        (
            lambda: GoBoard(2, black=[(0, 0), (1, 1)], white=[(0, 1), (1, 0)]),
            r"leave every group a liberty; got none for the stone at \(0, 0\)",
        ),
        (lambda: GoBoard(2, black=[(0, 0)]).play((0, 0)), r"\(a stone is there\)"),
        (lambda: GoBoard(2).is_legal((0, -1)), r"got \(0, -1\)"),
    ],
)
def test_what_is_no_board_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


# Planes -------------------------------------------------------------------------------------------


def test_cnn_13_there_are_48_planes_in_the_order_of_the_paper() -> None:
    assert len(GO_PLANES) == len(set(GO_PLANES)) == 48
    blocks = [GO_PLANES[start] for start in (4, 12, 20, 28, 36)]
    assert blocks == [
        "turns since: 0",
        "liberties: 1",
        "stones captured: 0",
        "own stones put into atari: 1",
        "liberties after the move: 1",
    ]
    planes = go_planes(GoBoard(19))
    assert planes.shape == (48, 19, 19)
    assert planes.dtype == torch.uint8
    full = [GO_PLANES[n] for n in range(48) if bool(planes[n].all())]
    assert full == ["empty", "ones", "stones captured: 0", "sensible"]
    assert not planes[47].any()


@pytest.mark.parametrize(
    ("size", "moves", "seed", "every"),
    [(4, 40, 0, 1), (5, 60, 1, 2), (5, 60, 2, 2), (7, 70, 3, 4), (7, 70, 4, 4), (9, 90, 5, 9)],
)
def test_cnn_13_planes_of_random_games_equal_those_by_sets(
    size: int, moves: int, seed: int, every: int
) -> None:
    position, board = Position(size), GoBoard(size)
    for number, move in enumerate(random_game(size, moves, seed), start=1):
        after = position.after(move)
        assert after is not None
        position = after
        board.play(move)
        if number % every == 0:
            assert ones(board) == planes(position)


def test_cnn_13_planes_turn_and_mirror_with_the_board() -> None:
    """A network sees nothing that depends on where the board's corners are."""
    moves = random_game(9, 60, 7)

    def played(change: Callable[[Point], Point]) -> torch.Tensor:
        board = GoBoard(9)
        for move in moves:
            board.play(change(move))
        return go_planes(board)

    plain = played(lambda point: point)
    assert torch.equal(played(lambda p: (p[1], p[0])), plain.mT)
    assert torch.equal(played(lambda p: (8 - p[0], p[1])), plain.flip(1))


def test_cnn_13_counts_stop_at_eight() -> None:
    board, points = drawn(
        """
        X X X X X X X X .
        O O O O O O O O a
        . . . . . . . . .
        . . . . . . . . .
        . . . . . . . . .
        . . . . . . . . .
        . . . . . . . . .
        . . . . . . . . .
        . . . . . . . . .""",
        "white",
    )
    assert where(board, "stones captured: 7 or more") == {(0, 8)}
    assert where(board, "liberties: 8 or more") == {(1, c) for c in range(8)}
    assert where(board, "liberties: 1") == {(0, c) for c in range(8)}
    board.to_play = "black"
    # Black's group of nine would still have one liberty, below the corner.
    assert where(board, "own stones put into atari: 8 or more") == {(0, 8)}
    assert points["a"] in where(board, "sensible")
    for move in [(4, 4), (6, 6), (4, 6), (6, 4), (8, 8), (8, 0), (5, 1), None, (2, 2)]:
        board.play(move)
    assert where(board, "turns since: 0") == {(2, 2)}
    assert where(board, "turns since: 1") == set()  # a pass
    assert {(4, 4), (6, 6), (0, 0)} < where(board, "turns since: 7 or more")


def test_cnn_13_captures_give_back_liberties() -> None:
    board, points = drawn("""
        a O X .
        O X . .
        X . . .
        . . . .""")
    assert points["a"] in where(board, "stones captured: 2")
    assert points["a"] in where(board, "liberties after the move: 2")
    assert points["a"] not in where(board, "own stones put into atari: 1")


def test_cnn_13_ko_and_suicide_are_in_no_plane_of_moves() -> None:
    board, points = drawn("""
        . X O . .
        X O a O .
        . X O . .
        . . . . X
        . . . X b""")
    board.play(points["a"])
    marked = {point for plane, point in ones(board) if plane not in ("empty", "ones")}
    assert (1, 1) not in marked
    assert points["b"] not in marked


def test_cnn_13_own_eyes_are_not_sensible() -> None:
    whole, points = drawn("""
        a X . . .
        X X X X X
        . . X b X
        . . X X O
        . . . . .""")
    assert {points["a"], points["b"]} <= set(whole.legal_moves())
    assert not {points["a"], points["b"]} & where(whole, "sensible")
    false, points = drawn("""
        a X . . .
        X O X X X
        . . X b X
        . . O X O
        . . . . .""")
    # At the edge one hostile corner is enough, in the middle it takes two.
    assert {points["a"], points["b"]} <= where(false, "sensible")


LADDER = """
    . . . . . . .
    . . X . . . .
    . X O a . . .
    . X b . . . .
    . . . . . . .
    . . . . . . .
    . . . . . . ."""
BROKEN = """
    . . . . . . .
    . . X . . . .
    . X O a . . .
    . X b . . . .
    . . . . . . .
    . . . . . O .
    . . . . . . ."""


def test_cnn_13_a_ladder_works_unless_a_stone_breaks_it() -> None:
    board, points = drawn(LADDER)
    assert where(board, "ladder capture") == {points["a"]}
    # The prey cannot run either.
    board.play(points["a"])
    assert where(board, "ladder escape") == set()
    broken, points = drawn(BROKEN)
    assert where(broken, "ladder capture") == set()
    broken.play(points["a"])
    assert where(broken, "ladder escape") == {points["b"]}


def test_cnn_13_a_ladder_does_not_work_if_its_prey_can_capture() -> None:
    board, points = drawn("""
        . . . . . . .
        . O X . . . .
        O X O a . . .
        d X b . . . .
        . . . . . . .
        . . . . . . .
        . . . . . . .""")
    assert points["a"] in where(board, "ladder capture")
    board.play((6, 6))
    board.play(points["d"])
    assert points["a"] not in where(board, "ladder capture")


def test_cnn_13_a_throw_in_is_a_ladder_capture() -> None:
    board, points = drawn(SNAPBACK)
    assert where(board, "ladder capture") == {points["a"], points["b"]}
    board.play(points["b"])
    assert where(board, "ladder escape") == set()
