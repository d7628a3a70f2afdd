"""The figure of a range test shows what the test found."""

from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as ET

import pytest

from fitwell.report import rate_range, reliability
from fitwell.train import RateRange

SVG = "{http://www.w3.org/2000/svg}"


def found(*smoothed: float, diverged: bool = True) -> RateRange:
    rates = tuple(1e-4 * 2.0**k for k in range(len(smoothed)))
    raw = tuple(value + 0.001 * (-1) ** k for k, value in enumerate(smoothed))
    return RateRange(rates=rates, losses=raw, smoothed=smoothed, smoothing=0.05, diverged=diverged)


FALLS = found(2.3, 2.3, 2.2, 1.9, 1.2, 0.9, 0.7, 1.4, 40.0)
NEVER = found(2.3, 2.4, 9.0)


@pytest.mark.parametrize("case", [FALLS, NEVER], ids=["falls", "never"])
def test_the_figure_is_well_formed_and_repeatable(case: RateRange) -> None:
    svg = rate_range(case, title='a < "b"')
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title") == 'a < "b"'
    assert svg == rate_range(case, title='a < "b"')
    assert not re.search(r"#0101[0-9a-f]{2}|#0102[0-9a-f]{2}|#000000", svg)
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", svg))
    assert used == {element.attrib["id"] for element in root.iter() if "id" in element.attrib}


def test_it_says_and_shows_what_was_found() -> None:
    root = ET.fromstring(rate_range(FALLS, title="t", x_label="rate", y_label="cross entropy"))
    assert root.findtext(f"{SVG}desc") == (
        "9 rates from 0.0001 to 0.0256; the loss falls between 0.0004 and 0.0064;"
        " begin with 0.00064"
    )
    words = {element.text for element in root.iter()}
    assert {"begin with 0.00064", "rate", "cross entropy", "smoothed", "falls"} <= words
    assert len([word for word in words if word and word.startswith("−")]) == 0  # no negative loss


def test_a_loss_that_grows_without_bound_does_not_flatten_the_fall() -> None:
    tame = found(2.3, 2.3, 2.2, 1.9, 1.2, 0.9, 0.7, 1.4, 2.0)
    heights = [
        {element.text for element in ET.fromstring(rate_range(case, title="t")).iter()}
        for case in (FALLS, tame)
    ]
    assert heights[0] == heights[1]  # the ticks of the axis among them


def test_what_never_fell_has_no_suggestion() -> None:
    svg = rate_range(NEVER, title="t")
    assert "the loss never falls" in svg
    assert "begin with" not in svg


def test_it_is_one_of_the_family_of_figures() -> None:
    one, other = (inspect.signature(draw).parameters for draw in (rate_range, reliability))
    assert list(one)[1:] == list(other)[1:]
    assert [one[name].kind for name in one if name != "found"] == [
        other[name].kind for name in other if name != "bins"
    ]
