"""LARS and LAMB are their algorithms written out, and become SGD and Adam where they should."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.optim import LAMB, LARS, SGD, Adam, AdamW

STEPS = 20
# The order of a few operations per step differs.
TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
    torch.float32: {"rtol": 1e-6, "atol": 1e-6},
}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)

Stream = list[list[Tensor]]


def weights(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """A matrix, filters, a bias, and a matrix that begins at zero."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (2, 3, 3, 3), (4,)]
    drawn = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    return [*drawn, torch.zeros(3, 2, dtype=dtype)]


def stream(dtype: torch.dtype = torch.float64) -> Stream:
    """Recorded gradients; those of the last tensor are zero at first."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for step in range(STEPS):
        drawn = [torch.randn(w.shape, generator=generator, dtype=dtype) for w in weights(dtype)]
        found.append([*drawn[:-1], drawn[-1] * (step > 2)])
    return found


def walk(params: list[Any], optimizer: torch.optim.Optimizer, gradients: Stream) -> None:
    for each in gradients:
        for p, g in zip(params, each, strict=True):
            p.grad = g.clone()
        optimizer.step()


def length(w: Tensor) -> float:
    return math.sqrt(w.double().square().sum().item())


def lars(values: list[Tensor], gradients: Stream, c: dict[str, Any], vectors: bool) -> list[Tensor]:
    speeds = [torch.zeros_like(w) for w in values]
    for each in gradients:
        for i, g in enumerate(each):
            w, ratio = values[i], 1.0
            if (w.ndim > 1 or vectors) and length(w) > 0 and length(g) > 0:
                ratio = (
                    c["trust"] * length(w) / (length(g) + c["weight_decay"] * length(w) + c["eps"])
                )
            change = c["lr"] * ratio * (g + c["weight_decay"] * w)
            speeds[i] = c["momentum"] * speeds[i] + change
            values[i] = w - speeds[i]
    return values


def lamb(values: list[Tensor], gradients: Stream, c: dict[str, Any], vectors: bool) -> list[Tensor]:
    means, squares = [torch.zeros_like(w) for w in values], [torch.zeros_like(w) for w in values]
    beta1, beta2 = c["betas"]
    for t, each in enumerate(gradients, start=1):
        for i, g in enumerate(each):
            means[i] = beta1 * means[i] + (1 - beta1) * g
            squares[i] = beta2 * squares[i] + (1 - beta2) * g**2
            direction = (means[i] / (1 - beta1**t)) / (
                (squares[i] / (1 - beta2**t)).sqrt() + c["eps"]
            )
            direction = direction + c["weight_decay"] * values[i]
            ratio = 1.0
            if (g.ndim > 1 or vectors) and length(values[i]) > 0 and length(direction) > 0:
                ratio = length(values[i]) / length(direction)
            values[i] = values[i] - c["lr"] * ratio * direction
    return values


LARS_SETTINGS = [
    {"lr": 2.0, "momentum": 0.9, "weight_decay": 1e-2, "trust": 1e-2, "eps": 1e-8},
    {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "trust": 1e-1, "eps": 0.0},
]
LAMB_SETTINGS = [
    {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.01},
    {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.0},
]


@DTYPES
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("settings", LARS_SETTINGS)
def test_tune_27_twenty_steps_of_lars_equal_the_algorithm(
    dtype: torch.dtype, vectors: bool, settings: dict[str, Any]
) -> None:
    params = [nn.Parameter(w) for w in weights(dtype)]
    walk(params, LARS(params, **settings, vectors=vectors), stream(dtype))
    expected = lars(weights(dtype), stream(dtype), settings, vectors)
    for p, w, before in zip(params, expected, weights(dtype), strict=True):
        torch.testing.assert_close(p.detach(), w, **TOLERANCE[dtype])
        assert not torch.equal(p, before)


@DTYPES
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("settings", LAMB_SETTINGS)
def test_tune_28_twenty_steps_of_lamb_equal_the_algorithm(
    dtype: torch.dtype, vectors: bool, settings: dict[str, Any]
) -> None:
    params = [nn.Parameter(w) for w in weights(dtype)]
    walk(params, LAMB(params, **settings, vectors=vectors), stream(dtype))
    expected = lamb(weights(dtype), stream(dtype), settings, vectors)
    for p, w, before in zip(params, expected, weights(dtype), strict=True):
        torch.testing.assert_close(p.detach(), w, **TOLERANCE[dtype])
        assert not torch.equal(p, before)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars_without_trust_is_sgd(momentum: float) -> None:
    settings = {"lr": 0.05, "momentum": momentum, "weight_decay": 0.1}
    one, other = ([nn.Parameter(w) for w in weights()] for _ in "ab")
    walk(one, LARS(one, **settings, trust=0.0), stream())
    walk(other, SGD(other, **settings), stream())
    for p, q in zip(one, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


def test_lamb_on_vectors_is_adam_and_its_decay_that_of_adamw() -> None:
    vectors = [w.flatten() for w in weights()]
    flat = [[g.flatten() for g in each] for each in stream()]
    settings: dict[str, Any] = {"lr": 0.01, "eps": 1e-6}
    for decay, kind in ((0.0, Adam), (0.1, AdamW)):
        one, other = ([nn.Parameter(v.clone()) for v in vectors] for _ in "ab")
        walk(one, LAMB(one, **settings, weight_decay=decay), flat)
        walk(other, kind(other, **settings, weight_decay=decay), flat)
        # AdamW shrinks before it steps, so by lr · decay · (its step) less: second order in lr.
        atol = 1e-12 if decay == 0 else STEPS * 0.01 * 0.1 * 0.01 * 2
        for p, q in zip(one, other, strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=atol)


def test_a_step_of_lars_has_the_length_it_should_have() -> None:
    """Without momentum and decay: trust · lr · ‖θ‖, whatever the gradient's length."""
    for scale in (1e-3, 1.0, 1e3):
        p = nn.Parameter(weights()[0])
        before = p.detach().clone()
        walk([p], LARS([p], lr=2.0, momentum=0.0, weight_decay=0.0, trust=0.01, eps=0.0), [
            [scale * stream()[0][0]]
        ])  # fmt: skip
        assert length(p.detach() - before) == pytest.approx(0.02 * length(before), rel=1e-9)


def test_a_step_of_lamb_has_the_length_of_the_weights_times_the_rate() -> None:
    p = nn.Parameter(weights()[0])
    optimizer = LAMB([p], lr=0.03)
    for each in stream():
        before = p.detach().clone()
        walk([p], optimizer, [each[:1]])
        assert length(p.detach() - before) == pytest.approx(0.03 * length(before), rel=1e-9)


@pytest.mark.parametrize("kind", [LARS, LAMB])
def test_where_norms_are_zero_nothing_is_divided_by_them(kind: Any) -> None:
    p = nn.Parameter(torch.zeros(2, 2))
    optimizer = kind([p])
    walk([p], optimizer, [[torch.zeros(2, 2)]])
    assert torch.equal(p.detach(), torch.zeros(2, 2))
    walk([p], optimizer, [[torch.ones(2, 2)]])
    assert torch.isfinite(p).all()
    assert (p < 0).all()


@pytest.mark.parametrize("kind", [LARS, LAMB])
def test_going_on_from_a_saved_state_equals_not_stopping(kind: Any) -> None:
    whole = [nn.Parameter(w) for w in weights()]
    walk(whole, kind(whole), stream())
    params = [nn.Parameter(w) for w in weights()]
    first = kind(params)
    walk(params, first, stream()[:7])
    second = kind(params)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    walk(params, second, stream()[7:])
    assert all(torch.equal(p, q) for p, q in zip(params, whole, strict=True))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (LARS, {"trust": -1.0}, "LARS: `trust` must be at least 0"),
        (LARS, {"momentum": 1.0}, r"LARS: `momentum` must lie in \[0, 1\)"),
        (LAMB, {"lr": -1.0}, "LAMB: `lr` must be at least 0"),
        (LAMB, {"betas": (0.9, 1.0)}, r"LAMB: `betas` must lie in \[0, 1\)"),
    ],
)
def test_values_out_of_range_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind([nn.Parameter(torch.ones(2))], **settings)
