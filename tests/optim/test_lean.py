"""The lean optimizers are torch's fused ones, bit for bit, and reach what they should reach."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UnknownName, UsageError
from fitwell.core.spec import build
from fitwell.optim import OPTIMIZERS, SGD, Adam, AdamW

STEPS = 50
PAIRS: list[tuple[Any, Any, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.0}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
]
SEVERAL = pytest.mark.parametrize(("ours", "theirs", "settings"), PAIRS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


class TwoPaths(nn.Module):
    """The second path is taken in every other step only, and one layer never."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 7)
        self.second = nn.Linear(7, 1)
        self.other = nn.Linear(7, 1)
        self.never = nn.Linear(3, 3)

    def forward(self, x: Tensor, second: bool) -> Tensor:
        hidden = self.first(x).tanh()
        both: Tensor = self.second(hidden)
        return both + self.other(hidden) if second else both


def problem(dtype: torch.dtype) -> tuple[TwoPaths, Tensor, Tensor]:
    torch.manual_seed(0)
    return TwoPaths().to(dtype), torch.randn(16, 5, dtype=dtype), torch.randn(16, 1, dtype=dtype)


def groups(model: TwoPaths) -> list[dict[str, Any]]:
    rest = [*model.second.parameters(), *model.other.parameters(), *model.never.parameters()]
    return [{"params": list(model.first.parameters()), "lr": 0.02}, {"params": rest}]


def walk(
    model: TwoPaths, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: range
) -> None:
    for step in steps:
        optimizer.zero_grad()
        (model(x, step % 2 == 0) - y).square().mean().backward()
        optimizer.step()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name


@SEVERAL
@DTYPES
def test_equal_to_torch_fused_bit_for_bit(
    ours: Any, theirs: Any, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    model, x, y = problem(dtype)
    before, twin = copy.deepcopy(model), copy.deepcopy(model)
    walk(model, ours(groups(model), **settings), x, y, range(STEPS))
    walk(twin, theirs(groups(twin), fused=True, **settings), x, y, range(STEPS))
    assert_same(model, twin)
    assert_same(model.never, before.never)
    assert not torch.equal(model.first.weight, before.first.weight)
    assert not torch.equal(model.other.weight, before.other.weight)


@SEVERAL
@pytest.mark.parametrize("way", ["ours to ours", "ours to torch", "torch to ours"])
def test_going_on_from_a_saved_state_equals_not_stopping(
    ours: Any, theirs: Any, settings: dict[str, Any], way: str
) -> None:
    def torchs(params: Any, **more: Any) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = theirs(params, fused=True, **more)
        return made

    source: Callable[..., Any] = torchs if way.startswith("torch") else ours
    target: Callable[..., Any] = torchs if way.endswith("torch") else ours
    whole, x, y = problem(torch.float32)
    walk(whole, ours(groups(whole), **settings), x, y, range(STEPS))

    model, *_ = problem(torch.float32)
    first = source(groups(model), **settings)
    walk(model, first, x, y, range(STEPS // 2))
    saved = copy.deepcopy(first.state_dict())
    second = target(groups(model), **settings)
    second.load_state_dict(saved)
    walk(model, second, x, y, range(STEPS // 2, STEPS))
    assert_same(model, whole)


@SEVERAL
def test_state_has_torchs_form(ours: Any, theirs: Any, settings: dict[str, Any]) -> None:
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    mine, torchs = ours(groups(model), **settings), theirs(groups(twin), fused=True, **settings)
    assert isinstance(mine, theirs)
    for each, optimizer in ((model, mine), (twin, torchs)):
        walk(each, optimizer, x, y, range(3))
    one, other = mine.state_dict(), torchs.state_dict()
    assert one["param_groups"] == other["param_groups"]
    # Without momentum torch keeps the entry with nothing in it; ours keeps no entry.
    full = {k: v for k, v in other["state"].items() if v.get("momentum_buffer", v) is not None}
    assert one["state"].keys() == full.keys()
    for key, state in one["state"].items():
        assert state.keys() == full[key].keys()
        for name, value in state.items():
            assert torch.equal(value, full[key][name])
            assert value.dtype == full[key][name].dtype


@SEVERAL
def test_a_rate_of_zero_leaves_parameters_alone(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    model, x, y = problem(torch.float32)
    before = copy.deepcopy(model)
    walk(model, ours(model.parameters(), **{**settings, "lr": 0.0}), x, y, range(5))
    assert_same(model, before)


@SEVERAL
def test_a_closure_is_called_and_its_loss_returned(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    losses: dict[str, list[Tensor]] = {"ours": [], "torch": []}
    for who, each, optimizer in (
        ("ours", model, ours(model.parameters(), **settings)),
        ("torch", twin, theirs(twin.parameters(), fused=True, **settings)),
    ):

        def closure(each: TwoPaths = each, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (each(x, True) - y).square().mean()
            loss.backward()
            return loss

        losses[who] = [optimizer.step(closure).detach() for _ in range(10)]
    assert_same(model, twin)
    assert torch.equal(torch.stack(losses["ours"]), torch.stack(losses["torch"]))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_mixed_dtypes_and_complex_numbers_go_torchs_own_way(momentum: float) -> None:
    def parameters() -> list[nn.Parameter]:
        return [
            nn.Parameter(torch.ones(3)),
            nn.Parameter(torch.ones(3, dtype=torch.float64)),
        ]

    one, other = parameters(), parameters()
    for params, optimizer in (
        (one, SGD(one, lr=0.1, momentum=momentum)),
        (other, torch.optim.SGD(other, lr=0.1, momentum=momentum, fused=True)),
    ):
        for step in range(5):
            for p in params:
                p.grad = torch.full_like(p, step + 0.5)
            optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(one, other, strict=True))
    assert one[0][0] != 1


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_parameter_may_get_its_first_gradient_later(nesterov: bool) -> None:
    """As if each parameter had an optimizer of its own."""
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov}
    together = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    alone = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = SGD(together, **settings)
    single = [torch.optim.SGD([p], fused=True, **settings) for p in alone]
    for step in range(5):
        for place in range(2):
            begun = step >= place
            for params in (together, alone):
                params[place].grad = torch.full((3,), step + 1.0) if begun else None
            if begun:
                single[place].step()
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(together, alone, strict=True))


@SEVERAL
def test_a_gradient_scaler_changes_nothing_and_skips_infinities(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    """GradScaler leaves unscaling to fused optimizers; the scale is a power of two, so exact."""
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    walk(twin, ours(twin.parameters(), **settings), x, y, range(5))
    optimizer = ours(model.parameters(), **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(5):
        optimizer.zero_grad()
        scaler.scale((model(x, step % 2 == 0) - y).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert_same(model, twin)
    optimizer.zero_grad()
    scaler.scale(model(x * torch.inf, True).sum()).backward()
    scaler.step(optimizer)
    assert_same(model, twin)


def test_sparse_gradients_are_refused_as_torchs_fused_step_does() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3, 3])).square().sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradients"):
        SGD(table.parameters(), lr=0.1, momentum=0.0).step()
    with pytest.raises(RuntimeError, match="sparse gradients"):
        torch.optim.SGD(table.parameters(), lr=0.1, fused=True).step()


@SEVERAL
def test_the_minimum_of_a_quadratic_is_reached(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    curvature = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    minimum = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = ours([theta], **{**settings, "weight_decay": 0.0})
    for _ in range(2000):
        optimizer.zero_grad()
        (curvature * (theta - minimum).square() / 2).sum().backward()
        optimizer.step()
    torch.testing.assert_close(theta.detach(), minimum, rtol=0, atol=1e-3)


def test_momentum_on_a_quadratic_equals_the_closed_form() -> None:
    """The pair (θ, b) is multiplied by one matrix per step; its power is the closed form."""
    curvature, lr, momentum, steps = 2.0, 0.1, 0.6, 40
    theta = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = SGD([theta], lr=lr, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature * theta.square() / 2).sum().backward()
        optimizer.step()
    one_step = torch.tensor(
        [[1 - lr * curvature, -lr * momentum], [curvature, momentum]], dtype=torch.float64
    )
    power = torch.linalg.matrix_power(one_step, steps)
    torch.testing.assert_close(theta.item(), power[0, 0].item(), rtol=1e-12, atol=1e-15)


def test_adam_and_adamw_agree_without_weight_decay_and_differ_with_it() -> None:
    results = {}
    for kind in (Adam, AdamW):
        for decay in (0.0, 0.1):
            model, x, y = problem(torch.float32)
            walk(model, kind(model.parameters(), lr=0.01, weight_decay=decay), x, y, range(20))
            results[kind, decay] = model.first.weight.detach().clone()
    assert torch.equal(results[Adam, 0.0], results[AdamW, 0.0])
    assert not torch.equal(results[Adam, 0.1], results[AdamW, 0.1])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_neither_building_nor_stepping_imports_the_compiler(name: str) -> None:
    code = (
        "import sys, torch, fitwell.optim as optim\n"
        "p = torch.nn.Parameter(torch.ones(3))\n"
        f"o = optim.{name}([p])\n"
        "p.grad = torch.ones(3)\n"
        "o.step(); o.zero_grad(); o.load_state_dict(o.state_dict())\n"
        "print('torch._dynamo' in sys.modules, p[0].item() < 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SGD, {"lr": -1.0}, "Invalid learning rate"),
        (SGD, {"momentum": 0.0, "nesterov": True}, "Nesterov momentum requires"),
        (Adam, {"betas": (1.0, 0.9)}, "Invalid beta parameter"),
        (AdamW, {"weight_decay": -0.1}, "Invalid weight_decay"),
    ],
)
def test_values_out_of_range_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind([nn.Parameter(torch.ones(2))], **settings)


def test_an_unknown_optimizer_or_argument_lists_the_nearest() -> None:
    params = [nn.Parameter(torch.ones(1))]
    with pytest.raises(UnknownName, match=r"no optimizer named 'AdamV'; nearest: .*'Adam'"):
        build("AdamV", OPTIMIZERS, owner="train", what="optimizer", params=params)
    with pytest.raises(UnknownName, match="no argument named 'momentun'; nearest: 'momentum'"):
        build("SGD(momentun=1)", OPTIMIZERS, owner="train", what="optimizer", params=params)
    with pytest.raises(UsageError, match="must be a name with literal arguments"):
        build("SGD(", OPTIMIZERS, owner="train", what="optimizer", params=params)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_listed_optimizer_lowers_a_loss(name: str) -> None:
    model, x, y = problem(torch.float32)
    optimizer = build(
        f"{name}(lr=0.01)", OPTIMIZERS, owner="test", what="optimizer", params=model.parameters()
    )
    before = (model(x, True) - y).square().mean().item()
    walk(model, optimizer, x, y, range(30))
    assert (model(x, True) - y).square().mean().item() < before


@SEVERAL
def test_what_is_kept_between_steps_follows_its_owner(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    """States forgotten, a parameter exchanged, momentum switched on: as in torch."""
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    path = {"ours": (model, ours), "torch": (twin, theirs)}
    for who, (each, kind) in path.items():
        more = {"fused": True} if who == "torch" else {}
        optimizer = kind(each.parameters(), **settings, **more)
        walk(each, optimizer, x, y, range(3))
        optimizer.state.clear()
        walk(each, optimizer, x, y, range(3))
        if kind not in (SGD, torch.optim.SGD):  # torch's own fails on a parameter that joins late
            each.second = nn.Linear(7, 1)
            nn.init.constant_(each.second.weight, 0.1)
            nn.init.constant_(each.second.bias, 0.1)
            optimizer.param_groups[0]["params"][:] = list(each.parameters())
            walk(each, optimizer, x, y, range(0, 6, 2))
        if "momentum" in settings and not settings.get("nesterov"):
            optimizer.param_groups[0]["momentum"] = 0.5
        walk(each, optimizer, x, y, range(0, 6, 2))
    assert_same(model, twin)


def test_flags_from_a_loaded_state_are_obeyed() -> None:
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    torchs = torch.optim.Adam(twin.parameters(), lr=0.01, amsgrad=True, fused=True)
    mine = Adam(model.parameters())
    mine.load_state_dict(copy.deepcopy(torchs.state_dict()))
    for each, optimizer in ((model, mine), (twin, torchs)):
        walk(each, optimizer, x, y, range(10))
    assert_same(model, twin)


@SEVERAL
def test_hooks_are_called(ours: Any, theirs: Any, settings: dict[str, Any]) -> None:
    model, x, y = problem(torch.float32)
    optimizer = ours(model.parameters(), **settings)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    walk(model, optimizer, x, y, range(2))
    assert seen == ["before", "after"] * 2


@SEVERAL
def test_gradients_are_forgotten_or_filled_with_zeros(
    ours: Any, theirs: Any, settings: dict[str, Any]
) -> None:
    model, x, y = problem(torch.float32)
    optimizer = ours(model.parameters(), **settings)
    (model(x, True) - y).square().mean().backward()
    optimizer.zero_grad(set_to_none=False)
    assert model.first.weight.grad is not None
    assert not model.first.weight.grad.any()
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())
