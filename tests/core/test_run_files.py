"""Run folders read as plain files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import RunError
from fitwell.core.runs import find_runs, methods_used, read_run


def make_run(folder: Path, run: Any, *, result: Any = None, metrics: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "metrics.jsonl").write_text(metrics, encoding="utf-8")
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


EPOCHS = (
    '{"kind": "step", "step": 1, "epoch": 0, "loss": 2}\n'
    '{"kind": "epoch", "epoch": 0, "valid": {"loss": 1.5, "accuracy": 0.4}}\n'
    '{"kind": "epoch", "epoch": 1, "valid": {"loss": 1.2, "accuracy": 0.6}}\n'
    '{"kind": "epoch", "epo'
)


def test_a_run_that_was_killed_shows_its_finished_epochs(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", {"settings": {"model": {"spec": "CNN()"}}}, metrics=EPOCHS)
    run = read_run(folder)
    assert (run.model, run.epochs_done, run.main_metric) == ("CNN()", 2, ("accuracy", 0.6))


def test_the_result_goes_before_the_last_epoch(tmp_path: Path) -> None:
    result = {"epochs": 7, "valid": {"loss": 0.3, "mse": 0.2}}
    run = read_run(make_run(tmp_path / "a", {}, result=result, metrics=EPOCHS))
    assert (run.model, run.epochs_done, run.main_metric) == (None, 7, ("mse", 0.2))


def test_a_run_without_epochs_has_no_metric(tmp_path: Path) -> None:
    assert read_run(make_run(tmp_path / "a", {"settings": None})).main_metric is None


def test_runs_are_found_newest_first_and_not_inside_runs(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old", {})
    new = make_run(tmp_path / "group" / "new", {})
    make_run(new / "inner", {})
    (tmp_path / "no_run").mkdir()
    os.utime(old / "run.json", (1, 1))
    assert find_runs(tmp_path) == (new, old)
    assert find_runs(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("[]", "must hold a JSON object")]
)
def test_a_damaged_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = make_run(tmp_path / "a", {})
    (folder / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=message):
        read_run(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^show: `run` must be a run folder; got .*no run\.json"):
        read_run(tmp_path, owner="show")


def test_methods_are_found_in_settings_and_within_specs() -> None:
    settings = {
        "model": {"spec": "CNN(widths=(8, 16))", "own": False},
        "optimization": {
            "optimizer": "AdamW(lr=1e-3)",
            "schedule": "WarmUp(Cosine(), steps=5)",
            "augment": "[Flip(), Crop(padding=4)]",
            "epochs": 3,
            "device": "cpu",
        },
        "loss": {"path": "my photos/(1", "source": "digits"},
    }
    assert list(methods_used(settings)) == [
        ("spec", "CNN"),
        ("optimizer", "AdamW"),
        ("schedule", "WarmUp"),
        ("schedule", "Cosine"),
        ("augment", "Flip"),
        ("augment", "Crop"),
        ("device", "cpu"),
        ("source", "digits"),
    ]
