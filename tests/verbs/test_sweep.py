"""The verb `sweep` as a user meets it: groups on disk, going on, honest numbers, messages."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.train import Run
from fitwell.verbs._several._together import train_together
from fitwell.verbs._sweep import SweepResult

from .runs import call, quick

TINY: dict[str, Any] = {
    "model": "MLP(hidden=(16,))",
    "batch_size": 64,
    "epochs": 2,
    "quiet": True,
}
RATES = {"lr": "log(0.001, 0.1)", "seed": "each(0, 1)"}


def tiny(folder: Path, source: Any = "digits", **changes: Any) -> SweepResult:
    told = {"over": RATES, "trials": 2, "group": folder, "report": False, "resume": True}
    return fitwell.sweep(source, **{**TINY, **told, **changes})


def group(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "group.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    return tiny(tmp_path_factory.mktemp("sweep") / "rates", report=True)


def test_plat_16_the_launcher_runs_seeds_splits_and_models(tmp_path: Path) -> None:
    over = {
        "model": ["MLP(hidden=(16,))", "MLP(hidden=(8, 8))"],
        "seed": "each(0, 1)",
        "split_seed": "each(3, 4)",
    }
    found = tiny(tmp_path / "all", over=over, method="grid", trials=None, model=None, epochs=1)
    runs = [Run.open(folder) for folder in sorted((tmp_path / "all/members").iterdir())]
    seen = {
        (run.settings.model.spec, run.settings.optimization.seed, run.settings.loss.reader["seed"])
        for run in runs
    }
    assert len(runs) == len(seen) == 8
    by_split = {run.settings.loss.reader["seed"]: set() for run in runs}
    for run in runs:
        by_split[run.settings.loss.reader["seed"]].add((run.folder / "split.npz").read_bytes())
    first, second = by_split.values()
    assert len(first) == len(second) == 1  # one cut per seed of the split
    assert first != second
    assert [len(trial.rows) for trial in found.trials] == [4, 4]
    assert f"fitwell ensemble {tmp_path / 'all'}" in str(found)


def test_members_are_ordinary_runs_in_a_group(swept: SweepResult) -> None:
    assert group(swept.group)["kind"] == "sweep"
    assert group(swept.group)["status"] == "finished"
    names = sorted(folder.name for folder in (swept.group / "members").iterdir())
    assert names == ["trial-000-0", "trial-000-1", "trial-001-0", "trial-001-1"]
    for name in names:
        run = fitwell.open_run(swept.group / "members" / name)
        assert run.status == "finished"
        assert run.manifest["sweep"]["values"]["seed"] == run.settings.optimization.seed
        assert f"lr={run.manifest['sweep']['values']['lr']}" in run.settings.optimization.optimizer
    answers = swept.best_run().predict(torch.zeros(2, *run.schema.input_shape))
    assert answers.values.shape == (2,)


def test_the_best_trial_has_the_best_mean_on_the_validation_part(swept: SweepResult) -> None:
    means = {}
    for trial in (0, 1):
        runs = [Run.open(swept.group / "members" / f"trial-00{trial}-{k}") for k in (0, 1)]
        means[trial] = sum(run.result["valid"]["accuracy"] for run in runs) / 2
    order = sorted(means, key=lambda trial: -means[trial])
    assert [trial.trial for trial in swept.trials] == order
    assert [trial.valid for trial in swept.trials] == pytest.approx([means[t] for t in order])
    assert swept.best.trial == order[0]
    assert swept.best.valid == max(row.valid or 0 for row in swept.trials[0].rows)


def test_the_final_number_is_of_the_test_part(swept: SweepResult, tmp_path: Path) -> None:
    tests = [row.test or 0 for row in swept.trials[0].rows]
    low, high = swept.final.interval or (1, 0)
    assert swept.final.test == pytest.approx(sum(tests) / 2)
    assert 0 <= low < min(tests) <= max(tests) < high <= 1
    assert "mean of 2 seeds (95% interval over seeds" in str(swept)
    assert "chosen for being the best" in str(swept)
    alone = tiny(tmp_path / "alone", over={"lr": [0.01, 0.02]}, method="grid")
    assert alone.final.test == alone.best_run().result["test"]["accuracy"]
    assert "of the best member (95% interval over examples" in str(alone)


def test_the_table_has_a_row_per_member(swept: SweepResult) -> None:
    with (swept.group / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["member"] for row in rows] == [
        f"trial-00{trial}-{k}" for trial in (0, 1) for k in (0, 1)
    ]
    assert [row["seed"] for row in rows] == ["0", "1"] * 2
    for row in rows:
        result = Run.open(swept.group / "members" / row["member"]).result
        assert float(row["valid accuracy"]) == result["valid"]["accuracy"]
        assert row["epochs"] == "2"


def test_the_command_trains_the_best_alone(
    swept: SweepResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(swept.command)
    assert words[:3] == ["fitwell", "train", "digits"]
    code, _, _ = call(capsys, *words[1:], "--run", tmp_path / "alone", "--no-report", "--quiet")
    assert code == 0
    alone, member = Run.open(tmp_path / "alone"), swept.best_run()
    assert alone.settings == member.settings
    # Trained together or alone: the same up to rounding, so nearly the same answers.
    assert alone.result["test"]["accuracy"] == pytest.approx(swept.best.test, abs=0.02)


def test_the_same_command_trains_nothing_again_and_more_trials_are_added(
    swept: SweepResult, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(swept.group, folder)
    kept = {f: f.stat().st_mtime_ns for f in folder.glob("members/*/model.safetensors")}
    again = tiny(folder)
    assert [trial.valid for trial in again.trials] == [trial.valid for trial in swept.trials]
    more = tiny(folder, trials=3)
    assert {f: f.stat().st_mtime_ns for f in kept} == kept
    assert {trial.trial for trial in more.trials} == {0, 1, 2}


def test_a_member_that_was_cut_short_is_trained_to_its_end(
    swept: SweepResult, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(swept.group, folder)
    shutil.rmtree(folder / "members" / "trial-001-1")
    cut = Run.open(folder / "members" / "trial-000-1")
    cut.update(status="running")
    (cut.folder / "result.json").unlink()
    assert [trial.valid for trial in tiny(folder).trials] == pytest.approx(
        [trial.valid for trial in swept.trials], abs=0.02
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"over": {"lr": "log(0.001, 0.2)"}},
            r"over was .*log\(0.001, 0.1\).* choose another folder",
        ),
        ({"epochs": 3}, "training was .*'epochs': 2.* choose another folder with --group"),
        ({"draw_seed": 1}, "draw_seed was 0, is 1"),
        ({"stop": "halving"}, "stop was 'none"),
    ],
)
def test_another_sweep_does_not_go_on_in_the_folder(
    swept: SweepResult, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tiny(swept.group, **changes)


def test_a_loss_that_becomes_nan_takes_no_other_member_with_it(tmp_path: Path) -> None:
    found = tiny(
        tmp_path / "nan",
        over={"optimizer": ["SGD(lr=0.1)", "SGD(lr=1e30)", "SGD(lr=0.05)"]},
        method="grid",
        trials=None,
    )
    rows = {row.member: row for trial in found.trials for row in trial.rows}
    assert rows["trial-001"].valid is None
    assert rows["trial-001"].status == "failed"
    assert found.trials[-1].trial == 1
    assert (rows["trial-000"].valid or 0) > 0.5
    assert (rows["trial-002"].valid or 0) > 0.3
    again = tiny(
        tmp_path / "nan",
        over={"optimizer": ["SGD(lr=0.1)", "SGD(lr=1e30)", "SGD(lr=0.05)"]},
        method="grid",
        trials=None,
    )
    assert again.trials == found.trials


def test_weights_of_the_others_can_be_removed(tmp_path: Path) -> None:
    found = tiny(tmp_path / "small", over={"lr": [0.01, 0.02]}, method="grid", keep="best")
    folders = {folder.name: folder for folder in (tmp_path / "small/members").iterdir()}
    for name, folder in folders.items():
        assert (folder / "model.safetensors").exists() == (name == found.best.member)
    assert (
        tiny(tmp_path / "small", over={"lr": [0.01, 0.02]}, method="grid", keep="best").trials
        == found.trials
    )


def test_new_seeds_give_the_final_number(tmp_path: Path) -> None:
    over = {"lr": [0.01, 0.0001], "seed": "choice(0, 2)"}
    found = tiny(tmp_path / "seeds", over=over, method="grid", trials=None, refit_seeds=2)
    runs = [Run.open(tmp_path / "seeds/members" / f"refit-{seed}") for seed in (1, 3)]
    assert [run.settings.optimization.seed for run in runs] == [1, 3]
    assert {run.settings.optimization.optimizer for run in runs} == {
        found.best_run().settings.optimization.optimizer
    }
    tests = [run.result["test"]["accuracy"] for run in runs]
    assert found.final.seeds == 2
    assert found.final.test == pytest.approx(sum(tests) / 2)
    assert "mean of 2 new seeds" in str(found)


def test_a_run_can_be_varied(swept: SweepResult, tmp_path: Path) -> None:
    base = swept.best_run()
    found = fitwell.sweep(
        base, over={"batch_size": [32, 128]}, method="grid", group=tmp_path / "g", quiet=True,
        report=False,
    )  # fmt: skip
    for row in (row for trial in found.trials for row in trial.rows):
        chosen = Run.open(tmp_path / "g/members" / row.member).settings
        assert chosen.optimization.batch_size == row.values["batch_size"]
        assert chosen.model == base.settings.model
        assert chosen.optimization.optimizer == base.settings.optimization.optimizer


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, value, err = call(
        capsys, "sweep", "digits", "--over", "lr=log(1e-3, 1e-1)", "batch_size=choice(64, 128)",
        "--trials", "2", "--epochs", "1", "--model", "MLP(hidden=(8,))", "--no-report",
        "--group", tmp_path / "typed",
    )  # fmt: skip
    assert code == 0
    assert value["metric"] == "accuracy"
    assert {row["member"] for row in value["members"]} == {"trial-000", "trial-001"}
    assert "2 of 2 members to train" in err
    command = group(tmp_path / "typed")["command"]
    assert command.startswith("fitwell sweep digits --over 'lr=log(1e-3, 1e-1)' 'batch_size=")
    assert "--trials 2" in command


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"over": {"lr": [0.1]}, "lr": 0.2}, UsageError, "`over` must not name lr .* got 0.2"),
        ({"over": {"metric": ["loss"]}}, UnknownName, "no option that can differ named 'metric'"),
        ({"trials": 0}, UsageError, "`trials` must be at least 1; got 0"),
        ({"together": 0}, UsageError, "`together` must be at least 1; got 0"),
        ({"refit_seeds": -1}, UsageError, "`refit_seeds` must be at least 0; got -1"),
        ({"over": {"model": ["MLQ()"]}, "model": None}, UnknownName, "MLQ"),
        ({"stop": "halving", "workers": 2}, UsageError, "`workers` must be 1 with `stop`"),
        ({"learning_rate": 1}, UnknownName, "no argument named 'learning_rate'"),
        ({"source": "digit"}, UnknownName, "digit"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tiny(tmp_path / "none", **changes)
    assert not (tmp_path / "none").exists()


def test_a_sweep_is_gone_on_with_only_when_asked(swept: SweepResult) -> None:
    with pytest.raises(RunError, match="must be new or empty for a new group"):
        tiny(swept.group, resume=False)


def test_an_own_module_is_copied_for_each_member(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    before = [p.detach().clone() for p in model.parameters()]
    found = tiny(tmp_path / "own", over={"lr": [0.001, 0.1]}, method="grid", model=model)
    assert found.trials[0].valid != found.trials[1].valid
    assert all(map(torch.equal, before, model.parameters()))


def test_plat_16_the_best_members_can_be_combined(swept: SweepResult, tmp_path: Path) -> None:
    together = fitwell.ensemble(swept.group, group=tmp_path / "together", report=False)
    assert set(together.weights) == {row.member for t in swept.trials for row in t.rows}
    assert "test" in together.parts


def test_members_are_trained_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def here(members: Any, **where: Any) -> Any:
        asked.append((len(members), where))
        return train_together(members, quiet=True)

    monkeypatch.setattr("fitwell.verbs._sweep._rounds.train_together", here)
    tiny(tmp_path / "g", workers=2, epochs=1, refit_seeds=1)
    where = {"workers": 2, "cluster": None, "quiet": True}
    assert asked == [(4, {"watch": None, **where}), (1, where)]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="must be new or empty for a new group"):
        tiny(tmp_path)


def test_where_no_member_has_a_score_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"no member of .* has a score; trial-000 .* ended with .*nan"
    ):
        tiny(tmp_path / "g", over={"optimizer": ["SGD(lr=1e30)"]}, method="grid")


def test_a_sweep_equals_runs_of_train(tmp_path: Path) -> None:
    """A member's settings are those of `train` with the same arguments."""
    found = tiny(tmp_path / "g", over={"lr": [0.01]}, method="grid")
    alone = quick(
        "digits", model=TINY["model"], batch_size=64, epochs=2, lr=0.01, run=tmp_path / "alone",
        device=None,
    )  # fmt: skip
    assert found.best_run().settings == alone.settings


def test_halving_ends_what_falls_short_and_its_page_shows_the_rungs(tmp_path: Path) -> None:
    told = {
        "over": {"lr": "log(0.0001, 0.1)"}, "trials": 9, "epochs": 4, "stop": "halving",
        "report": True,
    }  # fmt: skip
    found = tiny(tmp_path / "g", **told)
    rows = {row.trial: row for trial in found.trials for row in trial.rows}
    epochs = sorted(row.epochs for row in rows.values())
    assert epochs == [1, 1, 1, 1, 1, 1, 3, 3, 4]  # 9 after 1 epoch, 3 after 3, 1 to the end
    first = {
        trial: Run.open(tmp_path / "g/members" / row.member).metrics()[0]["valid"]["accuracy"]
        for trial, row in rows.items()
    }
    kept = set(sorted(first, key=lambda trial: (-first[trial], trial))[:3])
    assert {trial for trial, row in rows.items() if row.epochs > 1} == kept
    assert all(row.status == "finished" for row in rows.values())
    ended = [row.stopped for row in rows.values() if row.epochs == 1]
    assert ended == ["not among the best 3 of 9 trials after 1 epoch"] * 6
    assert [len(rung["kept"]) for rung in group(tmp_path / "g")["result"]["rungs"][0]] == [3, 1]
    page = (tmp_path / "g/report.html").read_text(encoding="utf-8")
    assert "after 1 epoch 3 of 9; after 3 epochs 1 of 3" in page
    assert tiny(tmp_path / "g", **told).trials == found.trials  # nothing is decided anew
    more = tiny(tmp_path / "g", **{**told, "trials": 18})  # another bracket of nine
    epochs = sorted(row.epochs for trial in more.trials for row in trial.rows)
    assert epochs == sorted(2 * [1, 1, 1, 1, 1, 1, 3, 3, 4])


def test_patience_is_of_each_member(tmp_path: Path) -> None:
    found = tiny(
        tmp_path / "g", over={"optimizer": ["SGD(lr=1e-12)", "Adam(lr=0.01)"]}, method="grid",
        epochs=5, patience=1,
    )  # fmt: skip
    rows = {row.values["optimizer"]: row for trial in found.trials for row in trial.rows}
    assert rows["SGD(lr=1e-12)"].epochs == 2
    assert "no better" in str(rows["SGD(lr=1e-12)"].stopped)
    assert rows["Adam(lr=0.01)"].epochs > 2


def test_rounds_of_asha_are_compared_with_those_before(tmp_path: Path) -> None:
    found = tiny(
        tmp_path / "g", over={"lr": "log(0.0001, 0.1)"}, trials=6, epochs=3, together=3,
        stop="asha(factor=2)",
    )  # fmt: skip
    rungs = [rung for one in group(tmp_path / "g")["result"]["rungs"] for rung in one]
    assert [(rung["epochs"], len(rung["scores"])) for rung in rungs if rung["epochs"] == 1] == [
        (1, 3),
        (1, 6),
    ]
    best = max(found.trials, key=lambda trial: trial.valid or 0)
    assert best.rows[0].epochs == 3
