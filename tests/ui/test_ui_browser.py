"""The pages as somebody sees them: in a real browser, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fitwell.ui import Site

from ..report.run_factory import DIGITS, make_regression_run, make_run, run_record, write
from .browser import Page, browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Chromium or Chrome")

NAMES = "[...document.querySelectorAll('#rows tr')].map((row) => row.dataset.name)"
CHARTS = (
    "[...document.querySelectorAll('.chart:not([hidden]) figcaption')]"
    ".map((caption) => caption.firstChild.data)"
)
MARKS = "[...document.querySelector('.plot').querySelectorAll('text.y')].map((t) => t.textContent)"
PHONE = (("/", f"{NAMES}.length >= 4"), ("/runs/large", "document.querySelector('.plot svg')"))
LIVE = "document.querySelector('#link').textContent === 'live'"
FAILED = {
    "status": "failed",
    "error": "the loss became <b>nan</b>",
    "created": "2025-05-01T00:00:00",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "small", pictures=False, epochs=6, skill=0.8)
    make_run(folder / "large", pictures=False, epochs=9, skill=0.95)
    make_regression_run(folder / "houses")
    write(folder / "broken", "run.json", {**run_record(DIGITS, epochs=3, lr=9.0), **FAILED})
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium or Chrome")
    with browser(path, tmp_path_factory.mktemp("browser")) as page:
        page.size(1280, 900)
        yield page
        assert page.problems == []


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with Site(runs, host="127.0.0.1", port=0, interval=0.1).running() as url:
        yield url


def test_the_list_is_sorted_filtered_and_leads_to_a_comparison(page: Page, url: str) -> None:
    page.open(url, f"{NAMES}.length === 4 && {LIVE}")
    assert page.do(NAMES)[0] == "broken"  # the newest first
    assert page.do("document.querySelector('.warn').textContent") == FAILED["error"]
    page.do("document.querySelector('#by-score').click()")
    assert page.do(NAMES) == ["large", "small", "houses", "broken"]
    assert page.do("location.hash") == "#sort=-score"
    page.do("document.querySelector('#by-name').click()")
    assert page.do(NAMES) == ["broken", "houses", "large", "small"]
    page.do("document.querySelector('#by-name').click()")
    assert page.do(NAMES) == ["small", "large", "houses", "broken"]
    heading = "document.querySelector('#by-name').parentElement.getAttribute('aria-sort')"
    assert page.do(heading) == "descending"

    page.do("q.value = 'CNN digits'; q.dispatchEvent(new Event('input'))")
    assert page.do(NAMES) == ["small", "large", "broken"]
    page.do("const s = document.querySelector('#status'); s.value = 'finished';"
            " s.dispatchEvent(new Event('change'))")  # fmt: skip
    assert page.do(NAMES) == ["small", "large"]
    page.do("document.querySelectorAll('#rows input').forEach((box) => box.click())")
    target = page.do("document.querySelector('#compare').href")
    assert target == f"{url}/compare?run=small&run=large"
    page.open(target, "document.title.includes('comparison')")


def test_an_address_holds_what_is_sorted_filtered_and_picked(page: Page, url: str) -> None:
    page.open("about:blank", "true")
    page.open(f"{url}/#sort=epochs&status=finished&q=o&pick=houses", f"{NAMES}.length === 1")
    assert page.do(NAMES) == ["houses"]
    assert page.do("q.value") == "o"
    assert page.do("document.querySelector('#status').value") == "finished"
    assert page.do("document.querySelector('#rows input').checked")
    page.do("location.hash = '#sort=epochs&status=finished'")
    page.wait(f"{NAMES}.length === 3")
    assert page.do(NAMES) == ["small", "large", "houses"]
    page.do("location.hash = '#q=nosuchrun'")
    page.wait("!document.querySelector('#empty').hidden")
    assert "No run fits" in page.do("document.querySelector('#empty').textContent")


def test_a_training_is_followed_live(page: Page, url: str, runs: Path) -> None:
    page.open(f"{url}/#sort=name", f"{NAMES}.length === 4 && {LIVE}")
    record = {**run_record(DIGITS, epochs=4, lr=0.1), "status": "running"}
    write(runs / "new", "run.json", record)
    page.wait(f"{NAMES}.includes('new')")  # without loading the page again
    page.do("document.querySelector('[data-name=new] a').click()")
    page.wait(f"document.querySelector('#name')?.textContent === 'new' && {LIVE}")
    points = "(document.querySelector('.line.faint')?.getAttribute('d') ?? '').split('L').length"
    for count in (2, 3, 4):
        line = {"kind": "step", "step": 10 * count, "epoch": 1, "loss": 1 / count, "lr": 0.1}
        lines = [line] if count > 2 else [{**line, "step": 1}, line]
        with (runs / "new" / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in lines))
        page.wait(f"{points} === {count}")
    epoch = {
        "kind": "epoch", "epoch": 1, "step": 40, "lr": 0.1, "seconds": 2.0, "train": {"loss": 0.3},
        "valid": {"loss": 0.2, "accuracy": 0.75}, "examples_per_second": 9.0,
    }  # fmt: skip
    with (runs / "new" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(epoch) + "\n")
    page.wait("document.querySelector('#tiles').textContent.includes('75.0%')")
    assert (
        page.do("document.querySelector('#eta').textContent") == "epoch 1 of 4 · about 6.0 s left"
    )
    assert page.do(CHARTS) == ["Loss", "Accuracy", "Learning rate", "Examples per second"]
    write(runs / "new", "run.json", {**record, "status": "finished"})
    page.wait("document.querySelector('#status').textContent === 'finished'")
    assert page.do("document.querySelector('#progress').hidden")
    (runs / "new" / "run.json").unlink()
    page.wait("document.querySelector('#status').textContent === 'gone'")


def test_nothing_is_wider_than_a_phone(page: Page, url: str) -> None:
    try:
        for address, until in PHONE:
            for dark in (False, True):
                page.size(390, 844, dark=dark)
                page.open("about:blank", "true")
                page.open(url + address, f"Boolean({until})")
                assert page.do("document.documentElement.scrollWidth") <= 390
                color = page.do("getComputedStyle(document.body).backgroundColor")
                assert color == ("rgb(15, 18, 22)" if dark else "rgb(245, 246, 248)")
    finally:
        page.size(1280, 900)


def test_a_curve_can_be_read_off(page: Page, url: str) -> None:
    page.open(f"{url}/runs/large", "document.querySelectorAll('.plot svg').length > 1")
    page.do(
        "(() => { const plot = document.querySelectorAll('.plot')[1];"
        "const box = plot.getBoundingClientRect();"
        "plot.dispatchEvent(new PointerEvent('pointermove',"
        "{clientX: box.right, clientY: box.top + 50})); })()"
    )
    told = page.do("document.querySelectorAll('.plot')[1].querySelector('.tip').innerText")
    assert told.splitlines()[0] == "step 324"
    assert "validation" in told
    marks = page.do(MARKS)
    page.do("document.querySelector('.chart .small').click()")
    page.wait("document.querySelector('.chart .small').getAttribute('aria-pressed') === 'true'")
    page.wait(f"{MARKS}.join() !== {json.dumps(','.join(marks))}")
