"""Runs that are trained together are those that `train` makes, in one process or in several."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.core.errors import MissingExtra, UsageError
from fitwell.train import Run
from fitwell.verbs._session import Session
from fitwell.verbs._several import _scale
from fitwell.verbs._several._together import (
    Progress,
    Variation,
    arguments,
    data_for,
    sessions,
    train_together,
)

QUICK: dict[str, Any] = {"model": "MLP(hidden=(8,), dropout=0.2)", "epochs": 2}
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def members(folder: Path, count: int = 3, **settings: Any) -> list[Session]:
    given = arguments("digits", None, {**QUICK, **settings})
    variations = [
        Variation(name=f"seed-{seed}", settings={"seed": seed, "lr": 0.001 * (1 + seed)})
        for seed in range(count)
    ]
    return sessions(given, data_for(given), variations, folder)


def assert_alike(run: Run, other: Run) -> None:
    torch.testing.assert_close(run.load_model(), other.load_model(), **CLOSE)
    assert run.result["test"] == pytest.approx(other.result["test"], rel=1e-3)
    assert run.result["best_epoch"] == other.result["best_epoch"]
    ours, theirs = (
        [record["valid"]["loss"] for record in one.metrics() if record["kind"] == "epoch"]
        for one in (run, other)
    )
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_members_are_the_runs_that_train_makes(tmp_path: Path) -> None:
    runs = train_together(members(tmp_path), quiet=True)
    assert [run.status for run in runs] == ["finished"] * 3
    for seed in (0, 2):
        alone = fitwell.train(
            "digits",
            **QUICK,
            seed=seed,
            lr=0.001 * (1 + seed),
            run=tmp_path / f"alone-{seed}",
            report=False,
            quiet=True,
        )
        assert_alike(runs[seed], alone)
        assert runs[seed].predict(torch.zeros(2, 1, 8, 8)).values.shape == (2,)


def test_what_is_finished_is_not_trained_again(tmp_path: Path) -> None:
    first = train_together(members(tmp_path, 2), quiet=True)
    written = [run.folder.joinpath("result.json").stat().st_mtime_ns for run in first]
    again = train_together(members(tmp_path, 3), quiet=True)
    assert [run.status for run in again] == ["finished"] * 3
    assert [run.folder.joinpath("result.json").stat().st_mtime_ns for run in again[:2]] == written


def test_a_watcher_stops_members_which_are_finished_then(tmp_path: Path) -> None:
    def watch(progress: Progress) -> None:
        assert "loss" in progress.last(0)["valid"]
        if progress.epoch == 1:
            progress.stop(1, "halved")

    runs = train_together(members(tmp_path), watch=watch, quiet=True)
    assert [run.result["epochs"] for run in runs] == [2, 1, 2]
    assert [run.manifest["stopped"] for run in runs] == [None, "halved", None]
    assert [run.status for run in runs] == ["finished"] * 3


def test_an_interruption_leaves_members_that_start_anew(tmp_path: Path) -> None:
    def watch(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together(members(tmp_path), watch=watch, quiet=True)
    folders = sorted((tmp_path / "members").iterdir())
    assert [Run.open(folder).status for folder in folders] == ["stopped"] * 3
    runs = train_together(members(tmp_path), quiet=True)
    assert [run.status for run in runs] == ["finished"] * 3
    assert [len([r for r in run.metrics() if r["kind"] == "epoch"]) for run in runs] == [2] * 3


def test_a_member_whose_loss_is_lost_is_failed_and_says_so(tmp_path: Path) -> None:
    given = arguments(
        "digits", None, {**QUICK, "optimizer": "SGD(lr=0.1)", "schedule": "Constant()"}
    )
    variations = [Variation(name=f"lr-{lr}", settings={"lr": lr}) for lr in (0.1, 1e30)]
    made = sessions(given, data_for(given), variations, tmp_path)
    runs = train_together(made, quiet=True)
    assert [run.status for run in runs] == ["finished", "failed"]
    assert "the loss became" in runs[1].manifest["error"]


def test_settings_of_a_training_alone_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    made = members(tmp_path, 2, average="EMA(decay=0.9)")
    with pytest.raises(UsageError, match="`average` must be none where several models"):
        train_together(made, quiet=True)
    assert not list(tmp_path.iterdir())


def test_progress_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_together(members(tmp_path))
    assert "epoch 2/2  all 3 are done" in capsys.readouterr().err


def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    spread = train_together(members(tmp_path / "spread"), workers=2, quiet=True)
    together = train_together(members(tmp_path / "together"), quiet=True)
    for one, other in zip(spread, together, strict=True):
        assert one.status == "finished"
        assert_alike(one, other)


def test_processes_and_watchers_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`workers` must be 1 where members are compared"):
        train_together(members(tmp_path), watch=lambda progress: None, workers=2)
    with pytest.raises(UsageError, match="`workers` must be at least 1; got 0"):
        train_together(members(tmp_path), workers=0)


def test_without_ray_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"'ray'.*fitwell\[scale\]"):
        train_together(members(tmp_path), workers=2, quiet=True)


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    ray = types.SimpleNamespace(init=init)
    with pytest.raises(UsageError, match=r"`cluster` must be the address.*'ray://nowhere:1'"):
        _scale._connect(ray, 2, "ray://nowhere:1")
