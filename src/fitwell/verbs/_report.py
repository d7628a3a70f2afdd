"""`fitwell report`: one HTML page about a run, or a group of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..core.files import write_text
from ..core.groups import is_group
from ..report import render_group, render_report

if TYPE_CHECKING:
    from ..train import Run
    from ._several._group import Group


@final
@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """A report that was written.

    Args:
        run: Folder of the run.
        path: The page.
        size: Its length in bytes.
    """

    run: Path
    path: Path
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Give the paths and the size as plain data, ready for JSON."""
        return {"run": str(self.run), "report": str(self.path), "bytes": self.size}

    def __str__(self) -> str:
        return f"Report: {self.path} ({self.size / 1000:,.0f} kB)"


def report(run: str | Path | Run | Group, /, *, output: str | Path | None = None) -> ReportResult:
    """Write one self-contained HTML page about a run: results, errors, settings, how to repeat it.

    Reads the records in the run's folder only, so it works at any time, also while the run is
    training or after it was killed; the page then says what is missing.

    Args:
        run: Folder of the run, or of a group of runs.
        output: Where to write the page; ``report.html`` in the run's folder if it is left out.

    Raises:
        RunError: It is not a run folder, was written by a newer fitwell, or holds no training yet.
    """
    folder = Path(run) if isinstance(run, (str, Path)) else run.folder
    page = render_group(folder) if is_group(folder) else render_report(folder)
    path = folder / "report.html" if output is None else Path(output)
    write_text(path, page)
    return ReportResult(run=folder, path=path, size=len(page.encode()))
