"""Training in several processes: equal to one, written by one, ended by the loss of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fitwell
from fitwell.cli import main
from fitwell.core.errors import UsageError
from fitwell.train import load_weights
from fitwell.verbs._workers import must_launch

from .test_kill import curve, lines_written

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # sums of float32 in another order, 100 steps long
MODEL = ("--model", "MLP(hidden=(32,))")


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    yield
    for process in STARTED:
        with process:
            process.terminate()
    STARTED.clear()


def start(*words: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"}
    process = subprocess.Popen(
        [sys.executable, *(launcher or ("-m",)), "fitwell", *words, "--no-report", "--quiet"],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def train(run: Path, *more: str) -> tuple[str, ...]:
    return ("train", "digits", "--run", str(run), *MODEL, "--max-steps", "100", *more)


@pytest.mark.slow
def test_fed_05_processes_together_train_as_one_on_the_whole_batches(tmp_path: Path) -> None:
    """60 divides neither the training part nor the validation part: last batches are uneven."""
    one = fitwell.train(
        "digits", model="MLP(hidden=(32,))", max_steps=100, batch_size=60, run=tmp_path / "one",
        report=False, quiet=True, log_every=1,
    )  # fmt: skip
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "3", "-m", "--")
    two = train(tmp_path / "2", "--log-every", "1", "--batch-size", "30", "--workers", "2")
    three = train(tmp_path / "3", "--log-every", "1", "--batch-size", "20")
    processes = {2: start(*two), 3: start(*three, launcher=torchrun)}
    expected = load_weights(one.folder / "model.safetensors")
    for count, process in processes.items():
        out, err = finished(process)
        assert out.count("test     loss") == 1, "only the first process speaks"
        assert err == "" or count == 3, "torchrun may say something of its own"
        run = fitwell.open_run(tmp_path / str(count))
        assert run.status == "finished"
        assert run.settings.optimization.workers == count
        found = load_weights(run.folder / "model.safetensors")
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, **CLOSE)
        assert len(run.metrics()) == len(one.metrics()), "only the first process writes"
        for ours, theirs in zip(run.metrics(), one.metrics(), strict=True):
            if theirs["kind"] == "step":
                assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
            else:
                assert ours["valid"] == pytest.approx(theirs["valid"], rel=1e-4)
        assert run.result["test"] == pytest.approx(one.result["test"], rel=1e-3)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    often = ("--log-every", "1", "--checkpoint-seconds", "0", "--workers", "2", "--accumulate", "2")
    dropout = ("--model", "MLP(hidden=(32,), dropout=0.2)", "--average", "EMA(decay=0.9)")
    whole, killed = (
        start(*train(tmp_path / name, *often, *dropout)) for name in ("whole", "killed")
    )
    run = tmp_path / "killed"
    while lines_written(run) < 12 and killed.poll() is None:
        time.sleep(0.01)
    os.kill(children_of(killed.pid)[-1], signal.SIGKILL)
    _, err = killed.communicate(timeout=120)
    finished(whole)

    assert killed.returncode == 1
    assert err.strip().count("\n") == 0, err
    assert "was killed by SIGKILL, so all of them ended" in err
    assert f"fitwell resume {run}" in err
    assert len(curve(run)) < len(curve(tmp_path / "whole"))

    finished(start("resume", str(run)))
    assert curve(run) == curve(tmp_path / "whole")
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "killed")]
    assert weights[0] == weights[1]


def children_of(parent: int) -> list[int]:
    """Give the processes that train, in the order in which they were started."""
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    found = [int(pid) for pid in text.split()]
    assert len(found) == 2
    return found


def test_what_fails_in_the_first_process_alone_ends_all(tmp_path: Path) -> None:
    """An observer, which only the first process has, finds a folder it must not write to."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    blocked = ("--workers", "2", "--copy-to", str(tmp_path / "full"))
    process = start(*train(tmp_path / "run", *blocked))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "holds something else" in err
    assert err.strip().count("\n") == 0, err


@pytest.mark.slow
def test_an_interrupt_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = train(run, "--workers", "2", "--log-every", "1")
    process = start(*words[:-4], "--max-steps", "100000", *words[-4:])
    while lines_written(run) < 5 and process.poll() is None:
        time.sleep(0.01)
    for pid in (process.pid, *children_of(process.pid)):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.strip().count("\n") == 0, err
    assert "stopped by Ctrl-C" in err
    stopped = fitwell.open_run(run)
    assert stopped.status == "stopped"
    steps = stopped.checkpoints().newest()
    assert steps is not None
    finished(start("resume", str(run), "--max-steps", str(steps + 3)))
    assert fitwell.open_run(run).result["steps"] == steps + 3


def test_a_mistake_is_told_once_and_nothing_is_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*train(run, "--workers", "2", "--metric", "acuracy"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out == ""
    assert err.count("no metric named 'acuracy'") == 1
    assert err.strip().count("\n") == 0
    assert not run.exists()


def test_workers_are_checked_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not must_launch(None)
    assert not must_launch(1)
    assert must_launch(2)
    assert main(["train", "digits", "--workers", "0", "--run", str(tmp_path / "run")]) == 2
    assert "`workers` must be at least 1; got 0" in capsys.readouterr().err
    x, y = torch.rand(20, 3), torch.arange(20) % 2
    with pytest.raises(UsageError, match=r"`workers` must be 1 when `source` is an object"):
        fitwell.train((x, y), workers=2)
    with pytest.raises(UsageError, match="`workers` must be 1 for a plan; got 2"):
        fitwell.train("digits", workers=2, plan=True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert not must_launch(3)
    with pytest.raises(UsageError, match="must be the number of processes that were started, 3"):
        must_launch(2)


def test_a_run_goes_on_with_as_many_processes_as_it_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = fitwell.train(
        "digits", smoke=True, run=tmp_path / "run", report=False, quiet=True, max_steps=1
    )
    manifest = json.loads((run.folder / "run.json").read_text())
    manifest["settings"]["optimization"]["workers"] = 2
    (run.folder / "run.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="must be the number of processes that were started, 3"):
        fitwell.resume(run.folder)
