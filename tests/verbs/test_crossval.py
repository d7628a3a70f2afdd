"""`fitwell crossval`: every row is held out once, and what is said of the score is true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t
from torch.nn import functional as F

import fitwell
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.data import load_builtin, load_table
from fitwell.train import outputs_of
from fitwell.verbs._several import CrossvalResult, crossval

from .runs import call, house, rows_of, table

TINY: dict[str, Any] = {
    "model": "MLP(hidden=(16,))",
    "batch_size": 64,
    "epochs": 2,
    "device": "cpu",
    "report": False,
    "quiet": True,
}
# Scores that pass through float32 once more.
ROUNDED = 1e-5


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> CrossvalResult:
    folder = tmp_path_factory.mktemp("groups") / "folds"
    return crossval("digits", folds=3, group=folder, **TINY)


def members(result: CrossvalResult) -> list[fitwell.Run]:
    return fitwell.Group.open(result.group).members()


def out_of_fold(result: CrossvalResult) -> tuple[list[str], list[list[str]]]:
    header, *rows = rows_of(Path(result.group) / "out_of_fold.csv")
    return header, rows


def test_hw3_06_each_row_is_held_out_once_and_the_score_of_all_is_reported(folds) -> None:
    header, rows = out_of_fold(folds)
    assert header[:5] == ["id", "repeat", "fold", "target", "prediction"]
    splits = load_builtin("digits")
    pool = {*splits.indices["train"], *splits.indices["valid"]}
    ids = [int(row[0]) for row in rows]
    assert len(ids) == len(set(ids)) == len(pool)
    assert set(ids) == pool
    right = np.mean([row[3] == row[4] for row in rows])
    assert folds.out_of_fold["accuracy"] == pytest.approx(right)
    sure = [-np.log(float(row[5 + int(row[3])])) for row in rows]
    assert folds.out_of_fold["loss"] == pytest.approx(np.mean(sure), rel=1e-4)  # six digits


def test_hw3_06_folds_are_shuffled_and_stratified(folds) -> None:
    _, rows = out_of_fold(folds)
    counts = np.zeros((3, 10))
    for row in rows:
        counts[int(row[2]) - 1, int(row[3])] += 1
    assert (counts.max(0) - counts.min(0) <= 1).all()
    assert [row[2] for row in rows[:60]] != sorted(row[2] for row in rows[:60])


def test_tune_16_mean_spread_and_interval_are_those_of_the_members(folds) -> None:
    scores = [run.result["test"]["accuracy"] for run in members(folds)]
    found = folds.scores["accuracy"]
    assert found.values == tuple(scores)
    assert found.mean == pytest.approx(np.mean(scores))
    assert found.std == pytest.approx(np.std(scores, ddof=1))
    wider = np.std(scores, ddof=1) * np.sqrt(1 / 3 + 1 / 2)
    assert found.interval == pytest.approx(t.interval(0.95, 2, np.mean(scores), wider), rel=1e-3)


def test_the_held_out_rows_have_no_say(folds) -> None:
    held: list[int] = []
    for run in members(folds):
        with np.load(run.folder / "split.npz") as file:
            parts = {name: set(file[name].tolist()) for name in file.files}
        assert len(set.union(*parts.values())) == sum(map(len, parts.values())) == 1527
        assert len(parts["valid"]) == pytest.approx(0.1 * (1527 - 509), abs=1)
        assert run.manifest["fold"]["held_out"] == "test"
        held += parts["test"]
    assert sorted(held) == list(range(1527))
    assert folds.honest


def test_members_and_their_average_are_measured_on_the_test_part(folds) -> None:
    test = load_builtin("digits").test
    assert test is not None
    assert test.targets is not None
    outputs = torch.stack(
        [outputs_of(run.model(), [(test.inputs.float() / 255,)]) for run in members(folds)]
    )
    assert folds.test is not None
    for (name, scores), own in zip(folds.test.members.items(), outputs, strict=True):
        assert scores["accuracy"] == pytest.approx(
            float((own.argmax(1) == test.targets).float().mean())
        ), name
    mean = outputs.softmax(2).mean(0)
    assert folds.test.scores["loss"] == pytest.approx(
        float(F.nll_loss(mean.log(), test.targets)), rel=ROUNDED
    )
    assert folds.test.scores["loss"] <= np.mean([s["loss"] for s in folds.test.members.values()])
    again = fitwell.evaluate(folds.group)
    assert again.together["test"] == folds.test  # the same single one to compare with


def test_a_member_is_a_run_that_can_be_measured_again(folds) -> None:
    run = members(folds)[1]
    again = fitwell.evaluate(run.folder)
    for part in ("train", "valid", "test"):
        assert again.parts[part] == pytest.approx(run.result[part], rel=ROUNDED)


def test_folds_of_a_finished_group_are_not_trained_again(folds, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(folds.group, folder)
    (folder / "out_of_fold.csv").unlink()
    shutil.rmtree(folder / "members" / "fold-2")
    kept = folder / "members" / "fold-1" / "model.safetensors"
    before = kept.stat().st_mtime_ns
    again = crossval("digits", folds=3, group=folder, resume=True, **TINY)
    assert kept.stat().st_mtime_ns == before
    assert again.scores["accuracy"].values == folds.scores["accuracy"].values
    assert [row[:5] for row in out_of_fold(again)[1]] == [r[:5] for r in out_of_fold(folds)[1]]
    with pytest.raises(UsageError, match="must go on with the settings that it began with; inner"):
        crossval("digits", folds=3, inner=0.2, group=folder, resume=True, **TINY)
    with pytest.raises(RunError, match="must be new or empty for a new group"):
        crossval("digits", folds=3, group=folder, **TINY)


def test_a_run_lends_its_data_and_settings(digits, tmp_path: Path) -> None:
    options = {"device": "cpu", "report": False, "quiet": True}
    found = crossval(digits.folder, folds=2, epochs=1, group=tmp_path / "g", **options)
    for run in members(found):
        assert run.settings.model == digits.settings.model
        assert run.settings.optimization.epochs == 1


def test_numbers_are_held_out_too(house_file: Path, tmp_path: Path) -> None:
    found = crossval(
        *("table", house_file), target="price", ignore=("kind",), folds=4, repeats=2, inner=0.0,
        group=tmp_path / "g", **TINY,
    )  # fmt: skip
    header, rows = out_of_fold(found)
    assert header == ["id", "repeat", "fold", "target", "prediction"]
    assert len(rows) == 2 * len({row[0] for row in rows}) == 2 * 102
    assert (found.metric, found.mode, found.honest) == ("rmse", "random", False)
    errors = [[(float(r[4]) - float(r[3])) ** 2 for r in rows if r[1] == n] for n in "12"]
    assert found.out_of_fold["mse"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert len(found.scores["rmse"].values) == 8
    assert "held-out rows chose the epoch" in str(found)


def streets(path: Path, count: int = 90) -> Path:
    rows = [{**house(n), "street": f"s{n % 9}", "built": str(1900 + n // 2)} for n in range(count)]
    return table(path, rows)


def test_groups_and_times_are_never_torn_apart(tmp_path: Path) -> None:
    file = streets(tmp_path / "streets.csv")
    given = {"target": "price", "ignore": ("kind", "id"), "folds": 3, **TINY}
    found = crossval(
        "table", file, split="grouped", split_by="street", group=tmp_path / "g", **given
    )
    splits = load_table(
        file, target="price", ignore=("kind", "id"), mode="grouped", split_by="street"
    )
    pool = [*splits.indices["train"], *splits.indices["valid"]]
    for run in members(found):
        with np.load(run.folder / "split.npz") as rows:
            groups = {part: {pool[row] % 9 for row in rows[part]} for part in rows.files}
        assert not groups["train"] & groups["test"]
        assert not groups["train"] & groups["valid"]
        assert not groups["valid"] & groups["test"]
    found = crossval(
        "table", file, split="by_time", split_by="built", group=tmp_path / "t", **given
    )
    splits = load_table(
        file, target="price", ignore=("kind", "id"), mode="by_time", split_by="built"
    )
    pool = [*splits.indices["train"], *splits.indices["valid"]]
    for run in members(found):
        with np.load(run.folder / "split.npz") as rows:
            years = {part: [pool[row] // 2 for row in rows[part]] for part in rows.files}
        assert max(years["train"]) < min(years["valid"]) <= max(years["valid"])
        assert max(years["valid"]) < min(years["test"])


def test_arrays_bring_their_groups(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y, groups = random.normal(size=(60, 3)), np.arange(60) % 2, (np.arange(60) // 5).tolist()
    found = crossval(
        (x, y), split="grouped", split_by=groups, folds=3, group=tmp_path / "g", **TINY
    )
    assert found.mode == "grouped"
    with pytest.raises(UsageError, match="was trained on data in memory; give it again"):
        fitwell.evaluate(found.group)
    again = fitwell.evaluate(found.group, (x, y))
    assert found.test is not None
    assert again.parts["test"] == pytest.approx(found.test.scores, rel=ROUNDED)


def test_scores_that_a_choice_has_flattered_are_told_apart(tmp_path: Path) -> None:
    """Labels are noise: what is chosen is right half of the time, but not where it was chosen."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(72, 4)), random.permutation(np.arange(72) % 2)
    found = crossval(
        (x, y),
        test=0.0,
        folds=3,
        nested=2,
        inner=0.0,
        candidates=[f"seed={seed}" for seed in range(4)],
        group=tmp_path / "g",
        **{**TINY, "epochs": 1},
    )
    assert set(found.nested["chosen"]) <= {f"seed={seed}" for seed in range(4)}
    assert sum(found.nested["chosen"].values()) == 3
    for chosen, scores in zip(found.nested["by_fold"], found.nested["scores"], strict=True):
        assert scores[chosen] == max(scores.values())
    assert found.nested["inside"] > 0.5 > found.scores["accuracy"].mean
    inside = list((tmp_path / "g" / "inner" / "members").iterdir())
    assert len(inside) == 3 * 2 * 4
    chosen = [run.settings.optimization.seed for run in members(found)]
    assert [f"seed={seed}" for seed in chosen] == found.nested["by_fold"]


def far_out(seed: int) -> tuple[Any, Any]:
    """Numbers one of which lies far out, so that folds with and without it differ in spread."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(60, 3)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=60)).astype(np.float32)
    y[7] = 40
    return x, y


def test_losses_of_numbers_are_in_one_unit(tmp_path: Path) -> None:
    found = crossval(
        far_out(0), folds=3, test=0.2, inner=0.0, group=tmp_path / "g", loss="MSE()",
        **{**TINY, "batch_size": 32},
    )  # fmt: skip
    runs = members(found)
    units = [run.manifest["scaling"]["targets"]["std"] for run in runs]
    assert max(units) > 2 * min(units)
    own = {name: (scores["loss"], scores["mse"]) for name, scores in found.test.members.items()}
    held = list(zip(found.scores["loss"].values, found.scores["mse"].values, strict=True))
    whole = (found.out_of_fold["loss"], found.out_of_fold["mse"])
    together = (found.test.scores["loss"], found.test.scores["mse"])
    for loss, error in (*own.values(), *held, whole, together):
        assert loss == pytest.approx(error / units[0] ** 2, rel=ROUNDED)
    assert found.test.scores["loss"] <= np.mean([loss for loss, _ in own.values()])


def test_candidates_are_compared_by_one_loss_in_one_unit(tmp_path: Path) -> None:
    found = crossval(
        far_out(1), folds=2, test=0.0, inner=0.0, nested=2, candidates=["lr=0.01", "lr=0.001"],
        metric="loss", loss="MSE()", group=tmp_path / "g", **{**TINY, "batch_size": 32},
    )  # fmt: skip
    unit = members(found)[0].manifest["scaling"]["targets"]["std"]
    inner = tmp_path / "g" / "inner" / "members"
    for fold, scores in enumerate(found.nested["scores"], start=1):
        for place, name in enumerate(("lr=0.01", "lr=0.001"), start=1):
            runs = [fitwell.Run.open(inner / f"fold-{fold}-{place}-{part}") for part in (1, 2)]
            errors = [run.result["valid"]["mse"] for run in runs]
            assert scores[name] == pytest.approx(np.mean(errors) / unit**2, rel=ROUNDED)
    for losses in (["CrossEntropy()", "Focal()"], ["Focal()", "Focal()"]):
        with pytest.raises(UsageError, match=r"must have one loss when it is .*\) and Focal\("):
            crossval(
                "digits", nested=2, candidates=[f"lr=0.01, loss={loss}" for loss in losses],
                metric="loss", group=tmp_path / "h", **TINY,
            )  # fmt: skip
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    "setting",
    ["valid=0.5", "test=0.5", "smoke=True", "image_size=4", "split_seed=3", "metric=loss"],
)
def test_candidates_differ_in_training_alone(setting: str, tmp_path: Path) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(UsageError, match=f"must differ in how they are trained; got {name}, "):
        crossval("digits", nested=2, candidates=["lr=0.01", setting], group=tmp_path / "g", **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"folds": 1}, UsageError, r"`folds` must lie in 2 ... the number of rows, 1527; got 1"),
        ({"folds": 600}, UsageError, "`folds` must make at most 500 trainings; got 600"),
        ({"inner": 1.0}, UsageError, r"`inner` must lie in \[0, 1\); got 1.0"),
        ({"resume": True}, UsageError, "`group` must name the folder that `resume` goes on with"),
        ({"nested": 2}, UsageError, "`nested` must be at least 2, with at least 2 candidates"),
        ({"nested": 2, "candidates": ["lr", "x=1"]}, UsageError, "must name what they set"),
        ({"nested": 2, "candidates": ["lr=(", "lr=1"]}, UsageError, "must be settings such as"),
        ({"nested": 2, "candidates": ["lt=1", "lr=1"]}, UnknownName, "no argument named 'lt'"),
        ({"nested": 2, "candidates": ["model=X()", "lr=1"]}, UnknownName, "no model named 'X'"),
        ({"split": "grouped"}, UsageError, "`mode` must be 'auto', 'random' or 'stratified'"),
        ({"lerning": 1}, UnknownName, "no argument named 'lerning'"),
        ({"optimizer": "AdamX()"}, UnknownName, "no optimizer named 'AdamX'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    given: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    place = {} if "resume" in given else {"group": tmp_path / "g"}
    with pytest.raises(error, match=words):
        crossval("digits", **{**TINY, **place, **given})
    assert not list(tmp_path.iterdir())


def test_as_many_folds_as_rows_leave_one_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)), np.arange(20) % 2
    options = {**TINY, "epochs": 1, "report": True}
    found = crossval((x, y), test=0.2, folds=16, group=tmp_path / "g", **options)
    _, rows = out_of_fold(found)
    assert len(rows) == len({row[0] for row in rows}) == 16
    right = np.mean([row[3] == row[4] for row in rows])
    assert found.scores["accuracy"].mean == found.out_of_fold["accuracy"] == pytest.approx(right)
    assert "fold-16" in (tmp_path / "g" / "report.html").read_text(encoding="utf-8")


def test_a_loss_that_becomes_infinite_is_named_and_loses_as_a_candidate(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = x.sum(1) * 10
    options = {**TINY, "optimizer": "SGD(lr=0.01)", "batch_size": 8}
    with pytest.raises(RunError, match=r"fold-1: TrainingError: the loss became .* Lower the rate"):
        crossval((x, y), test=0.0, folds=2, group=tmp_path / "a", **{**options, "lr": 1e30})
    found = crossval(
        (x, y), test=0.0, folds=2, nested=2, candidates=["lr=1e30", "lr=0.01"],
        group=tmp_path / "b", **options,
    )  # fmt: skip
    assert found.nested["chosen"] == {"lr=0.01": 2}
    json.dumps(found.to_dict(), allow_nan=False)


def test_groups_are_listed_and_stand_for_their_members(folds, capsys) -> None:
    place = Path(folds.group)
    code, found, _ = call(capsys, "list", place.parent)
    assert code == 0
    assert found["groups"] == [
        {
            "group": str(place),
            "kind": "crossval",
            "members": 3,
            "status": "finished",
            "missing": [],
        }
    ]
    assert "crossval" in str(fitwell.verbs._lookup.list_runs(place.parent))
    code, found, _ = call(capsys, "list", place)
    assert sorted(Path(run["run"]).name for run in found["runs"]) == ["fold-1", "fold-2", "fold-3"]
    assert fitwell.compare(place, output=None).comparison.names == ("fold-1", "fold-2", "fold-3")


def test_numbers_cannot_be_stratified(house_file: Path) -> None:
    with pytest.raises(UsageError, match="must not be 'stratified' when the target is a number"):
        crossval("table", house_file, target="price", split="stratified", **TINY)


def test_the_command_line_gives_the_same(folds, tmp_path, capsys) -> None:
    words = ["--model", "MLP(hidden=(16,))", "--batch-size", 64, "--epochs", 2, "--device", "cpu"]
    place = ["--group", tmp_path / "g", "--no-report", "--quiet"]
    code, found, _ = call(capsys, "crossval", "digits", "--folds", 3, *words, *place)
    assert code == 0
    assert found["scores"]["accuracy"]["values"] == list(folds.scores["accuracy"].values)
    facts = json.loads((tmp_path / "g" / "group.json").read_text())
    assert (facts["kind"], facts["status"]) == ("crossval", "finished")
    assert facts["command"] == (
        "fitwell crossval digits --folds 3 --model 'MLP(hidden=(16,))' --epochs 2 --batch-size 64"
        " --device cpu"
    )
