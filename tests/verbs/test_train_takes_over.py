"""What `train` takes over from another run, or goes on with, when methods were chosen for it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fitwell
from fitwell.core.errors import UsageError
from fitwell.nn import MLP
from fitwell.optim import SAM, AdamW, Prepared, follow, schedule, watching
from fitwell.tasks import make_optimizer, optimizer_spec, rate_of
from fitwell.train import freeze

from .runs import curve, manifest, quick, weights


def chosen(run: Any, name: str) -> Any:
    return manifest(run)["settings"]["optimization"][name]


def rates(run: Any) -> list[float]:
    return [line["lr"] for line in curve(run) if line["kind"] == "epoch"]


def test_plateau_watches_the_metric_of_the_run_and_more_of_it_is_better(tmp_path: Path) -> None:
    options = {"epochs": 4, "optimizer": "SGD(lr=0.02)"}
    text = "Plateau(patience=0, factor=0.5)"
    run = quick("digits", run=tmp_path / "run", schedule=text, **options)
    accuracy = [line["valid"]["accuracy"] for line in curve(run) if line["kind"] == "epoch"]
    assert accuracy == sorted(set(accuracy))  # it rose each time, so the rate must stay
    assert rates(run) == [0.02] * 4


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("Plateau(patience=0, factor=0.5)", 0.25),  # the loss, which rises
        ("Plateau(patience=0, factor=0.5, metric='accuracy')", 1.0),  # it rises too, which is good
        ("Plateau(patience=0, factor=0.5, metric='accuracy', mode='min')", 0.25),
    ],
)
def test_whether_more_is_better_goes_by_the_name_of_the_metric(text: str, factor: float) -> None:
    epochs = [{"valid": {"loss": k, "accuracy": k / 10}} for k in (1.0, 2.0, 3.0)]
    assert follow(schedule(text), epochs)(0, 10) == factor
    late = watching(schedule(f"WarmUp(steps=1, then={text})"), "accuracy", "max")
    expected = factor if "metric" in text else 1.0
    assert follow(late, epochs)(5, 10) == expected


def test_a_measured_rate_is_that_of_the_last_layer(tmp_path: Path) -> None:
    options = {"lr": "auto", "optimizer": "SGD()", "max_steps": 1, "model": "MLP(hidden=(16, 16))"}
    plain = quick("digits", run=tmp_path / "plain", **options)
    decayed = quick("digits", run=tmp_path / "decayed", layer_decay=0.1, **options)
    one, other = (rate_of(chosen(run, "optimizer")) for run in (plain, decayed))
    assert other > one / 3  # not a hundredth of it, which the first layer has


def test_a_run_like_another_starts_where_that_one_did(tmp_path: Path) -> None:
    first = quick("digits", run=tmp_path / "first")
    options: dict[str, Any] = {"weights": tmp_path / "first", "freeze": ["body.layers.0"]}
    second = quick("digits", run=tmp_path / "second", **options)
    like = fitwell.train(like=tmp_path / "second", run=tmp_path / "like", report=False, quiet=True)
    assert weights(like) == weights(second)
    before, after = first.load_model(), like.load_model()
    assert torch.equal(before["body.layers.0.weight"], after["body.layers.0.weight"])
    other = quick(None, like=tmp_path / "second", run=tmp_path / "other", model="MLP(hidden=(8,))")
    assert manifest(other)["settings"]["model"]["freeze"] == []
    again = quick("digits", run=tmp_path / "second", resume=True)
    assert again.status == "finished"


def test_a_scaled_rate_is_not_scaled_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lr_for_batch": 32, "optimizer": "SGD(lr=0.1)", "epochs": 1}
    run = quick("digits", run=tmp_path / "run", **options)
    assert chosen(run, "optimizer") == "SGD(lr=0.2)"
    again = quick("digits", run=tmp_path / "run", resume=True, **options)
    assert chosen(again, "optimizer") == "SGD(lr=0.2)"
    like = quick(None, like=tmp_path / "run", run=tmp_path / "like", lr_for_batch=32)
    assert chosen(like, "optimizer") == "SGD(lr=0.2)"


def test_images_outside_of_0_to_1_are_not_recolored(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype(np.float32)
    data = (x, np.arange(40) % 2)
    with pytest.raises(UsageError, match=r"`augment` Noise needs images in \[0, 1\]; got values"):
        quick(data, run=tmp_path / "run", augment="Crop(padding=1), Noise()")
    moved = quick(data, run=tmp_path / "run", augment="Crop(padding=1)", model="CNN(widths=(4,))")
    assert moved.status == "finished"


def test_an_average_keeps_the_statistics_that_its_members_froze(tmp_path: Path) -> None:
    model = "MLP(hidden=(16,), norm='batch')"
    quick("digits", run=tmp_path / "first", model=model)
    for seed in (1, 2):
        quick(
            "digits",
            run=tmp_path / f"{seed}",
            model=model,
            weights=tmp_path / "first",
            freeze=["body.layers.0", "body.layers.1"],
            seed=seed,
        )
    mean = fitwell.average(tmp_path / "1", tmp_path / "2", output=tmp_path / "mean")
    states = [fitwell.open_run(tmp_path / name).load_model() for name in ("first", "mean")]
    names = [name for name in states[0] if "running" in name]
    assert names
    assert all(torch.equal(states[0][name], states[1][name]) for name in names), mean


def test_a_run_of_the_time_before_other_averages_goes_on(tmp_path: Path) -> None:
    options = {"average": "EMA(decay=0.9)", "checkpoint_seconds": 0}
    whole = quick("digits", run=tmp_path / "whole", epochs=3, **options)
    parts = quick("digits", run=tmp_path / "parts", epochs=3, max_minutes=1e-9, **options)
    assert parts.status == "stopped"
    stored = manifest(parts)
    del stored["settings"]["optimization"]["average"]
    stored["settings"]["optimization"]["ema_decay"] = 0.9
    parts.manifest.clear()
    parts.manifest.update(stored)
    parts.update()
    newest = parts.checkpoints().newest()
    place = tmp_path / "parts" / "checkpoints" / f"step-{newest:09d}" / "state.pt"
    state = torch.load(place, weights_only=True)
    state["present"] = ["ema" if name == "average" else name for name in state["present"]]
    torch.save(state, place)
    resumed = fitwell.resume(tmp_path / "parts", report=False, quiet=True)
    assert weights(resumed) == weights(whole)


def test_arguments_may_be_given_by_place() -> None:
    assert str(optimizer_spec("SAM(AdamW(0.01), 0.1)")) == "SAM(optimizer=AdamW(lr=0.01), rho=0.1)"
    prepared = make_optimizer("Prepared(AdamW(), [Centralize()])", MLP(4, 2))
    assert isinstance(prepared, Prepared)
    assert isinstance(make_optimizer("SAM()", MLP(4, 2)), SAM)
    with pytest.raises(UsageError, match="`optimizer` SGD must have at most"):
        optimizer_spec("SGD(1, 2, 3, 4, 5, 6, 7, 8, 9)")
    with pytest.raises(UsageError, match=r"`layer_decay` must be left out with Muon; got 0\.5"):
        make_optimizer("Muon()", MLP(4, 2), 0.5)
    assert isinstance(make_optimizer("AdamW(0.01)", MLP(4, 2)), AdamW)


def test_a_model_with_frozen_statistics_is_copied_and_pickled() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    freeze(model, ["0", "1"])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.train()
        assert not other[1].training
        assert model[1].train.args[0] is model[1]  # type: ignore[union-attr]
        assert other[1].train.args[0] is other[1]


def test_numbers_have_no_teacher(tmp_path: Path) -> None:
    quick("diabetes", run=tmp_path / "first", epochs=1)
    with pytest.raises(UsageError, match="`teacher` must be left out for numbers"):
        quick("diabetes", run=tmp_path / "second", teacher=tmp_path / "first")
