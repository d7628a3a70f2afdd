"""What the rules on training steps claim is so in the installed PyTorch."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.optim import SGD, Adam, lr_scheduler  # noqa: E402


@pytest.fixture
def net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def loss_of(net: nn.Module, size: float = 1.0) -> torch.Tensor:
    x = torch.linspace(-size, size, 32).view(8, 4)
    return nn.functional.cross_entropy(net(x), torch.arange(8) % 3)


def weights(net: nn.Linear) -> torch.Tensor:
    return net.weight.detach().clone()


def rates(scheduler: lr_scheduler.LRScheduler, optimizer: SGD, steps: int) -> Iterator[float]:
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


def test_gradients_add_up_without_zero_grad(net: nn.Linear) -> None:
    loss_of(net).backward()
    once = net.weight.grad.clone()
    loss_of(net).backward()
    assert torch.allclose(net.weight.grad, 2 * once)


def test_cleared_gradients_change_nothing(net: nn.Linear) -> None:
    optimizer = Adam(net.parameters(), weight_decay=0.1)
    start = weights(net)
    loss_of(net).backward()
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(start, net.weight)


def test_a_step_before_backward_never_learns_but_a_shifted_loop_does(net: nn.Linear) -> None:
    optimizer = SGD(net.parameters(), lr=0.1)
    start = weights(net)
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(net)
        optimizer.step()
        loss.backward()
    assert torch.equal(start, net.weight)
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        loss_of(net).backward()
    assert not torch.equal(start, net.weight)


def test_a_scheduler_before_the_optimizer_skips_a_rate_and_warns(net: nn.Linear) -> None:
    optimizer = SGD(net.parameters(), lr=1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_schedules_of_epochs_are_over_after_a_few_batches(net: nn.Linear) -> None:
    optimizer = SGD(net.parameters(), lr=1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 10, 0.1)
    assert list(rates(scheduler, optimizer, 101))[-1] < 1e-9
    optimizer = SGD(net.parameters(), lr=1.0)
    cosine = list(rates(lr_scheduler.CosineAnnealingLR(optimizer, 10), optimizer, 41))
    assert cosine[10] == pytest.approx(0.0, abs=1e-9)
    assert cosine[20] == pytest.approx(1.0)
    assert cosine[40] == pytest.approx(1.0)


def test_one_cycle_per_epoch_stays_where_it_begins(net: nn.Linear) -> None:
    optimizer = SGD(net.parameters(), lr=1.0)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, epochs=10, steps_per_epoch=500)
    assert max(rates(scheduler, optimizer, 10)) < 0.05


def test_a_plateau_asks_for_a_metric_and_lbfgs_for_a_closure(net: nn.Linear) -> None:
    with pytest.raises(TypeError, match="metrics"):
        lr_scheduler.ReduceLROnPlateau(SGD(net.parameters(), lr=0.1)).step()
    with pytest.raises(TypeError, match="closure"):
        torch.optim.LBFGS(net.parameters()).step()


@pytest.mark.parametrize(("make", "factor"), [(SGD, 4.0), (Adam, 1.0)])
def test_a_sum_of_gradients_is_a_longer_step_of_sgd_and_not_of_adam(
    net: nn.Linear, make: type[SGD] | type[Adam], factor: float
) -> None:
    start, lengths = {k: v.clone() for k, v in net.state_dict().items()}, []
    for divisor in (4, 1):
        net.load_state_dict(start)
        optimizer = make(net.parameters(), lr=0.01)
        optimizer.zero_grad()
        for _ in range(4):
            (loss_of(net) / divisor).backward()
        optimizer.step()
        lengths.append((net.weight - start["weight"]).norm().item())
    assert lengths[1] / lengths[0] == pytest.approx(factor, rel=1e-3)


def test_clipping_at_the_wrong_place_leaves_the_update_as_it_is(net: nn.Linear) -> None:
    start = weights(net)
    optimizer = SGD(net.parameters(), lr=1.0)
    optimizer.zero_grad()
    loss = loss_of(net, 100.0)
    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    loss.backward()
    optimizer.step()
    assert (net.weight - start).norm() > 1.0


def scaled_step(net: nn.Linear, *, unscale: bool) -> float:
    start, optimizer = weights(net), SGD(net.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(loss_of(net, 100.0)).backward()
    if unscale:
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    return (net.weight - start).norm().item()


def test_clipping_before_unscaling_leaves_next_to_nothing(net: nn.Linear) -> None:
    assert scaled_step(net, unscale=True) > 0.5
    net.zero_grad()
    assert scaled_step(net, unscale=False) < 1e-4


def test_a_scaler_complains_without_update_and_without_scale(net: nn.Linear) -> None:
    optimizer = SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    loss_of(net).backward()
    with pytest.raises(AssertionError, match="_scale is None"):
        scaler.step(optimizer)
    scaler.scale(loss_of(net)).backward()
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.step(optimizer)


def test_a_plain_step_uses_the_scaled_gradients(net: nn.Linear) -> None:
    start, optimizer = weights(net), SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(loss_of(net)).backward()
    optimizer.step()
    assert (net.weight - start).norm() > 100
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()


def nodes(tensor: torch.Tensor) -> int:
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [one for one, _ in node.next_functions]
    return len(seen)


def test_a_sum_of_losses_keeps_the_graph_of_each_step(net: nn.Linear) -> None:
    total, sizes = torch.zeros(()), []
    for _ in range(10):
        loss = loss_of(net)
        loss.backward()
        total = total + loss
        sizes.append(nodes(total))
    gc.collect()
    assert sizes[-1] - sizes[0] == pytest.approx(9 * (sizes[1] - sizes[0]))
    assert sizes[1] > sizes[0]


def test_a_second_backward_raises_unless_the_graph_is_kept(net: nn.Linear) -> None:
    loss = loss_of(net)
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_millionth_is_reached_after_the_steps_that_are_said() -> None:
    from fitwell.lint._training._schedules import decay_length

    assert 0.1 ** (decay_length(10, 0.1) / 10) == pytest.approx(1e-6)
    assert math.isinf(decay_length(10, 1.0))
