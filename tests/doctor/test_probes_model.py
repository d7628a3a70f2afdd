"""Probes of a model: each tells a planted fault from its healthy twin and changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Noise
from fitwell.doctor import (
    expected_initial_loss,
    input_ablation,
    modes,
    overfit_one_batch,
    sanity_step,
    state_digest,
)
from fitwell.doctor._measure import best_constant, pairs_of
from fitwell.optim import AdamW, Lookahead

from ..train.problems import examples

Pairs = list[tuple[Tensor, Tensor]]


def pairs(count: int = 4, size: int = 32, seed: int = 0, shift: float = 0.0) -> Pairs:
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(10, 3, generator=torch.Generator().manual_seed(9))
    x = torch.randn(count * size, 10, generator=random)
    y = (x @ weights).argmax(dim=1)
    return list(zip((x + shift).split(size), y.split(size), strict=True))


def net(*, dropout: float = 0.0, norm: bool = True, depth: int = 1, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(10, 32)]
    if norm:
        layers.append(nn.BatchNorm1d(32))
    for _ in range(depth):
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 32)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, 3))


def trained(model: nn.Module, batches: Pairs, epochs: int = 30) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


class Lost(nn.Module):
    """Gives the same outputs whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 3)


class Mixed(nn.Module):
    """Mixes rows by a wrong reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net(norm=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.t().reshape(x.shape))


# Measures


def test_the_best_constant_has_the_known_losses() -> None:
    y = torch.arange(60) % 3
    assert best_constant(F.cross_entropy, torch.randn(60, 3), y) == pytest.approx(math.log(3))
    skewed = torch.tensor([0] * 30 + [1] * 10)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert best_constant(F.cross_entropy, torch.randn(40, 2), skewed) == pytest.approx(
        entropy, rel=1e-4
    )
    numbers = torch.randn(50, 1) * 3 + 7
    variance = float(numbers.var(correction=0))
    assert best_constant(F.mse_loss, torch.randn(50, 1), numbers) == pytest.approx(variance)


# The initial loss


def test_the_loss_of_a_fresh_model_begins_near_that_of_constant_outputs() -> None:
    found = expected_initial_loss(net(), F.cross_entropy, pairs())
    assert found.found is False
    y = torch.cat([y for _, y in pairs()])
    shares = torch.bincount(y) / len(y)
    assert found.control == pytest.approx(float(-(shares * shares.log()).sum()), rel=1e-4)


def test_the_best_constant_of_a_loss_that_draws_leaves_no_trace() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs + 0 * torch.rand(()), targets)

    model, source = net(), pairs()
    before = state_digest(model, source)
    expected_initial_loss(model, loss, source)
    assert state_digest(model, source) == before


class Named:
    """A batch with names."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets


def test_batches_are_pairs_or_have_names() -> None:
    found = expected_initial_loss(net(), F.cross_entropy, [Named(*pair) for pair in pairs()])
    assert found == expected_initial_loss(net(), F.cross_entropy, [(*pair, 3) for pair in pairs()])
    x, y = pairs()[0]
    for batch in (x, {"inputs": x, "targets": y}, (x,)):
        with pytest.raises(
            UsageError, match=f"pairs of inputs and targets; got a {type(batch).__name__}"
        ):
            expected_initial_loss(net(), F.cross_entropy, [batch])


@pytest.mark.parametrize("probe", [expected_initial_loss, overfit_one_batch, input_ablation])
def test_outputs_that_are_no_tensor_are_told(probe: Callable[..., Any]) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.inner(x), x

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], targets)

    with pytest.raises(UsageError, match="must give one tensor for a batch; got a tuple"):
        probe(Two(), loss, pairs())
    assert sanity_step(Two(), loss, torch.optim.SGD(net().parameters()), pairs()).foreign == 8


def test_an_optimizer_that_looks_several_times() -> None:
    model, source = net(), pairs()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1)
    assert sanity_step(model, F.cross_entropy, optimizer, source).found is False
    found = overfit_one_batch(
        model, F.cross_entropy, source, optimizer=optimizer, draws=1, steps=20
    )
    assert found.own is not None
    assert found.own > 0.9


def test_batches_go_to_the_device_of_the_model() -> None:
    model = net().to("meta")
    moved = pairs_of("probe", pairs(), 2, on=model)
    assert {part.device.type for pair in moved for part in pair} == {"meta"}


@pytest.mark.parametrize("fault", ["inputs", "weights", "nan"])
def test_too_large_inputs_or_weights_show_in_the_first_loss(fault: str) -> None:
    batches, model = pairs(), net(norm=False)
    if fault == "inputs":
        batches = [(4000 * x, y) for x, y in batches]
    elif fault == "nan":
        batches[0][0][3, 3] = torch.nan
    else:
        with torch.no_grad():
            for p in model.parameters():
                p.normal_(std=3)
    found = expected_initial_loss(model, F.cross_entropy, batches)
    assert found.found is True
    assert "begins too high" in found.conclusion


# One batch


def test_a_healthy_model_learns_one_batch_in_spite_of_its_dropout() -> None:
    found = overfit_one_batch(net(dropout=0.95), F.cross_entropy, pairs())
    assert found.found is False
    assert found.value == 1.0
    assert found.interval[0] > 0.9
    assert found.control == 1.0
    assert found.own is None


@pytest.mark.parametrize("fault", ["dead", "lost", "sign", "narrow"])
def test_a_broken_signal_path_cannot(fault: str) -> None:
    model: nn.Module = net(norm=False)
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    if fault == "dead":
        with torch.no_grad():
            model[0].bias.fill_(-50)  # type: ignore[index, union-attr, operator]
    elif fault == "lost":
        model = Lost()
    elif fault == "narrow":
        model = nn.Sequential(nn.Linear(10, 1), nn.ReLU(), nn.Linear(1, 3))
        loss = F.cross_entropy
    else:

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return -F.cross_entropy(outputs, targets)

    found = overfit_one_batch(model, loss, pairs(seed=1), steps=120, draws=2)
    if fault == "sign":
        assert found.found is not False
        assert found.value < 0.5
        return
    assert found.found is True
    assert found.control > 0.9 > found.value


def test_one_s_own_optimizer_is_told_from_the_model() -> None:
    model = net()
    slow = torch.optim.SGD(model.parameters(), lr=1e-6)
    before = state_digest(model, slow)
    found = overfit_one_batch(model, F.cross_entropy, pairs(), optimizer=slow, steps=100)
    assert state_digest(model, slow) == before
    assert found.found is False
    assert found.own is not None
    assert found.own < 0.8
    assert "with the optimizer as it is set" in found.conclusion


def test_constant_inputs_are_the_inputs_fault() -> None:
    batches = [(torch.ones_like(x), y) for x, y in pairs()]
    found = overfit_one_batch(net(norm=False), F.cross_entropy, batches, steps=60)
    assert found.value < 0.7
    assert found.control < 0.7
    assert found.found is not False


def test_numbers_are_scored_by_the_way_to_zero() -> None:
    batches = [(x, x[:, :1] * 2 + 5) for x, _ in pairs()]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    found = overfit_one_batch(model, F.mse_loss, batches, lr=0.03, draws=2, steps=120)
    assert found.value > 0.95
    assert found.found is False
    squashed = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    bounded = overfit_one_batch(squashed, F.mse_loss, batches, lr=0.03, draws=2, steps=120)
    assert bounded.found is True


# Modes


def test_a_healthy_gap_is_no_fault_of_modes() -> None:
    train, valid = pairs(8), pairs(4, seed=5)
    model = trained(net(dropout=0.3), train)
    before = state_digest(model)
    found = modes(model, F.cross_entropy, train, valid)
    assert state_digest(model) == before
    assert found.found is False
    assert found.valid_evaluated > found.train_evaluated  # a gap, and a real one


def test_wrong_running_statistics_are_found() -> None:
    train = pairs(8)
    model = trained(net(), train)
    model[1].running_mean += 5.0  # type: ignore[index, union-attr, operator]
    found = modes(model, F.cross_entropy, train, pairs(4, seed=5))
    assert found.found is True
    assert "running statistics are wrong" in found.conclusion


def test_held_out_data_of_other_statistics_are_found() -> None:
    train = pairs(8)
    found = modes(trained(net(), train), F.cross_entropy, train, pairs(4, seed=5, shift=3.0))
    assert found.found is True
    assert found.part == "valid"
    assert found.interval[0] > 0
    assert found.control < found.value / 4
    assert "their statistics differ" in found.conclusion


# Inputs


def test_a_model_that_uses_its_inputs() -> None:
    batches = pairs(8)
    x0 = [(torch.cat([x.roll(1, 0), F.one_hot(y, 3).float()], dim=1), y) for x, y in batches]
    model = nn.Sequential(nn.Linear(13, 3))
    found = input_ablation(trained(model, x0, epochs=60), F.cross_entropy, x0)
    assert found.found is False
    assert found.interval[0] > 0
    assert found.control == pytest.approx(0, abs=1e-5)
    assert found.crosstalk < 1e-4
    assert {n for n, _ in found.columns[:3]} == {10, 11, 12}  # the columns that leak


def test_outputs_without_inputs_and_mixed_rows_are_found() -> None:
    lost = input_ablation(Lost(), F.cross_entropy, pairs())
    assert lost.found is True
    assert "do not depend on the inputs" in lost.conclusion
    mixed = input_ablation(Mixed(), F.cross_entropy, pairs())
    assert mixed.found is True
    assert "rows are mixed" in mixed.conclusion
    fresh = input_ablation(net(), F.cross_entropy, pairs())
    assert fresh.found is not True


# One step


def usual(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


@pytest.mark.parametrize("step", [None, usual])
def test_a_healthy_step(step: Any) -> None:
    model = net(dropout=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = state_digest(model, optimizer)
    found = sanity_step(model, F.cross_entropy, optimizer, pairs(), step=step)
    assert state_digest(model, optimizer) == before
    assert found.found is False
    assert found.carried_over == pytest.approx(1)
    assert found.value >= found.control == 7 / 8  # batch norm takes a bias away


def test_gradients_that_are_not_cleared() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    model = net(dropout=0.5)
    found = sanity_step(
        model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), pairs(), step=step
    )
    assert found.found is True
    assert found.carried_over == pytest.approx(2, rel=1e-3)
    assert "not cleared" in found.conclusion


def test_parameters_that_do_not_learn() -> None:
    model = net(norm=False)
    other = net(norm=False, seed=1)
    model.add_module("unused", nn.Identity())
    model.unused.spare = nn.Parameter(torch.zeros(2))
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([*model[2:].parameters(), *other[0].parameters()], lr=0.1)
    found = sanity_step(model, F.cross_entropy, optimizer, pairs())
    assert found.frozen == ("0.weight",)
    assert found.not_owned == ("0.bias",)
    assert found.without_gradient == ("unused.spare",)
    assert found.foreign == 2
    assert found.found is True


def test_a_step_in_evaluation_mode_and_one_that_is_never_taken() -> None:
    def in_evaluation(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        model.eval()
        usual(model, optimizer, batch)

    model = net()
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    found = sanity_step(model, F.cross_entropy, still, pairs(), step=in_evaluation)
    assert not found.training_mode
    assert found.value == 0
    assert len(found.unmoved) == len(list(model.parameters()))
    broken = [(x * math.nan, y) for x, y in pairs()]
    assert sanity_step(model, F.cross_entropy, still, broken).nonfinite


# All


class Counting(nn.Module):
    """A loss with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(outputs, targets)


@pytest.mark.parametrize("kind", ["loader", "batches"])
def test_probes_in_the_middle_of_a_training_change_no_bit(kind: str) -> None:
    x, y = (torch.cat(some) for some in zip(*pairs(), strict=True))
    source: Any = DataLoader(
        TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(1)
    )
    if kind == "batches":
        source = Batches(examples(128, 10), 32, shuffle=True, augment=Noise(std=0.1))
    model, loss = net(dropout=0.5), Counting()
    optimizer = Lookahead(AdamW(model.parameters(), lr=0.01), k=2)
    iteration = iter(source)
    for _ in range(2):
        inputs, targets = next(iteration)
        loss(model(inputs), targets).backward()  # gradients stay, as within an accumulation
        optimizer.step()
    before = state_digest(model, loss, optimizer, source)
    expected_initial_loss(model, loss, source)
    overfit_one_batch(model, loss, source, optimizer=optimizer, steps=3, draws=1)
    modes(model, loss, source, source)
    input_ablation(model, loss, source)
    sanity_step(model, loss, optimizer, source)
    assert state_digest(model, loss, optimizer, source) == before
    assert loss.calls == 2


def test_results_are_plain_data_sentences_and_pictures() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    source = pairs()
    before = state_digest(model, optimizer, source)
    results = [
        expected_initial_loss(model, F.cross_entropy, source),
        overfit_one_batch(model, F.cross_entropy, source, steps=5, optimizer=optimizer),
        modes(model, F.cross_entropy, source, source),
        input_ablation(model, F.cross_entropy, source),
        sanity_step(model, F.cross_entropy, optimizer, source),
    ]
    assert state_digest(model, optimizer, source) == before
    for result in results:
        plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert plain["conclusion"] == str(result)
        assert str(result).endswith(".")
        assert plain["interval"][0] <= plain["value"] <= plain["interval"][1]
        assert result.figure().axes


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="at least one pair of inputs and targets; got none"):
        expected_initial_loss(net(), F.cross_entropy, [])
    with pytest.raises(UsageError, match="got no targets"):
        modes(net(), F.cross_entropy, [(torch.ones(2, 10), None)], pairs())
    with pytest.raises(UsageError, match="must be positive"):
        overfit_one_batch(net(), F.cross_entropy, pairs(), steps=0)
    with pytest.raises(UsageError, match="must have two examples"):
        input_ablation(net(), F.cross_entropy, pairs(2, 1))


class Branch(nn.Module):
    """A layer with a branch of low rank that begins at 0."""

    def __init__(self, *, dead: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(10, 3)
        self.down, self.up = nn.Linear(10, 2, bias=False), nn.Linear(2, 3, bias=False)
        nn.init.zeros_(self.up.weight)
        self.up.weight.requires_grad_(not dead)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x) + self.up(self.down(x))
        return found


@pytest.mark.parametrize("dead", [False, True])
def test_a_branch_that_begins_at_0_is_no_fault_if_it_opens(dead: bool) -> None:
    model = Branch(dead=dead)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = sanity_step(model, F.cross_entropy, optimizer, pairs())
    assert found.found is dead
    assert found.zero_gradient == (("down.weight",) if dead else ())
    assert found.value == (pytest.approx(2 / 3) if dead else 1)
