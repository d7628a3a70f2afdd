"""Timing: a clock of our own says what each part takes; loops that keep things are named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.doctor import state_digest, timing
from fitwell.doctor._probes._kept import count_nodes
from fitwell.doctor._probes._timed import Loop
from fitwell.doctor._probes._timing import _middle, _slope
from fitwell.optim import SAM, SGD

NOW = [0.0]
SAME = 1e-9


def now() -> float:
    return NOW[0]


def take(seconds: float) -> None:
    NOW[0] += seconds


class Takes(torch.autograd.Function):
    """Passes numbers on, and takes a second forward and two back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        take(1.0)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        take(2.0)
        return slopes[0]


class Net(nn.Module):
    """A linear layer that takes its time, and, if asked to, more of it each time."""

    def __init__(self, slower: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.slower, self.calls = slower, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        take(self.slower * self.calls)
        found: Tensor = Takes.apply(self.inner(x))
        return found


class Steps(torch.optim.SGD):
    """Takes half a second per step."""

    def step(self, closure: Any = None) -> Any:
        take(0.5)
        return super().step(closure)


class Loader:
    """Batches that take some seconds each."""

    def __init__(self, seconds: float = 0.0, count: int = 4) -> None:
        self.seconds, self.count = seconds, count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(0)
        for _ in range(self.count):
            take(self.seconds)
            yield torch.randn(8, 4, generator=random), torch.arange(8) % 3


def parts(seconds: float = 0.0, slower: float = 0.0) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Net(slower)
    return {
        "model": model,
        "loss": F.cross_entropy,
        "optimizer": Steps(model.parameters(), lr=0.1),
        "batches": Loader(seconds),
        "clock": now,
    }


def test_each_part_takes_what_the_clock_says() -> None:
    found = timing(**parts(1.5))
    expected = {"data": 1.5, "transfer": 0.0, "forward": 1.0, "backward": 2.0, "step": 0.5}
    for name, seconds in expected.items():
        middle, ends = found.phases[name]
        assert (middle, *ends) == pytest.approx((seconds, seconds, seconds), abs=SAME)
    assert found.seconds == pytest.approx(5.0)
    assert found.value == pytest.approx(0.3)
    assert found.control == pytest.approx(0)
    assert found.saved == pytest.approx(0.3)
    assert found.saved_interval == pytest.approx((0.3, 0.3))
    assert found.growth == pytest.approx(0, abs=SAME)


def test_steps_whose_parts_overlap_are_timed_in_pieces() -> None:
    made = parts(1.5)

    def loss_of(model: nn.Module, batch: Any) -> Tensor:
        found: Tensor = F.cross_entropy(model(batch[0]), batch[1])
        return found

    loop = Loop(made["model"], loss_of, made["optimizer"], now)
    pieces = loop.overlapping(itertools.cycle(made["batches"]), 23)
    assert pieces[1:] == pytest.approx([3.5] * 4)  # `cycle` keeps the batches: 4 are loaded
    assert len(pieces) == 5


def test_an_optimizer_that_looks_several_times_is_timed() -> None:
    model = nn.Linear(4, 3)
    found = timing(
        model, F.cross_entropy, torch.optim.LBFGS(model.parameters()), Loader(), steps=10
    )
    assert set(found.phases) == {"data", "transfer", "forward", "backward", "step"}


def test_a_loader_that_takes_most_of_a_step_is_named() -> None:
    found = timing(**parts(20.0))
    assert found.found is True
    assert found.faults == ("loader",)
    assert "The training waits for its loader" in str(found)


def test_a_loader_that_takes_little_is_not() -> None:
    found = timing(**parts(0.1))
    assert found.found is False
    assert found.faults == ()


def test_a_loader_is_not_to_blame_for_what_batches_in_memory_do_not_save() -> None:
    class Hidden(Loader):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in super().__iter__():
                take(20.0)  # a wait, as of a device that is not ready, that comes back elsewhere
                yield batch

    def step(model: nn.Module, batch: Any) -> Tensor:
        if now() - ENDED[0] < 10.0:
            take(20.0)
        loss = F.cross_entropy(model(batch[0]), batch[1])
        ENDED[0] = now() + 2.5  # the way back and the step
        return loss

    ENDED = [0.0]
    found = timing(**{**parts(), "batches": Hidden()}, loss_of=step)
    assert found.value > 0.5
    assert found.saved < 0.1
    assert "loader" not in found.faults


def test_steps_that_become_slower_are_named() -> None:
    found = timing(**parts(slower=0.1))
    assert found.faults == ("slowing",)
    # 29 times a tenth of a second on the middle one of the timed steps of the loader
    assert found.growth * np.median([3.5 + 0.1 * (20 + 5 + n) for n in range(1, 31)]) == (
        pytest.approx(2.9)
    )
    assert "slower and slower" in str(found)


@pytest.mark.parametrize("kind", ["losses", "sum", "outputs", "numbers", "detached"])
def test_what_a_loop_keeps_is_named(kind: str) -> None:
    kept: list[Any] = []
    total: Tensor | float = 0.0

    def step(model: nn.Module, batch: Any) -> Tensor:
        nonlocal total
        outputs = model(batch[0])
        loss = F.cross_entropy(outputs, batch[1])
        if kind == "losses":
            kept.append(loss)
        elif kind == "sum":
            total = total + loss
        elif kind == "outputs":
            kept.append(outputs.detach())
        else:
            kept.append(loss.item() if kind == "numbers" else loss.detach())
        return loss

    found = timing(**parts(), loss_of=step)
    graphs, memory = found.graphs[0], found.memory[0]
    if kind in ("losses", "sum"):
        assert found.faults == ("graphs",)
        assert graphs == pytest.approx(1, abs=0.3)  # a sum adds its own node to each graph
        assert "detach" in str(found)
    elif kind == "outputs":
        assert found.faults == ("memory",)
        assert (graphs, memory) == (0, 8 * 3 * 4)
    else:
        assert found.found is False
        assert (graphs, memory) == (0, 0 if kind == "numbers" else 4)


def test_nodes_are_counted_once_and_parameters_not() -> None:
    w = torch.ones(3, requires_grad=True)
    hidden = w * 2
    assert count_nodes([w]) == 0
    assert count_nodes([hidden]) == 1
    assert count_nodes([hidden.sum() + hidden.mean(), hidden]) == 4


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=40, unique=True))
def test_the_slope_is_that_of_scipy(values: list[float]) -> None:
    found, (low, high) = _slope(values)
    theirs = stats.theilslopes(values, alpha=0.95)
    assert found == pytest.approx(theirs.slope)
    # one place of the sorted slopes farther out at most
    slopes = sorted((b - a) / (j - i) for (i, a), (j, b) in itertools.combinations(
        enumerate(values), 2))  # fmt: skip
    assert low <= theirs.low_slope + SAME * abs(theirs.low_slope)
    assert high >= theirs.high_slope - SAME * abs(theirs.high_slope)
    place = slopes.index(low)
    assert slopes[min(place + 3, len(slopes) - 1)] >= theirs.low_slope


@pytest.mark.parametrize("n", [10, 15, 30])
def test_the_interval_of_a_median_holds_it_often_enough(n: int) -> None:
    values = list(range(n))
    _, (low, high) = _middle([float(v) for v in values])
    # the chance that fewer than low + 1 values lie below the true median, on either side
    assert 2 * stats.binom.cdf(low, n, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(low + 1, n, 0.5) > 0.05
    assert high == n - 1 - low


def test_the_real_clock_and_a_real_loader_leave_everything_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = SAM(SGD(model.eval().parameters(), lr=0.1, momentum=0.9))
    data = TensorDataset(torch.randn(64, 4), torch.arange(64) % 3)
    loader = DataLoader(data, 16, shuffle=True, generator=torch.Generator().manual_seed(3))
    F.cross_entropy(model(data[:16][0]), data[:16][1]).backward()
    before = state_digest(model, optimizer, loader)
    found = timing(model, F.cross_entropy, optimizer, loader, steps=12)
    assert state_digest(model, optimizer, loader) == before
    assert 0 < found.value < 1
    assert found.graphs[0] == found.memory[0] == 0
    assert found.step_memory > 0
    json.dumps(found.to_dict())
    found.figure().savefig(tmp_path / "timing.png")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 9}, "`steps` must be at least 10 and `margin` positive; got 9 and 0.1"),
        ({"margin": 0.0}, "`steps` must be at least 10 and `margin` positive; got 30 and 0.0"),
        ({"batches": []}, "`batches` must give at least one; got none"),
    ],
)
def test_what_cannot_be_timed_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        timing(**{**parts(), **given})


def test_the_clock_can_be_any(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Callable[[], float] = itertools.count().__next__
    found = timing(**{**parts(), "clock": ticks})
    assert found.seconds == 5
