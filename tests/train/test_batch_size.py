"""The batch-size finder against thresholds that are known, and in a process with little memory."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.optim import SGD, AdamW
from fitwell.train import BatchSize, Trainer, find_batch_size, memory_advice
from fitwell.train import _batch_size as module
from fitwell.train._memory import LiveBytes

from .problems import batches, network, objective, same_weights, weights_of

ENDLESS = 2**60


def rows(count: int) -> tuple[Tensor, Tensor]:
    return torch.ones(count, 8), torch.zeros(count, dtype=torch.int64)


def bounded(threshold: int, error: Callable[[], BaseException]) -> Any:
    """An objective that runs out of memory above a number of examples."""

    def compare(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if len(batch[0]) > threshold:
            raise error()
        return F.cross_entropy(model(batch[0]), batch[1]), {}

    return compare


def out_of_memory() -> BaseException:
    return torch.OutOfMemoryError("CUDA out of memory.")


def find(threshold: int, error: Any = out_of_memory, **options: Any) -> BatchSize:
    model = nn.Linear(8, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    options = {"limit": 10**6, "memory": ENDLESS, **options}
    return find_batch_size(model, bounded(threshold, error), optimizer, rows, **options)


@settings(max_examples=30, deadline=None)
@given(threshold=st.integers(0, 300), limit=st.integers(1, 400), start=st.integers(1, 50))
def test_pt_26_the_size_is_within_one_doubling_of_the_largest(
    threshold: int, limit: int, start: int
) -> None:
    found = find(threshold, limit=limit, start=start)
    largest = min(threshold, limit)
    assert largest / 2 <= found.batch_size <= largest
    assert found.limited_by == ("data" if found.batch_size == limit else "memory")
    assert all(attempt.fits == (attempt.batch_size <= threshold) for attempt in found.attempts)


@pytest.mark.parametrize(
    "error",
    [
        out_of_memory,
        MemoryError,
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_pt_26_every_kind_of_memory_error_is_caught(error: Any) -> None:
    assert find(13, error).batch_size == 8


def test_other_errors_come_through_and_leave_all_as_it_was() -> None:
    model = nn.Linear(8, 3)
    before = weights_of(model)
    optimizer = SGD(model.parameters(), lr=0.1)
    broken = bounded(5, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        find_batch_size(model, broken, optimizer, rows, limit=100, memory=ENDLESS)
    assert same_weights(before, weights_of(model))


def test_batch_norm_of_one_example_does_not_fit() -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    found = find_batch_size(
        model, bounded(1, out_of_memory), optimizer, rows, limit=9, memory=ENDLESS
    )
    assert found.batch_size == 0


class Wide(nn.Module):
    """A known number of bytes per example, and little to compute."""

    def __init__(self, width: int = 2**16) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :1] * self.scale).exp().mean(1, keepdim=True).expand(-1, 3)


def step_bytes(size: int) -> int:
    model = Wide()
    optimizer = AdamW(model.parameters(), lr=1e-3)
    with LiveBytes() as live:
        for _ in range(3):
            batch = rows(size)
            F.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return live.peak


@pytest.mark.parametrize("mebibytes", [4, 10, 33, 100])
def test_pt_26_on_a_cpu_the_budget_is_kept_and_used(
    mebibytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.PeakResident, "growth", lambda self: 0)  # of this whole process
    budget = mebibytes * 2**20
    model = Wide()
    optimizer = AdamW(model.parameters(), lr=1e-3)
    tried: list[int] = []

    def batch_of(count: int) -> tuple[Tensor, Tensor]:
        tried.append(count)
        return rows(count)

    found = find_batch_size(model, objective(), optimizer, batch_of, limit=4096, memory=budget)
    assert found.limited_by == "memory"
    assert step_bytes(found.batch_size) <= budget < step_bytes(2 * found.batch_size)
    assert max(tried) <= 2 * found.batch_size
    last = found.attempts[-1]
    assert last.bytes == pytest.approx(step_bytes(last.batch_size), rel=0.1)


def test_memory_that_does_not_grow_with_the_batch_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.PeakResident, "growth", lambda self: 0)
    model = nn.Sequential(nn.Linear(8, 2**15), nn.AdaptiveAvgPool1d(3))
    optimizer = AdamW(model.parameters(), lr=1e-3)  # 3 MiB of gradients and state
    budget = 6 * 2**20
    found = find_batch_size(model, objective(), optimizer, rows, limit=999, memory=budget)
    assert found.batch_size >= 8
    assert 2 in [attempt.batch_size for attempt in found.attempts]
    assert all(attempt.bytes <= budget for attempt in found.attempts if attempt.fits)


def test_the_memory_of_the_machine_is_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 20 * 2**20)
    monkeypatch.setattr(module.PeakResident, "growth", lambda self: 0)
    model = Wide()
    optimizer = SGD(model.parameters(), lr=1e-3)
    found = find_batch_size(model, objective(), optimizer, rows, limit=4096)
    assert step_bytes(found.batch_size) <= 16 * 2**20
    assert found.limited_by == "memory"


def test_what_the_system_counts_matters_if_it_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.PeakResident, "growth", lambda self: 2**30)
    assert find(100, memory=2**29, start=4).batch_size == 0


def test_time_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def tick(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        now[0] += len(batch[0])
        return model(batch[0]).sum(), {}

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    model = nn.Linear(8, 3)
    options = {"limit": 10**6, "memory": ENDLESS, "max_seconds": 100.0}
    found = find_batch_size(model, tick, SGD(model.parameters(), lr=0.1), rows, **options)
    # Two steps per size and one more at first: 12 + 16 + 32 seconds; the next would take 64.
    assert (found.batch_size, found.limited_by) == (16, "time")


class Restless(nn.Module):
    """A model that changes itself in every way that is kept aside."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(dropout=0.5)
        self.body[1].eval()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1  # type: ignore[has-type]
        return self.body(x)


@pytest.mark.parametrize("kind", [SGD, AdamW, torch.optim.RMSprop])
def test_nothing_is_left_changed(kind: Any) -> None:
    weights = []
    for search in (False, True):
        model = Restless()
        optimizer = kind(model.parameters(), lr=0.01)
        trainer = Trainer(model, objective(), optimizer)
        torch.manual_seed(5)
        trainer.fit(batches(), epochs=2)
        calls, mode = model.calls, [part.training for part in model.modules()]
        gradients = [torch.ones_like(p) for p in model.parameters()]
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient
        if search:
            find_batch_size(
                model, bounded(40, out_of_memory), optimizer, rows, limit=99, memory=ENDLESS
            )
        assert model.calls is calls
        assert [part.training for part in model.modules()] == mode
        assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
        assert all(torch.equal(g, torch.ones_like(g)) for g in gradients)
        optimizer.zero_grad()
        trainer.fit(batches(seed=4), epochs=4)
        weights.append(weights_of(model))
    assert same_weights(*weights)


def test_a_fresh_optimizer_stays_fresh() -> None:
    model = network()
    optimizer = AdamW(model.parameters(), lr=0.01)
    before = copy.deepcopy(optimizer.state_dict())
    find_batch_size(model, objective(), optimizer, rows, limit=64, memory=ENDLESS)
    assert optimizer.state_dict() == before


def test_pt_26_a_batch_of_one_is_the_last_advice() -> None:
    advice = find(40, wanted=256).advice
    assert find(40, wanted=32).advice == ()
    words = ["--batch-size 32 --accumulate 8", "bf16", "--batch-size 1 "]
    assert [text.startswith(word) or word in text for text, word in zip(advice, words, strict=True)]
    every = memory_advice(128)
    order = ("--accumulate 2:", "--recompute:", "--precision bf16:", "--batch-size 1 --accumulate")
    assert len(every) == len(order)
    for text, word in zip(every, order, strict=True):
        assert word in text


def test_advice_fits_the_case() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)))
    optimizer = SGD(model.parameters(), lr=0.1)
    options: dict[str, Any] = {"limit": 99, "wanted": 64, "memory": ENDLESS, "precision": "bf16"}
    found = find_batch_size(model, bounded(20, out_of_memory), optimizer, rows, **options)
    assert ["--recompute" in text for text in found.advice] == [False, True, False]
    assert not any("bf16" in text for text in found.advice)
    assert memory_advice(1, precision="bf16", can_recompute=False) == (
        "A smaller model, or smaller inputs.",
    )
    nothing = find(0)
    assert nothing.batch_size == 0
    assert nothing.advice[-1] == "A smaller model, or smaller inputs."
    assert not any("--batch-size" in text for text in nothing.advice)


def test_the_result_reads_as_a_table_and_as_data() -> None:
    found = find(40, wanted=64)
    text = str(found)
    assert text.startswith("batch size 32, limited by the memory\n")
    assert "examples/s" in text
    assert "\n1. --batch-size 32 --accumulate 2" in text
    data = json.loads(json.dumps(found.to_dict()))
    assert [row["batch_size"] for row in data["attempts"]] == [4, 8, 16, 32, 64]
    assert data["attempts"][0]["examples_per_second"] > 0
    assert data["attempts"][-1]["fits"] is False


@pytest.mark.parametrize("name", ["limit", "start", "wanted"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}` must be at least 1; got 0"):
        find(5, **{name: 0})


def test_a_batch_of_another_size_is_refused() -> None:
    model = nn.Linear(8, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="as many examples as asked, 16; got 10"):
        find_batch_size(
            model, objective(), optimizer, lambda n: rows(min(n, 10)), limit=99, memory=ENDLESS
        )


SMALL = """
    import json, resource, sys
    import torch
    from torch import nn
    from fitwell.optim import SGD
    from fitwell.train import find_batch_size, is_out_of_memory
    from torch.nn import functional as F

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2**18))  # 1 MiB per example and operation
        def forward(self, x):
            return (x * self.scale).sin().mean(1, keepdim=True).expand(-1, 3)

    def rows(n):
        return torch.ones(n, 1), torch.zeros(n, dtype=torch.int64)

    def objective(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1]), {}

    def step(n):
        try:
            loss, _ = objective(model, rows(n))
            loss.backward()
        except (RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
            return False
        return True

    model = Wide()
    optimizer = SGD(model.parameters(), lr=0.0)
    step(1)
    taken = int(open("/proc/self/statm").read().split()[int(sys.argv[2])]) * resource.getpagesize()
    limit = taken + 300 * 2**20
    resource.setrlimit(getattr(resource, sys.argv[1]), (limit, limit))
    found = find_batch_size(model, objective, optimizer, rows, limit=4096, memory=2**60)
    fits = [step(found.batch_size), step(4 * found.batch_size)]
    print(json.dumps({"size": found.batch_size, "by": found.limited_by, "fits": fits}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind")
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_pt_26_a_process_with_little_memory_finds_its_size(limit: str, field: int) -> None:
    code = textwrap.dedent(SMALL)
    done = subprocess.run(
        [sys.executable, "-c", code, limit, str(field)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["by"] == "memory"
    assert 16 <= result["size"] <= 256
    assert result["fits"] == [True, False]
