"""The parts of the kit make torch's optimizers, one by one and stacked."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fitwell import optim
from fitwell.core.errors import UnknownName, UsageError
from fitwell.optim import (
    Centralize,
    Chain,
    Clip,
    ClipNorm,
    Decay,
    MaxMeanSquare,
    Mean,
    MeanSquare,
    Noise,
    Ratio,
    Scale,
    SumOfSquares,
    Surprise,
    Trace,
    Transform,
    transform,
)

STEPS = 1000
# float64 operations in another order, over 1,000 steps that contract.
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
LR = 0.01

Make = Callable[..., Transform]


def sgd(lr: Any = LR, decay: Any = 0.0, momentum: Any = 0.0) -> Chain:
    return Chain(parts=(Decay(rate=decay), Trace(decay=momentum), Scale(lr=lr)))


def adagrad(lr: Any = LR) -> Chain:
    return Chain(parts=(Ratio(bottom=SumOfSquares(), eps=1e-10), Scale(lr=lr)))


def rmsprop(lr: Any = LR, beta: Any = 0.99, momentum: Any = 0.0, centered: bool = False) -> Chain:
    bottom = MeanSquare(beta=beta, debias=False, centered=centered)
    parts: tuple[Transform, ...] = (Ratio(bottom=bottom),)
    if isinstance(momentum, Tensor) or momentum:
        parts += (Trace(decay=momentum),)
    return Chain(parts=(*parts, Scale(lr=lr)))


def adam(lr: Any = LR, beta1: Any = 0.9, beta2: Any = 0.999, decay: Any = 0.0) -> Chain:
    ratio = Ratio(top=Mean(beta=beta1), bottom=MeanSquare(beta=beta2))
    return Chain(parts=(Decay(rate=decay), ratio, Scale(lr=lr)))


def adamw(lr: Any = LR, decay: Any = 0.1) -> Chain:
    ratio = Ratio(top=Mean(), bottom=MeanSquare())
    return Chain(parts=(ratio, Decay(rate=decay), Scale(lr=lr)))


def amsgrad(lr: Any = LR, beta2: Any = 0.99) -> Chain:
    ratio = Ratio(top=Mean(), bottom=MaxMeanSquare(beta=beta2))
    return Chain(parts=(ratio, Scale(lr=lr)))


TORCH = torch.optim
CASES: dict[str, tuple[Chain, Callable[[Any], torch.optim.Optimizer]]] = {
    "SGD": (sgd(), lambda p: TORCH.SGD(p, LR)),
    "SGD with L2": (sgd(decay=0.1), lambda p: TORCH.SGD(p, LR, weight_decay=0.1)),
    "SGDM": (sgd(decay=0.1, momentum=0.9), lambda p: TORCH.SGD(p, LR, 0.9, weight_decay=0.1)),
    "SGDM damped": (
        Chain(parts=(Trace(dampening=0.3), Scale(lr=LR))),
        lambda p: TORCH.SGD(p, LR, 0.9, dampening=0.3),
    ),
    "NAG": (
        Chain(parts=(Trace(nesterov=True), Scale(lr=LR))),
        lambda p: TORCH.SGD(p, LR, 0.9, nesterov=True),
    ),
    "Adagrad": (adagrad(), lambda p: TORCH.Adagrad(p, LR)),
    "RMSprop": (rmsprop(), lambda p: TORCH.RMSprop(p, LR)),
    "RMSprop centered": (rmsprop(centered=True), lambda p: TORCH.RMSprop(p, LR, centered=True)),
    "RMSprop with momentum": (
        rmsprop(momentum=0.8),
        lambda p: TORCH.RMSprop(p, LR, momentum=0.8),
    ),
    "Adam": (adam(), lambda p: TORCH.Adam(p, LR)),
    "Adam with L2": (adam(decay=0.1), lambda p: TORCH.Adam(p, LR, weight_decay=0.1)),
    "AdamW": (adamw(), lambda p: TORCH.AdamW(p, LR, weight_decay=0.1)),
    "AMSGrad": (amsgrad(), lambda p: TORCH.Adam(p, LR, (0.9, 0.99), amsgrad=True)),
}


@functools.cache
def _scale(shape: torch.Size) -> Tensor:
    return torch.linspace(0.1, 3.0, shape.numel(), dtype=torch.float64).reshape(shape)


def gradient(x: Tensor, step: int) -> Tensor:
    """Of a bowl that shakes: every past step matters, and gradients change their sign."""
    return _scale(x.shape[1:]) * x + math.sin(0.7 * step) + 0.3 * x.sin()


def start(shape: tuple[int, ...] = (1, 3, 4)) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def descend(rule: Transform, x: Tensor, steps: int = STEPS) -> Tensor:
    params, state = {"x": x}, optim.init(rule, {"x": x})
    for step in range(steps):
        params, state = optim.update(rule, {"x": gradient(params["x"], step)}, state, params)
    return params["x"]


def torch_descends(make: Callable[[Any], torch.optim.Optimizer], x: Tensor) -> Tensor:
    p = x.clone().requires_grad_()
    optimizer = make([p])
    for step in range(STEPS):
        p.grad = gradient(p.detach(), step)
        optimizer.step()
    return p.detach()


@pytest.mark.parametrize("name", CASES)
def test_tune_39_one_kit_makes_torchs_optimizers(name: str) -> None:
    rule, theirs = CASES[name]
    torch.testing.assert_close(descend(rule, start()), torch_descends(theirs, start()), **EXACT)


@pytest.mark.parametrize("kind", ["tune_30_momentum", "opt_24_look_ahead"])
def test_momentum_is_the_weighted_sum_of_all_past_gradients(kind: str) -> None:
    nesterov = kind.startswith("opt_24")
    rule, x = Trace(decay=0.8, nesterov=nesterov), start()
    state, grads = rule.init(x), [gradient(x + i, i) for i in range(20)]
    for step, g in enumerate(grads, start=1):
        given = rule.apply(g.clone(), state, x, step).clone()
    total = sum(0.8 ** (19 - i) * g for i, g in enumerate(grads))
    wanted = grads[-1] + 0.8 * total if nesterov else total
    torch.testing.assert_close(given, wanted, **EXACT)


def test_opt_24_nag_with_one_copy_equals_nag_with_two() -> None:
    """Sutskever's form takes the gradient ahead of θ; the kit's keeps only the point ahead."""
    decay, theta = 0.9, start()
    movement = torch.zeros_like(theta)
    rule = Chain(parts=(Trace(decay=decay, nesterov=True), Scale(lr=LR)))
    ahead, state = theta.clone(), optim.init(rule, theta)
    for step in range(STEPS):
        movement = decay * movement - LR * gradient(theta + decay * movement, step)
        theta = theta + movement
        ahead, state = optim.update(rule, gradient(ahead, step), state, ahead)
        if step % 100 == 0:
            torch.testing.assert_close(ahead, theta + decay * movement, **EXACT)
    torch.testing.assert_close(ahead, theta + decay * movement, **EXACT)


K_LR = torch.tensor([0.003, 0.01, 0.05], dtype=torch.float64)
K_BETA = torch.tensor([0.0, 0.5, 0.95], dtype=torch.float64)
STACKED: dict[str, Callable[[Any, Any], Transform]] = {
    "SGD": lambda lr, b: sgd(lr, decay=b, momentum=b),
    "damped": lambda lr, b: Chain(parts=(Trace(decay=b, dampening=b), Scale(lr=lr))),
    "NAG": lambda lr, b: Chain(parts=(Trace(decay=b, nesterov=True), Scale(lr=lr))),
    "Adagrad": lambda lr, b: adagrad(lr),
    "RMSprop": lambda lr, b: rmsprop(lr, (b + 1) / 2, b, centered=True),
    "Adam": lambda lr, b: adam(lr, b, (b + 2) / 3, b),
    "AdamW": lambda lr, b: adamw(lr, b),
    "AMSGrad": lambda lr, b: amsgrad(lr, b),
    "Yogi": lambda lr, b: Chain(
        parts=(Ratio(top=Mean(beta=b), bottom=optim.SignedSquare(beta=b)), Scale(lr=lr))
    ),
    "AdaBelief": lambda lr, b: Chain(
        parts=(Ratio(top=Mean(beta=b), bottom=Surprise(beta=(b + 2) / 3)), Scale(lr=lr))
    ),
    "Lion": lambda lr, b: Chain(parts=(optim.SignOfMean(betas=(b, b)), Scale(lr=lr))),
    "clipped": lambda lr, b: Chain(parts=(ClipNorm(norm=b + 0.1), Clip(value=b), Scale(lr=lr))),
}


@pytest.mark.parametrize("name", STACKED)
@pytest.mark.parametrize("own_steps", [False, True], ids=["one step count", "own step counts"])
def test_stacked_trainings_equal_separate_ones(name: str, own_steps: bool) -> None:
    xs, make = start((3, 3, 4)), STACKED[name]
    rule, params = make(K_LR, K_BETA), xs
    state = optim.init(rule, params)
    if own_steps:
        state["step"] = torch.zeros(3, dtype=torch.int64)
    for step in range(40):
        params, state = optim.update(rule, gradient(params, step), state, params)
    for k in range(3):
        alone = descend(make(K_LR[k].item(), K_BETA[k].item()), xs[k : k + 1], 40)
        torch.testing.assert_close(params[k], alone[0], **EXACT)


def test_the_rms_form_of_adagrad_differs_by_the_root_of_the_step() -> None:
    x, g = start(), gradient(start(), 0)
    plain = Ratio(bottom=SumOfSquares(), eps=0.0)
    mean = Ratio(bottom=SumOfSquares(mean=True), eps=0.0)
    one, other = plain.init(x), mean.init(x)
    for step in range(1, 30):
        g = gradient(g, step)
        ours = mean.apply(g.clone(), other, x, step)
        torchs = plain.apply(g.clone(), one, x, step)
        torch.testing.assert_close(ours, torchs * math.sqrt(step), **EXACT)


def test_clipping_equals_torchs() -> None:
    grads: dict[str, Any] = {"a": start((2, 3)), "b": [start((4,)) * 3]}
    params = {"a": torch.zeros(2, 3).double(), "b": [torch.zeros(4).double()]}
    for p in (1.0, 2.0, math.inf):
        rule = Chain(parts=(ClipNorm(norm=0.7, p=p), Scale(lr=1.0)))
        new, _ = optim.update(rule, grads, optim.init(rule, params), params)
        leaves = [torch.zeros(2, 3).double(), torch.zeros(4).double()]
        leaves[0].grad, leaves[1].grad = grads["a"].clone(), grads["b"][0].clone()
        torch.nn.utils.clip_grad_norm_(leaves, 0.7, norm_type=p)
        torch.testing.assert_close(-new["a"], leaves[0].grad, **EXACT)
        torch.testing.assert_close(-new["b"][0], leaves[1].grad, **EXACT)
    leaf = torch.zeros(2, 3).double()
    leaf.grad = grads["a"].clone()
    torch.nn.utils.clip_grad_value_([leaf], 0.5)
    assert torch.equal(Clip(value=0.5).apply(grads["a"].clone(), {}, leaf, 1), leaf.grad)


def test_centralize_is_the_projection_and_leaves_vectors() -> None:
    g = start((5, 6))
    projection = torch.eye(6).double() - torch.ones(6, 6).double() / 6
    torch.testing.assert_close(
        Centralize().apply(g.clone(), {}, g, 1), g @ projection, rtol=1e-12, atol=1e-14
    )
    filters = start((4, 2, 3, 3))
    centred = Centralize().apply(filters.clone(), {}, filters, 1)
    assert centred.mean(dim=(1, 2, 3)).abs().max() < 1e-15
    stacked = Centralize(keep=2).apply(torch.stack([g, 2 * g]), {}, g, 1)
    torch.testing.assert_close(stacked[1], 2 * (g @ projection), rtol=1e-12, atol=1e-14)
    assert torch.equal(Centralize().apply(start((6,)), {}, g, 1), start((6,)))


def test_scale_follows_a_schedule() -> None:
    rule = Scale(lr=0.5, schedule=optim.Cosine(), total_steps=10)
    assert [rule.rate(step) for step in (1, 6, 11)] == pytest.approx([0.5, 0.25, 0.0])
    several = rule.rate(torch.tensor([1, 6, 11]))
    assert isinstance(several, Tensor)
    assert several.tolist() == pytest.approx([0.5, 0.25, 0.0])
    with pytest.raises(UsageError, match="Scale: `total_steps` must be a number of steps"):
        Scale(schedule=optim.Cosine())


@pytest.mark.parametrize("name", CASES)
def test_nothing_given_is_changed(name: str) -> None:
    rule, _ = CASES[name]
    params, grads = {"x": start()}, {"x": gradient(start(), 3)}
    state = optim.init(rule, params)
    for _ in range(2):
        before = repr((params, grads, state))
        new, after = optim.update(rule, grads, state, params)
        assert repr((params, grads, state)) == before
        state = after
    assert not torch.equal(new["x"], params["x"])


def test_two_parts_of_one_kind_keep_their_own() -> None:
    double = Chain(parts=(Trace(decay=0.5), Trace(decay=0.9), Scale(lr=LR)))
    one = optim.init(double, start())
    assert set(one["tensors"][0]) == {"0.momentum_buffer", "1.momentum_buffer"}
    x, g = start(), torch.ones(1, 3, 4).double()
    state, sums = double.init(x), [0.0, 0.0]
    for step in range(1, 5):
        given = double.apply(g.clone(), state, x, step)
        sums[0] = 0.5 * sums[0] + 1
        sums[1] = 0.9 * sums[1] + sums[0]
    torch.testing.assert_close(given, LR * sums[1] * g, **EXACT)


def test_a_quotient_is_the_direction_in_parts() -> None:
    for rule, _ in CASES.values():
        one, other = rule.init(start()), rule.init(start())
        for step in range(1, 4):
            g = gradient(start(), step)
            whole = rule.apply(g.clone(), one, start(), step)
            top, bottom, factor = rule.quotient(g.clone(), other, start(), step)
            parts = (top if bottom is None else top / bottom) * factor
            torch.testing.assert_close(parts, whole, **EXACT)


TEXT = (
    "Chain(parts=(ClipNorm(norm=1.0, p=2.0), Noise(eta=0.01, gamma=0.55, seed=3),"
    " Ratio(top=Mean(beta=0.9, debias=True), bottom=MeanSquare(beta=0.99, debias=True,"
    " centered=False), eps=1e-08), Decay(rate=0.1)))"
)


def test_the_printed_form_builds_the_transform() -> None:
    rule = transform(TEXT)
    assert repr(rule) == TEXT
    assert rule == transform(repr(rule))
    scheduled = transform("Scale(lr=0.1, schedule=Cosine(), total_steps=9)")
    assert isinstance(scheduled, Scale)
    assert scheduled.rate(10) == pytest.approx(0.0)
    assert transform("trace") == Trace()
    assert transform(rule) is rule


@pytest.mark.parametrize("name", sorted(set(optim.TRANSFORMS) - {"Chain"}))
def test_every_transform_prints_what_builds_it(name: str) -> None:
    rule = optim.TRANSFORMS[name]()
    assert transform(repr(rule)) == rule


def test_wrong_specs_are_refused() -> None:
    with pytest.raises(UnknownName, match="nearest: 'Trace'"):
        transform("Trac(decay=0.9)")
    with pytest.raises(UnknownName, match="decay"):
        transform("Trace(decai=0.9)")
    with pytest.raises(UsageError, match="`bottom` must be a moment"):
        transform("Ratio(bottom=Trace())")
    with pytest.raises(UsageError, match="`parts` must be transforms"):
        transform("Chain(parts=(1,))")
    with pytest.raises(UsageError, match="`parts` must have what needs all gradients"):
        Chain(parts=(Trace(), ClipNorm()))
    with pytest.raises(UsageError, match="must keep different things"):
        Ratio(top=MeanSquare(), bottom=MeanSquare())
    with pytest.raises(UsageError, match="`top` must be a Mean where"):
        Ratio(bottom=Surprise())
    with pytest.raises(UsageError, match="`text` must be such as"):
        transform(3)  # type: ignore[arg-type]


def test_wrong_trees_are_refused() -> None:
    rule = sgd()
    state = optim.init(rule, [start()])
    with pytest.raises(UsageError, match="update: `grads` must have the structure"):
        optim.update(rule, {"x": start()}, state, [start()])
    with pytest.raises(UsageError, match="init: `params` must be real floating-point"):
        optim.init(rule, [torch.zeros(2, dtype=torch.int64)])


def test_noise_repeats_and_differs_between_parameters_and_steps() -> None:
    rule, zero = Noise(eta=1.0, seed=1), torch.zeros(50, dtype=torch.float64)

    def draw(index: int, step: int, seed: int = 1) -> Tensor:
        return Noise(eta=1.0, seed=seed).apply(zero.clone(), rule.init(zero, index), zero, step)

    assert torch.equal(draw(0, 1), draw(0, 1))
    others = [draw(0, 2), draw(1, 1), draw(1, 2), draw(0, 1, seed=2)]
    assert not any(torch.equal(draw(0, 1), other) for other in others)
