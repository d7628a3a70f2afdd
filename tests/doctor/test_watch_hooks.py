"""What a watch leaves behind, and keeps while it waits: hooks, graphs, batches."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.doctor import Watch
from fitwell.doctor._watch._listening import Heard

from .watched import BATCH, FEATURES, batches, loop, network, sgd


def hooks_of(model: nn.Module) -> int:
    modules = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    return modules + sum(len(p._backward_hooks or ()) for p in model.parameters())


def passes(model: nn.Module, count: int, *, backward: bool = True) -> Iterator[Tensor]:
    for _, (x, y) in zip(range(count), batches(), strict=False):
        loss = F.cross_entropy(model(x), y)
        if backward:
            loss.backward()
        yield loss


def test_an_armed_look_does_not_grow_with_passes() -> None:
    """Accumulating is one step, however many parts it has."""
    model = network()
    with Watch(model, sgd(model)) as watch:
        assert watch._look is not None
        sizes = []
        for number, _ in enumerate(passes(model, 200)):
            if number in (1, 199):
                arrived = watch._look._arrivals._arrived
                sizes.append((len(arrived), len(watch._look._nodes), len(watch._look.values)))
        assert sizes[0] == sizes[1]
        assert sizes[1][1] == 0
        watch.step(0.0)
    assert watch.record()["looks"]["passes"] == [200.0]
    assert watch.notes == []


def test_many_parts_have_the_norms_of_a_computation_by_hand() -> None:
    model = network()
    squares: list[float] = []
    with Watch(model, sgd(model)) as watch:
        before = torch.zeros(sum(p.numel() for p in model.parameters()))
        for _ in passes(model, 7):
            after = torch.cat([p.grad.reshape(-1) for p in model.parameters()])  # type: ignore[union-attr]
            squares.append((after - before).square().sum().item())
            before = after
        watch.step(0.0)
    looks = watch.record()["looks"]
    assert looks["micro_norm"][0] ** 2 == pytest.approx(sum(squares) / 7, rel=1e-4)
    assert looks["gradient_norm_unclipped"][0] == pytest.approx(before.norm().item(), rel=1e-5)


@pytest.mark.parametrize("backward", [True, False])
def test_hooks_go_where_step_is_never_called(backward: bool) -> None:
    model = network()
    optimizer = sgd(model)
    watch = Watch(model, optimizer)
    assert hooks_of(model) > 5
    for loss in passes(model, 70, backward=backward):
        if backward:
            optimizer.step()
        del loss
    assert hooks_of(model) == 0
    assert not optimizer._optimizer_step_pre_hooks
    assert watch.notes == ["a look ended early: `step` of the watch was not called for long"]
    watch.step(1.0)
    kept = watch.record()["looks"]["step"]
    watch.close()
    assert len(watch.record()["looks"]["step"]) == int(backward)  # one step was seen whole
    assert kept == []


def test_hooks_go_with_the_watch() -> None:
    model = network()
    optimizer = sgd(model)
    watch = Watch(model, optimizer, every=1)
    loop(model, optimizer, watch, 3)
    assert hooks_of(model) > 0
    gone = weakref.ref(watch)
    del watch
    assert gone() is None  # at once: no hook holds it
    assert hooks_of(model) == 0
    assert not optimizer._optimizer_step_post_hooks


class Encoder(nn.Module):
    """Two layers of attention, called as they are or through a method of one's own."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(x).mean(dim=1))
        return out


def bare() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def alone() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)


@pytest.mark.parametrize("make", [Encoder, bare, alone])
@pytest.mark.parametrize("late", [False, True])
def test_evaluation_between_steps_is_the_same_to_the_bit(
    make: Callable[[], nn.Module], late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These layers refuse their fast path, which may have other last bits, if they find hooks."""
    found: list[Any] = []
    fast, ways = torch._transformer_encoder_layer_fwd, []

    def counting(*given: Any) -> Tensor:
        ways.append(len(found))
        return fast(*given)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counting)
    for watched in (False, True):
        torch.manual_seed(0)
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = Watch(model, optimizer, every=2) if watched else None
        outputs: list[Any] = []

        def evaluate(model: nn.Module = model, outputs: list[Any] = outputs) -> None:
            model.eval()
            with torch.no_grad():
                outputs.append(model(torch.randn(4, 5, 8)))
            model.train()

        for _ in range(4):
            optimizer.zero_grad()
            loss = model(torch.randn(4, 5, 8)).square().mean()
            loss.backward()
            optimizer.step()
            if late:
                evaluate()
            if watch is not None:
                watch.step(loss)
            if not late:
                evaluate()
        found.append([*outputs, *model.state_dict().values()])
    assert all(map(torch.equal, *found))
    assert ways.count(0) == ways.count(1) == (4 if make is alone else 8)
    assert watch is not None
    watch.close()
    record = watch.record()
    assert record["looks"]["step"] == [1, 3]
    assert hooks_of(model) == 0
    inside = [name for name in record["modules"] if name.endswith("linear1")]
    assert len(inside) == (0 if make is alone else 2)
    assert all(None not in record["modules"][name]["std"] for name in inside)


def test_parts_of_a_step_are_heard_without_keeping_them() -> None:
    heard, weight = Heard(), nn.Parameter(torch.ones(1))
    gone: list[Any] = []
    for value, size in ((1.0, 2), (2.0, 2), (6.0, 4)):
        loss = (weight * value).sum()
        batch = (torch.zeros(size, FEATURES), torch.zeros(size))
        gone += [weakref.ref(batch[0]), weakref.ref(loss)]
        heard.add(loss, batch)
        del loss, batch
    gc.collect()
    assert [ref() is None for ref in gone] == [True] * 4 + [False] * 2
    mean, last, loss_of_last = heard.taken()
    assert mean is not None
    assert mean.item() == pytest.approx((1 * 2 + 2 * 2 + 6 * 4) / 8)
    assert len(last[0]) == 4
    assert loss_of_last is not None
    assert loss_of_last.grad_fn is not None
    assert heard.taken() == (None, None, None)


def test_one_part_is_given_as_it_is() -> None:
    heard, loss = Heard(), torch.ones((), requires_grad=True) * 2
    heard.add(loss, (torch.zeros(BATCH, 1), None))
    mean, _, last = heard.taken()
    assert mean is last is loss
