"""What every optimizer keeps to. The suite walks `OPTIMIZERS` and `WRAPPERS`; nothing is listed.

Each rule is first shown to be broken by the optimizer at the top of this file.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from fitwell import optim
from fitwell.core.errors import UsageError
from fitwell.optim import OPTIMIZERS, WRAPPERS, _chunked

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "Composed": {"transform": optim.Trace()},
    "SGDW": {"weight_decay": 0.0},
}
"""Arguments that are required, or whose usual value is for larger problems."""

RATES: Mapping[str, tuple[float, float]] = {
    "Adadelta": (10.0, 10.0),
    "Adafactor": (0.3, 1.0),
    "Adagrad": (0.3, 1.0),
    "Adamax": (0.3, 1.0),
    "ASGD": (0.05, 1e-3),
    "Composed": (0.05, 1e-3),
    "LAMB": (0.05, 0.3),
    "LARS": (1.0, 5.0),
    "Lion": (0.05, 0.05),
    "Muon": (1.0, 0.3),
    "RAdam": (0.3, 0.005),
    "SGD": (0.05, 1e-3),
    "SGDW": (0.05, 1e-3),
}
"""Rates for the bowl and for the valley, where 0.3, which suits Adam and its kin, would not do."""

SLOW = {"ASGD", "LARS", "RAdam"}

INNER = optim.Adam
"""What wrappers are put around."""


class Broken(torch.optim.Optimizer):
    """Climbs, moves at a rate of 0, forgets its state, takes anything, moves frozen parameters."""

    steps = 0

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            for p in group["params"]:
                g = torch.ones_like(p) if p.grad is None else p.grad.to_dense()
                p += (group["lr"] + 0.001) * self.steps * g


def make(name: str) -> Callable[..., Any]:
    """Give a constructor with settings that suit small problems."""
    if name == "Broken":
        return Broken
    settings = {"lr": 0.02, **SETTINGS.get(name, {})}
    if name in WRAPPERS:
        more = {"parts": (optim.Clip(value=1e3),)} if name == "Prepared" else {}

        def wrapped(params: Any, lr: float = 0.02) -> Any:
            return WRAPPERS[name](INNER(params, lr=lr), **more)

        return wrapped
    return lambda params, **more: OPTIMIZERS[name](params, **{**settings, **more})


NAMES = [*OPTIMIZERS, *WRAPPERS]
EVERY = pytest.mark.parametrize("name", NAMES)


def quadratic(x: Tensor) -> Tensor:
    scales = torch.linspace(0.5, 3.0, x.numel(), dtype=x.dtype).reshape(x.shape)
    return (scales * (x - 1).square()).sum()


def rosenbrock(x: Tensor) -> Tensor:
    a, b = x.flatten()
    return (1 - a).square() + 100 * (b - a.square()).square()


def descend(
    optimizer: Any, x: Tensor, loss: Callable[[Tensor], Tensor], steps: int, fade: bool = False
) -> float:
    rates = [group["lr"] for group in optimizer.param_groups]

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = loss(x)
            value.backward()
        return value

    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps) if fade else rate
        if getattr(optimizer, "needs_closure", False):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return loss(x).item()


def reaches_a_minimum(name: str) -> bool:
    x = torch.full((2, 3), 2.0, dtype=torch.float64, requires_grad=True)
    rate = RATES.get(name, (0.3, 0.3))[0]
    return descend(make(name)([x], lr=rate), x, quadratic, 300, fade=True) < 1e-2


def goes_down_the_valley(name: str) -> bool:
    """Rosenbrock's function is 4 at the start; the valley's floor is below 1."""
    x = torch.tensor([[-1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    rate, steps = RATES.get(name, (0.3, 0.3))[1], 1500 if name in SLOW else 400
    return descend(make(name)([x], lr=rate), x, rosenbrock, steps, fade=True) < 1.0


def stays_at_rate_0(name: str) -> bool:
    x = torch.full((2, 3), 3.0, requires_grad=True)
    descend(make(name)([x], lr=0.0), x, quadratic, 3)
    return torch.equal(x, torch.full((2, 3), 3.0))


def goes_on_from_a_saved_state(name: str) -> bool:
    def problem() -> tuple[nn.Parameter, Any]:
        x = nn.Parameter(torch.full((2, 3), 3.0))
        return x, make(name)([x])

    whole, optimizer = problem()
    descend(optimizer, whole, quadratic, 12)
    x, optimizer = problem()
    descend(optimizer, x, quadratic, 6)
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer = make(name)([x])
    optimizer.load_state_dict(saved)
    descend(optimizer, x, quadratic, 6)
    return torch.equal(x, whole)


def copies_go_on_alone(name: str) -> bool:
    x = nn.Parameter(torch.full((2, 3), 3.0))
    optimizer = make(name)([x])
    descend(optimizer, x, quadratic, 3)
    twin, other = copy.deepcopy((x, optimizer))
    before = x.detach().clone()
    descend(other, twin, quadratic, 3)
    untouched = torch.equal(x, before)
    descend(optimizer, x, quadratic, 3)
    return untouched and torch.equal(x, twin) and not torch.equal(x, before)


def leaves_what_has_no_gradient(name: str) -> bool:
    x, frozen = nn.Parameter(torch.ones(2, 3) * 3), nn.Parameter(torch.ones(2, 2))
    descend(make(name)([x, frozen]), x, quadratic, 3)
    return torch.equal(frozen, torch.ones(2, 2)) and not torch.equal(x, torch.ones(2, 3) * 3)


def refuses_sparse_gradients(name: str) -> bool:
    table = nn.Embedding(4, 2, sparse=True)

    def loss(weight: Tensor) -> Tensor:
        return table(torch.tensor([1, 2])).square().sum()

    try:
        descend(make(name)(table.parameters()), table.weight, loss, 2)
    except (RuntimeError, ValueError, NotImplementedError):
        return True
    return False


RULES: Mapping[str, Callable[[str], bool]] = {
    rule.__name__: rule
    for rule in (
        reaches_a_minimum,
        goes_down_the_valley,
        stays_at_rate_0,
        goes_on_from_a_saved_state,
        copies_go_on_alone,
        leaves_what_has_no_gradient,
        refuses_sparse_gradients,
    )
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_optimizer_is_caught(rule: str) -> None:
    assert not RULES[rule]("Broken")


# torch's Adagrad takes sparse gradients.
CASES = [(n, r) for r in RULES for n in NAMES if (n, r) != ("Adagrad", "refuses_sparse_gradients")]


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_every_optimizer(name: str, rule: str) -> None:
    assert RULES[rule](name)


OWN = [name for name in OPTIMIZERS if OPTIMIZERS[name].__module__.startswith("fitwell")]
# Muon's groups have settings of two methods; see tests/optim/test_muon.py.
TWINS = [n for n in OWN if hasattr(torch.optim, n) and n != "Muon"]


@pytest.mark.parametrize("name", TWINS)
def test_equal_to_torchs_where_torch_has_it(name: str) -> None:
    theirs = getattr(torch.optim, name)
    x, y = (torch.full((2, 3), 3.0, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = OPTIMIZERS[name]([x], lr=0.01)
    taken = inspect.signature(theirs).parameters
    settings = {k: v for k, v in optimizer.param_groups[0].items() if k in taken and k != "params"}
    other = theirs([y], **{**settings, "fused": None, "foreach": False})
    descend(optimizer, x, quadratic, 100)
    descend(other, y, quadratic, 100)
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)


CHUNKED = [n for n in OWN if issubclass(cast(type, OPTIMIZERS[n]), _chunked.Chunked)]


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
def test_what_is_not_real_is_refused(name: str, dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match=f"{name}: `params` must be real floating-point"):
        make(name)([torch.ones(2, 2, dtype=dtype)])


@EVERY
def test_public_and_registered_names_agree(name: str) -> None:
    assert getattr(optim, name) is (OPTIMIZERS.get(name) or WRAPPERS[name])
