"""Plans against the trainings they are about: predicted and measured seconds, memory and bytes.

Each job is planned by ``fitwell train ... --plan`` and then trained by the same command, both in
fresh processes. Measured are the wall time of the training's process, the peak of its resident
memory and the size of its folder without the report. A plan counts as right within 15 %.

    python benchmarks/plan.py --probe-seconds 120
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import harness

from fitwell.core.records import append_record

JOBS = {
    "digits": "digits --epochs 60",
    "fashion": "fashion_mnist --epochs 2 --model CNN()",
    "cifar10": "cifar10 --epochs 3 --model ResNet20() --batch-size 128 --precision bf16",
}
GOAL = 0.15
EVERY = ("--no-report", "--quiet", "--json", "--device", "cpu")


def fitwell(words: list[str], threads: int) -> tuple[str, float, int]:
    """Give what a fitwell process prints, its wall time, and its peak of resident bytes."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "fitwell", *words]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"plan: {shlex.join(command)} failed with {process.returncode}.")
        out.seek(0)
        return out.read(), seconds, used.ru_maxrss * 1024


def job(words: list[str], options: Namespace) -> dict[str, Any]:
    """Plan a training, train it, and give both."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        train = ["train", *words, *EVERY, "--run", str(run)]
        probe = ["--plan", "--probe-seconds", str(options.probe_seconds)]
        plan = json.loads(fitwell([*train, *probe], options.threads)[0])
        _, seconds, memory = fitwell(train, options.threads)
        size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    return {
        "predicted_seconds": plan["seconds"],
        "measured_seconds": seconds,
        "seconds_ratio": plan["seconds"] / seconds,
        "memory_ratio": plan["memory_bytes"] / memory,
        "disk_ratio": plan["disk_bytes"] / size,
        "plan": plan,
    }


def main() -> None:
    parser = harness.arguments(__doc__, "records/plan.jsonl")
    parser.add_argument("--probe-seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    names = [name for name in JOBS if not options.only or name in options.only]
    if options.quick:
        names, options.probe_seconds = names[:1], 2.0
    started = time.perf_counter()
    results = {}
    for name in names:
        results[name] = job(shlex.split(JOBS[name]), options)
        found = results[name]
        ratio = found["seconds_ratio"]
        verdict = "reached" if abs(ratio - 1) <= GOAL else "MISSED"
        print(
            f"{name:<10}{found['predicted_seconds']:>10.1f} s planned"
            f"{found['measured_seconds']:>10.1f} s taken  ratio {ratio:.2f}: {verdict}"
        )
    append_record(
        options.record,
        what="plan of the run time",
        method="fitwell train ... --plan",
        result=results,
        seeds=[0],
        seconds=time.perf_counter() - started,
        jobs={name: JOBS[name] for name in names},
        probe_seconds=options.probe_seconds,
        threads=options.threads,
        goal=GOAL,
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
