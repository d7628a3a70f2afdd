"""Groups as users handle them: members lost, stopped, hopeless, or of code of their own."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.data import cut_folds, load_builtin
from fitwell.verbs._lookup import list_runs, show
from fitwell.verbs._several._spread import Spread

from .runs import call, house, houses, rows_of, table

TINY: dict[str, Any] = {
    "model": "MLP(hidden=(8,))",
    "epochs": 1,
    "device": "cpu",
    "report": False,
    "quiet": True,
}
KEPT: dict[str, Any] = {"report": False, "quiet": True}
OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, out_features))

    def forward(self, inputs):
        return self.layers(inputs.float())
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> fitwell.Group:
    folder = tmp_path_factory.mktemp("groups") / "two"
    return fitwell.ensemble("wine", members=2, group=folder, **TINY).group


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> fitwell.Group:
    folder = tmp_path_factory.mktemp("groups") / "folds"
    return fitwell.crossval("wine", folds=3, group=folder, **TINY).group


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups") / "swept"
    return fitwell.sweep("wine", over={"lr": "choice(0.01, 1e-9)"}, method="grid", group=folder,
                         **TINY).group  # fmt: skip


def copied(group: fitwell.Group, folder: Path) -> Path:
    shutil.copytree(group.folder, folder)
    return folder


def test_a_member_that_is_gone_is_named_and_trained_again(two, tmp_path: Path, capsys) -> None:
    folder = copied(two, tmp_path / "g")
    shutil.rmtree(folder / "members" / "member-2")
    said = r"member-2 is missing.*fitwell ensemble wine .*--group .*g --resume"
    for use in (fitwell.evaluate, fitwell.ensemble, lambda g: fitwell.Group.open(g).members()):
        with pytest.raises(RunError, match=said):
            use(folder)
    with pytest.raises(RunError, match="member-2 is missing"):
        fitwell.predict(folder, load_builtin("wine").test, output=tmp_path / "p.csv")
    _, found, _ = call(capsys, "list", tmp_path)
    assert found["groups"][0]["missing"] == ["member-2"]
    assert "finished, member-2 missing" in str(list_runs(tmp_path))
    fitwell.ensemble("wine", members=2, group=folder, resume=True, **TINY)
    assert fitwell.evaluate(folder).parts == fitwell.evaluate(two).parts


def test_a_member_of_a_list_that_is_gone_is_named(two, folds, tmp_path: Path) -> None:
    copies = [copied(two, tmp_path / "a"), copied(folds, tmp_path / "b")]
    made = fitwell.ensemble(copies, group=tmp_path / "both", **KEPT)  # a list
    assert made.result == fitwell.Group.open(tmp_path / "both").result
    shutil.rmtree(copies[1] / "members" / "fold-3")
    with pytest.raises(RunError, match=r"fold-3 is missing.*make the group anew"):
        fitwell.evaluate(made.group)


def test_the_best_member_answers_for_a_sweep(swept, tmp_path: Path) -> None:
    best = json.loads((swept / "group.json").read_text())["result"]["best"]["member"]
    alone = fitwell.evaluate(swept / "members" / best)
    found = fitwell.evaluate(swept)
    assert found.parts == alone.parts
    assert f"its best member, {best}, answers" in str(found)
    test = load_builtin("wine").test
    files = [fitwell.predict(place, test, output=tmp_path / name)
             for name, place in (("a", swept), ("b", swept / "members" / best))]  # fmt: skip
    assert rows_of(files[0].path) == rows_of(files[1].path)
    assert best in str(files[0])
    assert list(fitwell.Group.open(swept).runs()) == [best]


def test_the_best_alone_is_the_same_for_all_verbs(folds, tmp_path: Path) -> None:
    found = folds.result
    values = found["scores"][found["metric"]]["values"]
    best = f"fold-{int(np.argmax(values)) + 1}"
    assert found["test"]["best"] == best
    assert fitwell.evaluate(folds).together["test"].best == best
    made = fitwell.ensemble(folds, group=tmp_path / "g", **KEPT)
    assert made.parts["test"].best == best


def test_what_is_not_defined_for_one_row_is_a_dash(tmp_path: Path) -> None:
    file = houses(tmp_path / "few.csv", 12)
    given = {**TINY, "target": "price", "ignore": ("kind",), "test": 0.0, "report": True}
    found = fitwell.crossval("table", file, folds=12, group=tmp_path / "g", **given)
    assert found.leaves_one_out
    assert math.isnan(found.scores["r2"].mean)
    assert found.scores["r2"].interval is None
    (r2,) = [line for line in str(found).splitlines() if line.startswith("r2 ")]
    assert r2.split() == ["r2", "-", "-", "-", "-"]
    assert found.group.result["scores"]["r2"]["mean"] is None
    page = (tmp_path / "g" / "report.html").read_text()
    assert "12 rows, each held out alone" in page
    assert str(found).index("rows ") < str(found).index("held out")


def test_a_mean_is_over_what_is_defined() -> None:
    known = Spread.of("r2", [0.5, 0.7], 0.5)
    found = Spread.of("r2", [0.5, math.nan, 0.7], 0.5)
    assert (found.mean, found.std, found.interval) == (known.mean, known.std, known.interval)


def test_a_member_goes_on_with_its_group(two, folds, tmp_path: Path) -> None:
    folder = copied(two, tmp_path / "g")
    member = fitwell.Group.open(folder).members()[0]
    with pytest.raises(UsageError, match=r"member of a group.*fitwell ensemble wine .*--resume"):
        fitwell.resume(member.folder)
    alone = shutil.copytree(member.folder, tmp_path / "alone")
    with pytest.raises(UsageError, match=r"alone was a member of a group and is no longer in it"):
        fitwell.resume(alone)
    member.update(status="stopped")
    for use in (fitwell.evaluate, fitwell.ensemble):
        with pytest.raises(RunError, match=r"Go on with: fitwell ensemble wine .*--resume"):
            use(folder)


def test_folds_by_time_need_a_row_before_them() -> None:
    times = np.arange(6)
    assert len(cut_folds(6, folds=5, mode="by_time", seed=0, keys=times)) == 5
    with pytest.raises(UsageError, match="at most 5 by time"):
        cut_folds(6, folds=6, mode="by_time", seed=0, keys=times)


def test_members_of_an_own_module_answer_together(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OWN)
    model = f"{tmp_path / 'net.py'}:Net"
    own = fitwell.crossval("digits", folds=2, group=tmp_path / "own", **{**TINY, "model": model})
    with pytest.raises(UsageError, match=r"Give it again with `model`"):
        fitwell.ensemble(own.group, group=tmp_path / "none", **KEPT)
    made = fitwell.ensemble(own.group, model=model, group=tmp_path / "g", **KEPT)
    assert f"--model {model}" in made.group.facts["command"]
    test = load_builtin("digits").test
    assert len(made.group.predict(test, model=model).values) == len(test)


def test_a_model_is_refused_for_runs_that_need_none(two, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`model` must be left out"):
        fitwell.ensemble(two, model="MLP(hidden=(4,))", group=tmp_path / "g", **KEPT)


def test_a_group_is_shown_and_otherwise_told_from_a_run(two, tmp_path: Path, capsys) -> None:
    code, found, _ = call(capsys, "show", two.folder)
    assert (code, found["kind"], len(found["members"])) == (0, "ensemble", 2)
    assert "member-2" in str(show(str(two.folder)))
    for use in (fitwell.crossval, fitwell.baselines):
        with pytest.raises(UsageError, match="a group of kind ensemble"):
            use(two.folder)
    with pytest.raises(RunError, match="a group of kind ensemble"):
        fitwell.export(two.folder, output=tmp_path / "m.onnx")


def test_rows_are_named_alike_in_the_table_and_among_the_disputed(tmp_path: Path) -> None:
    found = fitwell.crossval("digits", folds=2, group=tmp_path / "g", **TINY)
    splits = load_builtin("digits")
    seen = {row[0] for row in rows_of(tmp_path / "g" / "out_of_fold.csv")[1:]}
    record = json.loads((found.group.folder / "evaluation.json").read_text())
    disputed = [item["id"] for item in record["disputed"]]
    assert disputed
    assert {int(name) for name in disputed} <= set(splits.indices["test"])
    assert not seen & set(disputed)


def test_rows_that_are_never_held_out_are_counted(tmp_path: Path) -> None:
    rows = [{**house(n), "day": f"2026-01-{n + 1:02d}"} for n in range(30)]
    file = table(tmp_path / "days.csv", rows)
    given = {**TINY, "target": "price", "ignore": ("kind",), "test": 0.0, "report": True}
    found = fitwell.crossval("table", file, folds=2, split="by_time", split_by="day",
                             group=tmp_path / "g", **given)  # fmt: skip
    words = "first 10 of 30 rows are never held out"
    assert words in str(found)
    assert words in (tmp_path / "g" / "report.html").read_text()


def test_a_class_smaller_than_the_folds_is_named(tmp_path: Path) -> None:
    rows = [{**house(n), "kind": "odd" if n < 4 else "even"} for n in range(60)]
    file = table(tmp_path / "odd.csv", rows)
    found = fitwell.crossval("table", file, folds=5, target="kind", test=0.0,
                             group=tmp_path / "g", **TINY)  # fmt: skip
    assert "class 'odd' has 4 rows for 5 folds" in str(found)


def test_a_file_that_was_trained_on_is_no_new_data(tmp_path: Path) -> None:
    file = houses(tmp_path / "houses.csv", 60)
    given = {**TINY, "target": "price", "ignore": ("kind",)}
    found = fitwell.crossval("table", file, folds=2, group=tmp_path / "g", **given)
    same = shutil.copy(file, tmp_path / "copy.csv")
    again = fitwell.evaluate(found.group, same)
    assert "most of these rows are not new" in str(again)
    assert again.together["data"].paired is None
    new = fitwell.evaluate(found.group, houses(tmp_path / "new.csv", 20, first=200))
    assert new.note == ""


def test_choices_are_told_in_order(house_file: Path, capsys) -> None:
    code, _, err = call(capsys, "crossval", "digits", "--split", "nosuch")
    assert code != 0
    assert "one of auto, by_time, given, grouped, random, stratified" in err
    with pytest.raises(UsageError, match="--split-by COLUMN"):
        fitwell.crossval("table", house_file, target="price", split="grouped")


def test_cross_validations_on_the_same_folds_are_compared_by_fold(folds, tmp_path: Path) -> None:
    given = {**TINY, "lr": 0.02, "group": tmp_path / "g"}
    other = fitwell.crossval("wine", folds=3, **given)
    found = fitwell.compare(folds.folder, other.group.folder, output=None).folds
    assert found is not None
    values = [group.result["scores"]["accuracy"]["values"] for group in (folds, other.group)]
    gaps = np.subtract(values[1], values[0])
    half = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) * np.sqrt(1 / 3 + 1 / 2)
    assert found.differences == pytest.approx((gaps.mean(),))
    expected = (gaps.mean() - half, gaps.mean() + half)
    assert found.difference_intervals[0] == pytest.approx(expected)
    assert "corrected resampled t-test" in str(found)
    unlike = fitwell.crossval("wine", folds=2, **{**given, "group": tmp_path / "h"})
    assert fitwell.compare(folds.folder, unlike.group.folder, output=None).folds is None
