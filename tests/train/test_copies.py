"""A copy of a run is a run at every moment, and training outlives a disk that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.train import CopyOut, Run, bring_back, copy_run
from fitwell.train._follow import _copies as copies

from ..verbs.runs import curve, quick, weights

AGAIN: dict[str, Any] = {"report": False, "quiet": True}
NOBODY: Any = None  # the trainer, which a copy does not look at


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("copies") / "run"
    return quick("iris", run=folder, epochs=4, log_every=1, batch_size=16, checkpoint_seconds=0)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    copy_run(trained.folder, tmp_path / "run")
    return Run.open(tmp_path / "run")


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_copy_goes_on_as_the_run_would(run: Run, tmp_path: Path) -> None:
    assert copy_run(run.folder, tmp_path / "copy") == run.result["steps"]
    assert names(tmp_path / "copy") == [n for n in names(run.folder) if n != ".lock"]
    here = fitwell.resume(run.folder, epochs=6, **AGAIN)
    there = fitwell.resume(tmp_path / "copy", epochs=6, **AGAIN)
    assert curve(here) == curve(there)
    assert weights(here) == weights(there)


def test_what_is_there_is_not_written_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_run(run.folder, tmp_path / "copy")
    monkeypatch.setattr(copies, "_write", lambda *_: pytest.fail("written again"))
    copy_run(run.folder, tmp_path / "copy")


def test_plat_04_the_copy_is_a_run_whenever_copying_is_cut_off(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write is the last, the copy has all metrics up to its newest checkpoint."""
    steps = [line["step"] for line in run.metrics() if line["kind"] == "step"]
    write, left = copies._write, 0

    def limited(source: Any, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            target.write_bytes(source.read(10))
            raise OSError(28, "No space left on device")
        write(source, target)

    monkeypatch.setattr(copies, "_write", limited)
    resumable = 0
    for allowed in range(30):
        copy, left = tmp_path / f"copy-{allowed}", allowed
        try:
            copy_run(run.folder, copy)
            break
        except OSError:
            pass
        newest = copies._newest(copy) or 0
        if (copy / "run.json").exists():
            copied = [r["step"] for r in Run.open(copy).metrics() if r["kind"] == "step"]
            assert set(copied) >= {step for step in steps if step <= newest}
            resumable += newest > 0
    assert allowed > 8
    assert resumable >= 3
    left = 99
    copy_run(run.folder, tmp_path / "copy-5")
    assert names(tmp_path / "copy-5") == [n for n in names(run.folder) if n != ".lock"]


def test_a_checkpoint_deleted_while_it_is_copied_arrives_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = run.checkpoints().newest()
    folder = run.checkpoints().folder / f"step-{newest:09d}"
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = copies._write

    def deleting(source: Any, target: Path) -> None:
        for path in folder.glob("*"):
            path.unlink()
        write(source, target)

    monkeypatch.setattr(copies, "_write", deleting)
    copy_run(run.folder, tmp_path / "copy")
    copied = tmp_path / "copy" / "checkpoints" / folder.name
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == expected


def test_a_half_deleted_checkpoint_is_passed_over(run: Run, tmp_path: Path) -> None:
    newest = run.checkpoints().newest()
    (run.checkpoints().folder / f"step-{newest:09d}" / "weights.safetensors").unlink()
    assert copy_run(run.folder, tmp_path / "copy") != newest


def test_checkpoints_that_the_run_gave_up_leave_the_copy(run: Run, tmp_path: Path) -> None:
    copy_run(run.folder, tmp_path / "copy")
    fitwell.resume(run.folder, epochs=6, **AGAIN)
    copy_run(run.folder, tmp_path / "copy")
    kept = [path.name for path in sorted((run.folder / "checkpoints").iterdir())]
    assert [path.name for path in sorted((tmp_path / "copy/checkpoints").iterdir())] == kept


def test_other_folders_are_left_alone(run: Run, tmp_path: Path) -> None:
    other = quick("iris", run=tmp_path / "other", seed=1, epochs=1)
    with pytest.raises(RunError, match="it is another run"):
        copy_run(run.folder, other.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="it holds something else"):
        CopyOut(run.folder, tmp_path / "full").on_fit_start(NOBODY)
    copy_run(run.folder, tmp_path / "copy")
    fitwell.resume(tmp_path / "copy", epochs=6, **AGAIN)
    with pytest.raises(RunError, match=r"must not be ahead .*fitwell resume"):
        CopyOut(run.folder, tmp_path / "copy").on_fit_start(NOBODY)
    with pytest.raises(UsageError, match="`every_seconds` must be positive; got 0"):
        CopyOut(run.folder, tmp_path / "new", 0)


def test_a_run_is_brought_back_when_its_copy_is_ahead(run: Run, tmp_path: Path) -> None:
    copy, home = tmp_path / "copy", tmp_path / "new" / "home"
    assert not bring_back(copy, run.folder)
    copy_run(run.folder, copy)
    assert not bring_back(copy, run.folder)
    assert bring_back(copy, home)
    ahead = fitwell.resume(copy, epochs=6, **AGAIN)
    assert bring_back(copy, home)
    assert curve(home) == curve(ahead)
    assert Run.open(home).result["epochs"] == 6
    assert not bring_back(home, home)


def test_plat_04_new_checkpoints_arrive_while_training_goes_on(run: Run, tmp_path: Path) -> None:
    observer = CopyOut(run.folder, tmp_path / "copy", every_seconds=0.01)
    observer.on_fit_start(NOBODY)
    for _ in range(1000):
        if (tmp_path / "copy" / "report.html").exists() or names(tmp_path / "copy"):
            break
        time.sleep(0.01)
    fitwell.resume(run.folder, epochs=6, **AGAIN)
    newest = run.checkpoints().newest()
    for _ in range(1000):
        if copies._newest(tmp_path / "copy") == newest:
            break
        time.sleep(0.01)
    assert copies._newest(tmp_path / "copy") == newest
    observer.on_fit_end(NOBODY)
    assert not [thread for thread in threading.enumerate() if thread.name == "fitwell copies"]
    assert curve(tmp_path / "copy") == curve(run)


def test_plat_04_a_disk_that_fails_does_not_stop_training_and_is_said_twice(
    run: Run, tmp_path: Path, capsys: Any
) -> None:
    drive = tmp_path / "drive"
    observer = CopyOut(run.folder, drive / "copy", every_seconds=0.01)
    observer.on_fit_start(NOBODY)  # the drive is not mounted
    for _ in range(1000):
        if observer.problem is not None:
            break
        time.sleep(0.01)
    for _ in range(3):
        observer.on_step(NOBODY)
    observer.on_fit_end(NOBODY)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "failed ([Errno 2] No such file or directory" in said[0]
    assert "training goes on" in said[0]
    assert f"is not up to date ([Errno 2] No such file or directory: '{drive}/copy')" in said[1]
    drive.mkdir()
    observer.finish()
    assert observer.problem is None
    assert copies._newest(drive / "copy") == run.checkpoints().newest()


def test_a_copy_that_is_trained_itself_is_not_copied(run: Run, capsys: Any) -> None:
    observer = CopyOut(run.folder, run.folder / "." / "..", every_seconds=0.01)
    observer.folder = run.folder
    before = names(run.folder)
    observer.on_fit_start(NOBODY)
    observer.on_fit_end(NOBODY)
    observer.finish()
    assert names(run.folder) == before
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_plat_04_a_killed_runtime_loses_an_interval_and_goes_on_from_the_copy(
    tmp_path: Path,
) -> None:
    words = ["train", "digits", "--model", "MLP(hidden=(32,), dropout=0.2)", "--epochs", "4"]
    words += ["--batch-size", "16", "--log-every", "1", "--checkpoint-seconds", "0"]
    words += ["--quiet", "--no-report", "--run", "run"]
    words += ["--copy-to", "copy", "--copy-seconds", "0.05"]
    command = [sys.executable, "-m", "fitwell", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    copied: list[int] = []
    while len(copied) < 4 and process.poll() is None:
        newest = copies._newest(tmp_path / "copy")
        if newest is not None and newest not in copied:
            copied.append(newest)
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(copied) == 4
    lost = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-2])["step"]
    newest = copies._newest(tmp_path / "copy")
    assert newest is not None
    assert newest >= copied[-1]
    assert newest <= lost + 1
    (tmp_path / "run").rename(tmp_path / "gone")

    again = [sys.executable, "-m", "fitwell", "resume", "copy", "--quiet", "--no-report"]
    subprocess.run(again, cwd=tmp_path, env=environment, check=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = fitwell.train(like=tmp_path / "copy", run=tmp_path / "whole", log_every=1, **AGAIN)
    finally:
        torch.set_num_threads(threads)
    assert curve(tmp_path / "copy") == curve(whole)
    assert weights(tmp_path / "copy") == weights(whole)
