"""Lookahead is its literal form, changes nothing at its limit, and survives being saved."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.optim import SAM, SGD, AdamW, Cosine, Lookahead, Optimizer, interpolate
from fitwell.train import Supervised, Trainer

INNER: list[Any] = [
    lambda params: SGD(params, lr=0.05),
    lambda params: AdamW(params, lr=0.01),
    lambda params: torch.optim.RMSprop(params, lr=0.01),
]
EVERY_INNER = pytest.mark.parametrize("inner", INNER, ids=["SGD", "AdamW", "RMSprop"])


def problem() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    return model, torch.randn(16, 5), torch.randn(16, 1)


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = (model(x) - y).square().mean()
    loss.backward()
    return loss


def walk(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    _, x, y = problem()
    for _ in range(steps):
        optimizer.zero_grad()
        gradients(model, x, y)
        optimizer.step()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name


@EVERY_INNER
@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (3, 0.8), (2, 0.0), (1, 0.5)])
def test_opt_21_slow_weights_equal_the_literal_reference(inner: Any, k: int, alpha: float) -> None:
    model, x, y = problem()
    twin = copy.deepcopy(model)
    optimizer = Lookahead(inner(model.parameters()), k=k, alpha=alpha)

    plain = inner(twin.parameters())
    slow = [p.detach().clone() for p in twin.parameters()]
    for step in range(1, 21):
        optimizer.zero_grad()
        gradients(model, x, y)
        optimizer.step()
        plain.zero_grad()
        gradients(twin, x, y)
        plain.step()
        if step % k == 0:
            with torch.no_grad():
                for phi, theta in zip(slow, twin.parameters(), strict=True):
                    theta.copy_(torch.lerp(phi, theta, alpha))
                    phi.copy_(theta)
        assert_same(model, twin)
        assert all(
            torch.equal(a, b)
            for a, b in zip(optimizer.state["Lookahead"]["slow"], slow, strict=True)
        )


@EVERY_INNER
def test_at_its_limit_it_is_the_inner_optimizer(inner: Any) -> None:
    model, twin = problem()[0], problem()[0]
    walk(model, Lookahead(inner(model.parameters()), k=1, alpha=1.0), 20)
    walk(twin, inner(twin.parameters()), 20)
    assert_same(model, twin)


def test_opt_22_one_round_is_the_outer_update_of_reptile() -> None:
    """On one task: train a copy for k steps, move the start toward it, begin there again."""
    k, rate = 4, 0.3
    model, x, y = problem()
    initial = copy.deepcopy(model)
    walk(model, Lookahead(SGD(model.parameters(), lr=0.1, momentum=0.0), k=k, alpha=rate), 3 * k)

    for _ in range(3):
        task = copy.deepcopy(initial)
        for _ in range(k):
            task.zero_grad()
            gradients(task, x, y)
            for p in task.parameters():
                p.data -= 0.1 * p.grad  # type: ignore[operator]
        for start, end in zip(initial.parameters(), task.parameters(), strict=True):
            start.data += rate * (end.data - start.data)
    for p, q in zip(model.parameters(), initial.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_opt_22_reptile_takes_the_same_path_through_the_code() -> None:
    k, rate = 4, 0.3
    model, twin = problem()[0], problem()[0]
    walk(model, Lookahead(SGD(model.parameters(), lr=0.1, momentum=0.0), k=k, alpha=rate), 3 * k)
    initial = [p.detach().clone() for p in twin.parameters()]
    for _ in range(3):
        walk(twin, SGD(twin.parameters(), lr=0.1, momentum=0.0), k)
        interpolate(initial, list(twin.parameters()), rate)
    assert_same(model, twin)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1))
def test_interpolation_stays_between_and_leaves_both_equal(
    start: float, end: float, alpha: float
) -> None:
    slow, fast = (torch.tensor([value], dtype=torch.float64) for value in (start, end))
    interpolate([slow], [fast], alpha)
    assert torch.equal(slow, fast)
    assert min(start, end) - 1e-9 <= slow.item() <= max(start, end) + 1e-9
    assert slow.item() == pytest.approx(start + alpha * (end - start), rel=1e-12, abs=1e-9)


def test_interpolation_of_lists_of_two_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        interpolate([torch.zeros(1)], [torch.ones(1), torch.ones(1)], 0.5)


@EVERY_INNER
@pytest.mark.parametrize("at", [0, 1, 7, 10])
def test_going_on_from_a_saved_state_equals_not_stopping(inner: Any, at: int) -> None:
    whole, *_ = problem()
    walk(whole, Lookahead(inner(whole.parameters())), 20)

    model, *_ = problem()
    first = Lookahead(inner(model.parameters()))
    walk(model, first, at)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    walk(model, first, 0)
    file.seek(0)
    second = Lookahead(inner(model.parameters()))
    second.load_state_dict(torch.load(file, weights_only=True))
    walk(model, second, 20 - at)
    assert_same(model, whole)


def test_a_loaded_state_is_a_copy() -> None:
    model, *_ = problem()
    first = Lookahead(SGD(model.parameters(), lr=0.05))
    walk(model, first, 2)
    other, *_ = problem()
    second = Lookahead(SGD(other.parameters(), lr=0.05))
    second.load_state_dict(first.state_dict())
    walk(other, second, 3)
    assert first.state["Lookahead"]["steps"] == 2
    assert not torch.equal(
        first.state["Lookahead"]["slow"][0], second.state["Lookahead"]["slow"][0]
    )


def test_the_state_of_the_inner_optimizer_alone_begins_anew() -> None:
    model, *_ = problem()
    inner = AdamW(model.parameters())
    walk(model, inner, 3)
    optimizer = Lookahead(AdamW(model.parameters()))
    optimizer.load_state_dict(inner.state_dict())
    walk(model, optimizer, 1)
    assert optimizer.state["Lookahead"]["steps"] == 1


def test_pickled_and_copied_it_goes_on_with_its_own_weights() -> None:
    model, x, _ = problem()
    optimizer = Lookahead(AdamW(model.parameters(), lr=0.01), k=3, alpha=0.25)
    walk(model, optimizer, 4)
    pair = pickle.loads(pickle.dumps((model, optimizer)))
    both = copy.deepcopy((model, optimizer))
    walk(model, optimizer, 5)
    for other, its in (pair, both):
        assert (its.k, its.alpha) == (3, 0.25)
        assert not torch.equal(other(x), model(x))
        walk(other, its, 5)
        assert_same(other, model)


def test_a_group_may_join() -> None:
    model, *_ = problem()
    optimizer = Lookahead(SGD(model[0].parameters(), lr=0.05), k=2)
    walk(model, optimizer, 3)
    optimizer.add_param_group({"params": model[2].parameters(), "lr": 0.01})
    before = model[2].weight.detach().clone()
    walk(model, optimizer, 1)
    assert len(optimizer.param_groups) == 2
    torch.testing.assert_close(  # one step of the newcomer, half of which is taken back
        model[2].weight.detach(), before - 0.5 * 0.01 * model[2].weight.grad
    )


def test_schedules_reach_the_inner_optimizer() -> None:
    results = []
    for wrapped in (False, True):
        model, x, y = problem()
        inner = SGD(model.parameters(), lr=0.1)
        optimizer = Lookahead(inner, k=1, alpha=1.0) if wrapped else inner
        objective = Supervised(nn.MSELoss())
        trainer = Trainer(model, objective, optimizer, schedule=Cosine())
        trainer.fit([(x, y)], epochs=10)
        assert 0 < inner.param_groups[0]["lr"] < 0.1
        results.append(model)
    assert_same(*results)


def test_a_closure_is_passed_on_and_so_is_the_need_of_one() -> None:
    model, x, y = problem()
    optimizer = Lookahead(SAM(SGD(model.parameters(), lr=0.05)), k=2)
    assert optimizer.needs_closure
    assert not Lookahead(SGD(model.parameters())).needs_closure

    def closure() -> Tensor:
        optimizer.zero_grad()
        return gradients(model, x, y)

    losses = [float(optimizer.step(closure).detach()) for _ in range(20)]
    assert losses[-1] < losses[0]
    with pytest.raises(UsageError, match="SAM: `closure` must be"):
        optimizer.step()


def test_hooks_and_filling_with_zeros_work() -> None:
    model, x, y = problem()
    optimizer = Lookahead(SGD(model.parameters()))
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    gradients(model, x, y)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert seen == ["before", "after"]
    assert model[0].weight.grad is not None
    assert not model[0].weight.grad.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "`k` must be at least 1; got 0"),
        ({"alpha": 1.5}, "`alpha` must lie between 0 and 1; got 1.5"),
        ({"alpha": float("nan")}, "`alpha` must lie between 0 and 1; got nan"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Lookahead(SGD([torch.ones(1)]), **settings)


def test_what_is_no_optimizer_is_refused() -> None:
    wrong: Any = [torch.ones(1)]
    with pytest.raises(UsageError, match=r"`optimizer` must be an optimizer to wrap; got \[tensor"):
        Lookahead(wrong)
    with pytest.raises(UsageError, match="must not contain another Lookahead; got SAM"):
        Lookahead(SAM(Lookahead(SGD([torch.ones(1)]))))
