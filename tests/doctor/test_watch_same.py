"""A training is the same to the bit with a watch and without, whatever the loop does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fitwell
from fitwell.data import Batches
from fitwell.doctor import Watch
from fitwell.train import Supervised

from .watched import CLASSES, FEATURES, batches, examples, network


class Noisy(nn.Module):
    """Shares weights, uses a layer twice, draws numbers, and gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES, 8)
        self.mix = nn.Linear(8, 8)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.mix.weight
        self.attend = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.drop(F.relu(self.mix(self.mix(self.embed(x)))))
        x = self.norm(x + self.tied(x) + 0.1 * torch.randn_like(x))
        y = self.attend(x[None], x[None], x[None])[0][0]
        return self.head(y), {"hidden": y}


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, FEATURES)),
        nn.Conv1d(1, 4, 3),
        nn.BatchNorm1d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * (FEATURES - 2), CLASSES),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {"mlp": network, "noisy": Noisy, "conv": conv}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "own": lambda p: fitwell.optim.AdamW(p, lr=0.01),
    "sam": lambda p: fitwell.optim.SAM(torch.optim.SGD(p, lr=0.1)),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
}


def outputs_of(model: nn.Module, x: Tensor) -> Tensor:
    found = model(x)
    return found[0] if isinstance(found, tuple) else found


def train(
    kind: str, optimizer_kind: str, parts: int, clip: bool, watched: bool, scaled: bool = False
) -> list[Any]:
    """Train a little, and give all state there is."""
    torch.manual_seed(0)
    model = MODELS[kind]()
    optimizer = OPTIMIZERS[optimizer_kind](model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=256.0)
    source = batches()
    watch = Watch(model, optimizer, every=2, scaler=scaler) if watched else None
    seen: list[float] = []

    def gradients() -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for x, y in group:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=scaled):
                loss = F.cross_entropy(outputs_of(model, x).float(), y) / parts
            scaler.scale(loss).backward()
            total = total + loss.detach()
        if clip:
            if scaled:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        return total

    for _ in range(5):
        group = [next(source) for _ in range(parts)]
        if optimizer_kind in ("sam", "lbfgs"):
            loss = optimizer.step(gradients)
        else:
            loss = gradients()
            scaler.step(optimizer)
            scaler.update()
        seen.append(float(loss))
        if watch is not None:
            watch.step(loss, group[-1])
    if watch is not None:
        watch.close()
        assert watch.notes == []
        assert watch.record()["looks"]["step"] == [1, 3, 5]
        assert watch.summary()["carried"] in (0, None)
    return [seen, model.state_dict(), optimizer.state_dict(), torch.get_rng_state()]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(MODELS)),
    st.sampled_from(sorted(OPTIMIZERS)),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_loops_are_the_same_to_the_bit(kind: str, optimizer: str, parts: int, clip: bool) -> None:
    plain, watched = (train(kind, optimizer, parts, clip, on) for on in (False, True))
    assert same(plain, watched)


@pytest.mark.parametrize("clip", [False, True])
def test_mixed_precision_with_a_scaler_is_the_same(clip: bool) -> None:
    plain, watched = (train("mlp", "sgd", 2, clip, on, scaled=True) for on in (False, True))
    assert same(plain, watched)


def test_gradients_before_clipping_have_the_size_of_the_loss_not_of_the_scaled_one() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with Watch(model, optimizer, scaler=scaler) as watch:
        x, y = next(batches())
        loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        watch.step(loss)
    looks = watch.record()["looks"]
    assert looks["gradient_norm"] == pytest.approx(looks["gradient_norm_unclipped"], rel=1e-5)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_trainer_is_the_same_and_is_seen(accumulate: int, given: bool) -> None:
    results = []
    for watched in (False, True):
        model = network()
        optimizer = fitwell.optim.SGD(model.parameters(), lr=0.1)
        parts = (model, optimizer) if given else ()
        watch = fitwell.watch(*parts, every=2)
        objective = Supervised(F.cross_entropy)
        trainer = fitwell.Trainer(
            model,
            objective,
            optimizer,
            accumulate=accumulate,
            grad_clip_norm=0.1,
            observers=[watch] if watched else [],
        )
        valid = Batches(examples(), 32)
        history = trainer.fit(Batches(examples(), 8, shuffle=True, seed=0), valid, epochs=2)
        results.append([history.losses, model.state_dict(), torch.get_rng_state()])
        assert trainer.objective is objective
    assert same(*results)
    record = watch.record()
    assert record["loss"]["loss"] == pytest.approx(history.losses)
    assert record["looks"]["passes"] == [float(accumulate)] * len(record["looks"]["step"])
    assert record["operations"]["loss"][0] == "NllLoss"
    assert sum(record["targets"]["counts"]) == 8 * len(record["looks"]["step"])
    assert watch.summary()["clipped"] == 1.0
    assert watch.summary()["carried"] == 0
    assert watch.summary()["eval_mode"] == {}
    assert watch.notes == []


def test_a_compiling_trainer_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, compile_ = {"graphs": 0}, torch.compile

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        counts["graphs"] += 1
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend=backend))
    model = network()
    optimizer = fitwell.optim.SGD(model.parameters(), lr=0.1)
    watch = fitwell.watch(model, optimizer, every=2)
    trainer = fitwell.Trainer(
        model, Supervised(F.cross_entropy), optimizer, compiled=True, observers=[watch]
    )
    trainer.fit(Batches(examples(), 8), epochs=1)
    assert counts["graphs"] == 1
    assert watch.summary()["gradient_norm"] > 0
    assert watch.summary()["eval_mode"] == {}


def test_a_compiled_model_is_left_whole() -> None:
    """The graph has no break and is captured once; gradients are seen all the same."""
    counts = {"graphs": 0}

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        counts["graphs"] += 1
        return graph.forward

    for inner in (False, True):
        torch._dynamo.reset()
        counts["graphs"] = 0
        model = network()
        fast: Any = torch.compile(model, backend=backend, fullgraph=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Watch(model if inner else fast, optimizer, every=2) as watch:
            for _, (x, y) in zip(range(6), batches(), strict=False):
                optimizer.zero_grad()
                loss = F.cross_entropy(fast(x), y)
                loss.backward()
                optimizer.step()
                watch.step(loss)
        assert counts["graphs"] == (2 if inner else 1)  # the first look is compiled away
        record = watch.record()
        assert list(record["parameters"]) == list(dict(model.named_parameters()))
        assert len(record["looks"]["gradient_norm"]) == 3
        assert record["modules"] == {}
        (note,) = watch.notes
        assert note.startswith("layers were not seen to run: the model is compiled")
