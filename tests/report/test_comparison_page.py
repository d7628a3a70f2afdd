from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fitwell.core.errors import RunError, UsageError
from fitwell.core.significance import mcnemar, signed_rank
from fitwell.report import compare_runs, render_comparison
from fitwell.report._significance import rmse_difference

from .page_checks import check_page
from .run_factory import make_killed_run, make_regression_run, make_run, write

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_run(folder / "first", pictures=False),
        make_run(folder / "second", seed=5, skill=0.7, lr=0.001, pictures=False),
        make_killed_run(folder / "killed"),
    ]


def test_only_settings_that_differ_are_listed(runs: list[Path]) -> None:
    found = compare_runs(runs[:2])
    assert [(row.section, row.name) for row in found.settings] == [("optimization", "optimizer")]
    assert found.settings[0].values == (
        "AdamW(lr=0.003, weight_decay=0.01)",
        "AdamW(lr=0.001, weight_decay=0.01)",
    )


def test_setting_that_one_run_lacks_is_a_difference(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", pictures=False)
    second = make_run(tmp_path / "b", pictures=False)
    record = json.loads((second / "run.json").read_text(encoding="utf-8"))
    del record["settings"]["optimization"]["augment"]
    record["data"]["how"]["seed"] = 1
    write(second, "run.json", record)
    rows = {(r.section, r.name): r.values for r in compare_runs([first, second]).settings}
    assert rows == {
        ("optimization", "augment"): ("Chain(Crop(padding=1))", "–"),
        ("data", "how.seed"): ("0", "1"),
    }


def test_metrics_name_the_best(runs: list[Path]) -> None:
    rows = {(row.part, row.metric): row for row in compare_runs(runs).metrics}
    assert rows["test", "accuracy"].best == (0,)
    assert rows["test", "accuracy"].values[2] is None
    assert rows["test", "loss"].best == ()  # all the same
    assert rows["valid", "loss"].best == (0, 1)
    assert rows["train", "accuracy"].intervals == (None, None, None)
    assert rows["valid", "accuracy"].intervals[2] is not None


def test_paired_counts_are_those_of_the_predictions(runs: list[Path]) -> None:
    (pair,) = compare_runs(runs).paired
    right = []
    for run in runs[:2]:
        with np.load(run / "predictions_test.npz") as file:
            right.append(file["target"] == file["prediction"])
    won, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert (pair.first_better, pair.second_better, pair.examples) == (won, lost, 360)
    assert pair.p == mcnemar(won, lost)
    assert str(pair).startswith(f"first is right on {won} examples that second gets wrong")
    assert (pair.metric, pair.part) == ("accuracy", "test")
    assert pair.difference == pytest.approx(right[0].mean() - right[1].mean())
    assert pair.interval[0] < pair.difference < pair.interval[1]
    assert "Difference in accuracy, first minus second: +" in str(pair)


def _predictions(folder: Path, ids: list[str], target: list[int], prediction: list[int]) -> None:
    np.savez(
        folder / "predictions_test.npz",
        ids=np.array(ids), target=np.array(target), prediction=np.array(prediction),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "target", "counts"),
    [
        (["c", "b", "a"], [2, 1, 0], (1, 0)),  # another order, the same examples
        (["a", "b", "d"], [0, 1, 2], None),  # another example
        (["a", "b", "c"], [0, 1, 1], None),  # another truth
        (["a", "a", "b"], [0, 1, 2], None),  # an id twice
    ],
)
def test_pairs_are_matched_by_id(
    tmp_path: Path, ids: list[str], target: list[int], counts: tuple[int, int] | None
) -> None:
    first = make_run(tmp_path / "a", pictures=False)
    second = make_run(tmp_path / "b", pictures=False)
    _predictions(first, ["a", "b", "c"], [0, 1, 2], [0, 1, 2])
    wrong_on_a = [9 if name == "a" else true for name, true in zip(ids, target, strict=True)]
    _predictions(second, ids, target, wrong_on_a)
    found = compare_runs([first, second]).paired
    assert [(pair.first_better, pair.second_better) for pair in found] == (
        [counts] if counts else []
    )


def test_predictions_cannot_execute_code(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", pictures=False)
    second = make_run(tmp_path / "b", pictures=False)
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(second / "predictions_test.npz", ids=objects, target=objects, prediction=objects)
    assert compare_runs([first, second]).paired == ()


def test_several_pairs_are_corrected(runs: list[Path], tmp_path: Path) -> None:
    third = make_run(tmp_path / "third", seed=5, skill=0.7, pictures=False)
    alone = compare_runs([runs[0], third]).paired[0]
    among = compare_runs([*runs, third]).paired
    assert [pair.p for pair in among] == pytest.approx([2 * alone.p] * 2)
    assert "Holm-corrected for 2 pairs" in str(among[0])


def test_regression_runs_are_paired_by_their_squared_errors(tmp_path: Path) -> None:
    first = make_regression_run(tmp_path / "a", points=300)
    second = make_regression_run(tmp_path / "b", points=300)
    with np.load(second / "predictions_test.npz") as file:
        found = dict(file)
    worse = found["prediction"] + 25
    order = np.random.default_rng(0).permutation(300)
    np.savez(
        second / "predictions_test.npz",
        ids=found["ids"][order], target=found["target"][order], prediction=worse[order],
    )  # fmt: skip
    (pair,) = compare_runs([first, second]).paired
    one, two = ((p - found["target"]) ** 2 for p in (found["prediction"], worse))
    assert (pair.metric, pair.examples) == ("rmse", 300)
    assert pair.first_better == (one < two).sum()
    assert pair.second_better == (two < one).sum()
    assert pair.difference == pytest.approx(np.sqrt(one.mean()) - np.sqrt(two.mean()))
    assert pair.interval == pytest.approx(rmse_difference(one.tolist(), two.tolist()), rel=0.1)
    assert pair.p == pytest.approx(signed_rank((one - two).tolist()))
    assert pair.p < 1e-4
    page = check_page(render_comparison([first, second]))
    assert f"a is closer on {pair.first_better} examples" in page
    assert "Wilcoxon signed-rank test of the squared errors on 300 test examples" in page


def test_a_regression_and_a_classification_are_not_paired(tmp_path: Path) -> None:
    numbers = make_regression_run(tmp_path / "a", points=20)
    classes = make_run(tmp_path / "b", pictures=False, test_rows=20)
    for run in (numbers, classes):
        _predictions(run, ["a"], [1], [1])
    assert compare_runs([numbers, classes]).paired == ()


def test_predictions_that_are_no_numbers_are_not_paired(tmp_path: Path) -> None:
    runs = [make_regression_run(tmp_path / name, points=20) for name in "ab"]
    for run in runs:
        np.savez(
            run / "predictions_test.npz",
            ids=np.array(["a"]), target=np.array([1.0]), prediction=np.array([np.nan]),
        )  # fmt: skip
    assert compare_runs(runs).paired == ()


def test_without_a_test_part_the_validation_part_is_paired(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, pictures=False, test_rows=50) for name in "ab"]
    for folder in folders:
        (folder / "predictions_test.npz").rename(folder / "predictions_valid.npz")
    (pair,) = compare_runs(folders).paired
    assert (pair.part, pair.p, pair.interval) == ("validation", 1, (0, 0))
    assert "on 50 validation examples" in str(pair)


def test_page(runs: list[Path]) -> None:
    page = render_comparison(runs)
    text = check_page(page)
    assert page == render_comparison(runs)
    for words in ("3 runs side by side", "Is the difference real?", "Validation accuracy",
                  "Learning rate", "Settings that differ", "Not finished: killed",
                  "peak memory on the GPU 1.25 GB 1.25 GB –", "training time 41.7 s"):  # fmt: skip
        assert words in text


def test_page_is_escaped(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name / EVIL[:8], pictures=False) for name in "ab"]
    for index, folder in enumerate(folders):
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        record["settings"]["model"] = {EVIL: EVIL * (index + 1)}
        write(folder, "run.json", record)
    page = render_comparison(folders)
    assert EVIL in check_page(page).replace("( ", "(")
    assert "<script" not in page


def test_names_tell_runs_of_equal_folders_apart(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name / "run", pictures=False) for name in "ab"]
    assert compare_runs(folders).names == ("a/run", "b/run")


def test_different_data_is_said(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, pictures=False) for name in "ab"]
    record = json.loads((folders[1] / "run.json").read_text(encoding="utf-8"))
    record["data"]["fingerprint"] = "other"
    write(folders[1], "run.json", record)
    assert compare_runs(folders).warnings == (
        "The runs used different data, so their metrics are not comparable.",
    )


def test_ten_runs_make_a_page(runs: list[Path], tmp_path: Path) -> None:
    more = [make_run(tmp_path / f"run-{i}", seed=i, pictures=False) for i in range(9)]
    check_page(render_comparison([runs[0], *more]))


def test_fewer_than_two_runs(runs: list[Path]) -> None:
    for folders in ([], runs[:1], [runs[0], runs[0]]):
        with pytest.raises(UsageError, match="`runs` must be at least two different run folders"):
            compare_runs(folders)


def test_not_a_run(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be a run folder"):
        render_comparison([runs[0], tmp_path])
