"""Changes reach a page that listens, once, also after its connection broke."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fitwell.ui import Site
from fitwell.ui._feed import Feed
from fitwell.ui._listing import Listing

from ..report.run_factory import DIGITS, run_record, write, write_lines

STEP = {"kind": "step", "step": 10, "epoch": 1, "loss": 0.5, "lr": 0.1}
PATIENCE = 30.0  # seconds; events come within one unless the machine is busy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        run = {**run_record(DIGITS, epochs=9, lr=0.1), "status": "running"}
        write(tmp_path / name, "run.json", run)
        write_lines(tmp_path / name, [{**STEP, "step": 5}])
    return tmp_path


def append(folder: Path, **changes: Any) -> None:
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**STEP, **changes}) + "\n")


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Give id, kind and data of each event."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def test_a_line_that_is_written_reaches_a_browser(folder: Path) -> None:
    with (
        Site(folder, host="127.0.0.1", port=0, interval=0.05).running() as url,
        httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client,
    ):
        before = client.get("/api/runs/one").json()
        assert [step for step, _, _ in before["steps"]] == [5]
        with client.stream("GET", "/events", params={"run": "one"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = events(answer.iter_lines())
            assert next(stream)[1] == "hello"
            append(folder / "two", step=11)
            append(folder / "one", step=12)
            last_id, kind, found = next(stream)
            assert (kind, found["run"]) == ("lines", "one")
            assert found["data"]["start"] == before["end"]
            assert found["data"]["steps"] == [[12, 0.5, 0.1]]
            kinds = [next(stream)[1]]
            assert kinds == ["run"]
        append(folder / "one", step=13)  # while nobody listens
        client.get("/api/runs")
        headers = {"Last-Event-ID": last_id}
        with client.stream("GET", "/events", params={"run": "one"}, headers=headers) as answer:
            stream = events(answer.iter_lines())
            seen = [next(stream) for _ in range(4)]
            assert [kind for _, kind, _ in seen] == ["hello", "run", "lines", "run"]
            assert seen[2][2]["data"]["steps"] == [[13, 0.5, 0.1]]
        headers = {"Last-Event-ID": "ffffffff-3"}  # of a server that ran before
        with client.stream("GET", "/events", headers=headers) as answer:
            assert next(events(answer.iter_lines()))[1] == "reset"


async def take(stream: AsyncIterator[str], count: int) -> list[tuple[str, str, Any]]:
    texts = [await asyncio.wait_for(anext(stream), PATIENCE) for _ in range(count)]
    return list(events(iter("".join(texts).split("\n"))))


def test_the_list_gets_rows_and_a_run_its_lines(folder: Path) -> None:
    async def check() -> None:
        feed = Feed(Listing(folder))
        await feed.update()
        everything, one = feed.stream(), feed.stream("one")
        for stream in (everything, one):
            assert [kind for _, kind, _ in await take(stream, 1)] == ["hello"]
        append(folder / "one", step=12)
        append(folder / "two", step=12)
        await feed.update()
        rows = await take(everything, 2)
        assert sorted((kind, found["run"]) for _, kind, found in rows) == [
            ("run", "one"),
            ("run", "two"),
        ]
        assert [kind for _, kind, _ in await take(one, 2)] == ["lines", "run"]
        feed.close()
        assert [text async for text in everything] == []
        assert [text async for text in one] == []

    asyncio.run(check())


def test_a_page_that_cannot_keep_up_starts_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitwell.ui._feed._KEPT_EVENTS", 3)

    async def check() -> None:
        feed = Feed(Listing(folder))
        stream = feed.stream()
        await take(stream, 1)
        for number in range(4):
            append(folder / "one", step=20 + number)
            await feed.update()
        assert [kind for _, kind, _ in await take(stream, 1)] == ["reset"]
        (last_id, _, _), *_ = await take(feed.stream(last_id=""), 1)
        token, _, number = last_id.partition("-")
        for given, kind in {
            last_id: "hello",
            f"{token}-{int(number) - 3}": "hello",  # the oldest that follows is still kept
            f"{token}-{int(number) - 4}": "reset",
            f"{token}-{int(number) + 1}": "reset",
            f"{token}-x": "reset",
            f"{token}-{'9' * 5000}": "reset",
            "-": "reset",
        }.items():
            assert [k for _, k, _ in await take(feed.stream(last_id=given), 1)] == [kind]

    asyncio.run(check())


def test_nobody_looks_at_the_disk_while_no_page_listens(folder: Path) -> None:
    async def check() -> None:
        listing = Listing(folder)
        feed = Feed(listing, interval=0.0)
        following = asyncio.create_task(feed.follow())
        await asyncio.sleep(0.3)
        assert listing.rows() == []
        stream = feed.stream()
        assert len(await take(stream, 3)) == 3  # hello, and a row for each run
        following.cancel()

    asyncio.run(check())
