"""Each optimizer of fitwell's own against its update written out for single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.optim import SGD, SGDW, AdaBelief, AdaBound, AMSBound, Lion, Yogi

STEPS = 200
# float64 operations in another order, over 200 steps.
EXACT: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-13}
SHAPES = ((4, 3), (5,))

Update = Callable[[list[float], float], Iterator[float]]


def gradient(x: Tensor, step: int) -> Tensor:
    scale = torch.linspace(0.1, 2.0, x.numel(), dtype=torch.float64).reshape(x.shape)
    return scale * x.detach() + math.sin(0.7 * step) * scale + 0.3 * x.detach().sin()


def start() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, dtype=torch.float64, generator=generator) for s in SHAPES]


def rate_at(step: int, lr: float) -> float:
    return lr if step < STEPS // 2 else lr / 10


def assert_written_out(make: Callable[[Any], Any], update: Callable[..., Any], lr: float) -> None:
    """Compare with `update(element, gradient, memory, step from 1, rate)` on every element."""
    params = [x.clone().requires_grad_() for x in start()]
    wanted = [x.clone() for x in start()]
    memory: list[list[dict[str, float]]] = [[{} for _ in range(x.numel())] for x in wanted]
    optimizer = make(params)
    for step in range(STEPS):
        rate = rate_at(step, lr)
        optimizer.param_groups[0]["lr"] = rate
        for p, x, kept in zip(params, wanted, memory, strict=True):
            p.grad = gradient(p, step)
            pairs = zip(
                x.flatten().tolist(), gradient(x, step).flatten().tolist(), kept, strict=True
            )
            x.copy_(torch.tensor([update(e, g, m, step + 1, rate) for e, g, m in pairs]).view_as(x))
        optimizer.step()
    for p, x in zip(params, wanted, strict=True):
        torch.testing.assert_close(p.detach(), x, **EXACT)


B1, B2, LR = 0.9, 0.99, 0.01


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("ams", [False, True], ids=["AdaBound", "AMSBound"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [1e-3, 0.5])
def test_opt_13_bounded_adam_equals_its_authors_update(
    ams: bool, decay: float, gamma: float
) -> None:
    final = 0.02

    def update(x: float, g: float, kept: dict[str, float], t: int, lr: float) -> float:
        g = g + decay * x
        m = kept["m"] = B1 * kept.get("m", 0.0) + (1 - B1) * g
        v = kept["v"] = B2 * kept.get("v", 0.0) + (1 - B2) * g * g
        top = kept["top"] = max(kept.get("top", 0.0), v)
        denominator = math.sqrt(top if ams else v) + 1e-8
        step_size = lr * math.sqrt(1 - B2**t) / (1 - B1**t)
        final_lr = final * lr / LR
        lower = final_lr * (1 - 1 / (gamma * t + 1))
        upper = final_lr * (1 + 1 / (gamma * t))
        return x - min(max(step_size / denominator, lower), upper) * m

    make = AMSBound if ams else AdaBound
    assert_written_out(
        lambda p: make(p, LR, (B1, B2), final_lr=final, gamma=gamma, weight_decay=decay),
        update,
        LR,
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_yogi_equals_its_update(decay: float) -> None:
    def update(x: float, g: float, kept: dict[str, float], t: int, lr: float) -> float:
        g = g + decay * x
        m = kept["m"] = B1 * kept.get("m", 0.0) + (1 - B1) * g
        v = kept.get("v", 1e-6)
        v = kept["v"] = v - (1 - B2) * math.copysign(1.0, v - g * g) * g * g
        return x - lr * (m / (1 - B1**t)) / (math.sqrt(v / (1 - B2**t)) + 1e-3)

    assert_written_out(lambda p: Yogi(p, LR, (B1, B2), weight_decay=decay), update, LR)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adabelief_equals_its_update(decay: float) -> None:
    def update(x: float, g: float, kept: dict[str, float], t: int, lr: float) -> float:
        m = kept["m"] = B1 * kept.get("m", 0.0) + (1 - B1) * g
        s = kept["s"] = B2 * kept.get("s", 0.0) + (1 - B2) * (g - m) ** 2 + 1e-12
        ratio = (m / (1 - B1**t)) / (math.sqrt(s / (1 - B2**t)) + 1e-12)
        return x * (1 - lr * decay) - lr * ratio

    assert_written_out(
        lambda p: AdaBelief(p, LR, (B1, B2), eps=1e-12, weight_decay=decay), update, LR
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lion_equals_its_update(decay: float) -> None:
    def update(x: float, g: float, kept: dict[str, float], t: int, lr: float) -> float:
        m = kept.get("m", 0.0)
        c = B1 * m + (1 - B1) * g
        kept["m"] = B2 * m + (1 - B2) * g
        return x - lr * ((c > 0) - (c < 0) + decay * x)

    assert_written_out(lambda p: Lion(p, LR, (B1, B2), weight_decay=decay), update, LR)


@pytest.mark.parametrize("nesterov", [False, True])
def test_opt_28_sgdw_equals_its_update(nesterov: bool) -> None:
    def update(x: float, g: float, kept: dict[str, float], t: int, lr: float) -> float:
        b = kept["b"] = 0.8 * kept.get("b", 0.0) + g
        return x - lr * (g + 0.8 * b if nesterov else b) - lr * 0.1 * x

    assert_written_out(lambda p: SGDW(p, LR, 0.8, weight_decay=0.1, nesterov=nesterov), update, LR)


def test_opt_28_sgdw_is_sgd_with_a_penalty_where_the_schedule_is_constant() -> None:
    """The decay of the source is `lr` times ours, so that ours needs no rescaling."""
    ours, theirs = ([x.clone().requires_grad_() for x in start()] for _ in range(2))
    one, other = SGDW(ours, LR, 0.0, weight_decay=0.1), SGD(theirs, LR, 0.0, weight_decay=0.1)
    for step in range(STEPS):
        for params, optimizer in ((ours, one), (theirs, other)):
            for p in params:
                p.grad = gradient(p, step)
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **EXACT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: AdaBound(p, lr=-1.0), "AdaBound: `lr` must be at least 0"),
        (lambda p: AMSBound(p, final_lr=math.inf), "AMSBound: `final_lr` must be at least 0"),
        (lambda p: Yogi(p, betas=(0.9, 1.0)), r"Yogi: `betas` must lie in \[0, 1\)"),
        (lambda p: Lion(p, betas=(0.9,)), "Lion: `betas` must be two numbers"),
        (lambda p: SGDW(p, momentum=1.0), r"SGDW: `momentum` must lie in \[0, 1\)"),
        (lambda p: SGDW(p, momentum=0.0, nesterov=True), "SGDW: `momentum` must be positive"),
        (lambda p: AdaBelief(p, eps=-1e-8), "AdaBelief: `eps` must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(start())


def test_bounds_that_have_met_leave_momentum_with_one_rate() -> None:
    params = [x.clone().requires_grad_() for x in start()]
    twins = [x.clone().requires_grad_() for x in start()]
    one, other = AdaBound(params, LR, final_lr=0.05, gamma=1e12), SGD(twins, 0.05 * 0.1, 0.9)
    for step in range(50):
        for each, optimizer in ((params, one), (twins, other)):
            for p in each:
                p.grad = gradient(p, step)
            optimizer.step()
    for p, q in zip(params, twins, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)
