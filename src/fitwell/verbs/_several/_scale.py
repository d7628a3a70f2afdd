"""Members spread over processes, on this machine or a cluster; each process stacks its own part.

Ray starts the processes and carries the sessions to them. Every process writes the runs of its
members itself, so on a cluster their folder must be one that all machines see.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...core.errors import UsageError, missing_extra
from ...train import Run
from .._session import Session

Train = Callable[[Sequence[Session]], Any]


def spread(
    members: Sequence[Session],
    train: Train,
    *,
    workers: int,
    cluster: str | None = None,
    quiet: bool = False,
) -> None:
    """Train members in several processes, as equal a part in each as can be.

    Args:
        members: Sessions whose runs are begun.
        train: Trains a part of them, in the process that it is called in.
        workers: How many processes.
        cluster: Address of a Ray cluster, such as ``ray://head:10001``; None starts one here.
        quiet: Show no progress.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: The cluster does not answer.
    """
    try:
        import ray
    except ImportError as err:
        raise missing_extra("workers", "ray", "scale") from err
    count = min(workers, len(members))
    parts = [[_at_home(s) for s in members[k::count]] for k in range(count)]
    threads = max(1, (os.cpu_count() or 1) // count)
    _connect(ray, count, cluster)
    try:
        task = ray.remote(num_cpus=1)(_train_part)
        waiting = [task.remote(part, train, threads) for part in parts]
        begun, done = time.monotonic(), 0
        while waiting:
            ended, waiting = ray.wait(waiting)
            done += len(ray.get(ended))
            if not quiet:
                took = time.monotonic() - begun
                print(f"part {done} of {count} is done  {took:.1f} s", file=sys.stderr)
    except ray.exceptions.RayTaskError as err:
        raise err.as_instanceof_cause() from None  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def _connect(ray: Any, count: int, cluster: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster is None:
        options |= {"num_cpus": count, "include_dashboard": False}
    else:
        options["address"] = cluster
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as err:
        raise UsageError(
            f"workers: `cluster` must be the address of a Ray cluster that answers; got"
            f" {cluster!r} ({str(err).splitlines()[0]}). Start one: ray start --head"
        ) from err


def _at_home(session: Session) -> Session:
    """Give a session whose folder is the same in every process."""
    run = session.run
    return replace(session, run=Run(Path(run.folder).resolve(), run.manifest), quiet=True)


def _train_part(members: Sequence[Session], train: Train, threads: int) -> int:
    torch.set_num_threads(threads)
    train(members)
    return len(members)
