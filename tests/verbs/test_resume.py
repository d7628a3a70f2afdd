"""`fitwell resume` goes on where a run was stopped, here or elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.train import Run

from .runs import call, copied, curve, houses, manifest, quick, rows_of, weights

AGAIN: dict[str, Any] = {"report": False, "quiet": True}


def background(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fitwell", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(run: Path, count: int) -> None:
    for _ in range(6000):
        if run.exists() and (run / "metrics.jsonl").exists():
            if (run / "metrics.jsonl").read_bytes().count(b"\n") >= count:
                return
        time.sleep(0.02)
    raise TimeoutError(run)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the processes in the background have, for the same last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_end(tmp_path: Path) -> None:
    words = ("train", "digits", "--run", "parts", "--model", "MLP(hidden=(32,), dropout=0.2)")
    options = ("--batch-size", "8", "--epochs", "4", "--log-every", "1", "--no-report")
    process = background(tmp_path, *words, *options)
    wait_for_lines(tmp_path / "parts", 20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in err
    assert "Traceback" not in err
    parts = Run.open(tmp_path / "parts")
    assert parts.status == "stopped"
    stopped = parts.checkpoints().newest()
    resumed = fitwell.resume(tmp_path / "parts", report=False)
    assert resumed.status == "finished"
    assert stopped is not None
    assert 0 < stopped < resumed.result["steps"]
    whole = fitwell.train(
        like=tmp_path / "parts", run=tmp_path / "whole", log_every=1, report=False
    )
    assert curve(whole) == curve(resumed)
    assert weights(whole) == weights(resumed)


def test_plat_12_the_six_steps_of_a_notebook_service(tmp_path: Path, capsys: Any) -> None:
    """Run in the background, keep the run, put it elsewhere, go on there, predict, hand in."""
    there = tmp_path / "there"
    here = tmp_path / "here"
    for folder in (here, there):
        folder.mkdir()
    rows = houses(here / "houses.csv", 200)
    words = ("train", "table", str(rows), "--target", "price", "--ignore", "kind", "--run", "run")
    options = ("--epochs", "10", "--batch-size", "16", "--schedule", "Constant()", "--no-report")
    process = background(here, *words, *options, "--log-every", "1")  # step 1
    _, err = process.communicate()
    assert process.returncode == 0, err

    shutil.copytree(here / "run", there / "run")  # steps 2 and 3: the run and the data move
    shutil.move(rows, there / "houses.csv")
    shutil.rmtree(here)
    before = [line for line in curve(there / "run") if line["kind"] == "step"]
    code, result, err = call(
        capsys, "resume", there / "run", "--data", there / "houses.csv", "--epochs", "20"
    )  # steps 4 and 5
    assert code == 0, err
    after = [line for line in curve(there / "run") if line["kind"] == "step"]
    assert after[: len(before)] == before
    assert [line["step"] for line in after] == list(range(1, 2 * len(before) + 1))
    assert result["epochs"] == 20
    losses = [line["loss"] for line in after]
    joint = len(before)
    # No jump: the first losses there are as near to the last ones here as those among themselves.
    spread = max(losses[joint - 10 : joint]) - min(losses[joint - 10 : joint])
    assert abs(losses[joint] - losses[joint - 1]) < 3 * spread
    assert max(losses[joint : joint + 10]) < losses[0] / 2

    bare = houses(there / "test.csv", 20, 900, ("price", "kind"))  # step 6
    sample = there / "sample.csv"
    sample.write_text("id,price\n" + "".join(f"{n:04d},0\n" for n in range(900, 920)))
    code, result, _ = call(capsys, "predict", there / "run", bare, "--sample", sample)
    assert code == 0
    code, result, _ = call(capsys, "check-submission", result["path"], sample)
    assert code == 0
    assert result["right"]
    assert len(rows_of(there / "run" / "predictions.csv")) == 21


def test_plat_12_the_resumed_curve_is_that_of_one_long_run(tmp_path: Path) -> None:
    settings = {"schedule": "Constant()", "batch_size": 64, "log_every": 1}
    whole = quick("digits", run=tmp_path / "whole", epochs=4, **settings)
    first = quick("digits", run=tmp_path / "first", epochs=2, **settings)
    moved = copied(first, tmp_path / "moved")
    resumed = fitwell.resume(moved, epochs=4, **AGAIN)
    assert curve(resumed) == curve(whole)
    assert weights(resumed) == weights(whole)
    assert resumed.result["run"] == str(moved)


@pytest.mark.parametrize(
    ("first", "then", "steps"),
    [
        ({"epochs": 2}, {"max_steps": 70}, 70),
        ({"epochs": 2}, {"max_steps": 55}, 55),
        ({"epochs": None, "max_steps": 10}, {"epochs": 2}, 40),
        ({"epochs": None, "max_steps": 10}, {"max_steps": 30}, 30),
    ],
)
def test_the_new_end_takes_the_place_of_the_old_one(
    first: dict[str, Any], then: dict[str, int], steps: int, tmp_path: Path
) -> None:
    run = quick("digits", run=tmp_path / "run", **first)
    resumed = fitwell.resume(run.folder, **then, **AGAIN)
    assert resumed.result["steps"] == steps
    assert resumed.status == "finished"


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = quick("iris", run=tmp_path / "run")
    before = curve(run), weights(run), run.result["test"]
    resumed = fitwell.resume(run.folder, **AGAIN)
    assert (curve(resumed), weights(resumed), resumed.result["test"]) == before
    assert resumed.status == "finished"


def test_data_in_memory_is_given_again(tmp_path: Path) -> None:
    x = torch.randn(100, 3)
    data = (x, (x[:, 0] > 0).long())
    quick(data, run=tmp_path / "run")
    with pytest.raises(UsageError, match="was trained on data in memory; give it again"):
        fitwell.resume(tmp_path / "run", **AGAIN)
    other = (x + 1, data[1])
    with pytest.raises(RunError, match="the data has changed since the run began"):
        fitwell.resume(tmp_path / "run", data=other, epochs=4, **AGAIN)
    assert fitwell.resume(tmp_path / "run", data=data, epochs=4, **AGAIN).result["epochs"] == 4


def test_changed_data_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = houses(tmp_path / "houses.csv")
    run = quick("table", path, target="price", ignore=("kind",), run=tmp_path / "run")
    path.write_text(path.read_text().replace(",2,", ",3,", 1))
    message = rf"Restore it, or start a new run with 'fitwell train --like {run.folder}'"
    with pytest.raises(RunError, match=message):
        fitwell.resume(run.folder, epochs=5)
    assert Run.open(run.folder).status == "finished"


def test_a_run_that_is_being_trained_is_left_alone(tmp_path: Path) -> None:
    run = quick("iris", run=tmp_path / "run")
    with (
        run.locked(),
        pytest.raises(RunError, match=rf"is being trained by process {os.getpid()}"),
    ):
        fitwell.resume(run.folder, epochs=5, **AGAIN)
    assert manifest(run)["status"] == "finished"


def test_a_failed_run_is_not_made_worse(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="the loss became"):
        quick("digits", run=tmp_path / "run", optimizer="SGD(lr=1e30)", model="MLP()")
    with pytest.raises(ArithmeticError, match="the loss became"):
        fitwell.resume(tmp_path / "run", **AGAIN)
    assert Run.open(tmp_path / "run").status == "failed"


def test_what_is_shown_may_differ_from_what_was_shown(tmp_path: Path, capsys: Any) -> None:
    quick("iris", run=tmp_path / "run", quiet=False)
    resumed = fitwell.resume(tmp_path / "run", epochs=3, report=False, quiet=True)
    assert resumed.result["epochs"] == 3
