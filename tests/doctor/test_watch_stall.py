"""Stuck, and at what: planted valleys, minima, plateaus and noise; and the end at the first NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import NaNGuard, Stall, Watch
from fitwell.doctor._watch._stall import OVERSHOT, stall_of
from fitwell.train import Supervised

from .watched import CLASSES, FEATURES, data, loop, network, sgd

Landscape = Callable[[Tensor], Tensor]


def descent(
    landscape: Landscape,
    lr: float,
    *,
    start: tuple[float, ...] = (1.0, 1.0),
    steps: int = 120,
    noise: float = 0.0,
    every: int = 4,
) -> Watch:
    """Go down a landscape of the weights; noise is added to the gradient, not to the loss."""
    torch.manual_seed(0)
    model = nn.Module()
    model.weights = weights = nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with Watch(model, optimizer, every=every) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = landscape(weights)
            (loss + (noise * torch.randn_like(weights) * weights).sum()).backward()
            optimizer.step()
            watch.step(loss)
    return watch


def bowl(*curvatures: float) -> Landscape:
    return lambda w: 0.5 * (torch.tensor(curvatures) * w.square()).sum()


def test_tune_31_a_ravine_is_bouncing_and_no_critical_point() -> None:
    """At the rate 2/λ descent jumps from wall to wall: a flat loss with a large gradient."""
    found = descent(bowl(100.0, 1e-3), 0.02).stuck()
    assert found.kind == "bouncing"
    assert found.found is True
    assert found.value == pytest.approx(-1, abs=1e-6)
    assert found.interval[1] < OVERSHOT < found.control == 0
    assert found.growth == pytest.approx(1, abs=1e-3)
    assert abs(found.fall) < 1e-3
    assert "bounce between walls, and this is no critical point" in str(found)
    assert min(norm for _, norm in found.gradients) > 99  # far from the 1e-3 of a critical point


def test_tune_31_a_minimum_is_not_bouncing() -> None:
    found = descent(bowl(1.0, 1.0), 0.2).stuck()
    assert found.kind == "settled"
    assert found.found is False
    assert found.growth_interval[1] < 1


def test_tune_31_an_overshooting_descent_that_still_falls_is_not_stuck() -> None:
    found = descent(bowl(100.0, 1e-3), 0.0198, steps=60).stuck()
    assert found.kind == "falling"
    assert found.found is False
    assert found.value < -0.9  # it does jump, and gets down


def test_tune_31_a_plateau() -> None:
    found = descent(lambda w: 1 + 1e-5 * w.sum(), 0.1).stuck()
    assert found.kind == "plateau"
    assert found.found is False
    assert found.value == pytest.approx(1, abs=1e-6)


def test_tune_31_healthy_descent_and_divergence() -> None:
    assert descent(bowl(1.0, 0.01), 0.01).stuck().kind == "falling"
    assert descent(bowl(100.0, 1.0), 0.0202).stuck().kind == "rising"


@pytest.mark.parametrize("rate", [0.1, 0.6, 1.4, 1.8])
def test_tune_31_noisy_steps_have_the_cosine_of_the_closed_form(rate: float) -> None:
    """At curvature 1 the mean is -rate/2; beyond the rate 1, that of the bottom, it is bouncing."""
    watch = descent(bowl(*[1.0] * 2000), rate, start=(0.0,) * 2000, noise=1.0, every=2)
    found = watch.stuck(margin=0.2)
    assert found.value == pytest.approx(-rate / 2, abs=0.02)
    assert found.kind == ("bouncing" if rate > 1 else "noise")


def planted(norms: Callable[[int], float], cosine: float, spread: float = 0.0) -> Stall:
    """Judge a record with a flat loss, and gradients and cosines at 40 looks as they are given."""
    turns = [1 if i % 2 else -1 for i in range(40)]
    return stall_of(
        {
            "steps": 400,
            "loss": {"step": list(range(1, 401)), "loss": [5.0, *[1.0] * 399]},
            "looks": {
                "step": [10 * i + 1 for i in range(40)],
                "gradient_norm": [norms(i) for i in range(40)],
                "gradient_cosine": [cosine + spread * turn for turn in turns],
            },
        },
        0.5,
        0.02,
    )


def test_a_gradient_that_falls_a_little_has_not_settled() -> None:
    """At the floor of noise it goes on falling slowly for long, beyond all doubt."""
    slow = planted(lambda i: 0.99**i, 0.0, 0.1)
    assert slow.growth_interval[1] < 1
    assert slow.kind == "noise"
    fast = planted(lambda i: 0.9**i, 0.0, 0.1)
    assert fast.growth_interval[1] < 0.5
    assert fast.kind == "settled"


def test_gradients_that_agree_a_little_are_noise_and_no_plateau() -> None:
    """So they do in any training that went well: the signal is never quite gone."""
    healthy = planted(lambda i: 1.0, 0.15, 0.1)
    assert healthy.interval[0] > 0
    assert healthy.kind == "noise"
    assert planted(lambda i: 1.0, 0.8, 0.1).kind == "plateau"


def test_bouncing_is_told_from_settling_beyond_the_bottom() -> None:
    assert planted(lambda i: 0.99**i, -0.9).kind == "bouncing"
    assert planted(lambda i: 1.0 if i else 1e4, -0.9).kind == "bouncing"  # small beside the start
    assert planted(lambda i: 0.95**i, -0.9).kind == "unclear"
    assert planted(lambda i: 0.5**i, -0.9).kind == "settled"
    assert descent(bowl(1.0, 1.0), 1.5).stuck().kind == "settled"


def test_too_few_looks_are_no_evidence() -> None:
    watch = descent(bowl(1.0, 1.0), 0.2, every=100)
    found = watch.stuck()
    assert found.kind == "unclear"
    assert found.found is None
    assert "over 1 looks" in str(found)
    model = network()
    assert Watch(model, sgd(model)).stuck().found is None


def test_a_loss_that_is_not_finite_is_unclear_and_plain_data() -> None:
    model = network()
    optimizer = sgd(model)
    with Watch(model, optimizer, every=2) as watch:
        loop(model, optimizer, watch, 12)
        watch.step(math.nan)
    found = watch.stuck()
    assert found.found is None
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["kind"] == "unclear"


def test_the_picture_has_loss_and_gradients() -> None:
    axes = descent(bowl(100.0, 1e-3), 0.02).stuck().figure().axes
    assert [one.get_ylabel() for one in axes] == ["loss", "gradient norm"]
    assert axes[1].get_yscale() == "log"
    model = network()
    assert Watch(model, sgd(model)).stuck().figure().axes[0].get_xlabel() == "step"


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.5}, {"margin": 0.0}])
def test_wrong_shares_are_told(options: dict[str, float]) -> None:
    model = network()
    with pytest.raises(UsageError, match=r"`share` must lie in \(0, 1\] and `margin` above 0"):
        Watch(model, sgd(model)).stuck(**options)


class Root(nn.Module):
    """Takes the root of what may be negative after a while."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def pairs() -> list[tuple[Tensor, Tensor]]:
    x, y = data(32)
    return list(zip(x.abs().split(8), y.split(8), strict=True))


def rooted() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 8), Root(), nn.Linear(8, CLASSES))
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.fill_(0.1)
    return model


def fit(model: nn.Module, batches: Any, loss: Any = F.cross_entropy, **options: Any) -> Any:
    lr = options.pop("lr", 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    objective = Supervised(loss)
    trainer = fitwell.Trainer(model, objective, optimizer, **options)
    try:
        trainer.fit(batches, epochs=20)
    finally:
        assert trainer.objective is objective
    return trainer


@pytest.mark.parametrize("others", ["none", "before", "after"])
def test_rnn_19_the_guard_stops_the_run_and_names_the_layer(others: str) -> None:
    """At the very step, while the weights are finite still."""
    model, guard = rooted(), NaNGuard()
    watch = fitwell.watch()
    observers = {"none": [guard], "before": [watch, guard], "after": [guard, watch]}[others]
    with pytest.raises(
        TrainingError,
        match=r"^NaNGuard: the loss became nan at step \d+ \(lr=5\): the output of 1 \(Root\(\)\)"
        r" has \d+ NaN of \d+ numbers, its input has not\.$",
    ):
        fit(model, pairs(), lr=5.0, observers=observers)
    assert all(p.isfinite().all() for p in model.parameters())


def test_rnn_19_an_exploding_recurrence_is_named() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNN(1, 4, nonlinearity="relu", batch_first=True)
            self.head = nn.Linear(4, CLASSES)
            with torch.no_grad():
                self.cell.weight_hh_l0.copy_(10 * torch.eye(4))
                self.cell.weight_ih_l0.fill_(1.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0][:, -1])  # type: ignore[no-any-return]

    x, y = torch.ones(16, 50, 1), torch.arange(16) % CLASSES
    with pytest.raises(TrainingError, match=r"at step 1 .*: the output of cell \(RNN\(1, 4"):
        fit(Reader(), [(x, y)], observers=[NaNGuard()])


def test_the_guard_names_inputs_targets_and_the_loss() -> None:
    x, y = data(8)
    ill = x.clone()
    ill[2, 1] = math.inf
    with pytest.raises(TrainingError, match="the input has 1 infinite of 48 numbers"):
        fit(network(), [(ill, y)], observers=[NaNGuard()])
    wanted = x[:, :1].clone()
    wanted[3] = math.nan
    with pytest.raises(TrainingError, match="1 of 8 targets are not finite"):
        fit(nn.Linear(FEATURES, 1), [(x, wanted)], F.mse_loss, observers=[NaNGuard()])

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.sum() * 0).log() * math.nan

    with pytest.raises(TrainingError, match="all layers are finite: Mul of Log of Mul of Sum in"):
        fit(network(), [(x, y)], broken, observers=[NaNGuard()])


def test_the_guard_leaves_a_healthy_training_as_it_is() -> None:
    states = []
    for observers in ([], [NaNGuard()]):
        model = network()
        fit(model, pairs(), observers=observers)
        states.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert torch.equal(*states)
    assert repr(NaNGuard()) == "NaNGuard()"
