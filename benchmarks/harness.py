"""Fair comparisons of speed: contestants take turns, and ratios are taken within each turn.

A machine's speed drifts by more than what is measured here. So every contestant runs once per
round, the order rotates from round to round, and a contestant is compared with fitwell only inside
one round. The ratio is the median over rounds; its interval is the one of the sign test, which
assumes nothing about the distribution. Times are CPU time of the process with one thread, since
waiting for a busy core is nobody's fault, and wall time with more.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

OURS = "fitwell"
CONFIDENCE = 0.95


@final
@dataclass(frozen=True)
class Interval:
    """A range for a median.

    Args:
        low: Lower end.
        high: Upper end.
        coverage: Probability that such a range holds the median; below 0.95 with few rounds.
    """

    low: float
    high: float
    coverage: float


@final
@dataclass(frozen=True)
class Comparison:
    """Seconds of each contestant in each round.

    Args:
        seconds: By name, one per round, rounds in the same order for all.
        base: The contestant that the others are compared with.
    """

    seconds: Mapping[str, tuple[float, ...]]
    base: str = OURS

    def median(self, name: str) -> float:
        """Give the median of a contestant's seconds."""
        return statistics.median(self.seconds[name])

    def ratios(self, name: str) -> list[float]:
        """Divide a contestant's seconds by the base's in each round; above 1 the base is faster."""
        pairs = zip(self.seconds[name], self.seconds[self.base], strict=True)
        return [theirs / ours for theirs, ours in pairs]

    def to_dict(self, samples: int | None = None) -> dict[str, dict[str, Any]]:
        """Give everything as plain data, with samples per second if their number is given."""
        table = {}
        for name, seconds in self.seconds.items():
            row: dict[str, Any] = {
                "seconds": list(seconds),
                "median": self.median(name),
                "min": min(seconds),
                "max": max(seconds),
            }
            if samples is not None:
                row["samples_per_second"] = samples / row["median"]
            if name != self.base and self.base in self.seconds:
                ratios = self.ratios(name)
                row["ratio"] = statistics.median(ratios)
                row["interval"] = vars(median_interval(ratios))
            table[name] = row
        return table


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Give the narrowest symmetric range of order statistics that holds the median.

    With too few values for the confidence (fewer than 6 for 0.95) it is their whole range.
    """
    ordered, count = sorted(values), len(values)
    if count == 0:
        raise ValueError("median_interval: `values` must not be empty.")
    best = Interval(ordered[0], ordered[-1], 1 - 2 * 0.5**count)
    for cut in range(1, (count + 1) // 2):
        outside = sum(math.comb(count, k) for k in range(cut + 1)) / 2**count
        if 1 - 2 * outside < confidence:
            break
        best = Interval(ordered[cut], ordered[-1 - cut], 1 - 2 * outside)
    return best


def compare(
    contestants: Mapping[str, Callable[[], float]],
    rounds: int,
    *,
    base: str = OURS,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Run every contestant once per round, in an order that rotates.

    Each returns the seconds it took; it times itself, so that setting up stays outside. Warm up
    before.
    """
    if rounds < 1:
        raise ValueError(f"compare: `rounds` must be at least 1; got {rounds}.")
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            seconds[name].append(contestants[name]())
        if progress is not None:
            progress(f"round {number + 1} of {rounds}")
    return Comparison({name: tuple(values) for name, values in seconds.items()}, base)


def clock(threads: int) -> Callable[[], float]:
    """Give the clock: CPU time of the process with one thread, wall time with more."""
    return time.process_time if threads == 1 else time.perf_counter


def set_threads(threads: int) -> None:
    """Fix the threads of every library; call it before numpy and torch are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def table(comparison: Comparison, samples: int | None = None) -> str:
    """Draw a comparison, the fastest first."""
    rows = comparison.to_dict(samples)
    head = f"{'':<18}{'median s':>10}{'min .. max':>20}"
    head += f"{'samples/s':>12}" if samples is not None else ""
    lines = [f"{head}  {'of ' + comparison.base:>10}  95 % of medians"]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["median"]):
        line = f"{name:<18}{row['median']:>10.4f}"
        line += f"{row['min']:>10.4f} .. {row['max']:<6.4f}"
        if samples is not None:
            line += f"{row['samples_per_second']:>12,.0f}"
        if "ratio" in row:
            interval = row["interval"]
            line += f"  {row['ratio']:>10.2f}  {interval['low']:.2f} .. {interval['high']:.2f}"
            if interval["coverage"] < CONFIDENCE:
                line += f" ({interval['coverage']:.0%})"
        lines.append(line)
    return "\n".join(lines)


def arguments(description: str | None, record: str) -> argparse.ArgumentParser:
    """Give the options that every comparison has; a script adds its own."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these contestants")
    parser.add_argument("--quick", action="store_true", help="prove that it works, not how fast")
    parser.add_argument("--record", type=Path, default=Path(record), help="file to append to")
    return parser


def chosen(names: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """Keep the contestants that were asked for, and the base always."""
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise SystemExit(f"--only: no contestant named {unknown}; there are {sorted(names)}.")
    return [name for name in names if only is None or name in only or name == OURS]
