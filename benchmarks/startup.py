"""Start-up: from the shell to the first training step, against ``python -c "import torch"``.

Every contestant is a fresh process, timed from its start by the wall clock; files are in the disk
cache and bytecode is compiled, as after a first use. `first step` is a plain ``fitwell train
digits``: it counts as reached when the loss of step 1 stands in ``metrics.jsonl``, that is after
reading the data, splitting it, building and checking the model, opening the run folder, and one
forward, backward and update. `one step` is the same process to its end, with a checkpoint and
all measurements. The CPU time of each process is recorded beside the wall time.

    python benchmarks/startup.py --rounds 10
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import harness

from fitwell.core.records import append_record

BASE = "import torch"
COMMANDS: Mapping[str, Sequence[str]] = {
    "python": ("-c", "pass"),
    BASE: ("-c", "import torch"),
    "import fitwell": ("-c", "import fitwell"),
    "help": ("-m", "fitwell", "--help"),
    "train help": ("-m", "fitwell", "train", "--help"),
}
TRAIN = ("-m", "fitwell", "train", "digits", "--max-steps", "1", "--log-every", "1", "--quiet")
# What the issue tracker calls done: name -> largest value.
GOALS = {
    "first step / import torch": 1.3,
    "import fitwell - python, seconds": 0.05,
    "help, seconds": 0.5,
}
POLL = 0.001


def environment(threads: int) -> dict[str, str]:
    """Give the environment of a user: bytecode may be written, nothing is profiled."""
    unusual = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in unusual}
    return {**kept, "OMP_NUM_THREADS": str(threads)}


class Stopwatch:
    """Starts processes and keeps the CPU time of each, by name."""

    def __init__(self, threads: int) -> None:
        self._environment = environment(threads)
        self.cpu: dict[str, list[float]] = {}

    def whole(self, name: str, command: Sequence[str]) -> float:
        """Give the wall time of a process."""
        return self._run(name, command, until=None)

    def first_step(self, name: str) -> float:
        """Give the wall time until `fitwell train` has done a step."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "run", "metrics.jsonl")
            command = (*TRAIN, "--no-report", "--run", str(log.parent))
            return self._run(name, command, until=lambda: _has_step(log))

    def one_step(self, name: str) -> float:
        """Give the wall time of `fitwell train` with one step."""
        with tempfile.TemporaryDirectory() as folder:
            return self.whole(name, (*TRAIN, "--no-report", "--run", str(Path(folder, "run"))))

    def _run(self, name: str, command: Sequence[str], until: Callable[[], bool] | None) -> float:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], env=self._environment, stdout=subprocess.DEVNULL
        )
        reached = None
        while until is not None and reached is None and process.poll() is None:
            if until():
                reached = time.perf_counter() - start
                process.kill()
            else:
                time.sleep(POLL)
        _, status, used = os.wait4(process.pid, 0) if process.returncode is None else (0, 1, None)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if (until is None and status != 0) or (until is not None and reached is None):
            raise SystemExit(f"startup: {' '.join(command)} failed with {process.returncode}.")
        if used is not None:
            self.cpu.setdefault(name, []).append(used.ru_utime + used.ru_stime)
        return seconds if reached is None else reached


def _has_step(log: Path) -> bool:
    try:
        return '"kind": "step"' in log.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def goals(median: Callable[[str], float], names: Sequence[str]) -> dict[str, float]:
    """Give the measured values of the goals whose contestants ran."""
    found = {}
    if "first step" in names:
        found["first step / import torch"] = median("first step") / median(BASE)
    if {"import fitwell", "python"} <= set(names):
        extra = median("import fitwell") - median("python")
        found["import fitwell - python, seconds"] = extra
    if "help" in names:
        found["help, seconds"] = median("help")
    return found


def measure(options: Namespace) -> None:
    watch = Stopwatch(options.threads)
    contestants: dict[str, Callable[[], float]] = {
        name: functools.partial(watch.whole, name, command) for name, command in COMMANDS.items()
    }
    contestants["first step"] = functools.partial(watch.first_step, "first step")
    contestants["one step"] = functools.partial(watch.one_step, "one step")
    names = harness.chosen(list(contestants), options.only)
    if BASE not in names:
        names.insert(0, BASE)
    started = time.perf_counter()
    for name in names:
        contestants[name]()
    watch.cpu.clear()
    comparison = harness.compare(
        {name: contestants[name] for name in names},
        options.rounds,
        base=BASE,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    reached = goals(comparison.median, names)
    print(f"\n{harness.table(comparison)}")
    for name, value in reached.items():
        verdict = "reached" if value <= GOALS[name] else "MISSED"
        print(f"{name:<36}{value:>8.3f}   goal {GOALS[name]}: {verdict}")
    result: dict[str, Any] = comparison.to_dict()
    for name, seconds in watch.cpu.items():
        result[name]["cpu_median"] = statistics.median(seconds)
        result[name]["cpu_seconds"] = seconds
    append_record(
        options.record,
        what="start-up",
        method="fitwell " + " ".join(TRAIN[2:]),
        result={**result, "goals": reached},
        seeds=[0],
        seconds=time.perf_counter() - started,
        clock="wall time of a fresh process",
        rounds=options.rounds,
        threads=options.threads,
        torch=metadata.version("torch"),
        quick=options.quick,
    )


def main() -> None:
    parser = harness.arguments(__doc__, "records/startup.jsonl")
    parser.add_argument("--threads", type=int, default=2, help="of the processes")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    measure(options)


if __name__ == "__main__":
    main()
