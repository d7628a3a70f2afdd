"""What showing progress costs: 100,000 steps of `Progress`, against tqdm, against doing nothing.

Both draw to a pseudo-terminal that is read and thrown away. The share is that of the smallest
training in these benchmarks, the multi-layer perceptron on digits with batches of 32, a step of
which is timed in the same run.

    python benchmarks/progress.py --rounds 10
"""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import IO, Any

import harness

STEPS = 100_000


@contextlib.contextmanager
def terminal() -> Iterator[IO[str]]:
    """Give a stream that is a terminal, whose output somebody reads."""
    reader, writer = pty.openpty()

    def drain() -> None:
        with contextlib.suppress(OSError):
            while os.read(reader, 65536):
                pass

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    with os.fdopen(writer, "w") as stream:
        yield stream
    thread.join()
    os.close(reader)


def trainer_of(steps: int) -> Any:
    """Give what `Progress` looks at."""
    history = SimpleNamespace(epochs=[], stopped=None)
    return SimpleNamespace(
        step=0,
        epoch=0,
        total_steps=steps,
        steps_per_epoch=steps,
        history=history,
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.1}]),
        within_epoch=True,
    )


def ours(steps: int) -> float:
    from fitwell.train import Progress

    trainer = trainer_of(steps)
    with terminal() as stream:
        progress = Progress(stream)
        started = time.perf_counter()
        progress.on_fit_start(trainer)
        for number in range(steps):
            trainer.step = number + 1
            progress.on_step(trainer)
        progress.on_fit_end(trainer)
        return time.perf_counter() - started


def nothing(steps: int) -> float:
    trainer = trainer_of(steps)
    started = time.perf_counter()
    for number in range(steps):
        trainer.step = number + 1
    return time.perf_counter() - started


def theirs(steps: int) -> float:
    from tqdm import tqdm

    trainer = trainer_of(steps)
    with terminal() as stream:
        started = time.perf_counter()
        for number in tqdm(range(steps), file=stream):
            trainer.step = number + 1
        return time.perf_counter() - started


def step_seconds() -> float:
    """Time a step of the smallest training, without progress."""
    import torch

    from fitwell.data import Batches, load_builtin
    from fitwell.nn import MLP
    from fitwell.optim import Adam
    from fitwell.train import Supervised, Trainer

    train = load_builtin("digits").train
    model = torch.nn.Sequential(torch.nn.Flatten(), MLP(64, 10, hidden=(128,)))
    objective = Supervised(torch.nn.functional.cross_entropy)
    trainer = Trainer(model, objective, Adam(model.parameters(), lr=1e-3))
    trainer.fit(Batches(train, 32, shuffle=True), epochs=2)
    before = trainer.history.seconds
    trainer.fit(Batches(train, 32, shuffle=True), epochs=12)
    return (trainer.history.seconds - before) / (trainer.step - 2 * len(Batches(train, 32)))


def main() -> None:
    from fitwell.core.records import append_record

    parser = harness.arguments(__doc__, "records/progress.jsonl")
    options = parser.parse_args()
    steps = STEPS // 100 if options.quick else STEPS
    rounds = 1 if options.quick else options.rounds
    contestants: dict[str, Callable[[], float]] = {
        harness.OURS: lambda: ours(steps),
        "tqdm": lambda: theirs(steps),
        "nothing": lambda: nothing(steps),
    }
    began = time.perf_counter()
    comparison = harness.compare(
        {name: contestants[name] for name in harness.chosen(list(contestants), options.only)},
        rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    step = step_seconds()
    extra = comparison.median(harness.OURS) - comparison.median("nothing")
    share = extra / (steps * step)
    print(f"\n{harness.table(comparison)}\nstep {1e6 * step:.0f} us, share {100 * share:.3f} %")
    append_record(
        options.record,
        what=f"progress of {steps} steps",
        method="Progress on a terminal",
        result={**comparison.to_dict(), "share of a training": share, "step seconds": step},
        seeds=[0],
        seconds=time.perf_counter() - began,
        clock="wall time",
        rounds=rounds,
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
