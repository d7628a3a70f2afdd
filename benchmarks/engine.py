"""Training speed on the digits set (1,797 images of 8 x 8), against a hand-written loop and peers.

An MLP 64-256-128-10 and a CNN of two convolutions, batches of 32 and 256. Before anything is timed
it is checked that fitwell's losses equal those of the hand-written loop bit for bit when both
follow one order; every timed training must reach an accuracy close to fitwell's. What each
contestant does stands in contestants.py, how they are compared in harness.py.

    pip install -c constraints-bench.txt ".[bench]"
    python benchmarks/engine.py --threads 1
    python benchmarks/engine.py --threads 2
    python benchmarks/engine.py --quick --only hand_best --record /tmp/engine.jsonl
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import harness

from fitwell.core.records import append_record

if TYPE_CHECKING:
    from contestants import Kind, Problem

LR = 1e-3
MODELS = {
    "mlp": "64-256-128-10 with ReLU",
    "cnn": "3 x 3 convolutions 1-16-32 with ReLU, pooling, linear 512-10",
}
# Orders and first weights differ between contestants, and with them the accuracy after training.
BAND = 0.03


def make_problem(kind: Kind, batch_size: int, epochs: int, threads: int) -> Problem:
    import contestants

    inputs, targets = contestants.digits(kind)
    return contestants.Problem(
        kind=kind,
        inputs=inputs,
        targets=targets,
        model=contestants.make_model(kind),
        batch_size=batch_size,
        epochs=epochs,
        lr=LR,
        clock=harness.clock(threads),
    )


def same_losses(problem: Problem) -> int:
    """Check that fitwell and the hand-written loop agree in every loss; give how many there are."""
    import contestants

    ours = contestants.fitwell(problem).losses
    theirs = contestants.hand_best(problem, contestants.orders_of_fitwell(problem)).losses
    if ours != theirs:
        step = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        raise SystemExit(
            f"engine: losses differ from step {step + 1} on: {ours[step]} and {theirs[step]}."
        )
    return len(ours)


def contest(problem: Problem, options: Namespace) -> None:
    """Warm up, time, print and record one table."""
    import contestants
    import torch

    accuracies: dict[str, list[float]] = {}

    def run(name: str) -> float:
        outcome = contestants.ALL[name](problem)
        accuracies.setdefault(name, []).append(outcome.accuracy)
        return outcome.seconds

    started = time.perf_counter()
    equal = same_losses(problem)
    names = harness.chosen(contestants.names(problem.kind), options.only)
    for name in names:
        contestants.ALL[name](dataclasses.replace(problem, epochs=1))
    comparison = harness.compare(
        {name: functools.partial(run, name) for name in names},
        options.rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    middle = {name: statistics.median(values) for name, values in accuracies.items()}
    samples = len(problem.inputs) * problem.epochs
    what = (
        f"training speed, digits {problem.kind}, batch {problem.batch_size},"
        f" {options.threads} thread{'s' if options.threads > 1 else ''}"
    )
    print(f"\n{what}\n{harness.table(comparison, samples)}")
    print("accuracy  " + "  ".join(f"{name} {value:.3f}" for name, value in middle.items()))
    result: dict[str, Any] = comparison.to_dict(samples)
    for name, value in middle.items():
        result[name]["train_accuracy"] = value
    append_record(
        options.record,
        what=what,
        method=f"{MODELS[problem.kind]}, Adam(lr={LR}), {problem.epochs} epochs",
        result=result,
        seeds=[problem.seed],
        seconds=time.perf_counter() - started,
        clock="process CPU time" if options.threads == 1 else "wall time",
        rounds=options.rounds,
        epochs=problem.epochs,
        threads=torch.get_num_threads(),
        losses_equal_to_hand_best=equal,
        quick=options.quick,
    )
    if not options.quick:
        check_outcomes(middle)


def check_outcomes(accuracies: dict[str, float]) -> None:
    far = {n: a for n, a in accuracies.items() if abs(a - accuracies[harness.OURS]) > BAND}
    if far:
        raise SystemExit(
            f"engine: {far} did not learn as fitwell did ({accuracies[harness.OURS]:.3f})."
        )


def main() -> None:
    parser = harness.arguments(__doc__, "records/engine.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="1: CPU time; more: wall time")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--models", nargs="+", choices=("mlp", "cnn"), default=["mlp", "cnn"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32, 256])
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.epochs = 1, 1
    harness.set_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    for kind, size in itertools.product(options.models, options.batch_sizes):
        contest(make_problem(kind, size, options.epochs, options.threads), options)


if __name__ == "__main__":
    main()
