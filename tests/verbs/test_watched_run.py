"""`fitwell train --watch`: what the watch saw is kept in the run and shown in its report."""

from __future__ import annotations

import json
from pathlib import Path

import fitwell
from fitwell.cli import main
from fitwell.report import render_report
from fitwell.train import Run

from .runs import curve, quick, weights


def test_a_watched_run_keeps_a_record_and_trains_to_the_same_bits(
    digits: Run, tmp_path: Path
) -> None:
    run = quick("digits", run=tmp_path / "watched", watch=True)
    assert weights(run) == weights(digits)
    assert curve(run) == curve(digits)
    kept = json.loads((run.folder / "watch.json").read_text())
    assert kept["steps"] == run.result["steps"]
    assert kept["began_at"] == 0
    assert kept["summary"]["no_gradient"] == []
    assert kept["stuck"]["conclusion"]
    page = render_report(run.folder)
    assert "While training" in page
    assert kept["stuck"]["conclusion"] in page.replace("&#39;", "'")
    assert "update over weight" in page
    assert "While training" not in render_report(digits.folder)


def test_it_is_an_option_that_a_run_like_it_keeps(tmp_path: Path) -> None:
    words = ["train", "digits", "--smoke", "--watch", "--quiet", "--no-report"]
    assert main([*words, "--run", str(tmp_path / "a")]) == 0
    run = fitwell.open_run(tmp_path / "a")
    assert run.manifest["recording"]["watch"] is True
    assert (run.folder / "watch.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", watch=True)
    (run.folder / "watch.json").write_text("{")
    assert "While training" not in render_report(run.folder)
