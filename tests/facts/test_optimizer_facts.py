"""What the course claims of optimizers, as closed forms and counter-examples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from fitwell import optim
from fitwell.optim import (
    SGD,
    SGDW,
    AdaBound,
    Adam,
    AdamW,
    Chain,
    Composed,
    Decay,
    MaxMeanSquare,
    Mean,
    MeanSquare,
    Noise,
    Ratio,
    Scale,
    Trace,
)

DOUBLE = torch.float64
# float64 operations in another order.
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


def walk(optimizer: Any, x: Tensor, grads: Any) -> Tensor:
    """Give what each step adds."""
    movements = []
    for g in grads:
        before = x.detach().clone()
        x.grad = torch.as_tensor(g, dtype=x.dtype).expand_as(x).clone()
        optimizer.step()
        movements.append(x.detach() - before)
    return torch.stack(movements)


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE, requires_grad=True)


# Momentum ----------------------------------------------------------------------------------------


def test_opt_01_the_movement_is_that_of_the_lecture() -> None:
    """m⁰ = 0, mᵗ⁺¹ = λ mᵗ - η gᵗ, θᵗ⁺¹ = θᵗ + mᵗ⁺¹: torch's with the rate outside the sum."""
    grads = torch.randn(30, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(4, dtype=DOUBLE, requires_grad=True)
    movements = walk(SGD([x], lr=0.1, momentum=0.8), x, grads)
    m = torch.zeros(4, dtype=DOUBLE)
    for g, moved in zip(grads, movements, strict=True):
        m = 0.8 * m - 0.1 * g
        torch.testing.assert_close(moved, m, **EXACT)


def test_tune_30_the_movement_is_the_weighted_sum_of_all_past_gradients() -> None:
    grads = torch.randn(25, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(4, dtype=DOUBLE, requires_grad=True)
    movements = walk(SGD([x], lr=0.1, momentum=0.8), x, grads)
    for t in range(25):
        total = sum(0.8 ** (t - i) * grads[i] for i in range(t + 1))
        torch.testing.assert_close(movements[t], -0.1 * total, **EXACT)


def test_opt_23_the_look_ahead_has_the_rate_of_theory_and_beats_momentum_without() -> None:
    """On a convex quadratic with curvatures from μ to L at rate 1 / L, κ = L / μ.

    Descent shrinks the error by 1 - 1/κ per step. With momentum (√κ - 1) / (√κ + 1) the look-ahead
    shrinks it by 1 - 1/√κ, and momentum without it by √momentum, which is less. (Polyak's own
    setting, with a rate near 4 / L that only a quadratic bears, is faster than both.)
    """
    curvatures, kappa = torch.logspace(-2, 0, 6, dtype=DOUBLE), 100.0
    momentum = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)

    def shrinks_by(nesterov: bool, decay: float, steps: int = 1000) -> float:
        x, errors = torch.ones(6, dtype=DOUBLE, requires_grad=True), []
        optimizer = SGD([x], lr=1.0, momentum=decay, nesterov=nesterov)
        for _ in range(steps):
            x.grad = curvatures * x.detach()
            optimizer.step()
            errors.append(math.log(x.detach().norm().item()))
        window = range(steps // 2, steps)  # a line through the logarithms: oscillations average out
        return math.exp(torch.tensor([errors[i] - errors[i - 100] for i in window]).mean() / 100)

    # The repeated root at μ makes a factor t beside the power: 1 / 700 per step at this time.
    assert shrinks_by(True, momentum) == pytest.approx(1 - 1 / math.sqrt(kappa), abs=2e-3)
    assert shrinks_by(False, momentum) == pytest.approx(math.sqrt(momentum), abs=1e-3)
    assert shrinks_by(False, 0.0) == pytest.approx(1 - 1 / kappa, abs=1e-4)
    assert shrinks_by(True, momentum) < shrinks_by(False, momentum) < shrinks_by(False, 0.0)


def test_the_ravine_where_one_rate_cannot_do() -> None:
    """Across the ravine descent diverges above 2/L; along it that rate takes κ steps.

    Curvatures 1e5 and 1: a rate of 1e-2 would do along, but is 500 times too large across; at
    1e-7 it converges and 100,000 steps along bring 1 %. Adagrad's first steps are the same along
    both.
    """
    curvature = torch.tensor([1e5, 1.0], dtype=DOUBLE)

    def after(rate: float, steps: int) -> Tensor:
        return (1 - rate * curvature) ** steps  # the closed form of descent from (1, 1)

    x = at(1.0, 1.0)
    optimizer = SGD([x], lr=1e-7, momentum=0.0)
    for _ in range(200):
        x.grad = curvature * x.detach()
        optimizer.step()
    torch.testing.assert_close(x.detach(), after(1e-7, 200), **EXACT)
    assert after(1e-2, 10)[0].abs() > 1e20
    assert after(1e-7, 100_000)[1] == pytest.approx(math.exp(-0.01), rel=1e-6)
    assert after(1e-7, 100_000)[1] > 0.98
    x = at(1.0, 1.0)
    walked = walk(Composed([x], Ratio(bottom=optim.SumOfSquares()), lr=0.1), x, [curvature] * 3)
    torch.testing.assert_close(walked[:, 0], walked[:, 1], rtol=1e-7, atol=0)


# Adam --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_opt_11_the_step_of_the_second_moment_is_bounded(beta2: float) -> None:
    """|g| / √v is at most √(1 / (1 - β₂)), reached by a burst after zeros."""
    rule = Ratio(bottom=MeanSquare(beta=beta2, debias=False), eps=0.0)
    bound = math.sqrt(1 / (1 - beta2))
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(1000, dtype=DOUBLE)
    state = rule.init(x)
    for step in range(1, 60):
        g = torch.randn(1000, dtype=DOUBLE, generator=generator).exp()
        assert rule.apply(g, state, x, step).abs().max() <= bound * (1 + 1e-12)
    state = rule.init(x[:1])
    for step in range(1, 20):
        rule.apply(torch.full((1,), 1e-9, dtype=DOUBLE), state, x[:1], step)
    burst = rule.apply(torch.full((1,), 1e6, dtype=DOUBLE), state, x[:1], 20)
    assert burst.item() == pytest.approx(bound, rel=1e-6)


def test_opt_11_small_gradients_outvote_one_that_matters() -> None:
    """The lecture's example, with 1,000 gradients of 1 for each of 1,000 then.

    With β₁ = 0 and β₂ = 0.999, each gradient of 1 moves by η; one gradient of 1,000 moves by
    η · 1000 / √(0.999 + 0.001 · 1000²), about 10√10 η: what 32 of the small ones move together,
    although it is worth 1,000 of them.
    """
    x = at(0.0)
    movements = walk(Adam([x], lr=1e-3, betas=(0.0, 0.999), eps=1e-8), x, [1.0] * 10_000 + [1000.0])
    # After 10,000 steps of 1 the mean square is 1 but for 1e-16; debiasing is over.
    predicted = 1000 / math.sqrt(0.999 + 0.001 * 1000**2)
    assert -movements[0].item() == pytest.approx(1e-3, rel=1e-7)
    assert -movements[-1].item() == pytest.approx(1e-3 * predicted, rel=1e-3)
    assert predicted == pytest.approx(10 * math.sqrt(10), rel=1e-3)
    small = -movements[:-1].sum().item()
    assert small > 300 * -movements[-1].item()  # although all of them sum to 10 times the burst


@pytest.mark.parametrize(
    ("name", "end"), [("Adam", 1.0), ("AMSGrad", -1.0), ("SGD", -1.0), ("AdaBound", -1.0)]
)
def test_opt_12_the_stream_that_leads_adam_astray(name: str, end: float) -> None:
    """Losses 1010 x in one of 101 steps, else -10 x, on [-1, 1]: the best x is -1.

    The sum of a round is +10, but Adam divides the large gradient by its own size. Rates fall as
    1 / √t and are large enough for 150 rounds; the mean over the last one is what counts.
    """
    beta2, rate = 0.99, {"Adam": 6.0, "AMSGrad": 6.0, "SGD": 0.05, "AdaBound": 40.0}[name]
    square: Any = MaxMeanSquare if name == "AMSGrad" else MeanSquare
    bottom = square(beta=beta2, debias=False)
    rule: Any = Chain(parts=()) if name == "SGD" else Ratio(bottom=bottom)
    if name == "AdaBound":
        top = Mean(beta=0.0, debias=False)
        rule = optim.Bounded(top=top, bottom=bottom, lr=0.5, final_lr=1e-3, gamma=1e-2)
    point, last = torch.zeros(1, dtype=DOUBLE), []
    state = rule.init(point)
    for step in range(1, 150 * 101 + 1):
        g = torch.full((1,), 1010.0 if step % 101 == 1 else -10.0, dtype=DOUBLE)
        point.sub_(rule.apply(g, state, point, step), alpha=rate / math.sqrt(step)).clamp_(-1, 1)
        last.append(point.item())
    assert sum(last[-101:]) / 101 == pytest.approx(end, abs=0.25)


def test_a_burst_sideways_pollutes_momentum_and_not_adam() -> None:
    """A gradient of G in one coordinate, then none: momentum moves on, by G η / (1 - λ) in all.

    Adam's movement by the burst is the same for any G: only its size is divided out.
    """

    def sideways(make: Any, burst: float) -> Tensor:
        x = at(0.0, 0.0)
        grads = torch.tensor([[1.0, burst]] + [[1.0, 0.0]] * 300, dtype=DOUBLE)
        return walk(make([x]), x, grads).sum(0)

    for burst in (10.0, 1e4):
        moved = sideways(lambda p: SGD(p, lr=1e-3, momentum=0.9), burst)
        assert -moved[1].item() == pytest.approx(1e-3 * burst / (1 - 0.9), rel=1e-9)
    small, large = (sideways(lambda p: Adam(p, lr=1e-3), burst)[1].item() for burst in (10.0, 1e4))
    assert small == pytest.approx(large, rel=1e-6)
    t = torch.arange(1, 302, dtype=DOUBLE)
    # m̂ₜ = G β₁ᵗ⁻¹(1 - β₁)/(1 - β₁ᵗ), v̂ₜ = G² β₂ᵗ⁻¹(1 - β₂)/(1 - β₂ᵗ)
    mean = 0.9 ** (t - 1) * 0.1 / (1 - 0.9**t)
    root = (0.999 ** (t - 1) * 0.001 / (1 - 0.999**t)).sqrt()
    assert -small == pytest.approx(1e-3 * (mean / root).sum().item(), rel=1e-6)


# Weight decay ------------------------------------------------------------------------------------


def test_opt_26_a_penalty_is_weight_decay_for_descent() -> None:
    x, y = at(2.0, -3.0), at(2.0, -3.0)
    grads = torch.randn(50, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for g in grads:
        for p, optimizer in ((x, SGD([x], 0.1, 0.0, 0.2)), (y, SGDW([y], 0.1, 0.0, 0.2))):
            p.grad = g.clone()
            optimizer.step()
    torch.testing.assert_close(x, y, **EXACT)


def test_opt_26_a_penalty_is_no_weight_decay_for_adam() -> None:
    """In the first step Adam's direction is the sign of what it is given, so a penalty does nothing
    unless it turns the sign; decay takes lr · λ · θ off.
    """
    x, y = at(2.0, -3.0, 0.1), at(2.0, -3.0, 0.1)
    g = torch.tensor([0.5, -0.7, -0.1], dtype=DOUBLE)
    lr, decay = 0.01, 0.3
    with_penalty = walk(Adam([x], lr, weight_decay=decay, eps=0.0), x, [g])[0]
    with_decay = walk(AdamW([y], lr, weight_decay=decay, eps=0.0), y, [g])[0]
    start = torch.tensor([2.0, -3.0, 0.1], dtype=DOUBLE)
    torch.testing.assert_close(with_penalty, -lr * (g + decay * start).sign(), **EXACT)
    difference = lr * (g.sign() - (g + decay * start).sign()) + lr * decay * start
    torch.testing.assert_close(with_penalty - with_decay, difference, **EXACT)
    assert (difference.abs() > 1e-4).all()


def test_opt_26_the_place_of_the_decay_is_all_that_differs() -> None:
    ratio = Ratio(top=Mean(), bottom=MeanSquare())
    x, y = at(2.0, -3.0), at(2.0, -3.0)
    grads = torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for parts, make, p in (
        ((Decay(rate=0.3), ratio), lambda q: Adam(q, 0.01, weight_decay=0.3), x),
        ((ratio, Decay(rate=0.3)), lambda q: AdamW(q, 0.01, weight_decay=0.3), y),
    ):
        twin = p.detach().clone()
        rule = Chain(parts=(*parts, Scale(lr=0.01)))
        state = optim.init(rule, twin)
        optimizer = make([p])
        for g in grads:
            twin, state = optim.update(rule, g, state, twin)
            p.grad = g.clone()
            optimizer.step()
        torch.testing.assert_close(p.detach(), twin, **EXACT)
    assert not torch.allclose(x, y)


# Noise and learning online -----------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 50, 1000])
def test_opt_31_the_variance_of_the_noise_follows_the_schedule(step: int) -> None:
    eta, gamma, count = 0.3, 0.55, 4000
    rule, zero = Noise(eta=eta, gamma=gamma, seed=2), torch.zeros(count, dtype=DOUBLE)
    noise = rule.apply(zero.clone(), rule.init(zero, 5), zero, step)
    variance = eta / step**gamma  # 1 + t, with t = 0 in the first step
    statistic = noise.square().sum().item() / variance
    low, high = stats.chi2.ppf([0.0005, 0.9995], count)
    assert low < statistic < high
    assert stats.kstest((noise / math.sqrt(variance)).numpy(), "norm").pvalue > 1e-3


def test_opt_02_regret_of_descent_online_is_within_its_bound() -> None:
    """Losses |x - zₜ| one by one: regret against the best fixed point is at most 3/2 D G √T."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(2000, dtype=DOUBLE, generator=generator)
    diameter, slope, x, losses = 1.0, 1.0, torch.zeros(1, dtype=DOUBLE), []
    for t, z in enumerate(targets, start=1):
        losses.append((x - z).abs().item())
        rule = Scale(lr=diameter / (slope * math.sqrt(t)))
        x = (x - rule.apply((x - z).sign(), {}, x, t)).clamp(0, 1)
    best = (targets - targets.median()).abs().cumsum(0)
    regret = torch.tensor(losses, dtype=DOUBLE).cumsum(0) - best
    bound = 1.5 * diameter * slope * torch.arange(1, 2001, dtype=DOUBLE).sqrt()
    assert (regret <= bound).all()


def test_adabound_begins_as_adam_and_ends_as_momentum() -> None:
    grads = torch.randn(60, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for gamma, twin in ((1e-12, "adam"), (1e12, "momentum")):
        x, y = at(1.0, 2.0, 3.0), at(1.0, 2.0, 3.0)
        ours = AdaBound([x], lr=1e-3, gamma=gamma, eps=1e-300)
        other: Any = Adam([y], lr=1e-3, eps=1e-300)
        if twin == "momentum":
            other = Composed([y], Chain(parts=(Trace(decay=0.9),)), lr=0.1 * 0.1)
        torch.testing.assert_close(walk(ours, x, grads), walk(other, y, grads), rtol=1e-6, atol=0)
