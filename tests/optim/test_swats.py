"""SWATS is its algorithm written out: the same switch, the same rate, the same weights."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.optim import SWATS
from fitwell.train import Supervised, Trainer

# γ comes near to its mean quickly in this stream; the paper's 1e-9 takes thousands of steps.
SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.95), "tolerance": 1e-3}
STEPS = 200
ROUNDING = {"rtol": 1e-12, "atol": 1e-13}
SHAPES = ((4, 3), (3,))


def weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def stream(steps: int = STEPS) -> list[list[Tensor]]:
    """Recorded gradients: a fixed direction and noise, as near the end of a training."""
    generator = torch.Generator().manual_seed(1)

    def drawn() -> list[Tensor]:
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]

    trend = drawn()
    return [[t + 0.3 * n for t, n in zip(trend, drawn(), strict=True)] for _ in range(steps)]


def walk(params: list[Any], optimizer: Any, gradients: list[list[Tensor]]) -> None:
    for each in gradients:
        for p, g in zip(params, each, strict=True):
            p.grad = g.clone()
        optimizer.step()


def literal(
    gradients: list[list[Tensor]], lr: float, betas: tuple[float, float], tolerance: float
) -> tuple[Tensor, int | None, float | None]:
    """Algorithm 1, with all weights in one vector: weights, step of the switch, rate."""
    beta1, beta2 = betas
    w = torch.cat([each.flatten() for each in weights()])
    m, a, v = (torch.zeros_like(w) for _ in "mav")
    mean, switch, rate = 0.0, None, None
    for k, each in enumerate(gradients, start=1):
        g = torch.cat([part.flatten() for part in each])
        if rate is not None:
            v = beta1 * v + g
            w = w - (1 - beta1) * rate * v
            continue
        m = beta1 * m + (1 - beta1) * g
        a = beta2 * a + (1 - beta2) * g**2
        p = -lr * math.sqrt(1 - beta2**k) / (1 - beta1**k) * m / (a.sqrt() + 1e-9)
        w = w + p
        if (p @ g).item() != 0:
            gamma = ((p @ p) / -(p @ g)).item()
            mean = beta2 * mean + (1 - beta2) * gamma
            if k > 1 and abs(mean / (1 - beta2**k) - gamma) < tolerance:
                switch, rate = k, mean / (1 - beta2**k)
    return w, switch, rate


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 3e-4])
def test_opt_10_switch_and_rate_equal_the_algorithm(tolerance: float) -> None:
    params = [nn.Parameter(w) for w in weights()]
    settings = {**SETTINGS, "tolerance": tolerance}
    optimizer = SWATS(params, **settings)
    walk(params, optimizer, stream())
    expected, switch, rate = literal(stream(), **settings)
    assert switch is not None
    assert 1 < switch < STEPS
    assert optimizer.switched_at == switch
    assert optimizer.rate == pytest.approx(rate, rel=1e-12)
    torch.testing.assert_close(nn.utils.parameters_to_vector(params).detach(), expected, **ROUNDING)


def test_opt_10_groups_are_judged_together() -> None:
    params = [nn.Parameter(w) for w in weights()]
    optimizer = SWATS([{"params": [p]} for p in params], **SETTINGS)
    walk(params, optimizer, stream())
    expected, switch, _ = literal(stream(), **SETTINGS)
    assert [g["switched_at"] for g in optimizer.param_groups] == [switch, switch]
    torch.testing.assert_close(nn.utils.parameters_to_vector(params).detach(), expected, **ROUNDING)


def test_without_tolerance_it_is_adam() -> None:
    one, other = ([nn.Parameter(w) for w in weights()] for _ in "ab")
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}
    optimizer = SWATS(one, **settings, eps=1e-12, tolerance=0.0)
    walk(one, optimizer, stream())
    walk(other, torch.optim.Adam(other, **settings, eps=1e-12), stream())
    assert optimizer.switched_at is None
    for p, q in zip(one, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_the_steps_after_the_switch_are_those_of_sgd() -> None:
    params = [nn.Parameter(w) for w in weights()]
    optimizer = SWATS(params, **SETTINGS, weight_decay=0.1)
    gradients = stream(400)
    done = 0
    while optimizer.switched_at is None:
        walk(params, optimizer, gradients[done : done + 1])
        done += 1
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    assert optimizer.rate is not None
    sgd = torch.optim.SGD(twins, lr=0.1 * optimizer.rate, momentum=0.9, weight_decay=0.1)
    walk(params, optimizer, gradients[done:])
    walk(twins, sgd, gradients[done:])
    for p, q in zip(params, twins, strict=True):
        torch.testing.assert_close(p, q, **ROUNDING)


def test_the_rate_of_a_single_number_is_the_closed_form() -> None:
    """With one weight γ = -p / g, so with a constant gradient Λ = lr / |g|, settled in step 2."""
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SWATS([p], lr=0.02)
    walk([p], optimizer, [[torch.full((1,), 4.0, dtype=torch.float64)]] * 2)
    assert optimizer.switched_at == 2
    assert optimizer.rate == pytest.approx(0.02 / 4, rel=1e-8)


def test_it_does_not_switch_to_climbing() -> None:
    """A gradient that turns around: the momentum goes uphill, so γ < 0, settled or not."""
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SWATS([p], lr=0.01, betas=(0.9, 0.0), tolerance=1e9)
    walk([p], optimizer, [[torch.ones(1, dtype=torch.float64)]])
    walk([p], optimizer, [[-0.1 * torch.ones(1, dtype=torch.float64)]])
    assert optimizer.param_groups[0]["mean_rate"] < 0
    assert optimizer.switched_at is None


@pytest.mark.parametrize("at", [0, 3, 60, 190])
def test_going_on_from_a_saved_state_equals_not_stopping(at: int) -> None:
    whole = [nn.Parameter(w) for w in weights()]
    not_stopped = SWATS(whole, **SETTINGS)
    walk(whole, not_stopped, stream())
    params = [nn.Parameter(w) for w in weights()]
    first = SWATS(params, **SETTINGS)
    walk(params, first, stream()[:at])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = SWATS(params, **SETTINGS)
    second.load_state_dict(torch.load(file, weights_only=True))
    walk(params, second, stream()[at:])
    assert (second.switched_at, second.rate) == (not_stopped.switched_at, not_stopped.rate)
    assert all(torch.equal(p, q) for p, q in zip(params, whole, strict=True))


def test_a_schedule_goes_on_after_the_switch() -> None:
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SWATS([p], lr=0.02, betas=(0.0, 0.999))
    gradient = [[torch.full((1,), 4.0, dtype=torch.float64)]]
    walk([p], optimizer, gradient * 2)
    for share in (1.0, 0.5, 0.0):
        before = p.item()
        optimizer.param_groups[0]["lr"] = 0.02 * share
        walk([p], optimizer, gradient)
        assert before - p.item() == pytest.approx(0.02 * share, rel=1e-7, abs=1e-12)


def test_a_group_may_join_after_the_switch() -> None:
    params = [nn.Parameter(w) for w in weights()]
    optimizer = SWATS(params[:1], **SETTINGS)
    walk(params[:1], optimizer, [each[:1] for each in stream()])
    assert optimizer.switched_at is not None
    optimizer.add_param_group({"params": params[1:]})
    before = params[1].detach().clone()
    walk(params, optimizer, stream()[:1])
    assert optimizer.rate is not None
    moved = before - 0.1 * optimizer.rate * stream()[0][1]
    torch.testing.assert_close(params[1].detach(), moved, **ROUNDING)


def test_parameters_without_gradient_stay_and_rates_may_be_zero() -> None:
    params = [nn.Parameter(w) for w in weights()]
    optimizer = SWATS(params, **{**SETTINGS, "lr": 0.0})
    walk(params, optimizer, stream(20))
    params[0].grad = params[1].grad = None
    optimizer.step()
    assert all(torch.equal(p.detach(), w) for p, w in zip(params, weights(), strict=True))
    assert optimizer.switched_at is None


def test_it_trains_and_gives_the_loss_of_a_closure() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    x, y = torch.randn(64, 5), torch.randn(64, 1)
    optimizer = SWATS(model.parameters(), lr=0.01, betas=(0.9, 0.99), tolerance=1e-3)
    batches = list(zip(x.split(8), y.split(8), strict=True))
    history = Trainer(model, Supervised(nn.MSELoss()), optimizer).fit(batches, epochs=50)
    assert optimizer.switched_at is not None
    assert 0 < optimizer.switched_at < len(history.losses) - 100
    assert sum(history.losses[-8:]) < sum(history.losses[:8])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = (model(x) - y).square().mean()
        loss.backward()
        return loss

    expected = copy.deepcopy(model)
    assert optimizer.step(closure).item() == (expected(x) - y).square().mean().item()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "SWATS: `lr` must be at least 0"),
        ({"tolerance": -1.0}, "SWATS: `tolerance` must be at least 0"),
        ({"betas": (1.0, 0.9)}, r"SWATS: `betas` must lie in \[0, 1\)"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SWATS([nn.Parameter(torch.ones(2))], **settings)


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).square().sum().backward()
    with pytest.raises(UsageError, match="SWATS: gradients must be dense and real"):
        SWATS(table.parameters()).step()
