from __future__ import annotations

import inspect
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib
import pytest

from fitwell.report import (
    Line,
    ReliabilityBin,
    bars,
    curves,
    heatmap,
    histogram,
    quantiles,
    reliability,
    scatter,
)

HOSTILE = 'a < b & "c" $x$ #010101 类 0.123456789'
MOST_CURVE_BYTES = 60_000  # two lines of at most 500 points each, and the axes


def _curves(title: str = "t") -> str:
    line = Line(label=HOSTILE, x=[1, 2, 3], y=[0.3, None, math.inf])
    faint = Line(label="", x=[1, 2, 3], y=[1e-4, 2e-4, 4e-4], style="faint", series=9)
    return curves([line, faint], title=title, x_label=HOSTILE, mark=(2, 0.1, HOSTILE))


BINS = [
    ReliabilityBin(low=0.0, high=0.1, count=0, correct=0, confidence=0.05),
    ReliabilityBin(low=0.6, high=0.7, count=10, correct=4, confidence=0.65),
    ReliabilityBin(low=0.9, high=1.0, count=900, correct=880, confidence=0.97),
]
FIGURES: dict[str, Callable[[], str]] = {
    "curves": _curves,
    "log": lambda: curves([Line(label="", x=[1, 2], y=[1e-5, 3.0])], title="t", log_y=True),
    "empty": lambda: curves([Line(label="", x=[], y=[])], title="t", log_y=True),
    "heatmap": lambda: heatmap([[0.0, 1.0], [0.5, 2.0]], title="t", x_label=HOSTILE),
    "scatter": lambda: scatter([1, 2], [2, 1], title="t", x_label=HOSTILE, diagonal=True),
    "histogram": lambda: histogram([-1.0, 0.5, 0.7], title="t", x_label=HOSTILE),
    "confusion": lambda: heatmap([[0.9, 0.1], [0.0, 1.0]], title="t", diagonal=True),
    "residuals": lambda: scatter([1, 2], [-1, 1], title="t", x_label=HOSTILE, level=0.0),
    "reliability": lambda: reliability(BINS, title="t", x_label=HOSTILE),
    "quantiles": lambda: quantiles([2.0, -1.0, 0.1], title="t", y_label=HOSTILE),
    "one quantile": lambda: quantiles([2.0], title="t"),
    "no quantiles": lambda: quantiles([], title="t"),
    "no bins": lambda: reliability(BINS[:1], title="t"),
    "no points": lambda: scatter([], [], title="t", diagonal=True),
    "no values": lambda: histogram([], title="t"),
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


@pytest.mark.parametrize(
    "name", ["curves", "scatter", "histogram", "heatmap", "reliability", "quantiles"]
)
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
    svg, other = curves([wave], title="t"), curves([flat], title="t")
    assert len(svg) < MOST_CURVE_BYTES
    # An even stretch of the wave has mean 1; only the words tell the two apart.
    assert _description(svg) != _description(other)
    drawn, expected = (re.sub("<desc>.*</desc>", "", text) for text in (svg, other))
    assert drawn == expected


def test_heatmap_shows_each_value_once() -> None:
    assert heatmap([[0.0, 1.0]], title="t") != heatmap([[1.0, 0.0]], title="t")
    assert heatmap([[0.0, 1.0]], title="t") == heatmap([[-3.0, 7.0]], title="t")


@pytest.mark.parametrize(
    "draw", [curves, scatter, histogram, bars, heatmap, reliability, quantiles]
)
def test_figures_are_one_family(draw: Callable[..., str]) -> None:
    parameters = inspect.signature(draw).parameters
    by_name = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert by_name[:3] == ["title", "x_label", "y_label"]
    assert by_name[-1] == "size"
    assert parameters["title"].default is inspect.Parameter.empty
    assert all(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters.values())


def _description(svg: str) -> str:
    found = ET.fromstring(svg).findtext("{http://www.w3.org/2000/svg}desc")
    return found or ""


def test_figures_carry_their_numbers_as_words() -> None:
    line = Line(label="loss", x=[1, 2, 3], y=[0.9, 0.2, 0.4])
    assert _description(curves([line], title="t")) == (
        "loss: first 0.9 at 1, lowest 0.2 at 2, highest 0.9 at 1, last 0.4 at 3"
    )
    assert _description(bars(["a", "b"], [1, 2.5], title="t")) == "a: 1; b: 2.5"
    assert _description(FIGURES["scatter"]()).startswith("2 points; ")
    assert _description(FIGURES["histogram"]()) == "3 values from −1 to 0.7, median 0.5"
    assert _description(FIGURES["reliability"]()) == (
        "65.0% sure: 4 of 10 right; 97.0% sure: 880 of 900 right"
    )
    assert _description(FIGURES["quantiles"]()).startswith("0%: −1; ")
    assert _description(FIGURES["confusion"]()) == "2 rows and 2 columns"


def test_title_is_said_and_shown() -> None:
    root = ET.fromstring(_curves("losses"))
    assert root.attrib["aria-label"] == "losses"
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "losses"


def test_errors_have_a_colour_of_their_own() -> None:
    values = [[0.5, 0.5], [0.5, 0.5]]
    assert heatmap(values, title="t", diagonal=True) != heatmap(values, title="t")


def test_many_quantiles_keep_their_ends() -> None:
    values = [float(k) for k in range(100_000)]
    svg = quantiles(values, title="t")
    assert len(svg) < MOST_CURVE_BYTES
    changed = [-5e4, *values[1:-1], 2e5]
    assert quantiles(changed, title="t") != svg
