"""`fitwell compare`: settings and results of runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..core.files import finite, write_text
from ..core.groups import is_group, member_folders, read_group
from ..core.text import aligned, shorten
from ..report import Comparison, compare_runs, render_comparison
from ..report._paired_folds import FoldComparison, compare_folds

if TYPE_CHECKING:
    from ..train import Run

_CELL = 44


@final
@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """What differs between runs.

    Args:
        runs: Folders of the runs.
        comparison: What differs.
        path: The page that shows it; None if none was written.
        folds: Cross-validations on the same folds, one row each; None of other runs.
    """

    runs: tuple[Path, ...]
    comparison: Comparison
    path: Path | None
    folds: FoldComparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the differences as plain data, ready for JSON."""
        return {
            "runs": [str(run) for run in self.runs],
            "page": None if self.path is None else str(self.path),
            "folds": None if self.folds is None else self.folds.to_dict(),
            **finite(self.comparison.to_dict()),
        }

    def __str__(self) -> str:
        page = [] if self.path is None else [f"Page of all members: {self.path}"]
        if self.folds is not None:
            return "\n\n".join([str(self.folds), *page])
        found = self.comparison
        rows = [
            [f"{row.section}: {row.name}", *(shorten(value, _CELL) for value in row.values)]
            for row in found.settings
        ]
        parts = [aligned(["setting", *found.names], rows) if rows else "The settings are the same."]
        rows = [[f"{row.part} {row.metric}", *row.texts] for row in found.metrics]
        parts.append(aligned(["metric", *found.names], rows))
        parts += [*map(str, found.paired), *found.warnings]
        if self.path is not None:
            parts.append(f"Page: {self.path}")
        return "\n\n".join(parts)


def compare(
    *runs: str | Path | Run, output: str | Path | None = "comparison.html"
) -> CompareResult:
    """Put runs side by side: the settings that differ, all metrics, and a page with their curves.

    Where two runs predicted the same test examples, a paired test says whether chance in the choice
    of examples may explain the difference (exact McNemar for classes, Wilcoxon signed-rank of the
    squared errors for numbers), and a paired bootstrap how large it may be. Both say nothing about
    seeds.

    Args:
        runs: Folders of at least two runs, or of a group, which stands for its members; each other
            one is tested against the first. Cross-validations on the same folds are tested fold by
            fold.
        output: Where to write the page; None in Python writes none.

    Raises:
        UsageError: Fewer than two different runs.
        RunError: One is not a run folder, or holds no training yet.
    """
    named = [Path(run) if isinstance(run, (str, Path)) else run.folder for run in runs]
    folders = tuple(run for folder in named for run in _members(folder))
    found = compare_runs(folders)
    path = None if output is None else Path(output)
    if path is not None:
        write_text(path, render_comparison(folders))
    by_fold = compare_folds(named)
    return CompareResult(runs=folders, comparison=found, path=path, folds=by_fold)


def _members(folder: Path) -> tuple[Path, ...]:
    """Give the runs that a folder stands for."""
    return (
        tuple(member_folders(folder, read_group(folder)).values())
        if is_group(folder)
        else (folder,)
    )
