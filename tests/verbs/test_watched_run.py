"""`fitwell train --watch`: what the watch saw is kept in the run and shown in its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fitwell
from fitwell.cli import main
from fitwell.doctor import Watch, WatchLog
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


def test_it_is_an_option_that_resuming_keeps(tmp_path: Path) -> None:
    words = ["train", "digits", "--watch", "--quiet", "--no-report", "--run", str(tmp_path / "a")]
    assert main([*words, "--model", "MLP(hidden=(16,))", "--epochs", "2", "--max-steps", "30"]) == 0
    run = fitwell.open_run(tmp_path / "a")
    assert run.manifest["recording"]["watch"] is True
    assert (run.folder / "watch.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run.folder / "watch.json").read_text())["steps"] == 30
    (run.folder / "watch.json").unlink()
    resumed = fitwell.resume(run.folder, max_steps=40, report=False, quiet=True)
    assert resumed.result["steps"] == 40
    kept = json.loads((run.folder / "watch.json").read_text())
    assert (kept["began_at"], kept["steps"]) == (30, 10)


def test_a_watch_that_cannot_be_written_costs_a_line_and_no_run(
    digits: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(watch: Watch) -> None:
        raise ValueError("no canvas")

    monkeypatch.setattr("fitwell.doctor._watch._log.draw", broken)
    run = quick("digits", run=tmp_path / "run", watch=True)
    assert run.status == "finished"
    assert weights(run) == weights(digits)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("watch: ")]
    assert lines == [f"watch: what was seen is not in {run.folder}: ValueError: no canvas."]
    assert not (run.folder / "watch.png").exists()


def test_a_logger_that_fails_at_the_end_costs_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(log: WatchLog, trainer: object) -> None:
        raise ValueError("the tool is gone")

    monkeypatch.setattr(WatchLog, "on_fit_end", broken)
    with pytest.raises(ValueError, match="the tool is gone"):
        quick("digits", run=tmp_path / "run", watch=True, checkpoint_seconds=1e9)
    run = Run.open(tmp_path / "run")
    assert run.checkpoints().newest() is not None
    monkeypatch.undo()
    assert fitwell.resume(run.folder, report=False, quiet=True).status == "finished"


def test_a_watched_run_ends_at_its_first_nan_with_the_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "digits", "--watch", "--lr", "1e30", "--device", "cpu", "--epochs", "1"]
    words += ["--model", "MLP(hidden=(16,))", "--quiet", "--no-report"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert "NaNGuard: the loss became nan at step 2" in message
    assert "the output of body.layers.2 (Linear(" in message
    kept = json.loads((tmp_path / "run" / "watch.json").read_text())
    assert kept["steps"] == 1


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", watch=True)
    (run.folder / "watch.json").write_text("{")
    assert "While training" not in render_report(run.folder)
