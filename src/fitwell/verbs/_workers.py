"""Several processes on this machine that train one run together, started as ``torchrun`` does."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from ..core.errors import RunError, UsageError
from ..core.processes import launch_name


@final
class WorkersFailed(RunError):
    """The processes did not end well.

    Attributes:
        exit_code: Of the process that ended first.
    """

    exit_code = 1


def must_launch(workers: int | None) -> bool:
    """Tell whether processes have to be started, or are there already.

    Args:
        workers: How many are wanted; None takes those that are there.

    Raises:
        UsageError: The number is not positive, or another number of processes is there.
    """
    if workers is None:
        return False
    if workers < 1:
        raise UsageError(f"train: `workers` must be at least 1; got {workers}.")
    there = int(os.environ.get("WORLD_SIZE", "1"))
    if there > 1 and workers != there:
        raise UsageError(
            f"train: `workers` must be the number of processes that were started, {there}; got"
            f" {workers}. Leave it out."
        )
    return workers > there


def launch(words: Sequence[str], workers: int, folder: str | Path) -> None:
    """Run a command of fitwell in several processes that see each other, and wait for them.

    Args:
        words: What to type after ``fitwell``.
        workers: How many processes.
        folder: The run, for messages.

    Raises:
        WorkersFailed: One of them failed or was killed.
        KeyboardInterrupt: The user stopped them; the run can be resumed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=workers,
        run_id=launch_name(uuid.uuid4().hex),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        with _threads_shared(workers), _quiet_launcher():
            elastic_launch(config, sys.executable)("-m", "fitwell", *words)
    except SignalException as err:
        raise _stopped(folder) from err
    except ChildFailedError as err:
        rank, failure = err.get_first_failure()
        raise _explained(rank, failure.exitcode, workers, folder) from err


def _stopped(folder: str | Path) -> KeyboardInterrupt:
    return KeyboardInterrupt(f"stopped by Ctrl-C. Go on with: fitwell resume {folder}")


def _explained(rank: int, code: int, workers: int, folder: str | Path) -> BaseException:
    if code == 130:
        return _stopped(folder)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    error = WorkersFailed(
        f"train: process {rank + 1} of {workers} {how}, so all of them ended. Go on from the newest"
        f" checkpoint: fitwell resume {folder}"
    )
    error.told = code > 0  # by itself
    error.exit_code = max(code, 1)
    return error


@contextlib.contextmanager
def _threads_shared(workers: int) -> Iterator[None]:
    """Deal the processor's cores to the processes, unless the user has said how many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    if before is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers
        os.environ["OMP_NUM_THREADS"] = str(max(cores // workers, 1))
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


@contextlib.contextmanager
def _quiet_launcher() -> Iterator[None]:
    """Keep torch from telling at length what is said in one sentence here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
