"""`fitwell train` with the methods that its options name: each does what it says, and resumes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fitwell
from fitwell.cli import main
from fitwell.core.errors import RunError, TrainingError, UnknownName, UsageError
from fitwell.nn import MLP
from fitwell.optim import SAM, AdamW, Lookahead
from fitwell.tasks import make_optimizer, optimizer_spec, rate_of
from fitwell.train import MetricsLog, Run, Trainer

from .runs import curve, manifest, quick, weights

CNN: dict[str, Any] = {"model": "CNN(widths=(8, 16))", "epochs": 4, "batch_size": 128}
METHODS: dict[str, dict[str, Any]] = {
    "SAM": {"optimizer": "SAM(optimizer=SGD(lr=0.1), rho=0.02)", "grad_clip_norm": 1.0},
    "Lookahead": {"optimizer": "Lookahead(optimizer=AdamW(lr=0.01), k=3)", "accumulate": 2},
    "AdaBound": {"optimizer": "AdaBound(lr=0.01)", "schedule": "Plateau(patience=0, factor=0.5)"},
    "SWA": {"augment": "Crop(padding=1), Mixup(alpha=0.4)", "average": "SWA(start=0.4)"},
    "CutMix": {"augment": "CutMix()", "loss": "Focal(gamma=1)", "penalty": "L1(0.0001)"},
    "unfreezing": {"unfreeze_every": 1, "layer_decay": 0.5},
}


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = MetricsLog.on_step

    def on_step(self: MetricsLog, trainer: Trainer) -> None:
        plain(self, trainer)
        if trainer.step == step:
            trainer.stop("the test stops it")

    monkeypatch.setattr(MetricsLog, "on_step", on_step)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CNN | METHODS[name]
    whole = quick("digits", run=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stop_at(whole.result["steps"] * 5 // 8, patch)
        parts = quick("digits", run=tmp_path / "parts", **options)
    assert parts.status == "stopped"
    resumed = fitwell.resume(tmp_path / "parts", report=False, quiet=True)
    assert resumed.status == "finished"
    assert curve(resumed) == curve(whole)
    assert weights(resumed) == weights(whole)
    assert whole.result["train"]["loss"] < math.log(10)  # what knowing nothing costs


def test_the_printed_form_of_every_method_is_its_setting(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", **CNN | METHODS["Lookahead"] | {"epochs": 1})
    chosen = manifest(run)["settings"]["optimization"]
    assert chosen["optimizer"] == "Lookahead(optimizer=AdamW(lr=0.01), k=3)"


def test_the_rate_is_that_of_the_innermost_optimizer() -> None:
    text = "lookahead(SAM(optimizer=adamw), k=2)"
    assert rate_of(text) == 1e-3
    spec = optimizer_spec(text, 0.02)
    assert str(spec) == "Lookahead(optimizer=SAM(optimizer=AdamW(lr=0.02)), k=2)"
    assert rate_of(spec) == 0.02
    optimizer = make_optimizer(spec, MLP(4, 2))
    assert isinstance(optimizer, Lookahead)
    assert isinstance(optimizer.optimizer, SAM)
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.02]
    with pytest.raises(UsageError, match=r"`optimizer` of SAM must be an optimizer; got 3"):
        optimizer_spec("SAM(optimizer=3)")
    with pytest.raises(UnknownName, match=r"no optimizer named 'Adamm'; nearest: 'Adam'"):
        optimizer_spec("SAM(optimizer=Adamm())")


def test_rates_by_layer_and_decay_by_shape_go_together() -> None:
    model = MLP(4, 2, hidden=(3,))
    groups = make_optimizer("AdamW(lr=0.1, weight_decay=0.3)", model, 0.5).param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [
        *((0.05, 0.3), (0.05, 0.0)),
        *((0.1, 0.3), (0.1, 0.0)),
    ]


def test_the_rate_is_scaled_by_the_batches_of_all_processes(tmp_path: Path) -> None:
    options = {"lr": 0.1, "lr_for_batch": 64, "batch_size": 128, "accumulate": 2, "epochs": 1}
    run = quick("digits", run=tmp_path / "run", optimizer="SGD()", **options)
    assert manifest(run)["settings"]["optimization"]["optimizer"] == "SGD(lr=0.4)"
    with pytest.raises(UsageError, match="`lr_for_batch` must be left out with lr='auto'; got 64"):
        quick("digits", run=tmp_path / "other", **options | {"lr": "auto"})


def test_auto_takes_a_rate_at_which_the_loss_falls(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", lr="auto", optimizer="SGD()", epochs=3)
    found = manifest(run)["measured"]["lr"]
    rate = rate_of(run.settings.optimization.optimizer)
    low, high = found["range"]
    assert low <= rate <= high
    assert run.result["valid"]["accuracy"] > 0.8
    again = quick(None, like=run.folder, run=tmp_path / "again", epochs=3)
    assert weights(again) == weights(run)  # the rate is measured once


def test_a_student_learns_from_a_teacher(tmp_path: Path) -> None:
    teacher = quick("digits", run=tmp_path / "teacher", epochs=10, model="MLP(hidden=(64,))")
    options: dict[str, Any] = {"teacher": tmp_path / "teacher", "split_seed": 0}
    student = quick("digits", run=tmp_path / "student", distill="Distillation(share=1)", **options)
    plain = quick("digits", run=tmp_path / "plain")
    x = torch.from_numpy(_digits())
    apart = [
        nn.functional.kl_div(
            torch.as_tensor(run.predict(x).probs).log(),
            torch.as_tensor(teacher.predict(x).probs),
            reduction="batchmean",
        ).item()
        for run in (student, plain)
    ]
    assert apart[0] < apart[1]
    with pytest.raises(UsageError, match="`teacher` must name a finished run"):
        quick("digits", run=tmp_path / "no", distill="Distillation()")
    with pytest.raises(UsageError, match="`teacher` must have learned the same task"):
        quick("wine", run=tmp_path / "no", teacher=tmp_path / "teacher")
    assert not (tmp_path / "no").exists()


def _digits() -> Any:
    from sklearn.datasets import load_digits

    return (load_digits().images[:64, None] * 255 / 16).astype("uint8")


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path, capsys: Any) -> None:
    first = quick("digits", run=tmp_path / "first", epochs=6)
    options: dict[str, Any] = {"weights": tmp_path / "first", "max_steps": 1, "lr": 0.0}
    second = quick("digits", run=tmp_path / "second", **options)
    assert second.result["test"] == first.result["test"]
    frozen = quick(
        "digits",
        run=tmp_path / "frozen",
        weights=tmp_path / "first",
        freeze=["body.layers.0"],
        lr=0.1,
    )
    before, after = first.load_model(), frozen.load_model()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert "body.layers.0.weight" in same
    assert "body.layers.3.weight" not in same
    capsys.readouterr()
    loud = quick("wine", run=tmp_path / "wine", weights=tmp_path / "first", quiet=False, epochs=1)
    assert "left out" in capsys.readouterr().err
    assert loud.status == "finished"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "Adamm()"}, "no optimizer named 'Adamm'; nearest: 'Adam'"),
        ({"optimizer": "AdaBound(gama=1)"}, "no argument named 'gama'; nearest: 'gamma'"),
        ({"schedule": "WarmUp(then=Cosin())"}, "no schedule named 'Cosin'; nearest: 'Cosine'"),
        ({"average": "SVA()"}, "no average of weights named 'SVA'; nearest: 'SWA'"),
        ({"penalty": "L3(1)"}, "no penalty named 'L3'; nearest: 'L2', 'L1'"),
        ({"augment": "Flip()"}, "Flip"),
        ({"augment": "Mixup(), Crop()"}, "Mixup"),
        ({"freeze": ["body.layer"]}, "no parameter or module named 'body.layer'"),
        ({"weights": "nowhere"}, "nowhere"),
        ({"schedule": "Plateau(metric='acuracy')"}, "`metric` must be one of .* got 'acuracy'"),
        ({"augment": "Crop(padding=8)"}, "Crop `padding` must be below the side of the pictures"),
        ({"augment": "Cutout(size=20)"}, "Cutout `size` must be below the side of the pictures"),
        ({"lr_for_batch": 0}, "`lr_for_batch` must be at least 1; got 0"),
        ({"unfreeze_every": 0}, "`every` must be at least 1; got 0"),
        ({"layer_decay": 2.0}, "`decay` must be above 0 and at most 1; got 2.0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_does_not_work_is_said_before_a_folder_is_made(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, UnknownName, RunError), match=message):
        quick("digits", run=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_plausible_images_by_default_and_on_demand(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", augment="auto", epochs=1)
    chosen = manifest(run)["settings"]["optimization"]["augment"]
    assert chosen not in ("auto", "none")
    assert "Flip" not in chosen
    quick("digits", run=tmp_path / "flipped", augment="Flip(anyway=True)", epochs=1)


def test_the_command_line_takes_methods_as_they_are_printed(tmp_path: Path, capsys: Any) -> None:
    words = ["train", "digits", "--run", str(tmp_path / "run"), "--model", "MLP(hidden=(16,))"]
    words += [
        "--optimizer",
        "Lookahead(optimizer=Lion(lr=3e-4))",
        "--schedule",
        "Noam(warmup_steps=20)",
    ]
    words += ["--augment", "Crop(padding=1), Mixup()", "--average", "EMA(decay=0.9)"]
    words += ["--epochs", "1", "--no-report", "--quiet", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 1
    assert Run.open(tmp_path / "run").settings.optimization.average == "EMA(decay=0.9)"


def test_wrapped_decay_acts_on_matrices_alone() -> None:
    inner = make_optimizer("Lookahead(optimizer=AdamW(weight_decay=0.1))", MLP(4, 2))
    assert [group["weight_decay"] for group in inner.param_groups] == [0.1, 0.0]
    assert isinstance(inner.optimizer, AdamW)  # type: ignore[attr-defined]


def test_runs_too_short_for_what_was_asked_are_told(tmp_path: Path, capsys: Any) -> None:
    options: dict[str, Any] = {"quiet": False, "epochs": 1}
    text = "WarmUp(steps=500, then=Plateau())"
    quick("digits", run=tmp_path / "one", schedule=text, **options)
    assert "the warm-up takes 500 steps and the run has 20" in capsys.readouterr().err
    quick("digits", run=tmp_path / "two", average="EMA(decay=0.999)", **options)
    assert "EMA(decay=0.999) spans 1000 steps and the run has 20" in capsys.readouterr().err
    kept = {"average": "EMA(warmup=True)", "schedule": "WarmUp(steps=0.1)"}
    quick("digits", run=tmp_path / "three", **kept, **options)
    assert "the run has" not in capsys.readouterr().err


def test_a_loss_that_breaks_names_the_rate_of_its_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) at step \d+ \(lr=\de\+\d"):
        quick("digits", run=tmp_path / "run", lr=1e6, optimizer="AdamW()", epochs=1)


def test_views_are_as_plausible_as_training(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match="Flip must keep the meaning of digits"):
        fitwell.evaluate(run, views=2, augment="Flip()")
    assert fitwell.evaluate(run, views=2, augment="auto")
