from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import RunError
from fitwell.report import render_report

from .page_checks import check_page, problems, read_page
from .run_factory import make_killed_run, make_regression_run, make_run, write

EVIL = "<script>alert(1)</script>"
MOST_BYTES = 2_000_000  # a page must stay small enough to mail


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "digits-cnn")


def _edit(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    write(folder, name, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _short_run(tmp_path: Path) -> Path:
    """A run of one epoch with a single curve: quick to draw."""
    folder = make_run(tmp_path / "run", pictures=False)
    line = {"kind": "epoch", "epoch": 1, "step": 9, "train": {"loss": 0.5}, "valid": {}}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    return folder


def test_classification_page_shows_what_matters_first(run: Path) -> None:
    page = render_report(run)
    text = check_page(page)
    assert len(page.encode()) < MOST_BYTES
    order = [
        "digits-cnn finished", "Test accuracy 90.8%", "95% interval 87.4% to 93.4%",
        "fitwell train digits --model cnn --epochs 30", "sha256:5f1c0f6e9a2b7d43",
        "Learning curves", "best: epoch 26", "The curves as a table", "26 (best)",
        "Confusion matrix", "Most frequent mistakes", "Wrong and most confident",
        "Other errors, least likely truth first", "lowest recall first",
        "Can its confidence be believed?", "All metrics", "Model", "Loss", "Optimization",
        "Data", "Contact sheet of the training part", "peak memory of the process 412 MB",
        "peak memory on the GPU 1.25 GB", "Versions",
    ]  # fmt: skip
    start = text.index("digits-cnn finished")
    for words in order:
        start = text.index(words, start)  # raises if it is missing or stands before the last one


def test_calibration_is_drawn_said_and_tabled(run: Path) -> None:
    text = check_page(render_report(run))
    assert "3.1% 95% interval 0.0% to 7.0%" in text
    assert "The interval begins at 0, so this may be chance." in text
    assert "80% to 90% 180" in text
    rows = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["calibration"]["bins"]
    gap = sum(row["count"] * row["confidence"] - row["correct"] for row in rows[1:]) / 360
    words = f"{100 * abs(gap):.1f} points too {'sure' if gap > 0 else 'unsure'}"
    assert f"On average it is {words}." in text


def test_confidence_after_scaling_is_drawn_beside_it_and_sets_are_told_about(run: Path) -> None:
    page = render_report(run)
    text = check_page(page)
    assert "Reliability diagram, as it is" in text
    assert "Reliability diagram, at temperature 1.62" in text
    assert page.count("Share of right answers by scaled confidence") >= 1
    assert (
        "At temperature 1.62: 1.2% (95% interval 0.0% to 5.0%), log loss from 0.41 to 0.3." in text
    )
    assert "21.0% of the test part have no single answer" in text
    assert "(fitwell predict --sets 0.1) are asked to hold the right class 90% of the time." in text
    assert "In the test part 90.0% do (95% interval 86.5% to 92.7%), with 1.25 classes" in text
    assert "0.0% hold none and 21.0% several" in text
    assert "Of the sets of one class, 95.0% are right." in text
    assert "more often than was asked" not in text
    assert "too few for any set but all" not in text


def test_sets_of_too_few_examples_and_of_good_models_are_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    record = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["calibration"]
    sets = {**record["conformal"], "threshold": None, "empty": 0.08, "several": 0.02}
    _edit(folder, "evaluation.json", calibration={**record, "conformal": sets})
    text = check_page(render_report(folder))
    assert "288 validation examples are too few for any set but all." in text
    assert "The model is right more often than was asked: ask for a smaller share." in text


def test_runs_without_scaling_show_one_diagram(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    record = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["calibration"]
    for name in ("scaled", "temperature", "conformal"):
        record.pop(name)
    _edit(folder, "evaluation.json", calibration=record)
    text = check_page(render_report(folder))
    assert "Reliability diagram" in text
    for words in ("as it is", "temperature", "Sets of classes"):
        assert words not in text


def test_commands_name_the_folder_as_it_was_opened(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    text = check_page(render_report("digits-cnn"))
    for words in ("fitwell train --like digits-cnn", "fitwell evaluate digits-cnn"):
        assert words in text
    assert "fitwell resume" not in text
    killed = make_killed_run(tmp_path / "two words" / "run")
    words = f"continue a killed run with: fitwell resume '{killed}'"
    assert words in check_page(render_report(killed))


def test_runs_of_before_these_records_still_render(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    for name in ("evaluation.json", "result.json"):
        record = json.loads((folder / name).read_text(encoding="utf-8"))
        new = ("calibration", "worst", "peak_memory", "peak_device_memory")
        write(folder, name, {key: record[key] for key in record if key not in new})
    text = check_page(render_report(folder))
    assert "Not recorded, so not shown: pictures or ranges of the training data" in text
    assert "when it ends" not in text
    for words in ("Can its confidence", "peak memory", "Contact sheet", "Other errors"):
        assert words not in text


def test_same_records_give_the_same_bytes_in_another_process(run: Path) -> None:
    code = (
        "import sys, matplotlib; matplotlib.rcParams.update({'font.size': 33, 'axes.grid': False});"
        "from fitwell.report import render_report;"
        "sys.stdout.buffer.write(render_report(sys.argv[1]).encode())"
    )
    command = [sys.executable, "-c", code, str(run)]
    other = subprocess.run(command, capture_output=True, check=True).stdout
    assert other == render_report(run).encode()


def test_confusion_counts_are_those_of_the_record(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    page = render_report(run)
    for true, row in enumerate(evaluation["confusion"]):
        for guess, n in enumerate(row):
            if n:
                assert f'title="{true} read as {guess}: {n} (' in page


def test_everything_is_escaped(tmp_path: Path) -> None:
    names = (EVIL, 'a"b', "a & b", "$x_1^2$", "类别", "#010101", "{{ 7 * 7 }}")
    folder = make_run(tmp_path / "run<b>", class_names=names)
    _edit(
        folder,
        "run.json",
        command=f"fitwell train {EVIL}",
        task=EVIL,
        status=EVIL,
        created=EVIL,
        error=EVIL,
        settings={"model": {EVIL: EVIL, "spec": EVIL}, EVIL: {"a": {EVIL: [EVIL]}}},
        data={"source": EVIL, "fingerprint": EVIL, "how": {EVIL: EVIL}, "counts": {EVIL: 3}},
        versions={EVIL: EVIL},
        machine={EVIL: EVIL},
        schema={"class_names": names, "columns": [{"name": EVIL, "kind": EVIL,
                "categories": [EVIL]}], "target_name": EVIL, "input_shape": [EVIL]},
    )  # fmt: skip
    page = render_report(folder)
    text = check_page(page)
    assert EVIL not in page
    assert EVIL in text
    for name in names[1:]:
        assert name in text


def test_balance_of_the_training_part_and_intervals_as_pairs(tmp_path: Path) -> None:
    folder = _short_run(tmp_path)
    data = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
    _edit(folder, "run.json", data={**data, "balance": {"train": [5] * 10}})
    row = {"name": "7", "recall": 0.5, "support": 4, "recall_interval": [0.125, 0.875]}
    _edit(folder, "evaluation.json", per_class=[row])
    text = check_page(render_report(folder))
    assert "Class balance, training part" in text
    assert "12.5% to 87.5%" in text


def test_headline_is_the_metric_the_run_was_chosen_by(tmp_path: Path) -> None:
    folder = _short_run(tmp_path)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    write(folder, "result.json", {**result, "test": {"accuracy": 0.9, "macro_f1": 0.8}})
    settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]
    assert "Test accuracy 90.0%" in check_page(render_report(folder))
    _edit(folder, "run.json", settings={**settings, "loss": {"metric": "macro_f1"}})
    assert "Test macro F1 80.0%" in check_page(render_report(folder))


def test_many_classes_are_drawn_not_tabled(tmp_path: Path) -> None:
    names = tuple(f"species {i} {EVIL}" for i in range(120))
    page = render_report(make_run(tmp_path / "many", class_names=names, test_rows=900))
    text = check_page(page)
    assert 'class="heat"' not in page
    assert "20 classes with higher recall are not listed" in text
    assert "most frequent confusions as a table" in text
    assert "96 more are not shown" in text
    assert "class sizes from " in text
    assert len(page.encode()) < MOST_BYTES


def test_pictures_that_are_no_png_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    examples = [
        {"id": "a", "target": "1", "prediction": "2", "probability": 0.9, "picture": bad}
        for bad in ('"><script>', "PHN2Zz4=", "", None, 7, "AAAA\n")
    ]
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    write(folder, "evaluation.json", {**evaluation, "examples": examples})
    page = render_report(folder)
    check_page(page)
    assert "<img" not in page
    assert "instead of" not in page


def test_pictures_stay_within_their_budget(tmp_path: Path) -> None:
    import base64

    folder = make_run(tmp_path / "run", pictures=False)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 300_000).decode()
    example = {"id": "a", "target": "1", "prediction": "2", "probability": 0.9, "picture": picture}
    _edit(folder, "evaluation.json", examples=[example] * 24)
    page = render_report(folder)
    check_page(page)
    assert 0 < page.count("<img") < 24
    assert len(page.encode()) < MOST_BYTES


def test_regression_page(tmp_path: Path) -> None:
    folder = make_regression_run(tmp_path / "houses", points=2000)
    page = render_report(folder)
    text = check_page(page)
    assert "Test RMSE" in text
    assert "95% interval" in text
    assert "Residuals" in text
    assert "Trier & Umland" in text
    for words in ("Predicted against true", "Residual against predicted", "Histogram of the"
                  " residuals", "against a normal distribution", "Furthest from the truth",
                  "share below lowest 5%", "Ulm (200), Trier & Umland (90)", "30 (10.0%)",
                  "300 (100.0%)", "price target"):  # fmt: skip
        assert words in text
    assert "Confusion" not in text
    assert len(page.encode()) < MOST_BYTES


def test_interval_is_left_out_when_points_are_only_a_sample(tmp_path: Path) -> None:
    folder = make_regression_run(tmp_path / "houses")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    write(folder, "result.json", {**result, "test": {"rmse": 2 * result["test"]["rmse"]}})
    assert "95% interval" not in check_page(render_report(folder))


def test_killed_run_says_what_is_missing(tmp_path: Path) -> None:
    text = check_page(render_report(make_killed_run(tmp_path / "killed")))
    assert "was killed after epoch 7 of 30" in text
    assert "Not recorded, so not shown: errors and calibration (evaluation.json) and" in text
    assert "Training records them when it ends." in text
    assert "Validation accuracy" in text
    assert "damaged" not in text  # a line that was being written is no damage


@pytest.mark.parametrize("missing", ["result.json", "evaluation.json", "metrics.jsonl"])
def test_any_record_may_be_missing(tmp_path: Path, missing: str) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    (folder / missing).unlink()
    check_page(render_report(folder))


@pytest.mark.parametrize("content", ["", "[1]", "{", "null", "\x00"])
def test_damaged_records_are_named(tmp_path: Path, content: str) -> None:
    folder = _short_run(tmp_path)
    for name in ("result.json", "evaluation.json"):
        (folder / name).write_text(content, encoding="utf-8")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("\x00{\n[1]\n")
    text = check_page(render_report(folder))
    for name in ("result.json", "evaluation.json", "metrics.jsonl (2 lines)"):
        assert f"{name} is damaged and was left out" in text


@pytest.mark.parametrize("odd", [None, 3, "text", [], {}, [None], {"a": None}, [[1], [2, 3]], True])
def test_entries_of_odd_kinds_are_tolerated(tmp_path: Path, odd: Any) -> None:
    folder = _short_run(tmp_path)
    for kind in ("epoch", "step"):
        line = {"kind": kind, kind: 2, **dict.fromkeys(("train", "valid", "loss", "lr"), odd)}
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    for name in ("result.json", "evaluation.json"):
        keys = json.loads((folder / name).read_text(encoding="utf-8"))
        write(folder, name, dict.fromkeys(keys, odd))
    write(folder, "data.json", dict.fromkeys(("sheet", "columns", "target"), odd))
    keys = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    write(folder, "run.json", {**dict.fromkeys(keys, odd), "format": 1})
    check_page(render_report(folder))


@pytest.mark.parametrize("odd", [None, "text", [[1], [2, 3]], {"low": "a"}, -3, True])
def test_odd_entries_further_down_are_tolerated(tmp_path: Path, odd: Any) -> None:
    folder = _short_run(tmp_path)
    column = {"name": "a", "rows": odd, "missing": odd, "low": odd, "bins": odd, "common": [odd]}
    bins = [odd, {"low": 0, "high": 1, "count": odd, "correct": 1, "confidence": 0.5}]
    example = {"id": odd, "row": odd, "target": odd, "prediction": odd, "probability": odd}
    _edit(
        folder,
        "evaluation.json",
        calibration={
            "ece": 0.1,
            "ece_interval": odd,
            "bins": bins,
            "scaled": {"ece": 0.1, "ece_interval": [odd], "bins": bins},
            "temperature": {"value": odd, "loss_before": 1, "loss_after": 1, "fitted_on": odd},
            "conformal": {"alpha": odd, "coverage": 1, "coverage_interval": odd, "empty": odd},
        },
        examples=[odd, example],
        worst=[example],
    )
    row = {"label": odd, "count": odd, "shown": odd, "picture": odd}
    sheet = {"across": odd, "rows": [odd, row], "more": odd}
    write(folder, "data.json", {"sheet": sheet, "columns": [odd, column], "target": column})
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    columns = [{"name": "a", "kind": "number", "categories": []}]
    _edit(folder, "run.json", schema={**run["schema"], "columns": columns})
    check_page(render_report(folder))


def test_null_losses_are_gaps(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", pictures=False)
    lines = [
        {"kind": "epoch", "epoch": e, "step": e, "train": {"loss": None}, "valid": {"loss": loss}}
        for e, loss in ((1, 0.5), (2, None), (3, 0.25))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert "validation" in check_page(render_report(folder))


def test_every_image_has_words(run: Path) -> None:
    page = render_report(run)
    assert page.count("<img") == page.count('alt="Example')
    assert page.count("<svg") == page.count('role="img" aria-label="') - page.count('class="band"')
    assert read_page(page).tags.count("h1") == 1


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"`run` must be a run folder; got .* \(has no run.json\)"):
        render_report(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        render_report(tmp_path / "nowhere")


def test_nothing_trained_yet(tmp_path: Path) -> None:
    write(tmp_path, "run.json", {"format": 1, "status": "new"})
    with pytest.raises(RunError, match="nothing was trained yet"):
        render_report(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not readable JSON"), ('{"format": 2}', "newer than 1"), ('{"format": "x"}', "newer")],
)
def test_foreign_run_record(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=words):
        render_report(tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        "<p><b></p></b>",
        "<p>",
        '<img src="http://x.org/a.png">',
        "<p>http://x.org</p>",
        "<script></script>",
        '<p onclick="x"></p>',
        '<p id="a"></p><p id="a"></p>',
        '<a href="#b"></a>',
        '<p style="background:url(x.png)"></p>',
    ],
)
def test_page_checks_do_fail(bad: str) -> None:
    assert problems(bad) != []
    assert problems("<p>good</p>") == []
