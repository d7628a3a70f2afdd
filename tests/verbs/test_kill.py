"""A run that is killed with SIGKILL at any moment goes on to the same losses, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TIMED = ("seconds", "examples_per_second")


def fitwell(*words: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fitwell", *words, "--quiet", "--no-report"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )


def start(run: str, folder: Path) -> subprocess.Popen[bytes]:
    return fitwell(
        *("train", "digits", "--run", run, "--model", "MLP(hidden=(32,), dropout=0.2)"),
        *(
            "--epochs",
            "8",
            "--batch-size",
            "64",
            "--average",
            "EMA(decay=0.9)",
            "--accumulate",
            "2",
        ),
        *("--log-every", "1", "--checkpoint-seconds", "0"),
        folder=folder,
    )


def curve(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def lines_written(run: Path) -> int:
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_after(process: subprocess.Popen[bytes], run: Path, lines: int, rest: float) -> bool:
    """Kill when the run has written some lines and a random time has passed; False if it ended."""
    while lines_written(run) < lines:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(rest)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_plat_06_a_run_killed_at_any_moment_resumes_to_a_bit_equal_curve(tmp_path: Path) -> None:
    whole = start("whole", tmp_path)
    assert whole.wait() == 0, (tmp_path / "log").read_text()
    expected = curve(tmp_path / "whole")
    assert len(expected) == 8 * 10 + 8

    draw = random.Random(20260101)
    run = tmp_path / "killed"
    kills = 0
    process = start("killed", tmp_path)
    for target in (1, 23, 41, 66):
        if kill_after(process, run, target + draw.randrange(8), draw.random() * 0.05):
            kills += 1
            process = fitwell("resume", "killed", folder=tmp_path)
    assert process.wait() == 0, (tmp_path / "log").read_text()

    assert kills >= 3
    assert curve(run) == expected
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("whole", "killed")]
    assert results[0]["test"] == results[1]["test"]
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert not list((run / "checkpoints").glob(".writing-*"))
