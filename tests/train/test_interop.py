"""What people have goes in unchanged: modules, loaders, optimizers, schedulers; weights come out as
torch itself reads them. Each is compared with a loop written by hand, to the bit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler as torchs
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.optim import SGD, Cosine, Lookahead
from fitwell.train import (
    Checkpoints,
    CheckpointWriter,
    EarlyStopping,
    TorchSchedule,
    Trainer,
    resume,
)

from .problems import batches, examples, network, objective, same_weights, weights_of

EPOCHS = 6
STEPS = 4  # per epoch: 100 examples in batches of 32


def loader(**options: Any) -> DataLoader[Any]:
    data = examples()
    options = {"batch_size": 32, **options}
    return DataLoader(TensorDataset(data.inputs, data.targets), **options)


def nothing(*_: object) -> None:
    """Stands for a hook that is not wanted."""


def by_hand(
    model: nn.Module,
    optimizer: Any,
    train: Any,
    *,
    epochs: int = 3,
    compare: Callable[[nn.Module, Any], Tensor] | None = None,
    after_step: Callable[[], object] = nothing,
    after_epoch: Callable[[], object] = nothing,
) -> list[float]:
    """The loop of the PyTorch tutorials."""
    losses = []
    for _ in range(epochs):
        model.train()
        for batch in train:
            optimizer.zero_grad()
            if compare is None:
                x, y = batch
                loss = F.cross_entropy(model(x), y)
            else:
                loss = compare(model, batch)
            loss.backward()
            optimizer.step()
            after_step()
            losses.append(loss.item())
        after_epoch()
    return losses


# Modules ----------------------------------------------------------------------------------------


class Tied(nn.Module):
    """Two layers with one weight, a frozen layer, a buffer, and a choice in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.calls: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        hidden = torch.tanh(self.second(self.frozen(self.first(x))))
        result: Tensor = self.head(hidden if len(x) > 8 else x)
        return result


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(2, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x.view(len(x), 4, 2))
        result: Tensor = self.head(states[:, -1])
        return result


MODULES: dict[str, Callable[[], nn.Module]] = {
    "sequential": lambda: network(dropout=0.3),
    "own class": Tied,
    "recurrent": Recurrent,
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (4, 2)),
        nn.TransformerEncoderLayer(2, 1, 8, batch_first=True),
        nn.Flatten(),
        nn.Linear(8, 3),
    ),
    "parametrized": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 5)), nn.ReLU(), nn.Linear(5, 3)
    ),
    "double": lambda: nn.Sequential(AsDouble(), nn.Linear(8, 3, dtype=torch.float64)),
}


class AsDouble(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.double()


@pytest.mark.parametrize("name", MODULES)
def test_any_module_trains_as_in_a_loop_by_hand(name: str) -> None:
    torch.manual_seed(1)
    theirs = MODULES[name]()
    torch.manual_seed(1)
    ours = MODULES[name]()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    torch.manual_seed(5)
    losses = by_hand(theirs, optimizer, batches())
    torch.manual_seed(5)
    trainer = Trainer(ours, objective(), torch.optim.SGD(ours.parameters(), lr=0.1))
    history = trainer.fit(batches(), epochs=3)
    assert history.losses == losses
    assert same_weights(weights_of(ours), weights_of(theirs))


# Loaders ----------------------------------------------------------------------------------------


class Rows(Dataset[dict[str, Any]]):
    """A map-style data set whose items are dicts."""

    def __init__(self) -> None:
        self.data = examples()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> dict[str, Any]:
        assert self.data.targets is not None
        return {"values": self.data.inputs[place], "answer": self.data.targets[place]}


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows one after the other, without a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data = examples()
        assert data.targets is not None
        yield from zip(data.inputs, data.targets, strict=True)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


LOADERS: dict[str, Callable[[], Any]] = {
    "map": lambda: loader(shuffle=True, generator=seeded()),
    "workers": lambda: loader(num_workers=2, shuffle=True, generator=seeded()),
    "drop last": lambda: loader(drop_last=True),
    "batch sampler": lambda: loader(batch_sampler=[[0, 1, 2], [5, 4], [7, 8, 9, 10]], batch_size=1),
    "stream": lambda: DataLoader(Stream(), batch_size=32),
    "list": lambda: list(loader()),
    "generator": lambda: Again(lambda: iter(loader())),
}


class Again:
    """Any object that gives batches again and again and has no length."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return self.make()


@pytest.mark.parametrize("name", LOADERS)
def test_any_loader_gives_what_it_gives_a_loop_by_hand(name: str) -> None:
    theirs, ours = network(), network()
    losses = by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), LOADERS[name]())
    trainer = Trainer(ours, objective(), torch.optim.SGD(ours.parameters(), lr=0.1))
    history = trainer.fit(LOADERS[name](), max_steps=len(losses))
    assert history.losses == losses
    assert len(history.epochs) == 3
    assert same_weights(weights_of(ours), weights_of(theirs))


def of_dicts(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"])


class Dicts:
    """An objective of one's own, for batches of one's own."""

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return of_dicts(model, batch), {}


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {
        "x": torch.stack([row["values"] for row in rows]),
        "y": torch.stack([row["answer"] for row in rows]),
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_a_collate_that_gives_dicts_needs_an_objective_that_takes_them(workers: int) -> None:
    def made() -> DataLoader[Any]:
        return DataLoader(Rows(), batch_size=30, collate_fn=collate, num_workers=workers)

    theirs, ours = network(), network()
    losses = by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), made(), compare=of_dicts)
    trainer = Trainer(ours, Dicts(), torch.optim.SGD(ours.parameters(), lr=0.1))
    history = trainer.fit(made(), made(), epochs=3)
    assert history.losses == losses
    with torch.no_grad():
        whole = of_dicts(ours.eval(), collate([Rows()[place] for place in range(100)]))
    assert history.epochs[-1]["valid"]["loss"] == pytest.approx(whole.item(), rel=1e-6)


# Optimizers -------------------------------------------------------------------------------------


def sparse() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(Places(), nn.EmbeddingBag(8, 3, mode="sum", sparse=True))


class Places(nn.Module):
    """The two largest columns of each row, as indices."""

    def forward(self, x: Tensor) -> Tensor:
        return x.topk(2, dim=1).indices


def without_vectors() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))


MODEL_FOR: dict[str, Callable[[], nn.Module]] = {"SparseAdam": sparse, "Muon": without_vectors}
NEED_A_CLOSURE = {"LBFGS"}
OPTIMIZERS = {
    name: value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value) and value is not torch.optim.Optimizer
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - NEED_A_CLOSURE))
def test_every_optimizer_of_torch_steps_as_in_a_loop_by_hand(name: str) -> None:
    make = MODEL_FOR.get(name, network)
    theirs, ours = make(), make()
    losses = by_hand(theirs, OPTIMIZERS[name](theirs.parameters()), batches())
    trainer = Trainer(ours, objective(), OPTIMIZERS[name](ours.parameters()))
    assert trainer.fit(batches(), epochs=3).losses == losses
    assert losses[-1] != losses[STEPS - 1]
    assert same_weights(weights_of(ours), weights_of(theirs))


def test_groups_keep_their_own_rates() -> None:
    def groups(model: nn.Sequential) -> list[dict[str, Any]]:
        return [
            {"params": model[0].parameters(), "lr": 0.2},
            {"params": model[4].parameters(), "momentum": 0.9},
        ]

    theirs, ours = network(), network()
    losses = by_hand(theirs, torch.optim.SGD(groups(theirs), lr=0.05), batches())
    trainer = Trainer(ours, objective(), torch.optim.SGD(groups(ours), lr=0.05))
    assert trainer.fit(batches(), epochs=3).losses == losses


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_optimizer_that_needs_a_closure_trains_as_by_hand(wrapped: bool) -> None:
    theirs, ours = network(), network()
    for model in (theirs, ours):
        model[1].momentum = 0.0  # statistics are counted once by ours, at each look by hand
    optimizer = torch.optim.LBFGS(theirs.parameters(), lr=0.1, max_iter=4)
    for x, y in batches():

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(theirs(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    made: torch.optim.Optimizer = torch.optim.LBFGS(ours.parameters(), lr=0.1, max_iter=4)
    if wrapped:
        made = Lookahead(made, k=1000)
    Trainer(ours, objective(), made).fit(batches(), epochs=1)
    one, other = (nn.utils.parameters_to_vector(m.parameters()) for m in (ours, theirs))
    torch.testing.assert_close(one, other)


# Schedulers: these need a Trainer that leaves the rates alone without a `schedule` ----------------

SCHEDULERS: dict[str, tuple[str, Callable[[Any], torchs.LRScheduler]]] = {
    "StepLR": ("epoch", lambda o: torchs.StepLR(o, 2, 0.5)),
    "MultiStepLR": ("epoch", lambda o: torchs.MultiStepLR(o, [1, 3, 3], 0.5)),
    "ConstantLR": ("epoch", lambda o: torchs.ConstantLR(o, 0.5, 2)),
    "LinearLR": ("epoch", lambda o: torchs.LinearLR(o, 0.1, total_iters=4)),
    "ExponentialLR": ("epoch", lambda o: torchs.ExponentialLR(o, 0.8)),
    "PolynomialLR": ("epoch", lambda o: torchs.PolynomialLR(o, EPOCHS, 2.0)),
    "LambdaLR": ("epoch", lambda o: torchs.LambdaLR(o, lambda epoch: 0.9**epoch)),
    "MultiplicativeLR": ("epoch", lambda o: torchs.MultiplicativeLR(o, lambda epoch: 0.9)),
    "CosineAnnealingLR": ("step", lambda o: torchs.CosineAnnealingLR(o, EPOCHS * STEPS)),
    "CosineAnnealingWarmRestarts": ("step", lambda o: torchs.CosineAnnealingWarmRestarts(o, 5, 2)),
    "OneCycleLR": ("step", lambda o: torchs.OneCycleLR(o, 0.3, EPOCHS * STEPS)),
    "CyclicLR": ("step", lambda o: torchs.CyclicLR(o, 0.01, 0.1, step_size_up=3)),
    "SequentialLR": (
        "epoch",
        lambda o: torchs.SequentialLR(
            o, [torchs.ConstantLR(o, 0.1, 2), torchs.ExponentialLR(o, 0.9)], [2]
        ),
    ),
    "ChainedScheduler": (
        "epoch",
        lambda o: torchs.ChainedScheduler([torchs.ConstantLR(o, 0.1, 2), torchs.StepLR(o, 1)]),
    ),
    "ReduceLROnPlateau": (
        "epoch",
        lambda o: torchs.ReduceLROnPlateau(o, patience=0, threshold=0.5, factor=0.5),
    ),
}


def momentum(model: nn.Module) -> torch.optim.SGD:
    """Two groups, so that factors of one rate would not do."""
    first, *rest = model.parameters()
    return torch.optim.SGD([{"params": [first], "lr": 0.3}, {"params": rest}], lr=0.1, momentum=0.8)


def measured(model: nn.Module) -> float:
    data = examples(seed=9)
    with torch.no_grad():
        return F.cross_entropy(model.eval()(data.inputs), data.targets).item()


def scheduled(name: str, *observers: object) -> Trainer:
    every, make = SCHEDULERS[name]
    model = network(dropout=0.2)
    optimizer = momentum(model)
    metric = "loss" if name == "ReduceLROnPlateau" else None
    schedule = TorchSchedule(make(optimizer), every=every, metric=metric)  # type: ignore[arg-type]
    return Trainer(model, objective(), optimizer, observers=[schedule, *observers])


def fit(trainer: Trainer) -> list[float]:
    torch.manual_seed(5)
    return trainer.fit(batches(), Batches(examples(seed=9), 100), epochs=EPOCHS).losses


def test_every_scheduler_of_torch_is_tried() -> None:
    concrete = {
        name
        for name, value in vars(torchs).items()
        if inspect.isclass(value) and issubclass(value, torchs.LRScheduler) and name[0] != "_"
    }
    assert set(SCHEDULERS) == concrete - {"LRScheduler"}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_of_torch_sets_rates_as_in_a_loop_by_hand(name: str) -> None:
    every, make = SCHEDULERS[name]
    model = network(dropout=0.2)
    optimizer = momentum(model)
    scheduler: Any = make(optimizer)
    rates: list[list[float]] = []

    def step() -> None:
        scheduler.step(*([measured(model)] if name == "ReduceLROnPlateau" else []))

    def after_step() -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        if every == "step":
            step()

    torch.manual_seed(5)
    losses = by_hand(
        model,
        optimizer,
        batches(),
        epochs=EPOCHS,
        after_step=after_step,
        after_epoch=step if every == "epoch" else nothing,
    )
    seen: list[list[float]] = []
    ours = scheduled(name)
    # Called before the scheduler steps, with the rates that the step was made with.
    ours.observers = (Rates(seen), *ours.observers)
    assert fit(ours) == losses
    assert seen == rates
    assert len({tuple(pair) for pair in rates}) > 1
    assert same_weights(weights_of(ours.model), weights_of(model))


class Rates:
    def __init__(self, seen: list[list[float]]) -> None:
        self.seen = seen

    def on_step(self, trainer: Trainer) -> None:
        self.seen.append([group["lr"] for group in trainer.optimizer.param_groups])


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop("test")


# In the middle of an epoch, and at the end of one.
@pytest.mark.parametrize("stop_at", [3, 2 * STEPS])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_goes_on_where_it_was(name: str, stop_at: int, tmp_path: Path) -> None:
    whole = scheduled(name)
    losses = fit(whole)
    checkpoints, best = Checkpoints(tmp_path / "parts"), EarlyStopping("loss")
    first = scheduled(name, best, StopAt(stop_at), CheckpointWriter(checkpoints, 1e9, best))
    fit(first)
    second = scheduled(name, best)
    train = batches()
    resume(second, checkpoints.load(), train, best, "here")
    valid = Batches(examples(seed=9), 100)
    assert second.fit(train, valid, epochs=EPOCHS).losses == losses[stop_at:]
    assert same_weights(weights_of(second.model), weights_of(whole.model))


def test_the_lean_optimizers_take_a_scheduler_of_torch() -> None:
    theirs, ours = network(), network()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, fused=True)
    scheduler = torchs.StepLR(optimizer, 1, 0.5)
    losses = by_hand(theirs, optimizer, batches(), after_epoch=scheduler.step)
    lean = SGD(ours.parameters(), lr=0.1, momentum=0.9)
    observers = [TorchSchedule(torchs.StepLR(lean, 1, 0.5), every="epoch")]
    trainer = Trainer(ours, objective(), lean, observers=observers)
    assert trainer.fit(batches(), epochs=3).losses == losses


def test_a_scheduler_of_torch_in_the_wrong_place_is_refused() -> None:
    model = network()
    optimizer = momentum(model)
    step = torchs.StepLR(optimizer, 2)
    with pytest.raises(UsageError, match=r"Trainer: `schedule` must be .* got a StepLR.*Torch"):
        Trainer(model, objective(), optimizer, schedule=step)  # type: ignore[arg-type]


def test_arguments_of_a_torch_schedule_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = network()
    optimizer = momentum(model)
    step, plateau = torchs.StepLR(optimizer, 2), torchs.ReduceLROnPlateau(optimizer)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (step, {"every": "batch"}, "`every` must be 'step' or 'epoch'; got 'batch'"),
        (step, {"every": "epoch", "metric": "loss"}, "`metric` must be left out for StepLR"),
        (plateau, {"every": "epoch"}, "`metric` must be given, .* for ReduceLROnPlateau"),
        (plateau, {"every": "step", "metric": "loss"}, "`every` be 'epoch'"),
    ]
    for scheduler, arguments, message in cases:
        with pytest.raises(UsageError, match=message):
            TorchSchedule(scheduler, **arguments)

    fine = TorchSchedule(step, every="epoch")
    absent = TorchSchedule(plateau, every="epoch", metric="accuracy")
    writer = CheckpointWriter(Checkpoints(tmp_path / "c"), 1e9, EarlyStopping("loss"))
    other = torch.optim.SGD(network().parameters(), lr=0.1)
    foreign = TorchSchedule(torchs.StepLR(other, 2), every="epoch")
    used: list[tuple[list[object], dict[str, Any], str]] = [
        ([fine], {"schedule": Cosine()}, r"`schedule` .* must be left out; got Cosine\(end=0.0\)"),
        ([foreign], {}, "must be over the trainer's own optimizer"),
        ([fine, fine], {}, "must hold one; got 2"),
        ([writer, fine], {}, "before CheckpointWriter"),
        ([absent], {}, r"`metric` must be one of \['loss'\]; got 'accuracy'"),
    ]
    for observers, options, message in used:
        trainer = Trainer(model, objective(), optimizer, observers=observers, **options)
        with pytest.raises(UsageError, match=message):
            trainer.fit(batches(), epochs=1)


# Weights ----------------------------------------------------------------------------------------


def plain_mlp() -> nn.Module:
    """The module of a quick run in torch's words alone, with the names of its parts."""

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))
            self.register_buffer("std", torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            shape = (1, -1, 1, 1)
            result: Tensor = (x - self.mean.view(shape)) / self.std.view(shape)
            return result

    layers = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 10))
    body = nn.Sequential()
    body.add_module("flat", nn.Flatten())
    body.add_module("layers", layers)
    model = nn.Sequential()
    model.add_module("prepare", Scale())
    model.add_module("body", body)
    return model.eval()


def test_weights_of_a_run_go_into_a_plain_module_with_every_key(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    import fitwell

    run = fitwell.train(
        "digits",
        model="MLP(hidden=(16,), dropout=0.1)",
        run=tmp_path / "run",
        epochs=1,
        device="cpu",
        report=False,
        quiet=True,
    )
    weights = load_file(tmp_path / "run" / "model.safetensors")
    plain = plain_mlp()
    assert not plain.load_state_dict(weights, strict=True).missing_keys
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(plain(x), run.model()(x))
    # And back: what torch.save writes of the plain module fits the run's.
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    model = run.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.load_state_dict(torch.load(tmp_path / "plain.pt", weights_only=True), strict=True)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
