"""The engine gives what the rule alone gives, however parameters are cut, kept and saved."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell import optim
from fitwell.core.errors import UsageError
from fitwell.core.spec import build
from fitwell.optim import (
    OPTIMIZERS,
    AdaBound,
    Bounded,
    Centralize,
    Chain,
    ClipNorm,
    Composed,
    Decay,
    MaxMeanSquare,
    Mean,
    MeanSquare,
    Noise,
    Prepared,
    Ratio,
    SignedSquare,
    SumOfSquares,
    Surprise,
    Trace,
    Transform,
    _chunked,
)

LR = 0.01
# float64 operations in another order.
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}
ADAM = Ratio(top=Mean(), bottom=MeanSquare())
RULES: dict[str, Transform] = {
    "nothing": Chain(parts=()),
    "momentum": Trace(decay=0.9),
    "Adam": ADAM,
    "AdamW": Chain(parts=(ADAM, Decay(rate=0.1))),
    "L2": Chain(parts=(Decay(rate=0.1), Trace(decay=0.5), Trace(decay=0.9, nesterov=True))),
    "centralized": Chain(parts=(Centralize(), ADAM)),
    "clipped": Chain(parts=(ClipNorm(norm=0.5), ADAM)),
    "noisy": Chain(parts=(Noise(eta=0.1), Trace())),
    "AMSGrad": Ratio(top=Mean(), bottom=MaxMeanSquare()),
    "biased": Ratio(top=Mean(debias=False), bottom=MeanSquare(beta=0.9)),
    "centered": Ratio(top=Mean(), bottom=MeanSquare(centered=True), eps=0.1),
    "Adagrad": Ratio(top=Mean(), bottom=SumOfSquares(mean=True)),
    "Yogi": Ratio(top=Mean(), bottom=SignedSquare(initial=1.0)),
    "AdaBelief": Chain(parts=(Ratio(top=Mean(), bottom=Surprise()), Decay(rate=0.1))),
    "AdaBound": Bounded(lr=0.1, final_lr=0.5, gamma=0.1),
    "AdaBound, tight": Bounded(top=Mean(debias=False), lr=0.1, final_lr=0.5, gamma=10.0),
    "AdaBound, all below": Bounded(lr=1e-9, final_lr=0.5, gamma=0.1, eps=1e-2),
    "AMSBound": Bounded(bottom=MaxMeanSquare(), lr=0.1, final_lr=0.5, gamma=0.1),
}
SHAPES = [(3,), (2, 3), (), (40, 30), (5, 4, 3, 3), (1,), (700,), (0, 2), (7, 7)]


def test_a_parameter_may_change_its_order_in_memory() -> None:
    """As when a model is moved to channels last in the middle of a training."""
    ends = []
    for moved in (False, True):
        generator = torch.Generator().manual_seed(0)
        p = nn.Parameter(torch.randn(40, 30, 3, 3, generator=generator))
        optimizer = AdaBound([p], lr=LR)
        for step in range(6):
            if moved and step == 3:
                p.data = p.data.contiguous(memory_format=torch.channels_last)
            p.grad = torch.randn(p.shape, generator=generator).to(p.data).clone()
            optimizer.step()
        ends.append(p.detach().contiguous())
    # The fused kernel rounds the ends of rows of numbers in another way.
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few parameters make many pieces: packs, slices and a pack between slices."""
    monkeypatch.setattr(_chunked, "PIECE", 100)


def parameters(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(s, dtype=torch.float64, generator=generator).to(dtype) for s in SHAPES]
    made[4] = made[4].to(memory_format=torch.channels_last)
    made.append(torch.randn(30, 20, dtype=torch.float64, generator=generator).to(dtype).t())
    made.append(torch.randn(30, 20, dtype=torch.float64, generator=generator).to(dtype)[:, ::2])
    return [p.detach().requires_grad_() for p in made]


def set_gradients(params: list[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in params:
        g = torch.randn(p.shape, dtype=torch.float64, generator=generator).to(p.dtype)
        p.grad = g + 0.1 * p.detach()  # contiguous or not, whatever the parameter is


def walk(optimizer: Any, params: list[Tensor], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for place, (p, q) in enumerate(zip(one, other, strict=True)):
        assert torch.equal(p, q), place


@pytest.mark.parametrize("name", RULES)
def test_pieces_give_what_the_rule_gives_on_whole_tensors(name: str) -> None:
    params = parameters()
    optimizer = Composed(params, RULES[name], lr=LR)
    rule = Chain(parts=(RULES[name], optim.Scale(lr=LR)))
    wanted = [p.detach().clone() for p in params]
    state = optim.init(rule, wanted)
    for step in range(6):
        set_gradients(params, step)
        wanted, state = optim.update(rule, [p.grad for p in params], state, wanted)
        optimizer.step()
        for p, q in zip(params, wanted, strict=True):
            torch.testing.assert_close(p.detach(), q, **EXACT)


def test_gradients_are_left_as_they_are() -> None:
    params = parameters()
    for rule in RULES.values():
        optimizer = Composed(params, rule, lr=LR)
        set_gradients(params, 0)
        before = [p.grad.clone() for p in params if p.grad is not None]
        optimizer.step()
        assert_same([p.grad for p in params if p.grad is not None], before)


def test_state_is_per_parameter_and_of_its_shape() -> None:
    params = parameters()
    optimizer = Composed(params, ADAM, lr=LR)
    walk(optimizer, params, range(3))
    saved = optimizer.state_dict()["state"]
    assert len(saved) == len(params)
    for place, p in enumerate(params):
        assert saved[place].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert saved[place]["step"] == 3
        assert saved[place]["exp_avg"].shape == p.shape
    theirs = parameters()
    walk(torch.optim.Adam(theirs, LR), theirs, range(3))
    twin = torch.optim.Adam(parameters(), LR)
    twin.load_state_dict(
        {"state": saved, "param_groups": twin.state_dict()["param_groups"]}
    )  # torch reads it
    assert twin.state_dict()["state"].keys() == saved.keys()


def saved_and_read(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("way", [copy.deepcopy, saved_and_read, lambda state: state])
def test_going_on_from_a_saved_state_equals_not_stopping(name: str, way: Any) -> None:
    whole, params = parameters(), parameters()
    walk(Composed(whole, RULES[name], lr=LR), whole, range(8))
    first = Composed(params, RULES[name], lr=LR)
    walk(first, params, range(4))
    second = Composed(params, RULES[name], lr=LR)
    second.load_state_dict(way(first.state_dict()))
    walk(second, params, range(4, 8))
    assert_same(params, whole)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_alone(way: Any) -> None:
    params = parameters()
    optimizer = Composed(params, RULES["AdamW"], lr=LR)
    walk(optimizer, params, range(3))
    twins, twin = way((params, optimizer))
    before = [p.detach().clone() for p in params]
    walk(twin, twins, range(3, 6))
    assert_same(params, before)
    walk(optimizer, params, range(3, 6))
    assert_same(params, twins)
    assert twin.transform == optimizer.transform


def test_parameters_without_gradient_are_skipped_and_keep_their_own_count() -> None:
    params, wanted = parameters(), [p.detach().clone().requires_grad_() for p in parameters()]
    optimizer, reference = Composed(params, ADAM, lr=LR), torch.optim.Adam(wanted, LR)
    for step in range(9):
        for each in (params, wanted):
            set_gradients(each, step)
            for p in each[step % 3 :: 3]:
                p.grad = None
        optimizer.step()
        reference.step()
    for p, q in zip(params, wanted, strict=True):
        torch.testing.assert_close(p, q, **EXACT)
    counts = [optimizer.state_dict()["state"][i]["step"] for i in range(len(params))]
    assert counts == [6] * len(params)
    optimizer.zero_grad()
    before = [p.detach().clone() for p in params]
    optimizer.step()
    assert_same([p.detach() for p in params], before)


def test_groups_settings_and_parameters_that_join() -> None:
    params, wanted = parameters(), [p.detach().clone().requires_grad_() for p in parameters()]
    optimizer, reference = (
        Composed([{"params": each[:4], "lr": 0.1}, {"params": each[4:7]}], ADAM, lr=LR)
        if each is params
        else torch.optim.Adam([{"params": each[:4], "lr": 0.1}, {"params": each[4:7]}], LR)
        for each in (params, wanted)
    )
    for step in range(8):
        for each, one in ((params, optimizer), (wanted, reference)):
            if step == 3:
                one.add_param_group({"params": each[7:], "lr": 0.02})
            one.param_groups[0]["lr"] = 0.1 / (step + 1)
            set_gradients(each, step)
            one.step()
    for p, q in zip(params, wanted, strict=True):
        torch.testing.assert_close(p, q, **EXACT)


def test_states_and_data_that_are_replaced_are_noticed() -> None:
    whole, params = parameters(), parameters()
    optimizer = Composed(params, ADAM, lr=LR)
    walk(Composed(whole, ADAM, lr=LR), whole, range(6))
    walk(optimizer, params, range(3))
    for p in params:
        optimizer.state[p] = copy.deepcopy(optimizer.state[p])
        p.data = p.data.clone(memory_format=torch.preserve_format)
    walk(optimizer, params, range(3, 6))
    # What was a view with gaps is dense now, so another kernel rounds its numbers.
    torch.testing.assert_close(params, whole, **EXACT)


def test_mixed_dtypes_and_half_precision() -> None:
    params = parameters(torch.bfloat16) + parameters(torch.float32)
    optimizer = AdaBound(params, lr=LR)
    before = [p.detach().clone() for p in params]
    walk(optimizer, params, range(5))
    for p, old in zip(params, before, strict=True):
        assert p.isfinite().all()
        assert p.numel() == 0 or not torch.equal(p, old)
        assert optimizer.state[p]["exp_avg"].dtype == p.dtype


def test_a_closure_is_called_once_with_gradients_on() -> None:
    (x,) = params = [torch.ones(3, requires_grad=True)]
    optimizer = AdaBound(params, lr=LR)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    assert not torch.equal(x, torch.ones(3))


def test_hooks_and_schedulers_work() -> None:
    params = parameters()
    optimizer = AdaBound(params, lr=LR)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    walk(optimizer, params, range(1))
    scheduler.step()
    assert seen == ["before", "after"]
    assert optimizer.param_groups[0]["lr"] == LR / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_function_may_contain_the_step() -> None:
    def training(x: Tensor) -> Callable[[], None]:
        optimizer = AdaBound([x], lr=LR)

        def step() -> None:
            optimizer.zero_grad()
            x.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return step

    plain, compiled = (torch.linspace(-1, 2, 5).requires_grad_() for _ in range(2))
    step, compiled_step = training(plain), torch.compile(training(compiled), backend="eager")
    for _ in range(3):
        step()
        compiled_step()
    torch.testing.assert_close(compiled, plain)
    assert not torch.equal(plain, torch.linspace(-1, 2, 5))
    torch._dynamo.reset()


def test_the_compiler_is_not_imported() -> None:
    code = """
import sys, torch
from fitwell.optim import OPTIMIZERS, AdaBound, Composed, Prepared, Trace
x = torch.ones(3, requires_grad=True)
for optimizer in (AdaBound([x]), Composed([x], Trace()), Prepared(AdaBound([x]))):
    x.grad = torch.ones(3)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


SPEC = "Composed(transform=Chain(parts=(Trace(decay=0.9), Decay(rate=0.01))), lr=0.1)"


def test_a_chain_comes_from_the_command_line() -> None:
    params, twins = parameters(), parameters()
    built = build(SPEC, OPTIMIZERS, owner="train", what="optimizer", params=params)
    walk(built, params, range(3))
    rule = Chain(parts=(Trace(decay=0.9), Decay(rate=0.01)))
    walk(Composed(twins, rule, lr=0.1), twins, range(3))
    assert_same(params, twins)
    with pytest.raises(LookupError, match="nearest: 'Trace'"):
        build("Composed(transform=Trac())", OPTIMIZERS, owner="t", what="optimizer", params=params)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("SGD", Trace(decay=0.9)),
        ("Adam", ADAM),
        ("RMSprop", Ratio(bottom=MeanSquare(beta=0.99, debias=False))),
    ],
)
def test_composed_equals_torchs(name: str, rule: Transform) -> None:
    params, wanted = parameters(), parameters()
    more = {"momentum": 0.9} if name == "SGD" else {}
    walk(Composed(params, rule, lr=LR), params, range(50))
    walk(getattr(torch.optim, name)(wanted, LR, **more), wanted, range(50))
    for p, q in zip(params, wanted, strict=True):
        torch.testing.assert_close(p, q, **EXACT)


# Prepared ----------------------------------------------------------------------------------------


def prepared(params: list[Tensor]) -> Prepared:
    parts = ("ClipNorm(norm=1.0)", Centralize(), Noise(eta=0.1), Trace(decay=0.5))
    # Not the fused one, which takes a gradient to lie in memory as its parameter does.
    return Prepared(torch.optim.AdamW(params, lr=LR), parts=parts)


def test_prepared_gradients_equal_those_prepared_by_hand() -> None:
    params, twins = parameters(), parameters()
    ours, inner = prepared(params), torch.optim.AdamW(twins, lr=LR)
    rest = Chain(parts=(Centralize(), Noise(eta=0.1), Trace(decay=0.5)))
    states = [rest.init(p, i) for i, p in enumerate(twins)]
    for step in range(1, 6):
        set_gradients(params, step)
        ours.step()
        set_gradients(twins, step)
        torch.nn.utils.clip_grad_norm_(twins, 1.0)
        for p, state in zip(twins, states, strict=True):
            p.grad = rest.apply(p.grad, state, p.detach(), step).clone()  # type: ignore[arg-type]
        inner.step()
        for p, q in zip(params, twins, strict=True):
            torch.testing.assert_close(p, q, **EXACT)


@pytest.mark.parametrize("way", [copy.deepcopy, saved_and_read, lambda state: state])
def test_prepared_goes_on_from_a_saved_state(way: Any) -> None:
    whole, params = parameters(), parameters()
    walk(prepared(whole), whole, range(8))
    first = prepared(params)
    walk(first, params, range(4))
    second = prepared(params)
    second.load_state_dict(way(first.state_dict()))
    walk(second, params, range(4, 8))
    assert_same(params, whole)


def test_prepared_with_a_closure_changes_what_it_leaves() -> None:
    params, twins = parameters(), parameters()
    one, other = prepared(params), prepared(twins)

    def closure() -> float:
        set_gradients(params, 0)
        return 7.0

    assert one.step(closure) in (7.0, None)
    walk(other, twins, range(1))
    assert_same(params, twins)


def test_prepared_refuses_what_it_cannot_do() -> None:
    params = parameters()
    with pytest.raises(UsageError, match="Prepared: `optimizer` must be an optimizer"):
        Prepared(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Prepared: `parts` must be a tuple"):
        Prepared(optim.SGD(params), parts=Centralize())  # type: ignore[arg-type]
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match="Prepared: gradients must be dense"):
        Prepared(optim.SGD(embedding.parameters())).step()


def test_a_wrapper_comes_from_the_command_line() -> None:
    params, twins = parameters(), parameters()
    text = "Prepared(optimizer=Lion(lr=0.01), parts=(Centralize(), Noise(eta=0.1)))"
    walk(optim.optimizer(text, params), params, range(3))
    parts = (Centralize(), Noise(eta=0.1))
    walk(Prepared(optim.Lion(twins, lr=0.01), parts=parts), twins, range(3))
    assert_same(params, twins)
    twice = optim.optimizer("lookahead(Prepared(optimizer=SGD(lr=0.1)), k=2)", params)
    assert isinstance(twice, optim.Lookahead)
    assert isinstance(twice.optimizer, Prepared)
    assert isinstance(optim.optimizer("adamw", params), optim.AdamW)
    with pytest.raises(UsageError, match="train: `optimizer` of Prepared must be an optimizer"):
        optim.optimizer("Prepared()", params, owner="train")
    with pytest.raises(LookupError, match="nearest: 'SGD"):
        optim.optimizer("Lookahead(optimizer=SGDD())", params)
    with pytest.raises(LookupError, match="nearest: 'parts'"):
        optim.optimizer("Prepared(optimizer=SGD(), part=())", params)
