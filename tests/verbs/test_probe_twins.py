"""Twins of a run as it is: the run itself, whatever it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import fitwell
from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.doctor import Twin
from fitwell.train import Distillation, Member, Penalized, Run, Supervised, Trainer
from fitwell.verbs._probe import probe
from fitwell.verbs._probe._subject import Subject

from .runs import quick

PLAIN = "MLP(hidden=(8,))"
CONV = "CNN(widths=(4,), convs=1)"


class Own(nn.Module):
    """A model of the user's."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.layers(x))


def trained(member: Member) -> list[float]:
    """Loss of each epoch of a trainer in place of a population."""
    trainer = Trainer(
        member.model,
        member.objective,
        member.optimizer,
        schedule=member.schedule,
        grad_clip_norm=member.grad_clip_norm,
        precision=member.precision,
    )
    trainer.fit(member.train, member.valid, epochs=member.epochs)
    return [epoch["train"]["loss"] for epoch in trainer.history.epochs]


def said(run: Run) -> list[float]:
    return [line["train"]["loss"] for line in run.metrics() if line["kind"] == "epoch"]


def test_a_twin_as_it_is_is_the_run_itself(prices: Run) -> None:
    member = Subject.of(prices.folder, owner="test").build(Twin(), 0)
    assert trained(member) == pytest.approx(said(prices))


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "MLP(hidden=(8,), dropout=0.2)", "penalty": "L2(0.01)"},
        {"model": PLAIN, "accumulate": 2},  # but for rounding: gradients are summed in one pass
        {"model": "MLP(hidden=(8,), dropout=0.2)", "precision": "bf16"},
        {"model": "MLP(hidden=(8, 8))", "layer_decay": 0.5},
        {"model": "MLP(hidden=(8, 8))", "freeze": ["body.layers.0"]},
        {"model": CONV, "channels_last": True, "augment": "Crop(padding=1)"},
        {"model": Own},
        {"model": PLAIN, "optimizer": "Lookahead(optimizer=SGD(lr=0.1), k=3)"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_so_it_is_with_other_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", **settings)
    own = settings["model"] if settings["model"] is Own else None
    subject = Subject.of(run.folder, owner="test", model=own)
    assert trained(subject.build(Twin(), 0)) == pytest.approx(said(run), rel=1e-5)


def test_so_it_is_with_a_fold(tmp_path: Path) -> None:
    few: dict[str, Any] = {"model": PLAIN, "epochs": 2, "report": False, "quiet": True}
    made = fitwell.crossval("wine", folds=2, group=tmp_path / "folds", **few)
    run = made.group.members()[1]
    member = Subject.of(run.folder, owner="test").build(Twin(), 0)
    assert trained(member) == pytest.approx(said(run))


def test_a_step_of_a_twin_is_that_of_all_processes(digits: Run) -> None:
    settings = digits.settings.to_dict()
    settings["optimization"] |= {"workers": 2, "accumulate": 3, "epochs": None, "max_steps": 7}
    run = Run(digits.folder, {**digits.manifest, "settings": settings})
    subject = Subject.of(run, owner="test")
    member = subject.build(Twin(), 0)
    assert isinstance(member.train, Batches)
    assert member.train.batch_size == subject.step_size == 2 * 3 * 64
    assert member.steps_per_epoch == -(-len(subject.splits.train) // (2 * 3 * 64))
    assert any("takes its 384 examples in one pass" in note for note in subject.notes("capacity"))


def test_the_length_counts_steps_of_all_processes(digits: Run, tmp_path: Path) -> None:
    settings = digits.settings.to_dict()
    settings["optimization"] |= {"workers": 2, "epochs": None, "max_steps": 20}
    begun = Run.create(tmp_path / "run", {**digits.manifest, "settings": settings})
    subject = Subject.of(begun, owner="test")
    steps = -(-len(subject.splits.train) // 128)
    assert subject.epochs == -(-20 // steps)
    assert subject.epochs != -(-20 // (2 * steps))


def test_a_twin_does_without_the_scaling_of_half_precision(digits: Run) -> None:
    settings = digits.settings.to_dict()
    settings["optimization"] |= {"precision": "fp16"}
    subject = Subject.of(
        Run(digits.folder, {**digits.manifest, "settings": settings}), owner="test"
    )
    assert subject.build(Twin(), 0).precision == "float32"
    assert "twins train in float32; the run was trained in fp16" in subject.notes("capacity")


def test_layers_that_are_set_free_on_the_way_are_refused(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", model="MLP(hidden=(8, 8))", unfreeze_every=1)
    with pytest.raises(
        UsageError, match=r"^probe: `run` must learn with the same layers .*every=1"
    ):
        probe("learning_curve", run, quiet=True)


def test_the_loss_inside_of_a_penalty_and_a_teacher_is_changed(digits: Run, tmp_path: Path) -> None:
    kept = {"teacher": str(digits.folder), "penalty": "L2(0.01)", "average": "EMA(decay=0.9)"}
    run = quick("digits", run=tmp_path / "run", model=PLAIN, **kept)
    subject = Subject.of(run, owner="test")
    other = nn.CrossEntropyLoss(label_smoothing=0.1)
    twin = Twin(name="smooth", changes={"loss": lambda _: other})
    outer = subject.build(twin, 0).objective
    assert isinstance(outer, Penalized)
    assert isinstance(outer.objective, Distillation)
    assert isinstance(outer.objective.objective, Supervised)
    assert outer.objective.objective.loss is other
    notes = subject.notes("regularization")
    assert any("the penalty L2(0.01) is in all twins" in note for note in notes)
    assert any("learn from the teacher" in note for note in notes)
    assert any("the run kept EMA(decay=0.9)" in note for note in subject.notes("capacity"))


def test_what_twins_have_not_is_said(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", model=PLAIN, epochs=None, max_steps=3)
    found = probe("seed_spread", run, seeds=2, quiet=True)
    (one,) = found.findings
    assert len(one.notes) == 1
    assert "the run took 3 steps" in one.notes[0]
    assert f"note: {one.notes[0]}" in str(found)
    assert one.to_dict()["notes"] == list(one.notes)
    fitwell.report(run.folder)
    assert "the run took 3 steps." in (run.folder / "report.html").read_text(encoding="utf-8")
