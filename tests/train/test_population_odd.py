"""Members with something odd about them are trained as they would be alone, stacked or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fitwell import losses
from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.train import Member, Population, Supervised, Trainer

from .test_population import CLASSES, EXACT, Double, images

Make = Callable[[int], nn.Module]
Optimize = Callable[[nn.Module], torch.optim.Optimizer]


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.3)


def compare(
    make: Make,
    optimize: Optimize = adamw,
    *,
    stacked: bool | None,
    count: int = 3,
    loader: Callable[[int], Any] | None = None,
    prepare: Callable[[nn.Module, torch.optim.Optimizer, int], None] | None = None,
    observers: Callable[[], list[object]] = list,
    clip: float | None = None,
) -> None:
    """Train as a population and alone; `stacked` says what must be chosen, None leaves it open."""

    def given(k: int) -> dict[str, Any]:
        torch.manual_seed(k)
        model = nn.Sequential(Double(), make(k).double())
        optimizer = optimize(model)
        if prepare is not None:
            prepare(model, optimizer, k)
        data = images(48, seed=k)
        torch.manual_seed(50 + k)
        return {
            "model": model,
            "objective": Supervised(losses.CrossEntropy()),
            "optimizer": optimizer,
            "train": loader(k) if loader else Batches(data, 16, shuffle=True, seed=k),
            "valid": Batches(images(30, seed=9), 16),
        }

    members = []
    for k in range(count):
        one = given(k)
        extra = {"observers": observers(), "grad_clip_norm": clip, "seed": torch.get_rng_state()}
        members.append(Member(**one, **extra, epochs=3))
    population = Population(members, stack="auto" if stacked is None else count if stacked else 1)
    if stacked is None:
        population = Population(members)
    population.fit()
    for k, member in enumerate(members):
        twin = given(k)
        trainer = Trainer(
            twin["model"],
            twin["objective"],
            twin["optimizer"],
            grad_clip_norm=clip,
            observers=observers(),
        )
        trainer.fit(twin["train"], twin["valid"], epochs=3)
        wanted = twin["model"].state_dict()
        torch.testing.assert_close(member.model.state_dict(), wanted, **EXACT)
        valid = [record["valid"]["loss"] for record in member.history.epochs]
        theirs = [record["valid"]["loss"] for record in trainer.history.epochs]
        assert valid == pytest.approx(theirs, rel=1e-6)


def mlp(k: int) -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, CLASSES)]
    return nn.Sequential(*layers)


def frozen(k: int) -> nn.Module:
    model = mlp(k)
    model[1].requires_grad_(False)  # type: ignore[index]
    return model


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.aux = nn.Linear(64, CLASSES), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


class Twice(nn.Module):
    """One convolution sees the inputs and what another has made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.conv = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Linear(192, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.conv(self.before(x).relu()) + self.conv(x)).flatten(1))


class Power(nn.Module):
    def __init__(self, power: float) -> None:
        super().__init__()
        self.power, self.head = power, nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1) ** self.power)


class Remembering(nn.Module):
    """Replaces its buffer, and counts in plain Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean * (self.calls % 5)


class Counting(nn.Module):
    """Learns with a part of itself only after some calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.a, self.b = nn.Linear(64, CLASSES), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += int(self.training)
        x = x.flatten(1)
        return self.a(x) + (self.b(x) if self.calls > 5 else 0)


def tied(k: int) -> nn.Module:
    one = nn.Linear(64, 64)
    other = nn.Linear(64, 64)
    other.weight = one.weight
    return nn.Sequential(nn.Flatten(), one, nn.Tanh(), other, nn.Linear(64, CLASSES))


def repeated(k: int) -> nn.Module:
    norm = nn.BatchNorm1d(8, affine=False)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), norm, nn.ReLU(), norm, nn.Linear(8, CLASSES)
    )


def channels_last(k: int) -> nn.Module:
    conv = nn.Conv2d(1, 4, 3).to(memory_format=torch.channels_last)
    return nn.Sequential(conv, nn.Flatten(), nn.Linear(144, CLASSES))


@pytest.mark.parametrize("stacked", [True, None])
def test_frozen_parameters_do_not_decay(stacked: bool | None) -> None:
    compare(frozen, stacked=stacked)
    compare(frozen, lambda m: torch.optim.SGD(m.parameters(), 0.1, weight_decay=0.1), stacked=True)


def test_parameters_that_get_no_gradient_are_left_alone() -> None:
    compare(lambda k: Unused(), stacked=True)
    compare(lambda k: Unused(), stacked=True, clip=0.01)


def test_a_convolution_may_be_used_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from fitwell.train._population import _trial

    monkeypatch.setattr(_trial, "_fastest_way", lambda module, x: module.ways(x)[-1])
    compare(lambda k: Twice(), stacked=True)


def test_members_may_differ_in_plain_attributes() -> None:
    makes = [Power(1.0), Power(3.0), Power(2.0), Power(1.0), Power(3.0)]
    compare(lambda k: Power(makes[k].power), stacked=None, count=5)


@pytest.mark.parametrize("layer", [Remembering, Counting])
def test_models_that_change_themselves(layer: Any) -> None:
    def make(k: int) -> nn.Module:
        if layer is Counting:
            return Counting()
        return nn.Sequential(nn.Flatten(), layer(), nn.Linear(64, CLASSES))

    compare(make, stacked=None)


@pytest.mark.parametrize("make", [tied, repeated])
def test_shared_parameters_and_modules_in_two_places(make: Make) -> None:
    compare(make, stacked=None)


def test_layers_stored_channels_last() -> None:
    compare(channels_last, stacked=True)


@pytest.mark.parametrize("own", [True, False])
def test_loaders_of_torch(own: bool) -> None:
    """With a generator of their own, and with none, which draws from the member's noise."""

    def loader(k: int) -> Any:
        data = images(48, seed=k)
        pairs = list(zip(data.inputs, data.targets, strict=True))  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(k) if own else None
        return DataLoader(pairs, 16, shuffle=True, generator=generator)  # type: ignore[arg-type]

    compare(mlp, stacked=True, loader=loader)
    compare(mlp, stacked=None, loader=loader)


def test_hooks_on_parameters_and_modules_are_called() -> None:
    def masked(model: nn.Module, optimizer: Any, k: int) -> None:
        weight = model[1][1].weight  # type: ignore[index]
        weight.register_hook(lambda grad: grad * (torch.arange(64) % 2))

    compare(mlp, stacked=None, prepare=masked)


@pytest.mark.parametrize("ages", [(0, 2, 2), (2, 0, 0), (1, 2, 3)])
def test_optimizers_that_have_stepped_before(ages: tuple[int, ...]) -> None:
    def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, k: int) -> None:
        for _ in range(ages[k]):
            model(torch.ones(2, 1, 8, 8)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    compare(mlp, stacked=True, prepare=stepped)
    compare(frozen, stacked=True, prepare=stepped)


class Halver:
    """Changes settings of the optimizer between epochs, as users do."""

    def on_epoch(self, trainer: Any) -> None:
        for group in trainer.optimizer.param_groups:
            group["weight_decay"] /= 2
            group["lr"] *= 0.7


def test_observers_may_change_settings() -> None:
    compare(mlp, stacked=True, observers=lambda: [Halver()])
    compare(mlp, stacked=None, observers=lambda: [Halver()])


def test_rows_to_ignore_in_a_later_batch() -> None:
    data = images(48, seed=0)
    data.targets[40:] = -100  # type: ignore[index]

    def loader(k: int) -> Any:
        assert data.targets is not None
        order = torch.arange(48)
        return [(data.inputs[i : i + 16], data.targets[i : i + 16]) for i in order[::16]]

    compare(mlp, stacked=True, loader=loader)


def member(k: int, make: Make = mlp, **changes: Any) -> Member:
    torch.manual_seed(k)
    model = make(k)
    given = {
        "model": model,
        "objective": Supervised(losses.CrossEntropy()),
        "optimizer": adamw(model),
        "train": Batches(images(48, seed=k), 16, shuffle=True, seed=k),
        **changes,
    }
    return Member(**given)


def test_an_index_outside_of_an_embedding_is_not_another_members_row() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(3, 4), nn.Linear(4, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.words((x.flatten(1)[:, :2] * 4).long()).mean(1))

    members = [member(k, lambda k: Words()) for k in range(2)]
    with pytest.raises(UsageError, match="index out of range"):
        Population(members, stack=2).fit()


def test_models_are_their_own_again_after_an_error() -> None:
    class Breaking:
        def on_epoch(self, trainer: Any) -> None:
            raise KeyError("broken")

    ended = []

    class Listening:
        def on_fit_end(self, trainer: Any) -> None:
            ended.append(trainer.epoch)

    members = [
        member(k, observers=[Listening(), *([Breaking()] if k == 1 else [])]) for k in range(3)
    ]
    before = [next(m.model.parameters()).data_ptr() for m in members]
    with pytest.raises(KeyError, match="broken"):
        Population(members, stack=3).fit()
    assert [next(m.model.parameters()).data_ptr() for m in members] == before
    assert [len(m.history.epochs) for m in members] == [1, 1, 1]
    assert ended == [1, 1, 1]


def test_what_a_population_cannot_do_is_said() -> None:
    class Stepping:
        def on_step(self, trainer: Any) -> None: ...

    with pytest.raises(UsageError, match="must not look at every step; got a Stepping"):
        member(0, observers=[Stepping()])
    population = Population([member(0)])
    population.fit()
    with pytest.raises(UsageError, match="must have epochs left to train; got none"):
        population.fit()


def test_members_are_told_as_they_end() -> None:
    members = [member(0, epochs=1), member(1, epochs=3), member(2, epochs=1)]
    told: list[tuple[int, int]] = []
    population = Population(members, stack=3)
    population.fit(ended=lambda number: told.append((number, population.epoch)))
    assert told == [(0, 1), (2, 1), (1, 3)]
    others = [member(k, epochs=2) for k in range(2)]
    epochs: list[list[int]] = []
    Population(others, stack=1).fit(
        ended=lambda number: epochs.append([m.epoch for m in others]), side_by_side=False
    )
    assert epochs == [[2, 2], [2, 2]]
