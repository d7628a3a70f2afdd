"""`fitwell average` makes a run whose weights are the mean of those of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fitwell
from fitwell.cli import main
from fitwell.core.errors import RunError, UsageError
from fitwell.data import load_arrays
from fitwell.train import Run, load_weights

from .runs import call, copied, manifest, quick

MODEL = "CNN(widths=(4, 8), convs=1)"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("members")
    settings = {"model": MODEL, "augment": "Crop(padding=1)", "lr": 0.01}
    return [quick("digits", run=folder / f"s{seed}", seed=seed, **settings) for seed in (1, 2)]


@pytest.fixture(scope="module")
def mean(members: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fitwell.average(*members, output=tmp_path_factory.mktemp("mean") / "run")


def weights(run: Run | str) -> dict[str, torch.Tensor]:
    folder = run.folder if isinstance(run, Run) else Path(run)
    return load_weights(folder / "model.safetensors")


def test_the_weights_are_the_mean_and_the_statistics_are_measured_anew(
    members: list[Run], mean: Any
) -> None:
    one, two, found = weights(members[0]), weights(members[1]), weights(mean.run)
    learned = [name for name in one if name.endswith(("weight", "bias"))]
    assert len(learned) == 2 * 3 + 2  # two convolutions without bias, their norms, the head
    for name in learned:
        exact = ((one[name].double() + two[name].double()) / 2).float()
        assert torch.equal(found[name], exact), name
    statistics = [name for name in one if name.endswith("running_var")]
    assert statistics
    for name in statistics:
        assert not torch.allclose(found[name], (one[name] + two[name]) / 2, rtol=1e-3)


def test_the_average_is_a_run_like_any_other(mean: Any, members: list[Run], tmp_path: Path) -> None:
    run = fitwell.open_run(mean.run)
    assert run.status == "finished"
    measured = fitwell.evaluate(run)
    for part in ("train", "valid", "test"):
        assert measured.parts[part] == run.result[part]
    assert run.result["steps"] == sum(member.result["steps"] for member in members)
    fitwell.report(mean.run)
    assert str(members[1].folder) in (run.folder / "report.html").read_text(encoding="utf-8")
    assert len(run.predict(torch.rand(3, 1, 8, 8)).values) == 3
    moved = copied(run, tmp_path / "moved")
    assert fitwell.evaluate(moved).parts == measured.parts
    with pytest.raises(RunError, match="is finished and has no checkpoint to go on from"):
        fitwell.resume(mean.run, quiet=True)


def test_the_manifest_says_where_the_weights_are_from(mean: Any, members: list[Run]) -> None:
    facts = manifest(Path(mean.run))
    assert [origin["run"] for origin in facts["averaged_from"]] == [str(m.folder) for m in members]
    assert [origin["seed"] for origin in facts["averaged_from"]] == [1, 2]
    assert facts["command"].startswith(f"fitwell average {members[0].folder} ")
    assert facts["settings"] == members[0].manifest["settings"]
    assert facts["data"] == members[0].manifest["data"]


def test_the_table_has_members_intervals_and_verdicts(mean: Any, members: list[Run]) -> None:
    lines = str(mean).splitlines()
    assert lines[0].split()[:5] == ["run", "valid", "accuracy", "test", "accuracy"]
    value = members[1].result["test"]["accuracy"]
    assert f"{value:.4g} (" in lines[4]
    assert "worse (p = " in lines[4] or "better (p = " in lines[4]
    for pair in mean.comparison.paired:
        assert mean.better[pair.second] == (pair.difference > 0)
    assert len(mean.better) == 2
    assert mean.to_dict()["members"] == [str(member.folder) for member in members]
    assert json.dumps(mean.to_dict())


def test_a_run_averaged_with_its_copy_is_the_run(digits: Run, tmp_path: Path, capsys: Any) -> None:
    copy = copied(digits, tmp_path / "copy")
    words = ["average", digits.folder, copy, "--output", tmp_path / "out"]
    code, result, _ = call(capsys, *words)
    assert code == 0
    assert weights(str(tmp_path / "out")).keys() == weights(digits).keys()
    for name, tensor in weights(digits).items():
        assert torch.equal(weights(str(tmp_path / "out"))[name], tensor)
    assert fitwell.open_run(tmp_path / "out").result["test"] == digits.result["test"]
    assert result["better"] == dict.fromkeys(result["names"][1:], False)
    assert [pair["difference"] for pair in result["paired"]] == [0.0, 0.0]


def test_a_regression_is_compared_by_its_error(prices: Run, tmp_path: Path) -> None:
    found = fitwell.average(prices, copied(prices, tmp_path / "copy"), output=tmp_path / "out")
    assert found.metric == "rmse"
    assert "equal (p = 1, may be chance)" in str(found)
    assert fitwell.open_run(tmp_path / "out").result["test"] == prices.result["test"]


def test_members_of_one_fold_are_averaged_on_their_rows(tmp_path: Path) -> None:
    few: dict[str, Any] = {"model": "MLP(hidden=(4,))", "report": False, "quiet": True}
    made = fitwell.crossval("wine", folds=2, epochs=1, group=tmp_path / "folds", **few)
    one, other = made.group.members()
    again = Run.open(copied(one, tmp_path / "again"))
    again.save_model({name: 2 * part for name, part in one.load_model().items()})
    found = fitwell.average(one, again.folder, output=tmp_path / "mean")
    kept = Run.open(found.run)
    assert kept.manifest["rows"] == "pool"
    measured = fitwell.evaluate(kept)
    assert measured.counts == one.manifest["data"]["counts"]
    assert measured.parts["valid"] == kept.result["valid"]
    with pytest.raises(UsageError, match="must have the same data; got"):
        fitwell.average(one, other, output=tmp_path / "no")


def test_data_in_memory_is_given_again(tmp_path: Path) -> None:
    x = torch.randn(80, 3)
    data = (x, (x[:, 0] > 0).long())
    runs = [quick(data, run=tmp_path / f"s{seed}", seed=seed) for seed in (0, 1)]
    with pytest.raises(UsageError, match="was trained on data in memory; give it again"):
        fitwell.average(*runs, output=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    found = fitwell.average(*runs, output=tmp_path / "out", data=data)
    assert len(found.members) == 2


def test_one_run_or_unlike_runs_are_refused(
    digits: Run, prices: Run, members: list[Run], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="`runs` must be at least two different runs; got 1"):
        fitwell.average(digits, digits.folder, output=out)
    with pytest.raises(UsageError, match=r"must have the same model; got MLP.* and CNN"):
        fitwell.average(digits, members[0], output=out)
    with pytest.raises(UsageError, match=r"must have the same task; got images .* and table"):
        fitwell.average(digits, prices, output=out)
    other = quick("digits", run=tmp_path / "split", split_seed=5)
    with pytest.raises(UsageError, match=r"must have the same data|must have the same parts"):
        fitwell.average(digits, other, output=out)
    cut = copied(digits, tmp_path / "cut")
    facts = {**manifest(cut), "status": "stopped"}
    (cut / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"must be finished to be averaged; it is stopped\. Go on"):
        fitwell.average(digits, cut, output=out)
    assert not out.exists()
    with pytest.raises(RunError, match="`output` must be new or empty; got"):
        fitwell.average(*members, output=digits.folder)


def test_parts_that_differ_are_refused(tmp_path: Path) -> None:
    parts = load_arrays(torch.rand(60, 3), torch.arange(60) % 3)
    first = quick(parts, run=tmp_path / "a")
    second = copied(first, tmp_path / "b")
    rows = {part: np.asarray(places) for part, places in parts.indices.items()}
    rows["train"] = rows["train"][::-1]
    np.savez(second / "split.npz", **rows)
    with pytest.raises(UsageError, match="must have the same parts of the data; those of"):
        fitwell.average(first, second, output=tmp_path / "out")
    (second / "split.npz").unlink()
    with pytest.raises(RunError, match=r"split\.npz cannot be read"):
        fitwell.average(first, second, output=tmp_path / "out")


def test_the_command_line_prints_the_table(members: list[Run], tmp_path: Path, capsys: Any) -> None:
    words = ["average", *(str(m.folder) for m in members), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "the average is" in out
    assert f"run      {tmp_path / 'out'}" in out
