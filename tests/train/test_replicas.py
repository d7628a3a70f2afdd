"""What several processes make of their shares; the processes themselves are in tests/verbs."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.train import ALONE, Measured, Supervised, World, joined, measure
from fitwell.train._replicas import lost_process

SPLIT_SUM = 1e-12  # float64 sums in another order


@given(cuts=st.lists(st.integers(0, 24), max_size=5), seed=st.integers(0, 99))
def test_fed_04_the_weighted_sum_of_shard_gradients_is_the_full_gradient(
    cuts: list[int], seed: int
) -> None:
    """Split in any way, also into shards of different sizes and empty ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(24, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (24,), generator=generator)
    weight = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def gradient(rows: slice) -> torch.Tensor:
        loss = nn.functional.cross_entropy(x[rows] @ weight, y[rows])
        return torch.autograd.grad(loss, weight)[0]

    edges = [0, *sorted(cuts), 24]
    total = torch.zeros_like(weight)
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            total += (stop - start) / 24 * gradient(slice(start, stop))
    torch.testing.assert_close(total, gradient(slice(0, 24)), rtol=0, atol=SPLIT_SUM)


@given(cut=st.integers(0, 30))
def test_measurements_of_two_halves_merge_to_those_of_the_whole(cut: int) -> None:
    from fitwell.metrics import Classification

    generator = torch.Generator().manual_seed(cut)
    x = torch.randn(30, 4, generator=generator)
    y = torch.randint(3, (30,), generator=generator)
    objective = Supervised(nn.functional.cross_entropy, lambda device: Classification(3, device))
    model = nn.Linear(4, 3)

    def measured(rows: slice) -> Measured:
        batches = [(x[rows], y[rows])] if rows.start < rows.stop else []
        found = measure(objective, model, batches)
        assert isinstance(found, Measured)
        return found

    first, second = measured(slice(0, cut)), measured(slice(cut, 30))
    first.merge(second)
    assert first.compute() == pytest.approx(measured(slice(0, 30)).compute(), rel=1e-6)


def test_numbers_of_ones_own_evaluate_cannot_be_merged() -> None:
    class Own:
        def evaluate(self, model: nn.Module, batches: object) -> dict[str, float]:
            return {"loss": 1.0}

    found = measure(Own(), nn.Identity(), [])  # type: ignore[arg-type]
    assert found.compute() == {"loss": 1.0}
    with pytest.raises(UsageError, match="must have `measure`"):
        found.merge(found)  # type: ignore[arg-type]


def test_a_process_alone_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as world:
        assert world is ALONE
        assert world.leads
        assert world.device("cuda") == "cuda"
        assert world.by_leader(lambda: 7) == world.after_leader(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError, match="zero"):
            world.by_leader(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError, match="zero"):
            world.after_leader(lambda: 1 // 0)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert World(5, 8, 1).device("cuda") == "cuda:1"
    assert World(5, 8, 7).device("cpu") == "cpu"
    assert chosen == [1]
    with pytest.raises(UsageError, match="must not be more than the GPUs they are to use, 2"):
        World(2, 3, 2).device("cuda")
    with pytest.raises(UsageError, match="got process 1 of 2 on 'cuda:1'"):
        World(0, 2, 0).device("cuda:1")


def test_other_errors_are_no_lost_process() -> None:
    with pytest.raises(RuntimeError, match="sizes"), lost_process():
        raise RuntimeError("sizes do not fit")
