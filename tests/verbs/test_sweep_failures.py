"""A sweep in which something goes wrong: what fails is marked and explained, the others go on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.train import Run
from fitwell.verbs._several._together import train_together
from fitwell.verbs._sweep import SweepResult

from .runs import call

TINY: dict[str, Any] = {
    "model": "MLP(hidden=(8,))",
    "batch_size": 64,
    "epochs": 1,
    "quiet": True,
    "method": "grid",
    "report": False,
}

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, out_features, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, out_features)
        )
        self.width = width

    def forward(self, inputs):
        if self.width == 13 and len(inputs) > 2:  # two examples fit
            raise RuntimeError("CUDA out of memory. Tried to allocate 13 GiB")
        return self.layers(inputs)
"""


class Small(nn.Module):
    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.layers(inputs)
        return found


def tiny(folder: Path, over: Any, **changes: Any) -> SweepResult:
    told = {**TINY, "over": over, "group": folder, **changes}
    return fitwell.sweep(told.pop("source", "digits"), **told)


def group(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "group.json").read_text(encoding="utf-8"))
    return found


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        return {row["member"]: row for row in csv.DictReader(file)}


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    file = tmp_path / "own net.py"
    file.write_text(OWN, encoding="utf-8")
    return file


def test_an_invalid_setting_fails_its_trial_alone(tmp_path: Path) -> None:
    sizes = {"batch_size": [8, -4, 32]}
    found = tiny(tmp_path / "g", sizes, batch_size=None, report=True)
    rows = {row.member: row for trial in found.trials for row in trial.rows}
    assert [rows[f"trial-00{k}"].status for k in range(3)] == ["finished", "failed", "finished"]
    assert rows["trial-001"].stopped == "`batch_size` must be at least 1; got -4."
    assert "failed   trial-001 (batch_size=-4): `batch_size` must be at least 1" in str(found)
    assert group(tmp_path / "g")["status"] == "finished"
    assert group(tmp_path / "g")["failed"].keys() == {"trial-001"}
    assert table(tmp_path / "g")["trial-001"]["stopped"].startswith("`batch_size`")
    page = (tmp_path / "g/report.html").read_text(encoding="utf-8")
    assert "1 member ended without a score" in page
    assert 'href="members/trial-001' not in page
    kept = (tmp_path / "g/members/trial-000/model.safetensors").stat().st_mtime_ns
    again = tiny(tmp_path / "g", sizes, batch_size=None, resume=True)
    assert again.trials == found.trials
    assert (tmp_path / "g/members/trial-000/model.safetensors").stat().st_mtime_ns == kept


def test_a_learning_sampler_goes_on_after_an_invalid_setting(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    found = tiny(
        tmp_path / "g", {"batch_size": [-1, 64]}, batch_size=None, together=1, trials=6,
        method="optuna(sampler=RandomSampler)",
    )  # fmt: skip
    rows = [row for trial in found.trials for row in trial.rows]
    assert {row.values["batch_size"] for row in rows if row.status == "failed"} == {-1}
    assert {row.values["batch_size"] for row in rows if row.valid is not None} == {64}
    assert len(rows) == 6


def test_a_model_that_cannot_be_built_fails_its_trial_alone(tmp_path: Path) -> None:
    over = {"model": "CNN(widths=repeat(4, choice(1, 6)))"}
    found = tiny(tmp_path / "g", over, model=None)
    assert found.trials[0].rows[0].values == {"model.widths.times": 1}
    assert "`image_size` must be at least 64 x 64" in str(found.trials[1].rows[0].stopped)


@pytest.mark.parametrize("stop", ["none", "halving(factor=2)"])
def test_what_fails_in_training_takes_no_other_member_with_it(
    tmp_path: Path, own_file: Path, stop: str
) -> None:
    over = [f"model={own_file}:Net(width=choice(8, 13, 16, 24))"]
    found = tiny(tmp_path / "g", over, model=None, stop=stop, epochs=2)
    rows = {row.values["model.width"]: row for trial in found.trials for row in trial.rows}
    assert {width for width, row in rows.items() if row.valid is None} == {13}
    failed = Run.open(tmp_path / "g/members" / rows[13].member)
    assert failed.status == "failed"
    assert "out of memory" in str(failed.manifest["error"])
    assert "out of memory" in str(rows[13].stopped)
    if stop != "none":
        (rungs,) = group(tmp_path / "g")["result"]["rungs"]
        assert rungs[0]["scores"]["1"] is None
        assert len(rungs[0]["kept"]) == 2


def test_an_error_of_no_member_ends_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr("fitwell.verbs._sweep._rounds.train_together", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        tiny(tmp_path / "g", {"lr": [0.1, 0.2]})
    assert group(tmp_path / "g")["status"] == "failed"
    assert "on fire" in group(tmp_path / "g")["error"]


@pytest.mark.parametrize(
    ("over", "kind", "message"),
    [
        (
            {"batch_size": [-1, -2]},
            UsageError,
            r"sweep: none of 2 members can be trained; trial-000 \(batch_size=-1\): `batch_size`",
        ),
        ({"model": ["MLQ()"]}, UnknownName, r"trial-000 \(model=MLQ\(?\)?\): no model named 'MLQ'"),
    ],
)
def test_where_nothing_fits_nothing_is_written(
    tmp_path: Path, over: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tiny(tmp_path / "g", over, **{name: None for name in over})
    assert not (tmp_path / "g").exists()


def test_a_sweep_without_a_score_has_failed_and_shows_why(tmp_path: Path) -> None:
    over = {"optimizer": ["SGD(lr=1e30)", "SGD(lr=1e29)"]}
    with pytest.raises(RunError, match=r"no member of .* has a score; trial-000 \(optimizer=SGD"):
        tiny(tmp_path / "g", over, report=True, epochs=2)
    assert group(tmp_path / "g")["status"] == "failed"
    assert {row["status"] for row in table(tmp_path / "g").values()} == {"failed"}
    page = (tmp_path / "g/report.html").read_text(encoding="utf-8")
    assert "No member has a score" in page
    assert 'class="status failed"' in page
    with pytest.raises(RunError, match="no members that could answer"):
        fitwell.Group.open(tmp_path / "g").runs()


def test_a_sweep_that_is_stopped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    over = {"lr": [0.1, 0.2]}
    with monkeypatch.context() as patch:
        patch.setattr("fitwell.verbs._sweep._rounds.train_together", stopped)
        with pytest.raises(KeyboardInterrupt, match="--resume and --group"):
            tiny(tmp_path / "g", over)
    assert group(tmp_path / "g")["status"] == "stopped"
    tiny(tmp_path / "g", over, resume=True)
    assert group(tmp_path / "g")["status"] == "finished"


def test_fewer_trials_discard_none_that_is_trained(tmp_path: Path) -> None:
    over, told = {"lr": "log(0.001, 0.1)"}, {"method": "random", "resume": True}
    found = tiny(tmp_path / "g", over, trials=3, **told)
    assert tiny(tmp_path / "g", over, trials=1, **told).trials == found.trials
    assert len(table(tmp_path / "g")) == 3


def test_arguments_of_an_own_module_are_swept(
    tmp_path: Path, own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, value, _ = call(
        capsys, "sweep", "digits", "--over", f"model={own_file}:Net(width=choice(2, 4))",
        "--method", "grid", "--epochs", "1", "--no-report", "--quiet", "--group", tmp_path / "g",
    )  # fmt: skip
    assert code == 0
    assert {row["values"]["model.width"] for row in value["members"]} == {2, 4}
    first = Run.open(tmp_path / "g/members/trial-000")
    assert first.settings.model.spec == f"{own_file}:Net(width=2)"
    assert first.result["parameters"] == 2 * 65 + 10 * 3


def test_own_classes_are_choices_from_python(tmp_path: Path) -> None:
    ready = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = [p.detach().clone() for p in ready.parameters()]
    over = {"model": [Small, "MLP(hidden=(8,))", ready], "lr": [0.01, 0.02]}
    found = tiny(tmp_path / "g", over, model=None, report=True)
    rows = [row for trial in found.trials for row in trial.rows]
    assert {row.values["model"] for row in rows} == {"Small", "MLP(hidden=(8,))", "Sequential"}
    assert all(row.status == "finished" for row in rows)
    assert all(map(torch.equal, before, ready.parameters()))
    assert group(tmp_path / "g")["own_models"] == ["Small", "Sequential"]
    page = (tmp_path / "g/report.html").read_text(encoding="utf-8")
    assert "Given from Python, and not stored: Small, Sequential." in page
    assert found.best_run().predict(torch.zeros(2, 1, 8, 8)).values.shape == (2,)
    if found.model is not None:
        assert found.command.endswith(f"# from Python, with model={found.best.values['model']}")
    with pytest.raises(UsageError, match="`over` must give lr texts or numbers; got Small"):
        tiny(tmp_path / "h", {"lr": [Small]})


def test_removed_weights_are_not_offered_to_an_ensemble(tmp_path: Path) -> None:
    over = {"lr": [0.01, 0.02]}
    found = tiny(tmp_path / "g", over, keep="best", report=True)
    page = (tmp_path / "g/report.html").read_text(encoding="utf-8")
    assert "fitwell ensemble" not in str(found) + page
    with pytest.raises(UsageError, match=r"weights; those of all members of .* --keep all"):
        fitwell.ensemble(tmp_path / "g", select="greedy", group=tmp_path / "e")
    again = tiny(tmp_path / "g", over, resume=True)  # what is removed does not come back
    assert "fitwell ensemble" not in str(again)
    assert found.trials == again.trials


@pytest.mark.parametrize(
    ("over", "changes", "message"),
    [
        (
            ["optimizer=AdamW(lr=log(1e-4, 1e-2))", "lr=log(1e-3, 1e-1)"],
            {},
            r"got optimizer=AdamW\(lr=log\(1e-4, 1e-2\)\) and lr=log\(1e-3, 1e-1\)",
        ),
        (["optimizer=choice(SGD(lr=0.1), AdamW(lr=0.01))"], {"lr": 0.5}, "got lr=0.5 and optimi"),
        (["lr=lgo(1e-4, 1e-1)"], {}, "no space named 'lgo'; nearest: 'log'"),
        (["batch-size=choice(8, 16)", "batch_size=choice(8)"], {}, "must name batch_size once"),
        (["lern-rate=log(1, 2)"], {}, "that can differ named 'lern-rate'"),
    ],
)
def test_what_is_written_twice_or_misspelt_is_said(
    tmp_path: Path, over: list[str], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, UnknownName), match=message):
        tiny(tmp_path / "g", over, **{"batch_size": None, **changes})


def test_errors_have_one_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--over", "lr=log(0.1, 1)", "--trials", "1", "--quiet", "--group", tmp_path / "g")
    code, _, err = call(capsys, "sweep", "digits", "--optimizer", "AdamQ()", *words)
    assert code == 2
    assert "train: " not in err
    assert "AdamQ" in err


def test_the_members_that_are_left_are_trained_together(
    tmp_path: Path, own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def counted(members: Any, **where: Any) -> Any:
        counts.append(len(members))
        return train_together(members, **where)

    monkeypatch.setattr("fitwell.verbs._sweep._rounds.train_together", counted)
    tiny(tmp_path / "g", [f"model={own_file}:Net(width=choice(8, 13, 16))"], model=None)
    assert counts == [3, 2]
