"""`fitwell evaluate` measures what `train` measured, and new labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, mean_squared_error

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.train import Run

from .runs import call, copied, houses, manifest, quick, rows_of
from .test_train import KEYS


@pytest.mark.parametrize("name", ["digits", "prices", "kinds"])
def test_the_numbers_are_those_of_train_exactly(
    name: str, request: pytest.FixtureRequest, capsys: Any
) -> None:
    run: Run = request.getfixturevalue(name)
    code, result, _ = call(capsys, "evaluate", run.folder)
    assert code == 0
    assert result.keys() >= KEYS
    for part in ("train", "valid", "test"):
        assert result[part] == run.result[part]
    for key in ("run", "task", "model", "parameters", "epochs", "steps"):
        assert result[key] == run.result[key]
    assert result["counts"] == manifest(run)["data"]["counts"]


def test_the_batch_size_does_not_matter(digits: Run) -> None:
    results = [fitwell.evaluate(digits, batch_size=size).parts for size in (7, 1797)]
    for part in ("train", "valid", "test"):
        assert results[0][part]["accuracy"] == results[1][part]["accuracy"]
        # float32 means over batches of another size
        assert results[0][part]["loss"] == pytest.approx(results[1][part]["loss"], rel=1e-5)


def test_new_labelled_data_is_measured_like_scikit_learn(
    prices: Run, kinds: Run, tmp_path: Path
) -> None:
    fresh = houses(tmp_path / "fresh.csv", count=40, first=500)
    wanted = rows_of(fresh)[1:]
    measured = fitwell.evaluate(prices.folder, fresh).to_dict()
    assert measured["counts"] == {"data": 40}
    answers = prices.predict(fresh).values
    targets = [float(row[4]) for row in wanted]
    assert measured["data"]["mse"] == pytest.approx(mean_squared_error(targets, answers), rel=1e-6)

    measured = fitwell.evaluate(kinds.folder, fresh).to_dict()
    words = kinds.predict(fresh).words("names")
    assert measured["data"]["accuracy"] == accuracy_score([row[5] for row in wanted], words)
    assert "data     " in str(fitwell.evaluate(kinds.folder, fresh))


def test_the_device_may_be_found_out(digits: Run) -> None:
    assert fitwell.evaluate(digits, device="auto").parts == fitwell.evaluate(digits).parts
    with pytest.raises(UsageError, match="`device` must be one that torch can use here; got 'gpu'"):
        fitwell.evaluate(digits, device="gpu")


def test_data_without_targets_is_refused(prices: Run, tmp_path: Path) -> None:
    bare = houses(tmp_path / "bare.csv", without=("price",))
    with pytest.raises(UsageError, match=r"`data` must hold the targets 'price'; got .*bare\.csv"):
        fitwell.evaluate(prices.folder, bare)


def test_data_that_changed_is_refused(tmp_path: Path) -> None:
    path = houses(tmp_path / "houses.csv")
    run = quick("table", path, target="price", ignore=("kind",), run=tmp_path / "run")
    path.write_text(path.read_text().replace(",2,", ",3,", 1))
    with pytest.raises(RunError, match=r"the data has changed since the run began \(fingerprint"):
        fitwell.evaluate(run.folder)


def test_a_run_on_data_in_memory_gets_it_again(tmp_path: Path) -> None:
    x = torch.randn(80, 3)
    data = (x, (x[:, 0] > 0).long())
    run = quick(data, run=tmp_path / "run")
    with pytest.raises(UsageError, match="was trained on data in memory; give it again"):
        fitwell.evaluate(run.folder)
    assert fitwell.evaluate(run.folder, data).parts["test"] == run.result["test"]


def test_weights_are_the_kept_ones(digits: Run, tmp_path: Path) -> None:
    folder = copied(digits, tmp_path / "copy")
    for path in sorted((folder / "checkpoints").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert fitwell.evaluate(folder).parts["test"] == digits.result["test"]
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"holds no weights yet\. Go on with: fitwell resume"):
        fitwell.evaluate(folder)


def test_what_is_no_run_is_said(tmp_path: Path, capsys: Any) -> None:
    code, result, err = call(capsys, "evaluate", tmp_path)
    assert code == 1
    assert result["error"]["kind"] == "RunError"
    assert "is not a run; it has no run.json" in err


def test_a_run_of_a_foreign_task_is_said(digits: Run, tmp_path: Path) -> None:
    folder = copied(digits, tmp_path / "copy")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"task": "images"', '"task": "smells"'))
    with pytest.raises(RunError, match="is a run of task 'smells'; this fitwell knows images"):
        fitwell.evaluate(folder)
