"""The application: a handful of addresses, all of them read-only."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ..core.errors import FitwellError
from ._feed import Feed
from ._files import read_bytes
from ._guard import Guard
from ._listing import Listing, is_inside

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Of pages that come from a run folder: no script, nothing from outside, whatever is in them."""

_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_RECORDS: Final = ("run.json", "metrics.jsonl", "result.json", "evaluation.json")
_MOST_COMPARED: Final = 24
_LARGEST_REPORT: Final = 64 * 2**20
_REPORT: Final = "/report"


@final
@dataclass(kw_only=True)
class Pages:
    """What answers requests.

    Args:
        listing: The runs.
        feed: Their changes.
        assets: Content of the files of this package's pages, by name.
        drawing: Held while a page is drawn, which takes a core for a moment.
    """

    listing: Listing
    feed: Feed
    assets: dict[str, bytes]
    drawing: asyncio.Lock

    async def runs(self, request: Request) -> Response:
        """Answer ``/api/runs``.

        Args:
            request: What was asked.
        """
        await self.feed.update()
        facts = {
            "folder": str(self.listing.folder),
            "runs": self.listing.rows(),
            "pending": self.listing.pending,
        }
        return await asyncio.to_thread(_json, facts)  # thousands of runs take a moment

    async def run(self, request: Request) -> Response:
        """Answer ``/api/runs/NAME``.

        Args:
            request: What was asked.
        """
        await self.feed.update()
        name = request.path_params["name"]
        found = await asyncio.to_thread(self.listing.detail, name)
        if found is None:
            return _json({"error": f"There is no run named {name!r}."}, 404)
        return _json(found)

    async def events(self, request: Request) -> Response:
        """Answer ``/events``.

        Args:
            request: What was asked.
        """
        from starlette.responses import StreamingResponse

        last_id = request.headers.get("last-event-id", "")
        stream = self.feed.stream(request.query_params.get("run"), last_id)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def page(self, request: Request) -> Response:
        """Answer ``/``, ``/runs/NAME`` and ``/runs/NAME/report``.

        Args:
            request: What was asked.
        """
        name = request.path_params.get("name")
        if name is None:
            return self._asset("runs.html")
        await self.feed.update()
        if self.listing.path(name) is not None:
            return self._asset("run.html")
        folder = self.listing.path(name.removesuffix(_REPORT)) if name.endswith(_REPORT) else None
        if folder is None:
            return _refusal(404, f"There is no run named {name!r}.")
        return await self._drawn(lambda: _report(folder), [folder])

    async def compare(self, request: Request) -> Response:
        """Answer ``/compare?run=NAME&run=NAME``.

        Args:
            request: What was asked.
        """
        await self.feed.update()
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        found = [(name, self.listing.path(name)) for name in names]
        missing = [name for name, folder in found if folder is None]
        if missing:
            return _refusal(404, f"There is no run named {missing[0]!r}.")
        if not 2 <= len(names) <= _MOST_COMPARED:
            return _refusal(
                400, f"Between 2 and {_MOST_COMPARED} runs can be compared; got {len(names)}."
            )
        from ..report import render_comparison

        folders = [folder for _, folder in found if folder is not None]
        return await self._drawn(lambda: render_comparison(folders), folders)

    async def asset(self, request: Request) -> Response:
        """Answer ``/static/NAME``.

        Args:
            request: What was asked.
        """
        name = request.path_params["name"]
        known = name in self.assets and not name.endswith(".html")
        return self._asset(name) if known else _refusal(404, "There is no such file.")

    async def icon(self, request: Request) -> Response:
        """Answer ``/favicon.ico``, which browsers ask for on pages that name no icon.

        Args:
            request: What was asked.
        """
        return self._asset("icon.svg")

    async def _drawn(self, draw: Callable[[], str | bytes], folders: Sequence[Path]) -> Response:
        from starlette.responses import Response

        for folder in folders:
            if _leads_out(folder, self.listing.folder):
                return _refusal(403, f"A file of {folder.name!r} is a link out of the folder.")
        try:
            async with self.drawing:
                page = await asyncio.to_thread(draw)
        except FitwellError as err:
            return _refusal(404, str(err).partition(": ")[2] or str(err))
        except OSError as err:
            return _refusal(404, f"{err.strerror or err}.")
        policy = {"Content-Security-Policy": REPORT_POLICY}
        return Response(page, media_type="text/html", headers=policy)

    def _asset(self, name: str) -> Response:
        from starlette.responses import Response

        return Response(self.assets[name], media_type=_KINDS[Path(name).suffix])


def create_app(
    folder: str | Path, *, names: Sequence[str] = (), interval: float = 1.0
) -> Starlette:
    """Build the application, which any ASGI server can run.

    Args:
        folder: Where runs are kept.
        names: Host names it may be asked by, besides ``localhost`` and addresses in numbers.
        interval: Seconds between two looks at the disk.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.routing import Route

    listing = Listing(folder)
    feed = Feed(listing, interval=interval)
    folder_of_assets = files("fitwell.ui") / "static"
    assets = {file.name: file.read_bytes() for file in folder_of_assets.iterdir()}
    pages = Pages(listing=listing, feed=feed, assets=assets, drawing=asyncio.Lock())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.follow())
        try:
            yield
        finally:
            following.cancel()

    async def refused(request: Request, err: Exception) -> Response:
        status = err.status_code if isinstance(err, HTTPException) else 500
        words = "There is no such page." if status == 404 else "This is not possible."
        return _refusal(status, words)

    app = Starlette(
        routes=[
            Route("/", pages.page),
            Route("/runs/{name:path}", pages.page),
            Route("/compare", pages.compare),
            Route("/events", pages.events),
            Route("/api/runs", pages.runs),
            Route("/api/runs/{name:path}", pages.run),
            Route("/static/{name}", pages.asset),
            Route("/favicon.ico", pages.icon),
        ],
        middleware=[Middleware(Guard, names=tuple(names))],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
    app.state.feed = feed
    return app


def _report(folder: Path) -> str | bytes:
    """Give the report of a run: the one in its folder, or a new one if that is out of date."""
    from ..report import render_report

    report = folder / "report.html"
    with contextlib.suppress(OSError):
        records = [folder / name for name in _RECORDS if (folder / name).exists()]
        if os.lstat(report).st_mtime >= max(os.lstat(file).st_mtime for file in records):
            return read_bytes(report, limit=_LARGEST_REPORT)
    return render_report(folder)


def _leads_out(folder: Path, root: Path) -> bool:
    if not is_inside(folder, root):
        return True
    with os.scandir(folder) as entries:
        return any(entry.is_symlink() and not is_inside(entry.path, root) for entry in entries)


def _json(value: Any, status: int = 200) -> Response:
    from starlette.responses import Response

    body = json.dumps(value, allow_nan=False)  # in ASCII: half a letter pair is no UTF-8
    return Response(body, status, media_type="application/json")


def _refusal(status: int, sentence: str) -> Response:
    from starlette.responses import HTMLResponse

    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>fitwell</title><link rel="stylesheet" href="/static/page.css"></head>'
        f'<body><main><p class="empty">{html.escape(sentence)}</p>'
        '<p class="empty"><a href="/">All runs</a></p></main></body></html>'
    )
    return HTMLResponse(page, status_code=status)
