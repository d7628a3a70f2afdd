"""`fitwell ui`: the runs of a folder in the browser, live."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..core.errors import UsageError
from ..core.runs import is_run
from ..ui import Site


@final
@dataclass(frozen=True, kw_only=True)
class UiResult:
    """What was served, once it ended.

    Args:
        folder: The folder of runs.
        url: Where it could be opened.
    """

    folder: Path
    url: str

    def to_dict(self) -> dict[str, Any]:
        """Give folder and address as plain data, ready for JSON."""
        return {"folder": str(self.folder), "url": self.url}

    def __str__(self) -> str:
        return ""


def ui(
    folder: str | Path = "runs",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open: bool = False,
) -> UiResult:
    """Show the runs of a folder in the browser until Ctrl-C: a table, and curves while they train.

    The pages can be sorted, filtered and linked to, lead to each run's report, and compare runs.
    They only read. Whoever can reach the address can read the runs: it is this machine alone unless
    `host` says otherwise.

    Args:
        folder: Where runs are kept; they may lie one folder deeper.
        host: Address to answer on; 0.0.0.0 answers the whole network.
        port: Port to answer on; 0 takes any free one.
        open: Open it in the browser of this machine.

    Raises:
        UsageError: The folder is not there, a file or itself a run, or the port or address cannot
            be used.
        MissingExtra: The packages of the extra `ui` are not installed.
    """
    place = Path(folder)
    if is_run(place):
        raise UsageError(
            f"ui: `folder` must be a folder of runs; got {str(place)!r}, which is a run."
            f" Use {str(place.absolute().parent)!r}."
        )
    if place.exists() and not place.is_dir():
        raise UsageError(f"ui: `folder` must be a folder of runs; got the file {str(place)!r}.")
    if not place.exists() and str(place) != "runs":
        raise UsageError(f"ui: `folder` must be a folder of runs; {str(place)!r} is not there.")
    site = Site(place, host=host, port=port)
    words = f"Runs of {place.resolve()}: {site.url} (Ctrl-C ends it)"
    print(words, file=sys.stderr, flush=True)
    if open:
        site.open()
    site.run()
    return UiResult(folder=place, url=site.url)
