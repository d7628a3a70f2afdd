"""`fitwell train`: what a run holds, that it repeats, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.cli import main
from fitwell.core.errors import TrainingError
from fitwell.train import Run

from .runs import call, curve, houses, manifest, quick, weights

KEYS = {
    *("run", "task", "model", "parameters", "epochs", "steps", "seconds"),
    *("examples_per_second", "train", "valid", "test"),
}


def test_the_result_has_every_number_by_name(tmp_path: Path, capsys: Any) -> None:
    words = ("train", "digits", "--run", tmp_path / "run", "--model", "MLP(hidden=(16,))")
    options = ("--epochs", "2", "--batch-size", "32", "--no-report")
    code, result, err = call(capsys, *words, *options)
    assert code == 0
    assert result.keys() >= KEYS
    assert (result["run"], result["task"]) == (str(tmp_path / "run"), "images")
    assert result["model"] == "MLP(hidden=(16,))"
    assert result["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert result["epochs"] == 2
    assert result["steps"] == 2 * -(-manifest(tmp_path / "run")["data"]["counts"]["train"] // 32)
    assert result["seconds"] > 0
    assert result["examples_per_second"] > 0
    for part in ("train", "valid", "test"):
        assert 0.5 < result[part]["accuracy"] <= 1
        assert result[part]["loss"] > 0
    assert "epoch 2" in err
    assert Run.open(tmp_path / "run").status == "finished"


def test_a_table_of_numbers_has_regression_metrics(prices: Run) -> None:
    result = prices.to_dict()
    assert result["task"] == "table"
    for part in ("train", "valid", "test"):
        assert result[part].keys() >= {"loss", "mse", "rmse", "mae", "r2"}
    # Knowing nothing gives r2 = 0; the price is nearly a linear function of what is known.
    assert result["test"]["r2"] > 0.5


def test_the_run_says_what_it_is(digits: Run) -> None:
    text = str(digits)
    assert "finished" in text
    assert f"accuracy {digits.result['test']['accuracy']:.4g}" in text
    card = manifest(digits)["data"]
    assert sum(card["counts"].values()) == 1797
    assert [sum(row) for row in card["balance"].values()] == list(card["counts"].values())


def test_explicit_settings_land_in_the_three_sections(tmp_path: Path) -> None:
    chosen = {
        "loss": "CrossEntropy(label_smoothing=0.1)",
        "metric": "loss",
        "optimizer": "sgd(lr=0.5, momentum=0.8)",
        "lr": 0.05,
        "schedule": "WarmUp(steps=3, then=Cosine(end=0.1))",
        "augment": "Crop(padding=1)",
        "epochs": 1,
        "max_steps": 4,
        "batch_size": 50,
        "accumulate": 2,
        "patience": 3,
        "grad_clip_norm": 1.0,
        "average": "EMA(decay=0.5)",
        "penalty": "L2(0.001)",
        "layer_decay": 0.9,
        "precision": "bf16",
        "channels_last": True,
        "seed": 7,
        "split_seed": 8,
        "valid": 0.2,
        "test": 0.1,
    }
    run = quick("digits", run=tmp_path / "run", **chosen)
    sections = manifest(run)["settings"]
    assert list(sections) == ["model", "loss", "optimization"]
    assert sections["model"] == {
        "spec": "MLP(hidden=(16,), dropout=0.1)",
        "own": False,
        "weights": None,
        "freeze": [],
    }
    assert sections["loss"] == {
        "source": "digits",
        "path": None,
        "reader": {"valid": 0.2, "test": 0.1, "seed": 8},
        "loss": "CrossEntropy(label_smoothing=0.1)",
        "metric": "loss",
        "penalty": "L2(0.001)",
        "teacher": None,
        "distill": None,
        "smoke": False,
    }
    assert sections["optimization"] == {
        "optimizer": "SGD(lr=0.05, momentum=0.8)",
        "schedule": "WarmUp(steps=3, start=0.0, then=Cosine(end=0.1))",
        "augment": "Crop(padding=1)",
        "epochs": 1,
        "max_steps": 4,
        "batch_size": 50,
        "accumulate": 2,
        "patience": 3,
        "grad_clip_norm": 1.0,
        "average": "EMA(decay=0.5)",
        "layer_decay": 0.9,
        "unfreeze_every": None,
        "precision": "bf16",
        "channels_last": True,
        "compiled": False,
        "recompute": False,
        "device": "cpu",
        "workers": 1,
        "seed": 7,
    }
    assert run.result["steps"] == 4
    assert run.settings.to_dict() == sections


@pytest.mark.parametrize("name", ["digits", "prices"])
def test_intro_36_a_run_replays_bit_for_bit(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    assert list(manifest(run)["settings"]) == ["model", "loss", "optimization"]
    again = fitwell.train(
        like=run.folder, run=tmp_path / "again", log_every=5, report=False, quiet=True
    )
    assert curve(again) == curve(run)
    assert weights(again) == weights(run)
    assert manifest(again)["settings"] == manifest(run)["settings"]
    different = {"run", "seconds", "examples_per_second", "peak_memory"}
    same = [{k: v for k, v in r.result.items() if k not in different} for r in (again, run)]
    assert same[0] == same[1]


def test_what_is_typed_comes_before_the_run_it_is_like(digits: Run, tmp_path: Path) -> None:
    run = fitwell.train(
        like=digits.folder, max_steps=3, run=tmp_path / "run", report=False, quiet=True
    )
    before, now = (manifest(r)["settings"]["optimization"] for r in (digits, run))
    assert now == {**before, "max_steps": 3, "epochs": None}


def test_one_seed_changes_the_training_and_another_the_split(digits: Run, tmp_path: Path) -> None:
    other = quick("digits", seed=1, run=tmp_path / "run")
    assert manifest(other)["data"]["fingerprint"] == manifest(digits)["data"]["fingerprint"]
    assert curve(other) != curve(digits)
    other = quick("digits", split_seed=1, run=tmp_path / "split")
    assert manifest(other)["data"]["fingerprint"] != manifest(digits)["data"]["fingerprint"]
    same = quick("digits", seed=0, run=tmp_path / "same")
    assert curve(same) == curve(digits)


def test_plat_10_smoke_runs_everything_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def forbidden(*args: object) -> None:
        raise AssertionError("the accelerator was touched")

    monkeypatch.setattr(torch.cuda, "_lazy_init", forbidden)
    words = ("train", "digits", "--smoke", "--device", "cuda", "--run", tmp_path / "run")
    code, result, _ = call(capsys, *words)
    assert code == 0
    run = Run.open(tmp_path / "run")
    assert run.settings.optimization.device == "cpu"
    assert run.settings.loss.smoke
    counts = manifest(run)["data"]["counts"]
    assert counts == {"train": 32, "valid": 32, "test": 32}  # a hundredth, but no fewer than 32
    assert result["epochs"] == 2
    assert result["test"]["loss"] > 0
    assert (run.folder / "report.html").exists()


def test_smoke_takes_a_hundredth_and_replays(tmp_path: Path) -> None:
    x = torch.randn(7000, 4)
    data = (x, (x.sum(dim=1) > 0).long())
    run = quick(data, smoke=True, epochs=3, run=tmp_path / "run")
    assert manifest(run)["data"]["counts"]["train"] == 49
    again = fitwell.train(
        data, like=run.folder, run=tmp_path / "again", log_every=5, report=False, quiet=True
    )
    assert manifest(again)["settings"] == manifest(run)["settings"]
    assert curve(again) == curve(run)


def test_a_loss_that_is_not_a_number_fails_with_a_sentence(tmp_path: Path, capsys: Any) -> None:
    x, y = torch.randn(200, 3), torch.randn(200)
    y[0] = 1e38  # in units of the spread, its square is infinite
    code, result, err = 0, {}, ""
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) at step \d+ \(lr="):
        quick((x, y), run=tmp_path / "arrays", optimizer="SGD(lr=1e30)", epochs=40)
    assert Run.open(tmp_path / "arrays").status == "failed"
    assert "TrainingError: " in manifest(tmp_path / "arrays")["error"]
    words = ("train", "digits", "--run", tmp_path / "run", "--optimizer", "SGD(lr=1e30)")
    code, result, err = call(capsys, *words, "--model", "MLP()", "--no-report", "--quiet")
    assert code == 1
    assert result["error"]["kind"] == "TrainingError"
    assert "the loss became nan at step" in err
    assert "Traceback" not in err
    assert Run.open(tmp_path / "run").status == "failed"


def test_a_time_budget_leaves_a_run_that_resumes_to_the_same_end(
    digits: Run, tmp_path: Path
) -> None:
    run = quick("digits", max_minutes=1e-9, run=tmp_path / "run")
    assert run.status == "stopped"
    assert run.result["steps"] == 1
    assert "time budget" in manifest(run)["stopped"]
    resumed = fitwell.resume(tmp_path / "run", report=False, quiet=True)
    assert resumed.status == "finished"
    assert curve(resumed) == curve(digits)
    assert weights(resumed) == weights(digits)


def test_early_stopping_is_an_end_and_keeps_the_best_weights(tmp_path: Path) -> None:
    run = quick("iris", patience=2, epochs=200, lr=0.3, batch_size=16, run=tmp_path / "run")
    assert run.status == "finished"
    assert "no better accuracy for 2 epochs" in manifest(run)["stopped"]
    epochs = [line for line in curve(run) if line["kind"] == "epoch"]
    best = run.result["best_epoch"]
    assert run.result["epochs"] == best + 2 < 200
    scores = [record["valid"]["accuracy"] for record in epochs]
    assert scores.index(max(scores)) + 1 == best
    assert run.result["valid"]["accuracy"] == max(scores)


def test_the_folder_is_named_after_data_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20300102-030405")
    first, second = (quick("iris", smoke=True) for _ in range(2))
    assert first.folder == Path("runs/iris-20300102-030405")
    assert second.folder == Path("runs/iris-20300102-030405-2")


def test_bad_rows_can_be_skipped(tmp_path: Path) -> None:
    path = houses(tmp_path / "houses.csv")
    lines = path.read_text().splitlines()
    lines[5] = lines[5].replace(lines[5].split(",")[2], "many", 1)
    path.write_text("\n".join(lines) + "\n")
    settings = {"target": "price", "ignore": ("kind",), "run": tmp_path / "run"}
    run = quick("table", path, on_bad_row="skip", **settings)
    assert sum(manifest(run)["data"]["counts"].values()) == 119


def test_data_in_memory_trains_and_predicts(tmp_path: Path) -> None:
    x = torch.randn(300, 4)
    y = (x[:, 0] > 0).long()
    run = quick((x, y), run=tmp_path / "run", epochs=20, lr=0.02)
    assert run.settings.loss.source == "memory"
    answers = run.predict(x.numpy())
    assert (answers.values == y).float().mean() > 0.9
    assert answers.probs is not None
    torch.testing.assert_close(answers.probs.sum(dim=1), torch.ones(300))


def test_the_command_is_kept_as_it_can_be_typed(tmp_path: Path, house_file: Path) -> None:
    run = quick("table", house_file, target="kind", ignore=("price",), run=tmp_path / "run")
    command = manifest(run)["command"]
    assert command.startswith(f"fitwell train table {house_file} --target kind --ignore price ")
    assert "--model 'MLP(hidden=(16,), dropout=0.1)'" in command
    assert main([*command_words(command), "--run", str(tmp_path / "again")]) == 0
    assert curve(tmp_path / "again") == curve(run)


def command_words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)[1:]


def test_splits_of_ones_own_are_taken_as_they_are(tmp_path: Path, house_file: Path) -> None:
    from fitwell.data import load_table

    splits = load_table(house_file, target="price", ignore=["kind"], valid=0.3, test=0, seed=4)
    run = quick(splits, run=tmp_path / "run")
    assert manifest(run)["data"]["counts"] == {"train": 84, "valid": 36}
    assert run.result["test"] == {}
    assert run.predict(splits.valid).values.shape == (36,)


def test_metrics_are_logged_every_few_steps(digits: Run) -> None:
    lines = curve(digits)
    steps = [line["step"] for line in lines if line["kind"] == "step"]
    assert steps == list(range(5, digits.result["steps"] + 1, 5))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]
