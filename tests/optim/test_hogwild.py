"""Two processes that share weights without locks reach the loss of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.optim import HogwildSGD

FEATURES, EXAMPLES, STEPS = 400, 300, 600


def problem() -> tuple[Tensor, Tensor]:
    """Each example has 3 of 400 features; the targets are those of a linear model, plus noise."""
    generator = torch.Generator().manual_seed(0)
    which = torch.randint(FEATURES, (EXAMPLES, 3), generator=generator)
    truth = torch.randn(FEATURES, generator=generator)
    noise = 0.1 * torch.randn(EXAMPLES, generator=generator)
    return which, truth[which].sum(1) + noise


def loss_of(table: nn.Embedding, which: Tensor, targets: Tensor) -> Tensor:
    return (table(which).squeeze(-1).sum(1) - targets).square().mean()


def train(table: nn.Embedding, seed: int, steps: int) -> None:
    which, targets = problem()
    optimizer = HogwildSGD(table.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(EXAMPLES, (8,), generator=generator)
        optimizer.zero_grad()
        loss_of(table, which[batch], targets[batch]).backward()
        optimizer.step()


def new_table() -> nn.Embedding:
    table = nn.Embedding(FEATURES, 1, sparse=True)
    nn.init.zeros_(table.weight)
    return table


def work(rank: int, table: nn.Embedding) -> None:
    torch.set_num_threads(1)
    train(table, seed=rank + 1, steps=STEPS // 2)


def test_two_processes_reach_the_loss_of_one() -> None:
    alone = new_table()
    alone.share_memory()
    train(alone, seed=1, steps=STEPS)
    with torch.no_grad():
        serial = loss_of(alone, *problem()).item()

    shared = new_table()
    before = loss_of(shared, *problem()).item()
    shared.share_memory()
    storage = shared.weight.data_ptr()
    torch.multiprocessing.spawn(work, (shared,), nprocs=2)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        together = loss_of(shared, *problem()).item()
    assert shared.weight.data_ptr() == storage
    assert serial < before / 20
    assert together < 2 * serial  # half the steps of one process would leave far more:
    halfway = new_table()
    halfway.share_memory()
    train(halfway, seed=1, steps=STEPS // 2)
    assert together < loss_of(halfway, *problem()).item() / 2


@pytest.mark.parametrize("sparse", [False, True])
def test_in_one_process_it_is_sgd_bit_for_bit(sparse: bool) -> None:
    results = []
    for ours in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(5, 2, sparse=sparse)
        table.share_memory()
        kind: Any = HogwildSGD if ours else torch.optim.SGD
        optimizer = kind(table.parameters(), lr=0.1)
        for step in range(5):
            optimizer.zero_grad()
            table(torch.tensor([step, 0, 0])).square().sum().backward()
            optimizer.step()
        results.append(table.weight.detach())
        assert not optimizer.state
    assert torch.equal(*results)


def test_a_sparse_gradient_touches_only_its_rows() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table.share_memory()
    before = table.weight.detach().clone()
    table(torch.tensor([1, 3])).square().sum().backward()
    HogwildSGD(table.parameters(), lr=0.1).step()
    changed = (table.weight != before).any(1)
    assert changed.tolist() == [False, True, False, True, False]


def test_the_loss_of_a_closure_is_given() -> None:
    p = nn.Parameter(torch.ones(2).share_memory_())
    optimizer = HogwildSGD([p], lr=0.25)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert torch.equal(p.detach(), torch.full((2,), 0.5))


def test_memory_that_is_not_shared_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`params` must be in shared memory; got .*\(3, 2\)"):
        HogwildSGD(nn.Linear(2, 3).parameters())


def test_a_shared_gradient_is_refused() -> None:
    layer = nn.Linear(2, 3)
    layer(torch.ones(1, 2)).sum().backward()
    layer.share_memory()
    with pytest.raises(UsageError, match="gradients must belong to one process"):
        HogwildSGD(layer.parameters())
    layer.zero_grad()
    assert len(HogwildSGD(layer.parameters()).param_groups) == 1


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="HogwildSGD: `lr` must be at least 0"):
        HogwildSGD([torch.ones(2).share_memory_()], lr=-0.1)
