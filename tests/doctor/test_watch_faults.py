"""Faults made on purpose leave their evidence in the record, and healthy trainings do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.doctor import Watch

from .watched import CLASSES, FEATURES, batches, data, loop, network, sgd, watched


def plain(depth: int = 2, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(FEATURES, 16), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(16, 16), activation()]
    return nn.Sequential(*layers, nn.Linear(16, CLASSES))


def test_a_healthy_training_leaves_no_evidence() -> None:
    summary = watched(network(), 12).summary()
    for name in ("eval_mode", "nonfinite", "no_gradient", "zero_gradient", "unmoved", "frozen"):
        assert not summary[name], name
    for name in ("not_in_optimizer", "only_in_optimizer", "unregistered", "without_step"):
        assert not summary[name], name
    assert summary["carried"] == 0
    assert summary["clipped"] == 0
    assert summary["label_entropy"] > 0.5
    assert summary["dead"]["2"] < 0.2


@pytest.mark.parametrize("to_none", [True, False])
def test_pt_17_c01_missing_zero_grad(to_none: bool) -> None:
    summary = watched(network(), clear=False).summary()
    assert summary["carried"] > 0.5
    model = network()
    optimizer = sgd(model)
    with Watch(model, optimizer, every=2) as watch:
        for _, (x, y) in zip(range(6), batches(), strict=False):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad(set_to_none=to_none)  # between the passes is right too
            loss.backward()
            optimizer.step()
            watch.step(loss)
    assert watch.summary()["carried"] == 0


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_are_not_carried_over(parts: int) -> None:
    model = network()
    optimizer = sgd(model)
    source = batches()
    with Watch(model, optimizer, every=2) as watch:
        for _ in range(6):
            optimizer.zero_grad()
            for _ in range(parts):
                x, y = next(source)
                (F.cross_entropy(model(x), y) / parts).backward()
            optimizer.step()
            watch.step(0.0)
    assert watch.summary()["carried"] == 0
    looks = watch.record()["looks"]
    assert looks["passes"] == [parts] * 3
    for after, before in zip(looks["gradient_norm"], looks["gradient_norm_unclipped"], strict=True):
        assert after == pytest.approx(before, rel=1e-5)


def test_c02_the_optimizer_has_other_parameters() -> None:
    model, other = plain(), plain()
    watch = watched(model, optimizer=sgd(other))
    summary = watch.summary()
    names = list(dict(model.named_parameters()))
    assert summary["not_in_optimizer"] == names
    assert summary["only_in_optimizer"] == len(names)
    assert summary["unmoved"] == names
    assert summary["gradient_norm"] > 0
    assert set(watch.record()["looks"]["update_norm"]) == {0.0}


def test_c02_no_step_is_taken() -> None:
    model = plain()
    with Watch(model, sgd(model), every=2) as watch:
        for _, (x, y) in zip(range(4), batches(), strict=False):
            model.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            watch.step(loss)
    summary = watch.summary()
    assert summary["without_step"] == summary["looks"] == 2
    assert summary["gradient_norm"] > 0
    assert set(summary["unmoved"]) == set(dict(model.named_parameters()))


def test_c03_training_in_evaluation_mode() -> None:
    model = network()
    model.eval()
    watch = watched(model, train=False)
    assert watch.summary()["eval_mode"] == {"": 1.0, "1": 1.0, "3": 1.0}
    assert watch.record()["looks"]["training"] == [0.0] * 3


def test_a_frozen_normalization_alone_is_named() -> None:
    model = network()
    model[1].eval()
    assert watched(model, train=False).summary()["eval_mode"] == {"1": 1.0}


def test_a05_dead_units() -> None:
    model = plain()
    with torch.no_grad():
        model[2].bias.fill_(-20.0)
    summary = watched(model).summary()
    assert summary["dead"] == {"1": pytest.approx(0, abs=0.2), "3": 1.0}
    assert {"0.weight", "2.weight"} <= set(summary["zero_gradient"])
    assert "4.bias" not in summary["zero_gradient"]


class Listed(nn.Module):
    """Keeps its layers in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(FEATURES, FEATURES) for _ in range(2)]
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


def test_a08_layers_in_a_plain_list() -> None:
    summary = watched(Listed()).summary()
    assert summary["unregistered"] == [
        *("layers[0].bias", "layers[0].weight", "layers[1].bias", "layers[1].weight")
    ]
    assert summary["parameters"] == 2


class Cut(nn.Module):
    """Detaches its first layer, and never uses its last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.head = nn.Linear(FEATURES, CLASSES)
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Linear(FEATURES, FEATURES).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.frozen(self.first(x).detach()))
        return out


def test_a08_parts_without_gradient() -> None:
    summary = watched(Cut()).summary()
    parts = ("first.weight", "first.bias", "unused.weight", "unused.bias")
    assert summary["no_gradient"] == list(parts)
    assert summary["frozen"] == ["frozen.weight", "frozen.bias"]
    assert summary["unmoved"] == []


def sick(position: int) -> Iterator[tuple[Tensor, Tensor]]:
    for number, (x, y) in enumerate(batches()):
        if number == position:
            x = x.clone()
            x[3, 1] = math.nan
        yield x, y


def check_too_late(found: dict[str, Any], step: int) -> None:
    """The optimizer has stepped since: all layers are ill, and the first of them is no origin."""
    assert found["look_step"] == step
    assert found["weights_finite"] is False
    assert found["module"] is None
    assert "module_input_finite" not in found


@pytest.mark.parametrize("position", [2, 3])  # at a look, and between looks
def test_d08_nan_in_an_input(position: int) -> None:
    found = watched(plain(), 6, batches=sick(position)).summary()["nonfinite"]
    assert found["loss_step"] == position + 1
    assert found["batch"] == ["inputs"]
    if position == 2:
        assert (found["look_step"], found["inputs"], found["module"]) == (3, True, "0")
        assert found["weights_finite"]
    else:
        check_too_late(found, 5)


def test_l04_an_unstable_loss_on_finite_outputs() -> None:
    def unstable(outputs: Tensor, targets: Tensor) -> Tensor:
        probs = torch.softmax(1000 * outputs, dim=1)
        return -(F.one_hot(targets, CLASSES) * probs.log()).sum(dim=1).mean()

    watch = watched(plain(), 1, loss_fn=unstable)
    found = watch.summary()["nonfinite"]
    assert found == {"loss_step": 1}  # inputs, layers and outputs of that step are finite
    assert watch.record()["operations"]["loss"][:2] == ["Neg", "Mean"]


class Root(nn.Module):
    """Takes the root of what may be negative."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def test_rnn_19_the_first_layer_that_makes_nan_is_named() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 8), Root(), nn.Linear(8, CLASSES))
    found = watched(model, 1).summary()["nonfinite"]
    assert found["module"] == "1"
    assert found["module_input_finite"]
    assert not found["inputs"]


def test_rnn_19_a_layer_that_makes_nan_between_looks_is_not_blamed_on_another() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Softplus(), Root(), nn.Linear(8, CLASSES))
    source = [(x.clone(), y) for _, (x, y) in zip(range(6), batches(), strict=False)]
    root = model[2].forward
    calls = 0

    def ill(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return root(x) * (math.nan if calls == 2 else 1.0)  # type: ignore[no-any-return]

    model[2].forward = ill  # type: ignore[method-assign]
    found = watched(model, 6, batches=source).summary()["nonfinite"]
    assert found["loss_step"] == 2
    check_too_late(found, 3)


def test_weights_that_are_large_and_finite_are_finite() -> None:
    model = plain()
    with torch.no_grad():
        model[0].weight.fill_(1e30)
    watch = watched(model, 1)
    assert watch.record()["looks"]["weights_finite"] == [1.0]


def test_d07_sorted_labels() -> None:
    x, y = data(96)
    order = y.argsort(stable=True)
    pairs = [(x[order[i : i + 8]], y[order[i : i + 8]]) for i in range(0, 96, 8)]
    summary = watched(plain(), 12, batches=pairs).summary()
    assert summary["label_entropy"] < 0.1
    assert summary["label_repeats"] == 1.0


def test_nan_in_a_target() -> None:
    model = nn.Linear(FEATURES, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Watch(model, optimizer, nn.MSELoss()) as watch:
        x, _ = data(8)
        y = torch.zeros(8, 1)
        y[2] = math.nan
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        watch.step(loss, (x, y))
    assert watch.summary()["nonfinite"] == {"loss_step": 1, "batch": ["targets"]}
    assert watch.record()["targets"]["finite"] == [0.0]


def test_o03_a_schedule_that_goes_to_zero() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / 3))
    source = batches()
    with Watch(model, optimizer, every=2) as watch:
        for _ in range(10):
            loop(model, optimizer, None, 1, batches=source)
            watch.step(0.0)
            schedule.step()
    record = watch.record()
    assert watch.summary()["first_lr"] > watch.summary()["last_lr"] == 0.0
    assert record["looks"]["update_norm"][-1] == 0.0
    assert record["looks"]["gradient_norm"][-1] > 0.0


@pytest.mark.parametrize(
    ("loss_fn", "names"),
    [
        (lambda o, t: F.cross_entropy(o.softmax(1), t), ["NllLoss", "LogSoftmax", "Softmax"]),
        (lambda o, t: F.mse_loss(o.softmax(1), F.one_hot(t, 3).float()), ["MseLoss", "Softmax"]),
        (lambda o, t: -F.cross_entropy(o, t), ["Neg", "NllLoss", "LogSoftmax"]),
    ],
)
def test_l01_l02_l03_what_the_loss_is_made_of(loss_fn: Any, names: list[str]) -> None:
    watch = watched(plain(), 2, loss_fn=loss_fn)
    assert watch.record()["operations"]["loss"][: len(names)] == names


def test_l01_probabilities_where_logits_belong() -> None:
    model = nn.Sequential(plain(), nn.Softmax(dim=1))
    assert watched(model).record()["outputs"]["from_simplex"][0] < 1e-5
    assert watched(plain()).record()["outputs"]["from_simplex"][0] > 0.01


def test_rnn_18_gradients_that_vanish_with_depth() -> None:
    """A planted net of 50 sigmoids: the gradient of the first layer beside that of the last."""
    deep, shallow = plain(50, nn.Sigmoid), plain(2)
    assert watched(deep).summary()["first_to_last_gradient"] < 1e-10
    assert watched(shallow).summary()["first_to_last_gradient"] > 1e-2


class Recurrent(nn.Module):
    """A linear recurrence with a given spectral radius."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.cell = nn.RNN(1, 8, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(8, 1)
        with torch.no_grad():
            self.cell.weight_hh_l0.copy_(radius * torch.eye(8))
            self.cell.weight_ih_l0.fill_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(x)[0][:, -1])
        return out


def test_rnn_19_a_spectral_radius_above_one_explodes() -> None:
    norms = {}
    for radius in (0.9, 1.5):
        model = Recurrent(radius)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with Watch(model, optimizer) as watch:
            loss = model(torch.ones(4, 40, 1)).mean()
            loss.backward()
            optimizer.step()
            watch.step(loss)
        norms[radius] = watch.summary()["gradient_norm"]
    assert norms[1.5] > 1e5 * norms[0.9]


def test_a04_saturated_layers() -> None:
    model = plain(2, nn.Tanh)
    with torch.no_grad():
        model[0].weight *= 50
    saturated = watched(model).summary()["saturated"]
    assert saturated["1"] > 0.8
    assert saturated["3"] < 0.3


def test_o07_everything_is_clipped() -> None:
    model = plain()
    optimizer = sgd(model)
    with Watch(model, optimizer, every=2) as watch:
        for _, (x, y) in zip(range(6), batches(), strict=False):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimizer.step()
            watch.step(loss)
    assert watch.summary()["clipped"] == 1.0
    assert watch.summary()["gradient_norm"] == pytest.approx(1e-3, rel=1e-2)


def test_d06_constant_inputs() -> None:
    same = [(torch.ones(8, FEATURES), torch.arange(8) % CLASSES)] * 4
    record = watched(plain(), 4, batches=same).record()
    assert record["inputs"]["constant"] == [1.0, 1.0]
    assert record["outputs"]["spread"][0] == pytest.approx(0, abs=1e-6)
