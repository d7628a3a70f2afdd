"""What cannot be trained is refused in one sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fitwell
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.train import Run

from .runs import QUICK, call, houses, quick


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "MPL()"}, "no model named 'MPL'; nearest: 'MLP'"),
        ({"model": "MLP(hiden=(3,))"}, "no argument named 'hiden'; nearest: 'hidden'"),
        ({"optimizer": "AdamV(lr=1)"}, "no optimizer named 'AdamV'; nearest: .*'Adam'"),
        ({"optimizer": "AdamW(rl=1)"}, "no argument named 'rl'"),
        ({"schedule": "Cosin()"}, "no schedule named 'Cosin'; nearest: 'Cosine'"),
        ({"augment": "Flop()"}, "no augmentation named 'Flop'; nearest: 'Flip'"),
        ({"loss": "CrossEntrpy()"}, "no loss named 'CrossEntrpy'; nearest: 'CrossEntropy'"),
        ({"metric": "acuracy"}, "no metric named 'acuracy'; nearest: .*'accuracy'"),
    ],
)
def test_an_unknown_name_lists_the_nearest(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownName, match=message):
        quick("digits", run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "no data set, folder or file named 'digit'; nearest: 'digits'"),
        ("imagse", "no data set, folder or file named 'imagse'; nearest: 'images'"),
    ],
)
def test_an_unknown_source_lists_the_nearest(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=message):
        quick(source, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1; got 0"),
        ({"max_steps": -2}, "`max_steps` must be at least 1; got -2"),
        ({"max_minutes": 0.0}, "`minutes` must be positive; got 0.0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
        ({"accumulate": 0}, "`accumulate` must be at least 1; got 0"),
        ({"patience": 0}, "`patience` must be at least 1; got 0"),
        ({"grad_clip_norm": -1.0}, "`grad_clip_norm` must be positive; got -1.0"),
        ({"average": "EMA(decay=1.5)"}, "`decay` must lie between 0 and 1; got 1.5"),
        ({"precision": "fp16"}, "must be float32 or bf16 on a CPU"),
        ({"log_every": 0}, "`log_every` must be at least 1; got 0"),
        ({"checkpoint_seconds": -1.0}, "`checkpoint_seconds` must not be negative; got -1.0"),
        ({"keep_best": -1}, "Retention: values must not be negative"),
        ({"device": "gpu"}, "`device` must be one that torch can use here; got 'gpu'"),
        ({"valid": 1.5}, "1.5"),
        ({"optimizer": "AdamW(lr=-1)"}, "Invalid learning rate: -1"),
        ({"loss": "MSE()"}, r"MSE: `outputs` must have the shape of `targets`"),
        ({"target": "label"}, "`target` must be left out for 'digits'"),
        ({"image_size": 16}, "`image_size` must be left out for 'digits'"),
        ({"model": nn.Linear(3, 2)}, "`model` and `loss` must fit the data"),
        ({"model": nn.Flatten()}, "`model` must have parameters to train; got none"),
        ({"model": lambda: 3}, "`model` must give a torch.nn.Module; got int"),
    ],
)
def test_a_setting_that_does_not_fit_leaves_nothing_behind(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        quick("digits", run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`target` must name the column to predict. Add --target COLUMN"),
        ({"target": "prize"}, "prize.*price"),
        ({"target": "price", "image_size": 8}, "`image_size` must be left out for 'table'"),
        ({"target": "price", "channels": "rgb"}, "`channels` must be left out for 'table'"),
        ({"target": "price", "augment": "Flip()"}, "`augment` must be left out for inputs"),
        (
            {"target": "price", "model": "CNN()"},
            r"`model` must fit inputs of shape \(9,\); got CNN\(\), which is for images",
        ),
        ({"target": "price", "loss": "CrossEntropy()"}, "one logit per class"),
        ({"target": "price", "metric": "accuracy"}, "no metric named 'accuracy'"),
        ({"target": "price", "split": "grouped"}, "split_by"),
    ],
)
def test_what_does_not_fit_a_table_leaves_nothing_behind(
    settings: dict[str, Any], message: str, tmp_path: Path, house_file: Path
) -> None:
    with pytest.raises((ValueError, LookupError), match=message):
        quick("table", house_file, run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "`source` must name what to learn from"),
        (("table",), "`path` must follow 'table'"),
        (("no/such.csv",), "target"),
        (("no/such",), "which is not there"),
        (("tables", "x.csv"), "no kind of data named 'tables'; nearest: 'table'"),
        ((3,), "must be the name of a data set, a path, Splits, a pair of arrays"),
    ],
)
def test_a_source_that_is_not_one_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((ValueError, LookupError), match=message):
        fitwell.train(*arguments, **QUICK)


def test_a_folder_that_holds_something_is_not_overwritten(digits: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must be new or empty for a new run\. Go on with it by"):
        quick("digits", run=digits.folder)
    assert digits.status == "finished"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="must be new or empty"):
        quick("digits", run=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_like_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run; it has no run\.json"):
        fitwell.train(like=tmp_path)


def test_like_a_run_on_data_in_memory_needs_the_data(tmp_path: Path) -> None:
    data = (torch.randn(60, 2), torch.arange(60) % 2)
    run = quick(data, run=tmp_path / "run")
    with pytest.raises(UsageError, match="`source` must be given; the run was trained on data in"):
        fitwell.train(like=run.folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits", "--model", "MPL()"), "no model named 'MPL'; nearest: 'MLP'"),
        (("digits", "--epochs", "0"), "`epochs` must be at least 1; got 0"),
        (("digits", "--lr", "fast"), "lr"),
        (("table", "none.csv", "--target", "y"), "none.csv"),
    ],
)
def test_the_command_line_ends_with_2_and_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: Any
) -> None:
    code, result, err = call(capsys, "train", *words, "--run", tmp_path / "run", "--quiet")
    assert code == 2
    assert message in result["error"]["message"]
    assert err.strip().count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_a_bad_row_is_named_before_a_folder_is_made(tmp_path: Path, capsys: Any) -> None:
    path = houses(tmp_path / "houses.csv")
    lines = path.read_text().splitlines()
    lines[8] = ",".join([*lines[8].split(",")[:2], "many", *lines[8].split(",")[3:]])
    path.write_text("\n".join(lines) + "\n")
    words = ("train", "table", path, "--target", "price", "--run", tmp_path / "run")
    code, _, err = call(capsys, *words)
    assert code == 2
    assert "row 9" in err or "line 9" in err
    assert "many" in err
    assert not (tmp_path / "run").exists()
