"""A population gives what its members give alone, whatever is stacked and however they end."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell import losses, metrics, optim
from fitwell.core.errors import UsageError
from fitwell.data import Batches, Examples, Schema, augmentation
from fitwell.nn import CNN, MLP, Normalize, TableEncoder, Unscale
from fitwell.tasks import make_optimizer
from fitwell.train import Choice, EarlyStopping, Member, Population, Supervised, Trainer
from fitwell.train._population import _choose, _trial
from fitwell.train._population._choose import choose

EXACT: dict[str, Any] = {"rtol": 1e-7, "atol": 1e-8}
SIDE = 8
CLASSES = 4


class Double(nn.Module):
    """So that rounding does not hide what differs."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Gate(nn.Module):
    """A layer that nobody has heard of, with a parameter of its own and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.rand_like(x) if self.training else torch.full_like(x, 0.5)
        return x * self.gate * noise


class Recurrent(nn.Module):
    """Words, a recurrent layer and a normalization over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.walk = nn.GRU(6, 5, batch_first=True)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        words = (x.flatten(1)[:, :7] * 8.99).long().clamp(0, 8)
        return self.head(self.norm(self.walk(self.words(words).double())[0])).mean(1)


class Sentence(nn.Module):
    """Embedding, layer norm without shift, linear layer over places."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.norm = nn.LayerNorm(6, bias=False)
        self.head = nn.Linear(6, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        words = (x.flatten(1)[:, :7] * 8.99).long().clamp(0, 8)
        return self.head(self.norm(self.words(words))).mean(1)


class Rows(nn.Module):
    """Rows of a table with holes: numbers, and categories in the last two columns."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)[:, :9]
        numbers = x[:, :7].where(x[:, :7] > 0.2, torch.nan)
        return torch.cat([numbers, (x[:, 7:] * 4).floor()], dim=1)


def table(k: int) -> nn.Module:
    missing = [False] * 7
    missing[k] = missing[6 - k] = True
    encoder = TableEncoder(
        (0,) * 7 + (4, 5),
        mean=[0.1 * k] * 7,
        std=[0.5 + k] * 7,
        missing=missing,
        clip=2.0,
    )
    return nn.Sequential(Rows(), encoder, nn.Linear(encoder.out_features, CLASSES))


class Block(nn.Module):
    """Convolution and normalization beside an identity."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


def images(count: int, seed: int, schema_classes: bool = True) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, SIDE, SIDE, generator=generator)
    y = (x.mean((1, 2, 3)) * 40).long() % CLASSES
    names = tuple("abcd")
    schema = Schema(
        kind="images",
        input_shape=(1, SIDE, SIDE),
        target_kind="class" if schema_classes else "number",
        class_names=names if schema_classes else (),
    )
    return Examples(inputs=x, targets=y if schema_classes else x.mean((1, 2, 3)), schema=schema)


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "MLP": lambda k: MLP(64, CLASSES, hidden=(12, 8), dropout=0.1 + 0.1 * k, norm="layer"),
    "MLP, batch norm": lambda k: MLP(64, CLASSES, hidden=(12,), norm="batch"),
    "scaled": lambda k: nn.Sequential(
        Normalize((0.1 * k,), (0.5 + k,)), nn.Flatten(), nn.Linear(64, CLASSES)
    ),
    "CNN": lambda k: CNN(1, CLASSES, widths=(6, 8), dropout=0.1 * (k + 1)),
    "CNN, group norm": lambda k: CNN(1, CLASSES, widths=(8,), norm="group(groups=2)"),
    "residual": lambda k: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        Block(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    ),
    "groups": lambda k: nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=False),
        nn.InstanceNorm2d(6, affine=True),
        nn.Conv2d(6, 6, 3, groups=3, dilation=1, padding="same"),
        nn.PReLU(),
        nn.Flatten(),
        nn.Linear(96, CLASSES),
    ),
    "one axis": lambda k: nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(1, 5, 4, stride=3, padding=2),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(10, CLASSES),
    ),
    "unknown": lambda k: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6), Gate(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, CLASSES)
    ),
    "words": lambda k: Sentence(),
    "table": table,
}


def parts(
    k: int,
    make: Callable[[int], nn.Module],
    *,
    optimizer: str = "AdamW(lr=0.003, weight_decay=0.1)",
    count: int = 70,
    lr: float | None = None,
    augment: str = "none",
    objective: Any = None,
) -> dict[str, Any]:
    """What a member and a trainer are made of; the same for both by the seed."""
    torch.manual_seed(k)
    model = nn.Sequential(Double(), make(k).double())
    built = make_optimizer(optimizer, model)
    for group in built.param_groups:
        group["lr"] *= (1 + 0.3 * k) if lr is None else lr
    classification = partial(_classification)
    return {
        "model": model,
        "objective": objective
        or Supervised(losses.CrossEntropy(label_smoothing=0.05 * k), classification),
        "optimizer": built,
        "train": Batches(
            images(count, seed=k), 16, shuffle=True, seed=k, augment=augmentation(augment)
        ),
        "valid": Batches(images(30, seed=100 + k), 16),
        "seed": torch.get_rng_state(),
    }


def _classification(device: torch.device) -> metrics.Classification:
    return metrics.Classification(CLASSES, device=device)


def alone(
    given: dict[str, Any],
    epochs: int,
    *,
    schedule: Any = None,
    grad_clip_norm: float | None = None,
    observers: Sequence[object] = (),
) -> Trainer:
    """Train as everybody would without a population."""
    torch.set_rng_state(given["seed"])
    trainer = Trainer(
        given["model"],
        given["objective"],
        given["optimizer"],
        schedule=schedule,
        grad_clip_norm=grad_clip_norm,
        observers=observers,
    )
    trainer.fit(given["train"], given["valid"], epochs=epochs)
    return trainer


def assert_equal(member: Member, trainer: Trainer) -> None:
    """Weights, statistics, losses, metrics, rates and the optimizer's state."""
    wanted = trainer.model.state_dict()
    for name, value in member.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], **EXACT, msg=lambda m, n=name: f"{n}: {m}")
    assert len(member.history.epochs) == len(trainer.history.epochs)
    for one, other in zip(member.history.epochs, trainer.history.epochs, strict=True):
        assert one["step"] == other["step"]
        assert one["lr"] == pytest.approx(other["lr"])
        assert one["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-6)
        assert one["valid"] == pytest.approx(other["valid"], rel=1e-6)
    assert member.history.losses == pytest.approx(trainer.history.losses, rel=1e-6)
    ours, theirs = member.optimizer.state_dict(), trainer.optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    torch.testing.assert_close(ours["state"], theirs["state"], **EXACT)


def check(
    make: Callable[[int], nn.Module],
    count: int = 3,
    *,
    epochs: int = 3,
    counts: Sequence[int] = (),
    schedule: Any = None,
    grad_clip_norm: float | None = None,
    **given: Any,
) -> Population:
    sizes = counts or [70] * count
    members = [
        Member(
            **parts(k, make, count=sizes[k], **given),
            epochs=epochs,
            schedule=schedule,
            grad_clip_norm=grad_clip_norm,
        )
        for k in range(count)
    ]
    population = Population(members, stack=count)
    population.fit()
    assert [choice.size for choice in population.choices.values()] == [count]
    for k, member in enumerate(members):
        twin = parts(k, make, count=sizes[k], **given)
        trainer = alone(twin, epochs, schedule=schedule, grad_clip_norm=grad_clip_norm)
        assert_equal(member, trainer)
    return population


@pytest.mark.parametrize("name", MODELS)
def test_members_equal_trainings_alone(name: str) -> None:
    check(MODELS[name])


@pytest.mark.parametrize(
    "optimizer",
    [
        "SGD(lr=0.1, momentum=0.9, nesterov=True)",
        "Adam(lr=0.003)",
        "AdamW(lr=0.003, weight_decay=0.1)",
        "RMSprop(lr=0.001)",
        "Lion(lr=0.0003)",
        "AdaBound(lr=0.003)",
        "NAdam(lr=0.003)",
        "LAMB(lr=0.01)",
        "Muon(lr=0.01)",
        "Lookahead(optimizer=AdamW(lr=0.003), k=2)",
    ],
)
@pytest.mark.parametrize("lr", [None, 1.0])
def test_every_optimizer_with_equal_rates_and_with_rates_of_its_own(
    optimizer: str, lr: float | None
) -> None:
    check(MODELS["CNN"], optimizer=optimizer, lr=lr, epochs=2)


@pytest.mark.parametrize(
    "schedule",
    [optim.OneCycle(), optim.WarmUp(steps=3, then=optim.Cosine()), optim.Plateau(patience=0)],
    ids=str,
)
def test_schedules_those_that_follow_a_metric_too(schedule: Any) -> None:
    check(MODELS["MLP"], schedule=schedule, epochs=4)


def test_gradients_are_clipped_by_member() -> None:
    check(MODELS["MLP"], grad_clip_norm=0.05)


def test_members_with_more_and_fewer_examples() -> None:
    """Batches differ in size in the last step of an epoch: 70, 71 and 79 in five of 16."""
    check(MODELS["CNN"], counts=(70, 71, 79))


def test_augmentation_has_a_stream_of_its_own() -> None:
    check(MODELS["CNN"], augment="Flip(), Crop(padding=1)")


def test_mixing_targets() -> None:
    check(MODELS["MLP"], augment="Mixup()")


@pytest.mark.parametrize("loss", [losses.MSE(), losses.Huber()], ids=str)
def test_losses_without_a_stacked_form_are_mapped(loss: Any) -> None:
    def given(k: int) -> dict[str, Any]:
        torch.manual_seed(k)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), Unscale(0.5, 2.0))
        return {
            "model": model,
            "objective": Supervised(loss, lambda device: metrics.Regression(device=device)),
            "optimizer": make_optimizer("SGD(lr=0.05)", model),
            "train": Batches(images(40, k, schema_classes=False), 8, shuffle=True, seed=k),
            "valid": Batches(images(20, k, schema_classes=False), 8),
            "seed": torch.get_rng_state(),
        }

    members = [Member(**given(k), epochs=2) for k in range(3)]
    Population(members, stack=3).fit()
    for k, member in enumerate(members):
        trainer = alone(given(k), 2)
        torch.testing.assert_close(member.model.state_dict(), trainer.model.state_dict())
        assert member.history.losses == pytest.approx(trainer.history.losses, rel=1e-5)


def test_weighted_classes_go_through_the_general_loss() -> None:
    weighted = losses.CrossEntropy(weights=(1.0, 2.0, 3.0, 4.0))
    check(MODELS["MLP"], objective=Supervised(weighted, partial(_classification)))


def test_members_stop_when_their_patience_ends_and_the_others_go_on() -> None:
    make = MODELS["CNN"]

    def stopping(k: int) -> EarlyStopping:
        return EarlyStopping("accuracy", "max", patience=1 + k)

    stops = [stopping(k) for k in range(4)]
    members = [Member(**parts(k, make, lr=8.0), epochs=9, observers=[stops[k]]) for k in range(4)]
    Population(members, stack=4).fit()
    ends = []
    for k, member in enumerate(members):
        twin, stop = parts(k, make, lr=8.0), stopping(k)
        trainer = alone(twin, 9, observers=[stop])
        assert_equal(member, trainer)
        assert member.history.stopped == trainer.history.stopped
        assert stops[k].best_epoch == stop.best_epoch
        stops[k].restore(member)  # type: ignore[arg-type]
        stop.restore(trainer)
        torch.testing.assert_close(member.model.state_dict(), twin["model"].state_dict(), **EXACT)
        ends.append(member.epoch)
    assert len(set(ends)) > 1  # or the test would show nothing


def test_training_goes_on_alone_where_the_population_left_it() -> None:
    make = MODELS["CNN"]
    members = [Member(**parts(k, make), epochs=2) for k in range(3)]
    Population(members, stack=3).fit()
    for k, member in enumerate(members):
        twin = parts(k, make)
        trainer = alone(twin, 2)
        for given in (member, trainer):
            batch = next(iter(Batches(images(16, seed=7), 16)))
            torch.manual_seed(3)
            losses.CrossEntropy()(given.model.train()(batch[0]), batch[1]).backward()
            given.optimizer.step()
        torch.testing.assert_close(member.model.state_dict(), trainer.model.state_dict(), **EXACT)


def test_results_do_not_depend_on_the_stacks_members_are_in() -> None:
    ends = []
    for stack in (1, 2, 5):
        members = [Member(**parts(k, MODELS["CNN"]), epochs=2) for k in range(5)]
        Population(members, stack=stack).fit()
        ends.append([member.model.state_dict() for member in members])
    torch.testing.assert_close(ends[0], ends[1], **EXACT)
    torch.testing.assert_close(ends[0], ends[2], **EXACT)


def test_a_watcher_sees_every_epoch_and_may_stop_members() -> None:
    members = [Member(**parts(k, MODELS["MLP"]), epochs=4) for k in range(3)]
    seen = []

    def watch(population: Population) -> None:
        seen.append((population.epoch, list(population.active)))
        assert population.last(2)["epoch"] == min(population.epoch, 4)
        if population.epoch == 2:
            population.stop(1, "halved")

    histories = Population(members, stack=3).fit(watch)
    assert seen == [(1, [0, 1, 2]), (2, [0, 1, 2]), (3, [0, 2]), (4, [])]
    assert [history.stopped for history in histories] == [None, "halved", None]
    assert [member.epoch for member in members] == [4, 2, 4]


def test_a_member_whose_loss_is_lost_ends_and_the_others_do_not_notice() -> None:
    given = [parts(k, MODELS["MLP"], lr=1e30 if k == 1 else 1.0) for k in range(3)]
    for one in given:
        one["optimizer"] = torch.optim.SGD(
            one["model"].parameters(), one["optimizer"].param_groups[0]["lr"]
        )
    members = [Member(**one, epochs=3) for one in given]
    Population(members, stack=3).fit()
    assert "the loss became" in str(members[1].history.stopped)
    assert [member.history.stopped for member in members[::2]] == [None, None]
    assert all(math.isfinite(member.history.losses[-1]) for member in members[::2])


def test_architectures_are_stacked_apart() -> None:
    makes = [MODELS["MLP"], MODELS["CNN"], MODELS["MLP"], MODELS["CNN"]]
    members = [Member(**parts(k, make), epochs=2) for k, make in enumerate(makes)]
    population = Population(members, stack=2)
    population.fit()
    assert sorted(population.choices) == [(0, 2), (1, 3)]
    for k, make in enumerate(makes):
        assert_equal(members[k], alone(parts(k, make), 2))


class Mixing(nn.Module):
    """Looks at the other examples of a batch without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head(x - x.mean(0))


def test_a_model_that_mixes_examples_is_not_stacked_and_still_right() -> None:
    def make(k: int) -> nn.Module:
        return Mixing()

    members = [Member(**parts(k, make), epochs=2) for k in range(3)]
    population = Population(members)
    population.fit()
    (choice,) = population.choices.values()
    assert choice.size == 1
    assert "mixes" in str(choice)
    for k, member in enumerate(members):
        assert_equal(member, alone(parts(k, make), 2))
    insisting = Population([Member(**parts(k, make)) for k in range(3)], stack=3)
    with pytest.raises(UsageError, match=r"`stack` must be 1 or 'auto'.*mixes examples"):
        insisting.fit()


def test_a_layer_that_gives_more_than_the_outputs_is_not_stacked() -> None:
    def make(k: int) -> nn.Module:
        return Recurrent()

    members = [Member(**parts(k, make)) for k in range(2)]
    population = Population(members)
    population.fit()
    assert {choice.size for choice in population.choices.values()} == {1}
    for k, member in enumerate(members):
        assert_equal(member, alone(parts(k, make), 1))


def test_an_optimizer_that_looks_twice_takes_its_members_alone() -> None:
    text = "SAM(optimizer=SGD(lr=0.1))"
    members = [Member(**parts(k, MODELS["CNN"], optimizer=text), epochs=2) for k in range(2)]
    population = Population(members)
    population.fit()
    assert "alone" in str(next(iter(population.choices.values())))
    for k, member in enumerate(members):
        assert_equal(member, alone(parts(k, MODELS["CNN"], optimizer=text), 2))


def test_choosing_leaves_no_trace() -> None:
    members = [Member(**parts(k, MODELS["CNN"]), epochs=2) for k in range(3)]
    before = copy.deepcopy([m.model.state_dict() for m in members])
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    choice = choose(members)
    torch.testing.assert_close(torch.rand(3), wanted)
    torch.testing.assert_close([m.model.state_dict() for m in members], before, rtol=0, atol=0)
    assert choice.seconds[1] > 0
    for k, member in enumerate(members):
        Population([member]).fit()
        assert_equal(member, alone(parts(k, MODELS["CNN"]), 2))


def test_a_stack_is_taken_only_where_it_is_faster() -> None:
    members: list[Any] = [object() for _ in range(7)]
    slow = Choice(1, {1: 1.0, 7: 1.2})
    assert [len(part) for part in slow.cut(members)] == [1] * 7
    fast = Choice(5, {1: 1.0, 5: 0.2})
    assert [len(part) for part in fast.cut(members[:5])] == [5]
    assert [len(part) for part in fast.cut(members)] == [4, 3]
    assert fast.speedup == pytest.approx(5)
    # Whether two are faster as a stack is not known from five, so it is tried again.
    assert [fast.covers(count) for count in (5, 3, 2, 1)] == [True, True, False, True]


def test_stacks_are_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [Member(**parts(k, MODELS["MLP"]), epochs=200) for k in range(6)]
    clock = iter(range(10**6))
    monkeypatch.setattr(_trial.time, "perf_counter", lambda: 1e-9 * next(clock))  # all alike
    monkeypatch.setattr(_choose, "_CLEARLY", 1.0)  # so that a step of two is twice as fast
    for free, largest in ((None, 6), (10**12, 6), (8_000_000, 2)):
        monkeypatch.setattr(_choose, "available_memory", lambda free=free: free)
        assert choose(members).size == largest


def test_choosing_again_for_the_few_that_are_left() -> None:
    members = [Member(**parts(k, MODELS["MLP"]), epochs=3) for k in range(6)]
    sizes = []

    def watch(population: Population) -> None:
        sizes.append(len(population.active))
        for number in range(4):
            population.stop(number, "halved")

    Population(members).fit(watch)
    assert sizes == [6, 2, 0]
    for k in (4, 5):
        assert_equal(members[k], alone(parts(k, MODELS["MLP"]), 3))


def test_a_population_of_one_is_a_trainer() -> None:
    member = Member(**parts(0, MODELS["CNN"]), epochs=2)
    Population([member]).fit()
    assert_equal(member, alone(parts(0, MODELS["CNN"]), 2))


def test_lower_precision_of_the_passes() -> None:
    def given(k: int) -> dict[str, Any]:
        torch.manual_seed(k)
        model = MLP(64, CLASSES, hidden=(16,))
        made = parts(k, MODELS["MLP"])
        return {**made, "model": model, "optimizer": make_optimizer("SGD(lr=0.05)", model)}

    members = [Member(**given(k), epochs=2, precision="bf16") for k in range(3)]
    Population(members, stack=3).fit()
    for k, member in enumerate(members):
        twin = given(k)
        trainer = Trainer(twin["model"], twin["objective"], twin["optimizer"], precision="bf16")
        trainer.fit(twin["train"], twin["valid"], epochs=2)
        torch.testing.assert_close(
            member.model.state_dict(), twin["model"].state_dict(), rtol=0.05, atol=0.02
        )
    with pytest.raises(UsageError, match=r"got '?fp16"):
        Member(**given(0), precision="fp16")


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UsageError, match="at least one; got none"):
        Population([])
    given = parts(0, MODELS["MLP"])
    with pytest.raises(UsageError, match="models of their own"):
        Population([Member(**given), Member(**given)])
    with pytest.raises(UsageError, match=r"`stack` must be at least 1; got 0"):
        Population([Member(**given)], stack=0)
    with pytest.raises(UsageError, match=r"`epochs` must be at least 1; got 0"):
        Member(**given, epochs=0)
    with pytest.raises(UsageError, match="must know its length"):
        Member(**{**given, "train": (batch for batch in given["train"])})
