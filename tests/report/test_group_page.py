"""The page of a group, from folders as the verbs leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import RunError
from fitwell.core.groups import find_groups, is_group, member_folders, read_group
from fitwell.report import render_group
from fitwell.report._groups._figures import Standing, standings

from .page_checks import problems, read_page
from .run_factory import make_regression_run, make_run, write

EVIL = "<script>alert(1)</script>"
WORDS = "the ensemble is right on 9 examples that fold-2 gets wrong (exact McNemar test)."


def together(part: str, names: tuple[str, ...], metric: str = "accuracy") -> dict[str, Any]:
    return {
        "part": part, "examples": 360, "combine": "probs", "metric": metric, "best": names[1],
        "members": {name: {metric: 0.9 + n / 100, "loss": 0.2} for n, name in enumerate(names)},
        "scores": {metric: 0.94, "loss": 0.15}, "mean": 0.91, "interval": [0.91, 0.96],
        "paired": {"words": WORDS}, "disagreement": 0.04,
    }  # fmt: skip


def folds(folder: Path, count: int = 3, **changes: Any) -> Path:
    names = tuple(f"fold-{n + 1}" for n in range(count))
    for number, name in enumerate(names):
        make_run(folder / "members" / name, seed=number, pictures=False)
        facts = json.loads((folder / "members" / name / "run.json").read_text())
        write(folder / "members" / name, "run.json", {**facts, "fold": {"held_out": "test"}})
    values = [0.9 + n / 100 for n in range(count)]
    result = {
        "group": str(folder), "mode": "stratified", "folds": count, "repeats": 1,
        "metric": "accuracy", "honest": True, "nested": {}, "out_of_fold": {"accuracy": 0.912},
        "scores": {"accuracy": {"values": values, "mean": 0.91, "std": 0.01,
                                "interval": [0.88, 0.94]}},
        "test": together("test", names),
        **changes,
    }  # fmt: skip
    group = {
        "format": 1, "kind": "crossval", "status": "finished", "command": "fitwell crossval x",
        "created": "2026-01-01T00:00:00.000", "settings": {"folds": count, "mode": "stratified"},
        "versions": {"fitwell": "0.1.0", "torch": "2.13"}, "result": result,
    }  # fmt: skip
    write(folder, "group.json", group)
    disputed = [
        {"id": EVIL, "picture": None, "row": {"a": 1.5}, "target": "8",
         "answers": dict(zip(names, ("8", "3", "3"), strict=False))},
    ]  # fmt: skip
    own = json.loads((folder / "members" / "fold-1" / "evaluation.json").read_text())
    write(folder, "evaluation.json", {**own, "part": "valid", "disputed": disputed})
    return folder


def text_of(page: str) -> str:
    found = [problem for problem in problems(page) if not problem.endswith(" is outside")]
    assert found == []
    return " ".join(" ".join(read_page(page).text).split())


def test_a_page_of_folds_is_well_formed_and_says_what_the_records_say(tmp_path: Path) -> None:
    folder = folds(tmp_path / "digits")
    (folder / "members" / "fold-2" / "report.html").write_text("a page")
    page = render_group(folder)
    text = text_of(page)
    assert "Held-out accuracy, mean of 3 folds 91.0%" in text
    assert "95% interval 88.0% to 94.0%" in text
    assert "standard deviation 1.0 points" in text
    assert "test accuracy 94.0%" in text
    assert "The ensemble is right on 9 examples that fold-2 gets wrong" in text
    assert "Where it is wrong, on the held-out part" in text
    assert "3 (2), 8" in text
    assert "Validation accuracy of each member" in text
    assert "fitwell crossval x" in text
    assert EVIL not in page
    links = [link for link in read_page(page).references if link.startswith("members/")]
    assert links == ["members/fold-1/", "members/fold-2/report.html", "members/fold-3/"]
    assert all((folder / link).exists() for link in links)


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    folder = folds(tmp_path / "digits")
    assert render_group(folder) == render_group(folder)


def test_many_folds_without_a_test_part_share_a_row(tmp_path: Path) -> None:
    folder = folds(tmp_path / "many", 3, test=None, honest=False)
    text = text_of(render_group(folder))
    assert "The held-out rows also chose the epoch of each member" in text
    assert "alone and together" not in text.replace("Scores, alone and together", "")
    rows = [Standing(name=f"m{n}", value=0.9) for n in range(40)]
    drawn = standings(rows, title="t", metric="accuracy")
    assert "40 members" in drawn
    assert "m39" not in drawn


def test_choices_inside_folds_are_shown(tmp_path: Path) -> None:
    nested = {
        "metric": "accuracy", "chosen": {"lr=0.01": 2, EVIL: 1}, "inside": 0.95,
        "by_fold": ["lr=0.01", EVIL, "lr=0.01"],
        "scores": [{"lr=0.01": 0.9 + n / 50, EVIL: None} for n in range(3)],
    }  # fmt: skip
    page = render_group(folds(tmp_path / "nested", nested=nested))
    assert "scored 95.0% inside, where they were chosen, and 91.0% on rows" in text_of(page)
    assert EVIL not in page


def test_a_page_of_an_ensemble_of_runs_elsewhere(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one run", seed=1, lr=0.1)
    two = make_run(tmp_path / "two", seed=2, lr=0.2)
    folder = tmp_path / "groups" / "pair"
    write(folder, "group.json", {
        "format": 1, "kind": "ensemble", "status": "finished", "settings": {"combine": "probs"},
        "members": {"one": "../../one run", "two": "../../two", "gone": "../../gone"},
        "weights": {"one": 0.25, "two": 0.75, "gone": 0.0},
        "result": {"metric": "accuracy", "selected_on": "valid",
                   "parts": {part: together(part, ("one", "two")) for part in ("valid", "test")}},
    })  # fmt: skip
    page = render_group(folder)
    text = text_of(page)
    assert "test accuracy of the ensemble 94.0%" in text
    assert "The validation part chose the members" in text
    assert "1 member is no longer where it was" in text
    assert "75.0%" in text
    links = [link for link in read_page(page).references if link.startswith("..")]
    assert links == ["../../one%20run/", "../../two/"]
    assert (one / "run.json").exists()
    assert (two / "run.json").exists()


def test_a_page_of_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "numbers"
    for name in ("member-1", "member-2"):
        make_regression_run(folder / "members" / name)
    write(folder, "group.json", {
        "format": 1, "kind": "ensemble", "status": "finished",
        "result": {"metric": "rmse",
                   "parts": {"test": together("test", ("member-1", "member-2"), "rmse")}},
    })  # fmt: skip
    own = json.loads((folder / "members" / "member-1" / "evaluation.json").read_text())
    disputed = [{"id": "7", "target": "2", "row": {"a": None, "b": "x"},
                 "answers": {"member-1": "1.25", "member-2": "-3.5"}}]  # fmt: skip
    write(folder, "evaluation.json", {**own, "disputed": disputed})
    text = text_of(render_group(folder))
    assert "7 2 −3.5 to 1.25 a none; b x" in text
    assert "test RMSE of the ensemble" in text
    assert "spread of answers" in text
    assert "Histogram of the residuals" in text


def test_what_is_no_finished_group_is_refused(tmp_path: Path) -> None:
    folder = folds(tmp_path / "g")
    facts = read_group(folder)
    write(folder, "group.json", {**facts, "result": {}})
    with pytest.raises(RunError, match="has no result yet"):
        render_group(folder)
    with pytest.raises(RunError, match=r"has no group\.json"):
        render_group(tmp_path)
    write(folder, "group.json", {**facts, "format": 2})
    with pytest.raises(RunError, match="`format` must be 1; got 2"):
        read_group(folder)
    (folder / "group.json").write_text("[1]")
    with pytest.raises(RunError, match=r"is not the group\.json of a fitwell group"):
        read_group(folder)
    (folder / "group.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_group(folder)


def test_members_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write(tmp_path / "g" / "members" / f"fold-{number}", "run.json", {})
    assert list(member_folders(tmp_path / "g", {})) == ["fold-1", "fold-2", "fold-10"]
    write(tmp_path / "g", "group.json", {"format": 1, "kind": "crossval"})
    assert is_group(tmp_path / "g")
    assert not is_group(tmp_path)
    assert find_groups(tmp_path) == (tmp_path / "g",)
