from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitwell.core.errors import RunError
from fitwell.report import render_report
from fitwell.verbs._report import report

from ..report.run_factory import make_killed_run, make_run


def test_writes_the_page_into_the_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    result = report(str(folder))
    assert result.path == folder / "report.html"
    assert result.path.read_text(encoding="utf-8") == render_report(folder)
    assert result.to_dict() == {
        "run": str(folder),
        "report": str(folder / "report.html"),
        "bytes": result.path.stat().st_size,
    }
    assert json.dumps(result.to_dict())
    assert str(result).startswith(f"Report: {result.path} (")
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == []


def test_writes_elsewhere(tmp_path: Path) -> None:
    folder = make_killed_run(tmp_path / "run")
    result = report(folder, output=tmp_path / "new" / "page.html")
    assert result.path.is_file()
    assert not (folder / "report.html").exists()


def test_a_report_that_fails_leaves_the_old_page(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    with pytest.raises(RunError, match="must be a run folder"):
        report(tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "old"
