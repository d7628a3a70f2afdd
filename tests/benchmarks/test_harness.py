"""The arithmetic of benchmarks/harness.py. Nothing here depends on how fast anything is."""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "harness.py"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def scripted(log: list[str], name: str, *seconds: float) -> Callable[[], float]:
    values = iter(seconds)

    def run() -> float:
        log.append(name)
        return next(values)

    return run


def test_contestants_take_turns_and_the_order_rotates(harness: ModuleType) -> None:
    log: list[str] = []
    names = ("fitwell", "b", "c")
    harness.compare({n: scripted(log, n, 1, 1, 1, 1) for n in names}, 4)
    rounds = [log[start : start + 3] for start in range(0, 12, 3)]
    assert all(sorted(one) == sorted(names) for one in rounds)
    assert [one[0] for one in rounds] == ["fitwell", "b", "c", "fitwell"]


def test_seconds_stay_with_their_round(harness: ModuleType) -> None:
    log: list[str] = []
    contestants = {"fitwell": scripted(log, "f", 1, 2, 3), "peer": scripted(log, "p", 2, 6, 12)}
    result = harness.compare(contestants, 3)
    assert result.seconds == {"fitwell": (1, 2, 3), "peer": (2, 6, 12)}
    assert result.ratios("peer") == [2, 3, 4]


def test_the_ratio_is_the_median_of_ratios_not_the_ratio_of_medians(harness: ModuleType) -> None:
    result = harness.Comparison({"fitwell": (1.0, 2.0, 30.0), "peer": (5.0, 4.0, 15.0)})
    row = result.to_dict(samples=100)["peer"]
    assert row["ratio"] == 2.0
    assert row["median"] == 5.0
    assert row["median"] / result.median("fitwell") == 2.5
    assert (row["min"], row["max"]) == (4.0, 15.0)
    assert row["samples_per_second"] == 20.0
    assert "ratio" not in result.to_dict()["fitwell"]


@pytest.mark.parametrize(
    ("count", "cut"),
    # Tables of the sign test: ranks of the 95 % interval for a median, from 0.
    [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (10, 1), (12, 2), (20, 5), (25, 7)],
)
def test_interval_has_the_ranks_of_the_sign_test(harness: ModuleType, count: int, cut: int) -> None:
    values = random.Random(count).sample(range(1000), count)
    found = harness.median_interval(values)
    ordered = sorted(values)
    assert (found.low, found.high) == (ordered[cut], ordered[-1 - cut])
    assert (found.coverage >= 0.95) == (count >= 6)


def test_coverage_is_what_it_says_over_all_outcomes(harness: ModuleType) -> None:
    # Each value lies below or above the true median 0 with equal chance: walk through all cases.
    count = 9
    held = 0
    for signs in itertools.product((-1, 1), repeat=count):
        found = harness.median_interval([sign * (i + 1) for i, sign in enumerate(signs)])
        held += found.low < 0 < found.high
    assert math.isclose(held / 2**count, found.coverage)


def test_table_lists_the_fastest_first_and_marks_thin_evidence(harness: ModuleType) -> None:
    result = harness.Comparison({"fitwell": (2.0, 2.0), "peer": (1.0, 1.0)})
    head, first, second = harness.table(result, samples=10).splitlines()
    assert first.startswith("peer")
    assert second.startswith("fitwell")
    assert "0.50  0.50 .. 0.50 (50%)" in first
    assert "samples/s" in head


def test_choosing_contestants_keeps_the_base(harness: ModuleType) -> None:
    assert harness.chosen(["fitwell", "a", "b"], ["b"]) == ["fitwell", "b"]
    assert harness.chosen(["fitwell", "a"], None) == ["fitwell", "a"]
    with pytest.raises(SystemExit, match="no contestant named"):
        harness.chosen(["fitwell", "a"], ["x"])


def test_bad_rounds_are_refused(harness: ModuleType) -> None:
    with pytest.raises(ValueError, match="`rounds` must be at least 1"):
        harness.compare({"fitwell": lambda: 1.0}, 0)
    with pytest.raises(ValueError, match="must not be empty"):
        harness.median_interval([])


def test_one_thread_is_timed_by_cpu_and_more_by_the_wall(harness: ModuleType) -> None:
    assert harness.clock(1) is harness.time.process_time
    assert harness.clock(2) is harness.time.perf_counter
