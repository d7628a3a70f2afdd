"""What changed, as server-sent events; one task looks at the disk for all pages that are open."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, final

from ._listing import Change, Listing

_KEPT_EVENTS: Final = 1000
_HEARTBEAT_SECONDS: Final = 15.0
_MOST_OF_THE_TIME: Final = 0.1


@final
class Feed:
    """Send changes of the runs to every page that listens.

    The last events are kept, so that a page that lost its connection gets what it missed, by the
    ``Last-Event-ID`` it sends. If that is too old it gets a `reset` and loads itself anew.

    Args:
        listing: The runs.
        interval: Seconds between two looks at the disk. Nobody looks while no page listens, and
            looking never takes more than a tenth of the time.
    """

    def __init__(self, listing: Listing, *, interval: float = 1.0) -> None:
        self._listing = listing
        self._interval = interval
        self._token = secrets.token_hex(4)
        self._events: deque[tuple[int, Change]] = deque(maxlen=_KEPT_EVENTS)
        self._last = 0
        self._news = asyncio.Event()
        self._updating = asyncio.Lock()
        self._listeners = 0
        self._closed = False

    async def update(self) -> None:
        """Look at the disk once, and send what changed."""
        async with self._updating:
            for change in await asyncio.to_thread(self._listing.refresh):
                self._last += 1
                self._events.append((self._last, change))
        self._wake()

    async def follow(self) -> None:
        """Look at the disk again and again, until cancelled."""
        while True:
            started = time.monotonic()
            if self._listeners:
                await self.update()
            spent = time.monotonic() - started
            pause = 0.0 if self._listing.pending else spent * (1 / _MOST_OF_THE_TIME - 1)
            await asyncio.sleep(max(0.05, pause, self._interval - spent))

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def stream(self, run: str | None = None, last_id: str = "") -> AsyncIterator[str]:
        """Give the events from now on, or from the last one that the page had.

        Args:
            run: Only of this run, with its new metrics; without it the rows of all runs.
            last_id: What the page sent as ``Last-Event-ID``; empty at its first connection.
        """
        self._listeners += 1
        try:
            place = self._place(last_id)
            if place is None:
                place = self._last
                yield self._text(place, "reset", "{}")
            else:
                yield self._text(place, "hello", "{}")
            while not self._closed:
                news = self._news
                if self._events and self._events[0][0] > place + 1:  # too slow to keep up
                    place = self._last
                    yield self._text(place, "reset", "{}")
                for number, change in [pair for pair in self._events if pair[0] > place]:
                    place = number
                    if change.run == run if run is not None else change.kind in ("run", "gone"):
                        data = json.dumps({"run": change.run, "data": change.data})
                        yield self._text(number, change.kind, data)
                try:
                    await asyncio.wait_for(news.wait(), _HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._listeners -= 1

    def _place(self, last_id: str) -> int | None:
        """Give the number of the last event a page had; None if what followed is not kept."""
        if not last_id:
            return self._last
        token, _, number = last_id.partition("-")
        known = token == self._token and number.isdecimal() and len(number) < 16
        if not known or int(number) > self._last:
            return None
        oldest = self._events[0][0] if self._events else self._last + 1
        return int(number) if int(number) >= oldest - 1 else None

    def _text(self, number: int, kind: str, data: str) -> str:
        return f"id: {self._token}-{number}\nevent: {kind}\ndata: {data}\n\n"
