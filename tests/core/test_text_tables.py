"""Tables line up, also with letters that are two cells wide."""

from hypothesis import given
from hypothesis import strategies as st

from fitwell.core.text import aligned, display_width, shorten

LINES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)


def test_a_table_by_hand() -> None:
    expected = "name    n\n----  ---\n调参    7\nab      -\nc     100"
    assert aligned(("name", "n"), [("调参", 7), ("ab", None), ("c", 100)], right="n") == expected


def test_wide_and_combining_letters() -> None:
    assert display_width("调参 a") == 6
    assert display_width("e\u0301") == 1


@given(LINES, st.integers(4, 40))
def test_a_shortened_line_fits_and_says_that_it_is_cut(line: str, width: int) -> None:
    short = shorten(line, width)
    assert display_width(short) <= width
    assert short == line or short.endswith("...")


@given(st.lists(st.tuples(LINES, st.integers()), min_size=1, max_size=5))
def test_columns_start_in_the_same_cell(rows: list[tuple[str, int]]) -> None:
    lines = aligned(("a", "b"), rows).splitlines()
    start = display_width(lines[1]) - len(lines[1].rpartition("  ")[2])
    ends = [
        display_width(line.removesuffix(str(n)))
        for line, (_, n) in zip(lines[2:], rows, strict=True)
    ]
    assert set(ends) == {start}
