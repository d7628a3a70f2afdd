from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib
import pytest

from fitwell.report import Line, bars, curves, heatmap, histogram, scatter

HOSTILE = 'a < b & "c" $x$ #010101 类 0.123456789'
MOST_CURVE_BYTES = 60_000  # two lines of at most 500 points each, and the axes


def _curves(title: str = "t") -> str:
    line = Line(label=HOSTILE, x=[1, 2, 3], y=[0.3, None, math.inf])
    faint = Line(label="", x=[1, 2, 3], y=[1e-4, 2e-4, 4e-4], style="faint", series=9)
    return curves([line, faint], title=title, x_label=HOSTILE, mark=(2, 0.1, HOSTILE))


FIGURES: dict[str, Callable[[], str]] = {
    "curves": _curves,
    "log": lambda: curves([Line(label="", x=[1, 2], y=[1e-5, 3.0])], title="t", log_y=True),
    "empty": lambda: curves([Line(label="", x=[], y=[])], title="t", log_y=True),
    "heatmap": lambda: heatmap([[0.0, 1.0], [0.5, 2.0]], title="t", x_label=HOSTILE),
    "scatter": lambda: scatter([1, 2], [2, 1], title="t", x_label=HOSTILE, diagonal=True),
    "histogram": lambda: histogram([-1.0, 0.5, 0.7], title="t", x_label=HOSTILE),
    "bars": lambda: bars([HOSTILE, "b"], [1, 2], title="t", intervals=[(0.5, 1.5), (2, 2)]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_well_formed_and_repeatable(name: str) -> None:
    svg = FIGURES[name]()
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert svg == FIGURES[name]()
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", svg))
    assert used == set(ids)


@pytest.mark.parametrize("name", ["curves", "scatter", "histogram", "heatmap"])
def test_text_stays_text(name: str) -> None:
    words = {element.text for element in ET.fromstring(FIGURES[name]()).iter()}
    assert HOSTILE in words


@pytest.mark.parametrize("name", FIGURES)
def test_no_stand_in_colour_is_left(name: str) -> None:
    tags = "".join(re.findall(r"<[^>]+>", FIGURES[name]().replace(HOSTILE, "")))
    assert not re.search(r"#0101[0-9a-f]{2}|#0102[0-9a-f]{2}|#000000", tags)


def test_colours_follow_the_page() -> None:
    svg = _curves()
    assert "var(--series-1, #0072b2)" in svg
    assert "var(--grid" in svg
    assert "currentColor" in svg


def test_title_is_escaped() -> None:
    svg = _curves('"><script>')
    assert ET.fromstring(svg).attrib["aria-label"] == '"><script>'


def test_settings_of_the_user_do_not_matter_and_stay() -> None:
    plain = _curves()
    with matplotlib.rc_context({"font.size": 40, "svg.fonttype": "path", "axes.grid": False}):
        assert _curves() == plain
        assert matplotlib.rcParams["font.size"] == 40
        assert matplotlib.rcParams["svg.fonttype"] == "path"


def test_long_lines_are_thinned_to_their_mean() -> None:
    x = list(range(100_000))
    wave = Line(label="", x=x, y=[1.0 + (-1) ** i for i in x])
    flat = Line(label="", x=x, y=[1.0 for _ in x])
    svg = curves([wave], title="t")
    assert len(svg) < MOST_CURVE_BYTES
    assert svg == curves([flat], title="t")  # an even stretch of the wave has mean 1


def test_heatmap_shows_each_value_once() -> None:
    assert heatmap([[0.0, 1.0]], title="t") != heatmap([[1.0, 0.0]], title="t")
    assert heatmap([[0.0, 1.0]], title="t") == heatmap([[-3.0, 7.0]], title="t")
