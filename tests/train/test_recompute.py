"""Activation checkpointing changes memory and time, and nothing else."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.nn import CNN, MLP, CifarResNet
from fitwell.optim import SGD
from fitwell.train import Trainer, recompute_activations
from fitwell.train._memory import LiveBytes

from .problems import batches, objective, same_weights, weights_of


class Residual(nn.Module):
    """A block with everything that could go wrong: dropout, running statistics, keyword, tuple."""

    def __init__(self, width: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4 * width)
        self.norm = nn.BatchNorm1d(4 * width)
        self.drop = nn.Dropout(dropout)
        self.back = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> tuple[Tensor, float]:
        return x + scale * self.back(self.drop(torch.tanh(self.norm(self.linear(x))))), scale


class Own(nn.Module):
    """A module of a user, with its blocks in a ModuleList."""

    def __init__(self, features: int = 8, width: int = 16, blocks: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x, _ = block(x, scale=0.5)
        return self.head(x)


def flat() -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.2)]
    return nn.Sequential(nn.ReLU(inplace=True), *layers, nn.Linear(8, 3))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "own": Own,
    "flat": flat,
    "mlp": lambda: MLP(8, 3, hidden=(16, 16, 16), dropout=0.2),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(1)
    return MODELS[name]()


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_training_with_it_equals_one_without_bit_for_bit(name: str, precision: Any) -> None:
    curves, weights = [], []
    for change in (lambda model: model, recompute_activations):
        model = change(made(name))
        optimizer = SGD(model.parameters(), lr=0.05)
        trainer = Trainer(model, objective(), optimizer, precision=precision)
        torch.manual_seed(5)
        curves.append(trainer.fit(batches(), batches(seed=9), epochs=3))
        weights.append(weights_of(model))
    assert curves[0].losses == curves[1].losses
    assert [e["valid"] for e in curves[0].epochs] == [e["valid"] for e in curves[1].epochs]
    assert same_weights(*weights)  # parameters, running means and counts of batches


def test_images_with_batch_norm_equal_too() -> None:
    x, y = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    found = []
    for change in (lambda model: model, recompute_activations):
        torch.manual_seed(1)
        model = change(CifarResNet(3, 3, depth=8))
        found.append((gradients(model, F.cross_entropy(model(x), y)), weights_of(model)))
    assert all(torch.equal(a, b) for a, b in zip(found[0][0], found[1][0], strict=True))
    assert same_weights(found[0][1], found[1][1])


def test_running_statistics_are_updated_once() -> None:
    model = recompute_activations(made("own"))
    gradients(model, model(torch.randn(16, 8)).sum())
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm1d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [1] * 4  # type: ignore[arg-type]
    before = [norm.running_mean for norm in norms]
    gradients(model, model(torch.randn(16, 8)).sum())
    assert all(norm.running_mean is mean for norm, mean in zip(norms, before, strict=True))


def test_without_care_statistics_would_be_updated_twice() -> None:
    """What the test above would see if buffers were not kept."""
    norm = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    x = torch.randn(8, 4, requires_grad=True)
    out = torch.utils.checkpoint.checkpoint(norm, x, use_reentrant=False)
    out.sum().backward()
    assert int(norm[1].num_batches_tracked) == 2  # type: ignore[arg-type]


class Remembers(nn.Module):
    """A layer whose output depends on a buffer that each pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("passes", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes = self.passes + 1  # type: ignore[has-type]
        return torch.tanh(self.linear(x) * self.passes)


def test_the_second_computation_sees_the_buffers_of_the_first() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(Remembers(), Remembers())
    ours = recompute_activations(copy.deepcopy(plain))
    x = torch.randn(5, 4)
    wanted, got = gradients(plain, plain(x).sum()), gradients(ours, ours(x).sum())
    assert all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True))
    assert float(ours[0].passes) == 2  # type: ignore[index]


def test_a_second_backward_pass_computes_again() -> None:
    model = recompute_activations(made("own"))
    loss = model(torch.randn(16, 8)).square().sum()
    once = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    twice = torch.autograd.grad(loss, list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))


def peak_bytes(model: nn.Module, x: Tensor) -> int:
    gradients(model, model(x).sum())  # gradients exist from now on
    with LiveBytes() as live:
        model(x).sum().backward()
    return live.peak


@pytest.mark.parametrize(
    ("model", "shape", "share"),
    [
        (Own(8, 32, blocks=9), (256, 8), 0.75),
        (flat(), (256, 8), 0.75),
        # A third of its blocks have images of full size, so that less is won.
        (CNN(3, 10), (16, 3, 16, 16), 0.85),
        (CifarResNet(3, 10, depth=20), (16, 3, 16, 16), 0.75),
    ],
    ids=["own", "flat", "cnn", "resnet"],
)
def test_the_peak_of_memory_is_lower(
    model: nn.Module, shape: tuple[int, ...], share: float
) -> None:
    plain = peak_bytes(copy.deepcopy(model), torch.rand(shape))
    assert peak_bytes(recompute_activations(model), torch.rand(shape)) < share * plain


def test_names_copies_and_files_stay_what_they_were() -> None:
    plain, model = made("own"), recompute_activations(made("own"))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [n for n, _ in plain.named_modules()]
    x = torch.randn(16, 8)
    other = copy.deepcopy(model)
    for p in model.parameters():
        p.data.zero_()
    torch.manual_seed(2)
    wanted = plain(x)
    torch.manual_seed(2)
    assert torch.equal(other(x), wanted)  # the copy computes with its own weights
    buffer = io.BytesIO()
    torch.save(other, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    torch.manual_seed(2)
    assert torch.equal(loaded(x), wanted)


def test_without_gradients_nothing_is_kept_or_computed_twice() -> None:
    model = recompute_activations(made("own")).eval()
    calls: list[int] = []
    model.blocks[0].linear.register_forward_hook(  # type: ignore[union-attr,index]
        lambda *args: calls.append(1)
    )
    with torch.no_grad():
        assert not model(torch.randn(4, 8)).requires_grad
    assert calls == [1]
    model(torch.randn(4, 8)).sum().backward()
    assert calls == [1, 1, 1]


def test_once_more_changes_nothing() -> None:
    model = recompute_activations(made("own"))
    before = {name: part.__dict__.get("forward") for name, part in model.named_modules()}
    assert recompute_activations(model) is model
    assert before == {name: part.__dict__.get("forward") for name, part in model.named_modules()}


def recomputed(model: nn.Module) -> list[str]:
    recompute_activations(model)
    return [name for name, part in model.named_modules() if "forward" in part.__dict__]


def test_blocks_are_the_entries_that_repeat() -> None:
    assert recomputed(CifarResNet(depth=8)) == ["stem", "blocks.0", "blocks.1", "blocks.2"]
    assert recomputed(Own(blocks=3)) == ["blocks.0", "blocks.1", "blocks.2"]
    wrapped = nn.Sequential(nn.Flatten(), Own(blocks=2))
    assert recomputed(wrapped) == ["1.blocks.0", "1.blocks.1"]
    stages = nn.Sequential(
        nn.Sequential(Residual(4), Residual(4)), nn.Sequential(Residual(4), Residual(4))
    )
    assert recomputed(stages) == ["0.0", "0.1", "1.0", "1.1"]
    pair = nn.Sequential(Own(blocks=2), Own(blocks=2))  # an encoder and a decoder, say
    assert recomputed(pair) == ["0.blocks.0", "0.blocks.1", "1.blocks.0", "1.blocks.1"]
    tail = nn.Sequential(*flat(), nn.Sequential(nn.Linear(3, 3), nn.Tanh()))
    assert recomputed(tail) == [""]


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(4, 4),
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Flatten(), MLP(4, 3, hidden=())),
        nn.LSTM(4, 4),
    ],
    ids=["linear", "two", "wrapped", "lstm"],
)
def test_a_model_without_blocks_is_refused(model: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"`model` must have at least two blocks, .*; got "):
        recompute_activations(model)


class Careless(nn.Module):
    """Overwrites its input, from which it could not be computed again."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.act(x)))


def test_a_block_that_overwrites_its_input_is_never_silently_wrong() -> None:
    model = recompute_activations(nn.Sequential(nn.Linear(4, 4), Careless(), Careless()))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model(torch.randn(3, 4)).sum().backward()


def test_it_can_be_compiled() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)))
    ours = recompute_activations(copy.deepcopy(plain))
    compiled = torch.compile(ours, backend="aot_eager")
    x = torch.randn(6, 4)
    wanted, got = gradients(plain, plain(x).sum()), gradients(ours, compiled(x).sum())
    assert all(torch.allclose(a, b) for a, b in zip(wanted, got, strict=True))
