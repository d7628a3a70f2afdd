"""Freezing, gradual unfreezing, and starting from weights that are there."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.nn import CNN, Normalize, Unscale
from fitwell.optim import SGD, AdamW, layer_groups
from fitwell.train import (
    StartWeights,
    Trainer,
    Unfreezing,
    freeze,
    load_start_weights,
    save_weights,
)
from fitwell.train._weights._freezing import layers_of

from .problems import batches, network, objective, same_weights, weights_of


def deeper(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 3)
    )


def fit(model: nn.Module, *observers: object, epochs: int = 2, **options: Any) -> Trainer:
    optimizer = SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, objective(), optimizer, observers=observers, **options)
    trainer.fit(batches(), epochs=epochs)
    return trainer


def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns() -> None:
    model = network(dropout=0.1)
    assert freeze(model, ["0", "1.*"]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    before = weights_of(model)
    fit(model)
    after = weights_of(model)
    same = {name for name in before if torch.equal(before[name], after[name])}
    buffers = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert same == {"0.weight", "0.bias", "1.weight", "1.bias"} | buffers
    assert model[3].training  # dropout still drops


def test_frozen_gradients_are_those_of_a_model_without_the_rest() -> None:
    whole = network()
    head = copy.deepcopy(whole[4])
    freeze(whole, ["[01].*"])
    whole.train()
    batch = next(iter(batches()))
    objective()(whole, batch)[0].backward()
    whole[1].eval()
    with torch.no_grad():
        features = whole[:4](batch.inputs)
    objective()(head, (features, batch.targets))[0].backward()
    assert torch.equal(whole[4].weight.grad, head.weight.grad)
    assert whole[0].weight.grad is None


def test_a_batch_norm_that_learns_in_part_keeps_measuring() -> None:
    model = network()
    freeze(model, ["0", "1.bias"])
    model.train()
    assert model[1].training
    freeze(model, ["1.weight"])  # with the bias of before, all of it
    model.train()
    assert not model[1].training
    assert not copy.deepcopy(model).train()[1].training  # a copy keeps it


def test_without_patterns_nothing_is_frozen() -> None:
    frozen, plain = network(), network()
    assert freeze(frozen, []) == []
    fit(frozen)
    fit(plain)
    assert same_weights(weights_of(frozen), weights_of(plain))


def test_a_pattern_without_parameters_names_the_nearest() -> None:
    model = CNN(3, 10)
    with pytest.raises(UnknownName, match="no parameter or module named 'featurs'; nearest: 'fea"):
        freeze(model, ["head.*", "featurs"])
    assert all(parameter.requires_grad for parameter in model.parameters())  # nothing was done


def test_something_must_be_left_to_learn() -> None:
    model = network()
    with pytest.raises(UsageError, match=r"`patterns` must leave a parameter to learn; got \['\*'"):
        freeze(model, ["*"])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_layers_are_those_that_have_rates_of_their_own() -> None:
    shared = nn.Linear(4, 4)
    tied = nn.Sequential(nn.LayerNorm(4), shared, nn.GroupNorm(2, 4), shared, nn.Linear(4, 1))
    for model in (deeper(), CNN(3, 10), tied):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        by_rate: dict[float, list[str]] = {}
        for group in layer_groups(model, lr=1.0, decay=0.5):
            by_rate.setdefault(group["lr"], []).extend(names[id(p)] for p in group["params"])
        assert [sorted(layer) for layer in layers_of(model)] == [
            sorted(by_rate[rate]) for rate in sorted(by_rate)
        ]


@pytest.mark.parametrize(
    ("every", "order", "expected"),
    [
        (1, "last_first", [["4"], ["3", "4"], ["0", "1", "3", "4"], ["0", "1", "3", "4"]]),
        (2, "last_first", [["4"], ["4"], ["3", "4"], ["3", "4"]]),
        (
            1,
            "first_first",
            [["0", "1"], ["0", "1", "3"], ["0", "1", "3", "4"], ["0", "1", "3", "4"]],
        ),
    ],
)
def test_one_more_layer_learns_every_few_epochs(
    every: int, order: Any, expected: list[list[str]]
) -> None:
    model = deeper()
    changed: list[list[str]] = []

    class Watch:
        def on_fit_start(self, trainer: Trainer) -> None:
            self.before = weights_of(model)

        def on_epoch(self, trainer: Trainer) -> None:
            after = weights_of(model)
            moved = {name[0] for name in after if not torch.equal(after[name], self.before[name])}
            changed.append(sorted(moved))
            self.before = after

    optimizer = AdamW(layer_groups(model, lr=0.01, decay=0.5))
    unfreezing = Unfreezing(every=every, order=order)
    Trainer(model, objective(), optimizer, observers=[Watch(), unfreezing]).fit(batches(), epochs=4)
    assert changed == expected
    assert repr(unfreezing) == f"Unfreezing(every={every}, order={order!r})"


def test_once_all_learn_it_is_plain_training() -> None:
    late, plain = deeper(), deeper()
    trainer = Trainer(late, objective(), SGD(late.parameters(), lr=0.1), observers=[Unfreezing()])
    trainer.epoch = 2
    trainer.fit(batches(), epochs=2)
    fit(plain)
    assert same_weights(weights_of(late), weights_of(plain))


@pytest.mark.parametrize("step", [4, 6])  # at the end of an epoch, and within one
def test_unfreezing_goes_on_to_the_bit(step: int) -> None:
    def trainer(model: nn.Module, *more: object) -> Trainer:
        optimizer = AdamW(layer_groups(model, lr=0.01, decay=0.5))
        return Trainer(model, objective(), optimizer, observers=[Unfreezing(), *more])

    whole = deeper()
    saved: list[dict[str, Any]] = []

    class Save:
        def on_step(self, trainer: Trainer) -> None:
            if trainer.step == step and trainer.step % 4:
                saved.append(copy.deepcopy(trainer.state_dict()))

        def on_epoch(self, trainer: Trainer) -> None:
            if trainer.step == step:
                saved.append(copy.deepcopy(trainer.state_dict()))

    trainer(whole, Save()).fit(batches(), epochs=4)
    rest, data = trainer(deeper(5)), batches()
    rest.load_state_dict(saved[0], data)
    rest.fit(data, epochs=4)
    assert same_weights(weights_of(whole), weights_of(rest.model))


def test_what_was_frozen_before_stays_frozen() -> None:
    model = deeper()
    freeze(model, ["3"])
    before = weights_of(model)
    fit(model, Unfreezing(), epochs=3)
    assert torch.equal(model[3].weight, before["3.weight"])
    assert not torch.equal(model[0].weight, before["0.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unfreezing(0), "`every` must be at least 1; got 0"),
        (lambda: Unfreezing(order="up"), "`order` must be 'last_first' or 'first_first'; got 'up'"),  # type: ignore[arg-type]
    ],
)
def test_values_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"Unfreezing: {message}"):
        make()


def test_unfreezing_needs_one_process_and_something_to_learn() -> None:
    trainer: Any = SimpleNamespace(model=deeper().requires_grad_(False), epoch=0, replicas=None)
    with pytest.raises(UsageError, match="`model` must have parameters that learn; all are frozen"):
        Unfreezing().on_fit_start(trainer)
    trainer = SimpleNamespace(model=deeper(), epoch=0, replicas=object())
    with pytest.raises(UsageError, match="`replicas` must be left out"):
        Unfreezing().on_fit_start(trainer)


def with_head(classes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    prepare = Normalize(mean=[float(seed)], std=[1.0 + seed])
    return nn.Sequential(dict_of(prepare=prepare, body=CNN(1, classes, widths=(4, 8), convs=1)))


def dict_of(**parts: nn.Module) -> Any:
    from collections import OrderedDict

    return OrderedDict(parts)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_model_of_the_same_shapes_becomes_the_same_function(suffix: str, tmp_path: Path) -> None:
    source, target = with_head(3, seed=1), with_head(3, seed=2)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": source.state_dict(), "epoch": 3}, path)
    else:
        save_weights(path, source.state_dict())
    found = load_start_weights(target, path)
    assert set(found.loaded) == source.state_dict().keys()
    assert found.left_out == {}
    assert str(found) == f"{len(found.loaded)} tensors from {path}"
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(source.eval()(x), target.eval()(x))


def test_a_head_for_other_classes_is_left_out_and_named(tmp_path: Path) -> None:
    source, target = with_head(3, seed=1), with_head(5, seed=2)
    head = target.body.head[-1].weight.clone()
    save_weights(tmp_path / "w.safetensors", source.state_dict())
    found = load_start_weights(target, tmp_path / "w.safetensors")
    assert dict(found.left_out) == {
        "body.head.3.weight": "(3, 8) in the weights, (5, 8) in the model",
        "body.head.3.bias": "(3,) in the weights, (5,) in the model",
    }
    assert torch.equal(target.body.head[-1].weight, head)
    x = torch.rand(2, 1, 8, 8)
    features = source.eval().body.features, target.eval().body.features
    assert torch.equal(*(f(m.prepare(x)) for f, m in zip(features, (source, target), strict=True)))
    assert "left out body.head.3.weight ((3, 8) in the weights" in str(found)


def test_what_the_user_names_is_left_out(tmp_path: Path) -> None:
    source, target = with_head(3, seed=1), with_head(3, seed=2)
    head = target.body.head[-1].weight.clone()
    save_weights(tmp_path / "w.safetensors", source.state_dict())
    found = load_start_weights(target, tmp_path / "w.safetensors", leave_out=["body.head"])
    assert found.left_out["body.head.3.weight"] == "as asked"
    assert torch.equal(target.body.head[-1].weight, head)


@pytest.mark.parametrize("form", ["bare", "averaged", "compiled", "of a run"])
def test_names_may_lack_or_have_what_wrappers_put_before_them(form: str, tmp_path: Path) -> None:
    source = CNN(1, 3, widths=(4, 8), convs=1)
    weights = dict(source.state_dict())
    target: nn.Module = with_head(3)
    if form == "averaged":
        weights = dict(AveragedModel(source).state_dict())
    elif form == "compiled":
        weights = {f"_orig_mod.{name}": value for name, value in weights.items()}
    elif form == "of a run":
        weights, target = dict(target.state_dict()), source
    before = weights_of(target)
    torch.save(weights, tmp_path / "w.pth")
    found = load_start_weights(target, tmp_path / "w.pth")
    assert not same_weights(weights_of(target), before)
    own = {name for name, _ in target.named_parameters()}
    assert own <= set(found.loaded)


def test_the_scaling_of_targets_stays_that_of_the_new_data(tmp_path: Path) -> None:
    def model(mean: float) -> nn.Sequential:
        return nn.Sequential(dict_of(body=nn.Linear(4, 1), scale=Unscale(mean=mean, std=2.0)))

    source, target = model(5.0), model(-1.0)
    save_weights(tmp_path / "w.safetensors", source.state_dict())
    found = load_start_weights(target, tmp_path / "w.safetensors")
    assert torch.equal(target.body.weight, source.body.weight)
    assert target.scale.mean.item() == -1.0
    assert set(found.left_out.values()) == {"the scaling of the targets is that of the new data"}


def test_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    torch.save({"prepare.mean": torch.zeros(1), "other": torch.zeros(3)}, tmp_path / "w.pt")
    target = with_head(3)
    before = weights_of(target)
    with pytest.raises(UsageError, match="`source` must hold weights of such a model; nothing in"):
        load_start_weights(target, tmp_path / "w.pt")
    assert same_weights(weights_of(target), before)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"weight": Evil()}, tmp_path / "w.pt")
    (tmp_path / "short.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:100])
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("w.pt", "short.pt"):
        with pytest.raises(RunError, match="is damaged, or holds code, which is never run"):
            load_start_weights(network(), tmp_path / name)
    with pytest.raises(RunError, match=r"list\.pt: holds no weights by name"):
        load_start_weights(network(), tmp_path / "list.pt")
    assert not (tmp_path / "touched").exists()


def test_a_file_or_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.pt: the file is missing"):
        load_start_weights(network(), tmp_path / "none.pt")
    with pytest.raises(RunError, match="holds no run with weights of the same names and shapes"):
        load_start_weights(network(), tmp_path)


def test_a_long_list_is_cut() -> None:
    names = {f"layer{number}": "not in the model" for number in range(9)}
    words = str(StartWeights(source="here", loaded=("a",), left_out=names))
    assert words.startswith("1 tensors from here; left out layer0 (not in the model), ")
    assert words.endswith("layer5 (not in the model) and 3 more")
