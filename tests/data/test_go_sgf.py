"""Game records: what the format allows, what is refused, and replaying."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import DataError, UsageError
from fitwell.data import GoGame, go_planes, read_sgf

from .go_by_sets import Position, planes, random_game
from .test_go import ones

RECORD = r"""
(;FF[4]GM[1] SZ[9]
  PB[Alice \[7 dan\]]PW[Bob: a\
b]RE[B+Resign]
  AB[cc][gg:hh]AE[hg]AW[aa]
;W[ee]C[a comment with ) and ; and \] in it]
;B[]
(;W[tt];B[ef] (;W[fe]) (;W[de]) )
(;W[ii];B[ih]) )
(;SZ[19];B[aa])
"""


def test_a_record_is_read_along_its_first_variation(tmp_path: Path) -> None:
    file = tmp_path / "game.sgf"
    file.write_text(RECORD, encoding="utf-8")
    game = read_sgf(file)
    assert game.size == 9
    assert game.black == ((2, 2), (6, 6), (7, 6), (7, 7))
    assert game.white == ((0, 0),)
    assert game.moves == (
        ("white", (4, 4)),
        ("black", None),
        ("white", None),
        ("black", (5, 4)),
        ("white", (4, 5)),
    )
    assert game.info == {"PB": "Alice [7 dan]", "PW": "Bob: ab", "RE": "B+Resign"}


@pytest.mark.parametrize(
    ("text", "point"),
    [("(;B[pd])", (3, 15)), ("(;B[ss])", (18, 18)), ("(;SZ[25];B[tt])", (19, 19))],
)
def test_points_are_a_column_and_a_row(text: str, point: tuple[int, int]) -> None:
    assert GoGame.from_sgf(text).moves == (("black", point),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "shift_jis"])
def test_names_are_read_in_the_character_set_of_the_record(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "game.sgf"
    charset = "UTF-8" if encoding.startswith("utf") else encoding
    file.write_bytes(f"(;CA[{charset}]PB[中山];B[aa])".encode(encoding))
    assert read_sgf(file).info["PB"] == "中山"


def test_an_unknown_character_set_leaves_the_moves_readable(tmp_path: Path) -> None:
    file = tmp_path / "game.sgf"
    file.write_bytes(b"(;CA[zip]PB[\xff\xfe];B[aa])")
    assert read_sgf(file).moves == (("black", (0, 0)),)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_game_survives_writing_and_reading(seed: int) -> None:
    played = random_game(9, 60, seed)
    letters = "abcdefghi"
    text = "".join(
        f";{'BW'[number % 2]}[{letters[column]}{letters[row]}]\n"
        for number, (row, column) in enumerate(played)
    )
    game = GoGame.from_sgf(f"(;SZ[9]{text})")
    assert [point for _, point in game.moves] == played
    position = Position(9)
    for number, (board, move) in enumerate(game.positions()):
        assert move == played[number]
        assert board.cells == game.board(number).cells
        if number % 20 == 19:
            assert ones(board) == planes(position)
        after = position.after(move)
        assert after is not None
        position = after


def test_cnn_13_planes_of_a_record_are_from_the_view_of_the_next_move() -> None:
    game = GoGame.from_sgf("(;SZ[9]AB[cc][gg];W[ee];W[ce];B[ff])")
    first, second, third = (board for board, _ in game.positions())
    assert [board.to_play for board in (first, second, third)] == ["white", "white", "black"]
    assert go_planes(first)[1].nonzero().tolist() == [[2, 2], [6, 6]]
    assert go_planes(second)[0].nonzero().tolist() == [[4, 4]]
    assert go_planes(third)[0].nonzero().tolist() == [[2, 2], [6, 6]]
    # Stones set up are as old as the game: two moves, after two moves.
    assert go_planes(third)[6].nonzero().tolist() == [[2, 2], [6, 6]]
    assert game.board().to_play == "white"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"SGF, line 1: a game must begin with '\('"),
        ("PB[x]", r"a game must begin with '\('"),
        ("()", "a game must have a node"),
        ("(B[aa])", r"';', '\(', '\)' or a property must follow; got 'B'"),
        ("(;B[aa]", "the record ends within a game. Export the game again"),
        ("(;\n\nB[aa", "line 3: a value in brackets must follow 'B'"),
        ("(;B)", "a value in brackets must follow 'B'"),
        ("(;!)", "got '!'"),
        ("(;GM[2])", r"must be a game of Go, GM\[1\]; got GM\[2\]"),
        ("(;SZ[9:13])", r"the board must be square; got SZ\[9:13\]"),
        ("(;SZ[x])", r"the board must be square; got SZ\[x\]"),
        ("(;SZ[1])", r"must have 2 to 52 rows; got SZ\[1\]"),
        ("(;SZ[99999999999])", r"must have 2 to 52 rows; got SZ\[99999999999\]"),
        ("(;SZ[9];B[jj])", r"two letters for a column and a row of 9; got \[jj\]"),
        ("(;B[a])", r"got \[a\]"),
        ("(;AB[])", r"set up on a point or a rectangle; got \[\]"),
        ("(;AB[aa:bb:cc])", r"set up on a point or a rectangle; got \[aa:bb:cc\]"),
        ("(;B[aa];AW[bb])", r"set up before the first move; got AW\[bb\] later"),
        ("(;B[aa];W[aa])", r"SGF: GoGame: .* got move 2, white at \(0, 0\) \(a stone is there\)"),
        ("(;SZ[2]AB[aa]AW[ab][ba])", "leave every group a liberty"),
    ],
)
def test_what_is_no_record_of_go_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        GoGame.from_sgf(text)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="(;)[]\\ABWESZabct:19 \n", max_size=60))
def test_any_text_is_a_game_or_a_clear_error(text: str) -> None:
    try:
        game = GoGame.from_sgf(f"(;{text}", where="here")
    except DataError:
        with pytest.raises(DataError, match=r"^here"):
            GoGame.from_sgf(f"(;{text}", where="here")
    else:
        assert game.board().moves == len(game.moves)


def test_a_missing_file_and_a_short_game_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.sgf: cannot be read \(No such file"):
        read_sgf(tmp_path / "none.sgf")
    with pytest.raises(UsageError, match=r"GoGame: `moves` must lie in 0 ... 1; got 2"):
        GoGame.from_sgf("(;B[aa])").board(2)
