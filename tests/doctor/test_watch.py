"""Each number of the watch against a computation by hand."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import UsageError
from fitwell.doctor import Watch
from fitwell.doctor._watch import _watch
from fitwell.doctor._watch._looks import Looks
from fitwell.doctor._watch._losses import Losses
from fitwell.doctor._watch._parameters import noise_scale

from .watched import BATCH, CLASSES, batches, loop, network, sgd, watched


def column(found: dict[str, Any], field: str) -> list[float]:
    return [value for value in found[field] if value is not None]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def test_gradients_updates_and_directions_equal_those_by_hand() -> None:
    model = network()
    optimizer = sgd(model)
    parameters = list(model.parameters())
    weights, gradients, updates = [], [], []
    with Watch(model, optimizer, every=2) as watch:
        for _, (x, y) in zip(range(6), batches(), strict=False):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.5)
            before = flat(parameters)
            gradients.append([p.grad.clone() for p in parameters])  # type: ignore[union-attr]
            optimizer.step()
            weights.append(before)
            updates.append(flat(parameters) - before)
            watch.step(loss)
    record = watch.record()
    looks = record["looks"]
    assert looks["step"] == [1, 3, 5]
    for number, step in enumerate((0, 2, 4)):
        one, two = flat(gradients[step]), flat(gradients[step + 1])
        near = {"rel": 1e-5}
        assert looks["gradient_norm"][number] == pytest.approx(one.norm().item(), **near)
        assert looks["update_norm"][number] == pytest.approx(updates[step].norm().item(), **near)
        assert looks["weight_norm"][number] == pytest.approx(weights[step].norm().item(), **near)
        cosine = F.cosine_similarity(one, two, dim=0).item()
        assert looks["gradient_cosine"][number] == pytest.approx(cosine, abs=1e-5)
        cosine = F.cosine_similarity(updates[step], updates[step + 1], dim=0).item()
        assert looks["update_cosine"][number] == pytest.approx(cosine, abs=1e-5)
        for name, gradient in zip(dict(model.named_parameters()), gradients[step], strict=True):
            seen = record["parameters"][name]["gradient_norm"][number]
            assert seen == pytest.approx(gradient.norm().item(), **near)
    assert watch.summary()["clipped"] == sum(
        u > 1.001 * c
        for u, c in zip(looks["gradient_norm_unclipped"], looks["gradient_norm"], strict=True)
    ) / len(looks["step"])
    assert looks["gradient_norm_unclipped"][0] > 0.5
    assert looks["gradient_norm"][0] == pytest.approx(0.5, rel=1e-4)


def test_activations_equal_those_of_a_forward_pass() -> None:
    torch.manual_seed(0)
    layers = [
        nn.Linear(6, 12),
        nn.ReLU(),
        nn.Linear(12, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
        nn.Sigmoid(),
    ]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        model[0].bias[:5] = -50.0  # five units that are never active
        model[2].weight *= 8  # saturates
        model[4].weight *= 20
    x, _ = next(batches())
    outputs = [x]
    for layer in layers:
        outputs.append(layer(outputs[-1]).detach())
    optimizer = sgd(model)
    with Watch(model, optimizer) as watch:
        loop(model, optimizer, watch, 1)
    modules = watch.record()["modules"]
    assert list(modules) == ["0", "1", "2", "3", "4", "5"]
    for number, output in enumerate(outputs[1:]):
        assert modules[str(number)]["mean"][0] == pytest.approx(output.mean().item(), abs=1e-6)
        std = output.std(correction=0).item()
        assert modules[str(number)]["std"][0] == pytest.approx(std, rel=1e-5)
        assert modules[str(number)]["finite"] == [1.0]
    dead = (outputs[2] == 0).all(dim=0)
    assert dead.sum() >= 5
    assert modules["1"]["dead"][0] == pytest.approx(dead.float().mean().item())
    assert modules["1"]["zeros"][0] == pytest.approx((outputs[2] == 0).float().mean().item())
    tanh = (outputs[4].abs() > 0.97).float().mean().item()
    assert modules["3"]["saturated"][0] == pytest.approx(tanh)
    sigmoid = ((outputs[6] > 0.985) | (outputs[6] < 0.015)).float().mean().item()
    assert modules["5"]["saturated"][0] == pytest.approx(sigmoid)
    assert tanh > 0
    assert sigmoid > 0


class Functional(nn.Module):
    """Uses a function for its activation, a layer twice, and gives no tensor but a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.conv(x)))
        x = self.mix(self.mix(F.max_pool2d(x, 2).flatten(1)))
        return {"logits": self.head(torch.tanh(x))}


def test_functions_shared_layers_and_dicts_are_seen() -> None:
    torch.manual_seed(0)
    model = Functional()
    with torch.no_grad():
        model.norm.bias[0] = -100.0
    optimizer = sgd(model, 0.0)
    x, y = torch.randn(8, 1, 6, 6), torch.arange(8) % CLASSES
    with Watch(model, optimizer) as watch:
        loss = F.cross_entropy(model(x)["logits"], y)
        loss.backward()
        optimizer.step()
        watch.step(loss, (x, y))
    record = watch.record()
    modules = record["modules"]
    assert modules["before mix"]["dead"] == [0.25]  # one channel of four, after view and pool
    assert {"mix", "mix (2)", "before head"} <= set(modules)
    assert "saturated" in modules["before head"]
    batch = model.conv(x).detach().movedim(1, 0).flatten(1)
    norm = record["normalization"]["norm"]
    ratio = (batch.var(dim=1, correction=1) / (model.norm.running_var + 1e-5)).mean().item()
    assert norm["variance_ratio"][0] == pytest.approx(ratio, rel=1e-4)
    spread = (model.norm.running_var + 1e-5).sqrt()
    gap = ((batch.mean(dim=1) - model.norm.running_mean).abs() / spread).mean().item()
    assert norm["mean_gap"][0] == pytest.approx(gap, rel=1e-4)
    assert norm["examples"] == [8.0]
    assert norm["input_std"][0] == pytest.approx(batch.std(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LayerNorm(6), (6,)),
        (nn.RMSNorm(6), (6,)),
        (nn.GroupNorm(2, 6), (6,)),
        (nn.InstanceNorm1d(2), (2, 3)),
    ],
)
def test_what_every_normalization_is_given_is_seen(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, shape), layer, nn.Flatten())
    x, _ = next(batches())
    given = model[1](model[0](x)).detach()
    optimizer = sgd(model)
    with Watch(model, optimizer) as watch:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        watch.step(loss)
    seen = watch.record()["normalization"]["2"]
    assert seen["input_std"][0] == pytest.approx(given.std(correction=0).item(), rel=1e-5)
    assert "mean_gap" not in seen


class Wasteful(torch.optim.SGD):
    """Takes the gradients for its own use, as some optimizers do."""

    def step(self, closure: Any = None) -> Any:
        found = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(0)
        return found


@pytest.mark.parametrize("closed", [False, True])
def test_gradients_are_those_that_are_stepped_with(closed: bool) -> None:
    """An optimizer may write into them while it steps."""
    model = network()
    optimizer = Wasteful(model.parameters(), lr=0.1)
    expected: list[float] = []
    with Watch(model, optimizer) as watch:
        x, y = next(batches())

        def gradients() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            expected.append(flat([p.grad for p in model.parameters()]).norm().item())  # type: ignore[misc]
            return loss

        loss = optimizer.step(gradients) if closed else gradients()
        if not closed:
            optimizer.step()
        watch.step(loss)
    assert expected[0] > 0.1
    assert watch.record()["looks"]["gradient_norm"] == [pytest.approx(expected[0])]


def test_inputs_outputs_and_labels_equal_those_by_hand() -> None:
    model, criterion = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    x, y = next(batches())
    x[:, 2] = 7.0  # a feature that is constant
    model.eval()  # so that the outputs can be computed again
    outputs = model(x).detach()
    with Watch(model, optimizer, criterion) as watch:
        loss = criterion(model(x), y)  # the targets are seen at the loss, no batch is given
        loss.backward()
        optimizer.step()
        watch.step(loss)
    record = watch.record()
    inputs, targets = record["inputs"], record["targets"]
    assert inputs["examples"] == [BATCH]
    assert inputs["mean"][0] == pytest.approx(x.mean().item(), rel=1e-5)
    assert inputs["std"][0] == pytest.approx(x.std(correction=0).item(), rel=1e-5)
    assert inputs["constant"] == [pytest.approx(1 / x.shape[1])]
    counts = torch.bincount(y, minlength=CLASSES)
    assert targets["counts"] == counts.tolist()
    share = counts / counts.sum()
    entropy = -sum(p * math.log(p) for p in share.tolist() if p)
    assert targets["entropy"][0] == pytest.approx(entropy, rel=1e-5)
    repeats = sum(a == b for a, b in zip(y[1:].tolist(), y[:-1].tolist(), strict=True)) / 7
    assert targets["repeats"][0] == pytest.approx(repeats)
    spread = outputs.std(dim=0, correction=0).mean().item()
    assert record["outputs"]["spread"][0] == pytest.approx(spread, rel=1e-5)
    assert record["outputs"]["low"][0] == pytest.approx(outputs.min().item(), rel=1e-5)


@pytest.mark.parametrize(("parts", "method"), [(1, "successive gradients"), (4, "micro-batches")])
def test_the_noise_scale_is_that_of_single_examples(parts: int, method: str) -> None:
    """Linear regression at its start: the covariance of single gradients is computed in full."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 3, generator=generator)
    y = x.sum(dim=1, keepdim=True) + torch.randn(4096, 1, generator=generator)
    single = -2 * (y * x)  # gradients at weights of zero
    mean = single.mean(dim=0)
    true = ((single - mean).square().sum(dim=1).mean() / mean.square().sum()).item()
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with Watch(model, optimizer, every=2) as watch:
        for _ in range(300):
            optimizer.zero_grad()
            for _ in range(parts):
                pick = torch.randint(4096, (8,), generator=generator)
                loss = F.mse_loss(model(x[pick]), y[pick]) / parts
                loss.backward()
            optimizer.step()
            watch.step(loss)
    found = watch.summary()["noise_scale"]
    assert found["method"] == method
    assert found["examples"] == pytest.approx(true, rel=0.25)


def test_noise_scale_of_known_norms() -> None:
    signal, noise = 2.0, 12.0
    norms = [[signal + noise / size] for size in (4, 16)]
    assert noise_scale(*norms, 4, 16) == pytest.approx(noise / signal)
    assert noise_scale([1.0], [0.1], 4, 8) is None  # the noise drowns the signal
    assert noise_scale([1.0], [1.0], 8, 8) is None


def test_every_loss_is_kept_and_old_ones_become_means() -> None:
    losses = Losses(capacity=8)
    values = [float(i) for i in range(21)]
    for value in values:
        losses.add(torch.tensor(value) if value % 2 else value)
    curve = losses.curve()
    assert curve["width"] == 4
    means = [sum(values[i : i + 4]) / 4 for i in range(0, 20, 4)] + [20.0]
    assert curve["loss"] == means
    assert curve["step"] == [4, 8, 12, 16, 20, 21]


def test_memory_is_bounded() -> None:
    looks = Looks()
    for step in range(1, 701):
        looks.add(
            step, {("look", "", "loss"): float(step), ("look", "", "half"): torch.tensor(0.5)}
        )
    assert 100 < len(looks) <= 256
    assert looks.steps[0] == 1
    assert looks.steps == sorted(looks.steps)
    assert looks.steps[-1] > 650
    found = looks.columns()["look"][""]
    assert found["loss"] == [float(step) for step in looks.steps]
    wide = Looks()
    many = {("parameters", str(i), "moved"): 1.0 for i in range(2**15)}
    for step in range(20):
        wide.add(step, many)
    assert len(wide) <= 16


def test_large_models_are_thinned_out_and_said_so() -> None:
    model = nn.Linear(1000, 400)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(model, optimizer) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 1000)).square().mean()
            loss.backward()
            optimizer.step()
            watch.step(loss)
    assert watch.notes == [
        "updates and directions are those of evenly spaced entries of the weights"
    ]
    parameters = watch.record()["parameters"]
    assert parameters["weight"]["moved"][0] > 0.99
    assert parameters["bias"]["update_ratio"][0] is not None


def test_several_optimizers_are_watched_together() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in model]
    with Watch(model, optimizers) as watch:
        loss = model(torch.ones(2, 4)).sum()
        loss.backward()
        expected = flat([p.grad for p in model.parameters()]).norm().item()  # type: ignore[misc]
        for optimizer in optimizers:
            optimizer.step()
        watch.step(loss)
    record = watch.record()
    assert record["looks"]["gradient_norm"] == [pytest.approx(expected)]
    assert record["looks"]["optimizer_steps"] == [2.0]
    assert record["structure"]["not_in_optimizer"] == []


def test_two_watches_of_a_gan_see_their_own_half() -> None:
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 3), nn.Linear(3, 1)
    adam = [torch.optim.Adam(net.parameters(), lr=0.01) for net in (maker, judge)]
    with Watch(maker, adam[0], every=2) as one, Watch(judge, adam[1], every=2) as two:
        for _ in range(4):
            fake = maker(torch.randn(5, 2))
            adam[1].zero_grad()
            loss = judge(fake.detach()).mean() - judge(torch.randn(5, 3)).mean()
            loss.backward()
            adam[1].step()
            two.step(loss)
            adam[0].zero_grad()
            loss = -judge(fake).mean()
            loss.backward()
            adam[0].step()
            one.step(loss)
    for watch, net in ((one, maker), (two, judge)):
        record = watch.record()
        assert set(record["parameters"]) == set(dict(net.named_parameters()))
        assert record["looks"]["step"] == [1, 3]
        assert all(moved == 1 for moved in record["parameters"]["weight"]["moved"])
        assert watch.notes == []
    # The judge keeps the gradient of the maker's turn until it is cleared.
    assert two.summary()["carried"] == 0
    assert one.record()["operations"]["loss"][0] == "Neg"


def test_hooks_are_gone_afterwards() -> None:
    model = network()
    optimizer = sgd(model)
    with Watch(model, optimizer, every=1) as watch:
        loop(model, optimizer, watch, 3)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


def test_copies_of_a_watched_model_are_not_watched() -> None:
    model = network()
    watch = Watch(model, sgd(model))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin(torch.zeros(2, 6))
    watch.step(0.0)
    assert watch.record()["modules"] == {}
    watch.close()


def test_passes_without_gradients_are_not_counted() -> None:
    model = network()
    optimizer = sgd(model)
    with Watch(model, optimizer, every=2) as watch:
        for _ in range(2):
            loop(model, optimizer, watch, 1)
            model.eval()
            with torch.no_grad():
                model(torch.full((4, 6), 1e6))
            model.train()
    assert watch.record()["inputs"]["high"][0] < 1e3
    assert watch.summary()["eval_mode"] == {}


def test_times_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only the loop moves: hooks cost nothing, and each part has its length."""
    now = [0.0]
    monkeypatch.setattr(_watch, "_CLOCK", lambda: now[0])
    lengths = {"wait": 3.0, "forward": 5.0, "backward": 7.0, "step": 2.0, "rest": 1.0}

    class Slow(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            now[0] += lengths["forward"]
            return super().forward(x)

    class Stepping(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            now[0] += lengths["step"]
            return super().step(closure)

    model = Slow(6, CLASSES)
    optimizer = Stepping(model.parameters(), lr=0.1)
    with Watch(model, optimizer, every=2) as watch:
        for _, (x, y) in zip(range(6), batches(), strict=False):
            now[0] += lengths["wait"]
            loss = F.cross_entropy(model(x), y)
            now[0] += lengths["backward"]
            loss.backward()
            optimizer.step()
            now[0] += lengths["rest"]
            watch.step(loss)
    seconds = watch.record()["seconds"]
    for name, length in lengths.items():
        assert seconds[name] == [length] * 3, name
    assert seconds["all"] == [18.0] * 3
    assert watch.summary()["data_share"] == pytest.approx(3 / 18)


def test_the_picture_shows_what_was_seen(tmp_path: Path) -> None:
    figure = watched(network()).figure()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "loss"
    assert len(titles) == 6
    assert len(figure.axes[0].lines[0].get_xdata()) == 6
    figure.savefig(tmp_path / "watch.png", dpi=30)
    assert len(Watch(network(), sgd(network())).figure().axes) == 6  # nothing was seen yet


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "`budget` must be a share above 0; got 0.0. Leave it out"),
        ({"every": 0}, "`every` must be at least 1; got 0. Leave it out"),
        ({"optimizer": None}, "`model` and `optimizer` must be given together; got one. Give both"),
        ({"model": [nn.Linear(1, 1)]}, r"several ones, as in a GAN, nn.ModuleList"),
        ({"model": 3}, "`model` must be a torch.nn.Module; got 3. Give the network"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str) -> None:
    model = network()
    with pytest.raises(UsageError, match=message):
        fitwell.watch(**({"model": model, "optimizer": sgd(model)} | options))


def test_a_loss_of_many_numbers_and_a_missing_model_are_told() -> None:
    model = network()
    with Watch(model, sgd(model)) as watch:
        with pytest.raises(
            UsageError, match=r"`loss` must be one number; got \(3,\). Give its mean"
        ):
            watch.step(torch.zeros(3))
    with pytest.raises(UsageError, match="`model` must be known before the first step"):
        Watch().step(1.0)


class Odd(nn.Module):
    """Has parameters that are not there before the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_seen_is_noted_and_ends_nothing() -> None:
    model = Odd()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(model, optimizer, every=3) as watch:
        loop(model, optimizer, watch, 8)
    assert watch.notes[0].startswith("a look was not possible: ")
    assert watch.record()["looks"]["step"] == [4, 7]
    with Watch(model, optimizer) as watch:
        loss = torch.tensor(math.nan)
        watch.step(loss, (torch.zeros(0, dtype=torch.long), "no tensor"))
    assert any("was not seen" in note for note in watch.notes)
