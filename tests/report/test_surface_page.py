"""The page of an error surface: whole, alone, small, and its picture does what it says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import UsageError
from fitwell.report import render_surface

from ..ui.browser import Page, browser, chromium
from .page_checks import problems, read_page

SIDE = 31


def bowl(side: int = SIDE, **more: Any) -> dict[str, Any]:
    places = [2 * k / (side - 1) - 1 for k in range(side)]
    losses = [[0.1 + a * a + 4 * b * b for a in places] for b in places]
    path = [[1 - k / 10, 0.8 - k / 12] for k in range(9)]
    marks = [
        {"name": f"step {k}", "x": a, "y": b, "loss": 0.2 + a} for k, (a, b) in enumerate(path)
    ]
    plane = {"x": places, "y": places, "losses": losses, "path": path, "marks": marks}
    return {**plane, "explained": [0.75, 0.2], **more}


def alone(page: str) -> list[str]:
    """What keeps the page from being whole and alone, scripts of its own excepted."""
    return [problem for problem in problems(page) if problem != "<script>"]


def test_the_page_is_whole_alone_and_small() -> None:
    page = render_surface(bowl(), title="A bowl", facts=[("lowest", "0.1")], notes=["A note."])
    assert alone(page) == []
    assert len(page.encode()) < 300_000
    text = " ".join(read_page(page).text)
    for words in ("A bowl", "A note.", "lowest", "Losses at the measured points", "step 0"):
        assert words in text
    assert re.search(r"fetch\(|XMLHttpRequest|import\s|<script src", page) is None
    assert 'aria-label="Error surface of 31 by 31 points; lowest loss 0.1 at 0, 0; highest' in page


def test_what_is_not_finite_is_a_hole_with_a_name() -> None:
    surface = bowl(3)
    surface["losses"][0] = [math.nan, math.inf, 1.0]
    page = render_surface(surface, title="Holes")
    data = json.loads(read_page_data(page))
    assert data["losses"][0] == [None, None, 1.0]
    assert page.count("<td>not finite</td>") == 2
    kept = json.loads(json.dumps(data))
    assert render_surface({**surface, "losses": kept["losses"]}, title="Holes") == page


def read_page_data(page: str) -> str:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return found[1]


def test_names_cannot_end_the_script() -> None:
    evil = "</script><script>alert(1)</script>"
    marks = [{"name": evil, "x": 0.0, "y": 0.0, "loss": 1.0}]
    page = render_surface(bowl(3, marks=marks, labels=[evil, "b"]), title=evil)
    assert page.count("</script>") == 2
    assert json.loads(read_page_data(page))["marks"][0]["name"] == evil


def test_large_planes_show_some_rows_in_the_table_and_all_in_the_picture() -> None:
    page = render_surface(bowl(63, marks=[], path=[], explained=[]), title="Large")
    assert "Losses at some of the points" in page
    assert page.count('<th scope="row">') == 32
    assert len(json.loads(read_page_data(page))["losses"]) == 63
    assert len(page.encode()) < 300_000


def test_lines_are_curves_without_a_script() -> None:
    line = {"positions": [0.0, 0.5, 1.0], "losses": [1.0, math.nan, 2.0], "label": "way"}
    marks = [{"name": "run-a", "x": 0.0, "loss": 1.0}, {"name": "run-b", "x": 1.0, "loss": None}]
    page = render_surface({**line, "marks": marks}, title="Between")
    assert problems(page) == []
    assert "run-a" in page
    assert "way" in page
    assert "<td>not finite</td>" in page


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": 1}, r"must be a plane or a line as plain data; got the keys \['a'\]"),
        ({"x": [0], "y": [0], "losses": [[math.nan]]}, "must have a finite loss; got none"),
        ({"positions": [0], "losses": [math.inf]}, "must have a finite loss; got none"),
    ],
)
def test_what_cannot_be_shown_is_refused(found: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"render_surface: `found` {message}"):
        render_surface(found, title="Nothing")


needs_browser = pytest.mark.skipif(chromium() is None, reason="needs Chromium or Chrome")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path = chromium()
    assert path is not None
    with browser(path, tmp_path_factory.mktemp("browser")) as page:
        yield page


def show(tab: Page, folder: Path, given: str = "", **more: Any) -> None:
    file = folder / "surface.html"
    file.write_text(render_surface(bowl(**more), title="A bowl"), encoding="utf-8")
    tab.size(900, 1000)
    tab.open("about:blank", "true")
    tab.open(f"{file.as_uri()}{given}", "document.readyState === 'complete'")


def colours(tab: Page) -> int:
    """How many colours the picture has, of every fifth pixel."""
    return int(
        tab.do(
            "(() => { const c = document.getElementById('scene'); const d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; const s = new Set(); for (let k = 0;"
            " k < d.length; k += 20) s.add(d[k] * 65536 + d[k + 1] * 256 + d[k + 2]);"
            " return s.size; })()"
        )
    )


PRESSED = "document.getElementById('{}').getAttribute('aria-pressed')"
READING = "document.getElementById('reading').textContent"


def press(tab: Page, key: str, *, shift: bool = False) -> None:
    event = f"new KeyboardEvent('keydown', {{key: '{key}', shiftKey: {str(shift).lower()}}})"
    tab.do(f"document.getElementById('scene').dispatchEvent({event})")


@needs_browser
def test_the_picture_is_drawn_and_follows_the_address_the_keys_and_the_buttons(
    tab: Page, tmp_path: Path
) -> None:
    show(tab, tmp_path, "#turn=20&tilt=50&height=linear&column=15&row=15")
    tab.wait(f"{READING}.includes('loss 0.1')")
    assert colours(tab) > 200
    assert tab.do(PRESSED.format("log")) == "false"
    press(tab, "l")
    assert tab.do(PRESSED.format("log")) == "true"
    assert "height=log" in tab.do("location.hash")
    press(tab, "ArrowRight", shift=True)
    tab.wait(f"{READING}.includes('first direction 0.06667')")
    press(tab, "ArrowLeft")
    assert "turn=14" in tab.do("location.hash")
    tab.do("document.getElementById('above').click()")
    assert tab.do(PRESSED.format("above")) == "true"
    assert "tilt=90" in tab.do("location.hash")
    tab.do("document.getElementById('reset').click()")
    assert "tilt=34" in tab.do("location.hash")
    assert tab.problems == []


@needs_browser
def test_the_mouse_turns_reads_off_and_names_the_weights(tab: Page, tmp_path: Path) -> None:
    show(tab, tmp_path, "#tilt=90&turn=0")

    def mouse(kind: str, x: float, y: float, buttons: int = 0) -> None:
        pressed: dict[str, Any] = {"button": "left"} if kind != "mouseMoved" or buttons else {}
        tab.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            buttons=buttons,
            clickCount=int(kind != "mouseMoved"),
            **pressed,
        )

    box = tab.do(
        "(() => { const b = document.getElementById('scene').getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height]; })()"
    )
    middle = (box[0] + box[2] / 2, box[1] + 0.465 * box[3])
    mouse("mouseMoved", *middle)
    tab.wait(
        f"/first direction −?0(.0\\d*)?, second direction −?0(.0\\d*)?: loss 0.1/.test({READING})"
    )
    mouse("mousePressed", *middle, 1)
    mouse("mouseMoved", middle[0] - 100, middle[1] - 60, 1)
    mouse("mouseReleased", middle[0] - 100, middle[1] - 60)
    assert "turn=45" in tab.do("location.hash")
    assert "tilt=69" in tab.do("location.hash")
    assert tab.problems == []


@needs_browser
def test_surfaces_with_holes_and_flat_ones_are_drawn(tab: Page, tmp_path: Path) -> None:
    places = [0.0, 0.5, 1.0, 2.0]
    for losses in (
        [[1.0] * 4] * 4,
        [[None, 1.0, 2.0, -3.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [None] * 4],
    ):
        show(tab, tmp_path, side=4, x=places, y=places, losses=losses, path=[], explained=[])
        tab.wait(f"{READING}.length > 0")
        assert tab.do("document.getElementById('log').disabled") is True
        assert colours(tab) >= 4
    assert tab.problems == []
