"""The page of a sweep, from a folder as the verb leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import RunError
from fitwell.report import render_sweep
from fitwell.report._groups._sweep_figures import (
    SettingAxis,
    all_settings,
    along_setting,
    rung_scores,
)
from fitwell.report._groups._sweep_page import _short_names
from fitwell.report._records import read_records

from .page_checks import problems, read_page
from .run_factory import make_run, write

EVIL = "<script>alert(1)</script>"
RATES = (0.3, 0.01, 0.001, 0.0001)


def row(number: int, valid: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "member": f"trial-00{number}", "trial": number, "status": "finished", "valid": valid,
        "values": {"lr": RATES[number], "model": "MLP" if number % 2 else EVIL},
        "test": 0.9, "epochs": 30, "best_epoch": 26, "parameters": 421642, "seconds": 41.7,
        "stopped": None, **changes,
    }  # fmt: skip


def make_sweep(folder: Path, **changes: Any) -> Path:
    rows = [
        row(2, 0.97),
        row(1, 0.95),
        row(0, 0.91, epochs=3, stopped="not among the best 2 of 3 trials after 3 epochs"),
        row(3, None, status="failed", stopped="TrainingError: the loss became NaN. Lower it."),
    ]
    for number in (0, 1, 2):
        make_run(folder / "members" / f"trial-00{number}", seed=number, pictures=False)
    result = {
        "metric": "accuracy", "mode": "max", "members": rows, "refit": [],
        "best": {**rows[0], "command": "fitwell train digits --lr 0.001"},
        "final": {"test": 0.9611, "interval": [0.936, 0.977], "over": "examples", "seeds": 0},
        "dimensions": [
            {"name": "lr", "kind": "range", "low": 1e-4, "high": 1.0, "log": True, "whole": False},
            {"name": "model", "kind": "choice", "labels": [EVIL, "MLP"], "each": False},
        ],
        "importance": {
            "metric": "accuracy", "members": 4, "explained": 0.71,
            "shares": {"lr": 0.8, "model": 0.15}, "together": 0.05,
            "effects": {
                "lr": {"at": [0.0001, 0.01, 1.0], "mean": [0.5, 0.95, 0.2]},
                "model": {"at": [EVIL, "MLP"], "mean": [0.7, 0.8]},
            },
        },
        "rungs": [[{
            "epochs": 3, "scores": {"0": 0.7, "1": 0.9, "2": 0.8}, "kept": [1, 2],
            "judged": [0, 1, 2],
        }]],
        **changes,
    }  # fmt: skip
    group = {
        "format": 1, "kind": "sweep", "status": "finished", "command": "fitwell sweep digits",
        "created": "2026-01-01T00:00:00.000", "settings": {"method": "random()"}, "result": result,
    }  # fmt: skip
    write(folder, "group.json", group)
    return folder


def text_of(page: str) -> str:
    found = [problem for problem in problems(page) if not problem.startswith("members/")]
    assert found == []
    return " ".join(" ".join(read_page(page).text).split())


def test_a_page_is_well_formed_and_says_what_the_records_say(tmp_path: Path) -> None:
    page = render_sweep(make_sweep(tmp_path / "rates"))
    text = text_of(page)
    assert "96.1%" in text
    assert "95% interval over examples 93.6% to 97.7%" in text
    assert "the best of all, so optimistic" in text
    assert "1 member ended without a score" in text
    assert "a forest that predicts 71%" in text
    assert "after 3 epochs 2 of 3" in text
    assert "fitwell train digits --lr 0.001" in text
    assert "TrainingError: the loss became NaN" in text
    assert EVIL not in page
    links = [link for link in read_page(page).references if link.startswith("members/")]
    assert links == [f"members/trial-00{number}/" for number in (2, 1, 0)]  # 3 never began
    assert all((tmp_path / "rates" / link).is_dir() for link in links)


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rates")
    assert render_sweep(folder) == render_sweep(folder)


def test_a_forest_that_explains_little_is_not_believed(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "a")
    group = json.loads((folder / "group.json").read_text(encoding="utf-8"))
    group["result"]["importance"]["explained"] = 0.1
    write(folder, "group.json", group)
    assert "too little to trust these shares" in text_of(render_sweep(folder))


def test_few_members_no_rungs_and_no_test_part(tmp_path: Path) -> None:
    final = {"test": None, "interval": None, "over": "examples", "seeds": 0}
    folder = make_sweep(tmp_path / "b", importance={}, rungs=[], final=final)
    text = text_of(render_sweep(folder))
    assert "there are too few members for one" in text
    assert "The line is" not in text
    assert "Which trials went on" not in text
    assert "There is no test part" in text
    assert (
        "Validation accuracy, of trial-002" in text or "validation accuracy, of trial-002" in text
    )


def test_data_model_and_status_stand_under_the_name(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rates")
    records = read_records(folder / "members" / "trial-000")
    text = text_of(render_sweep(folder))
    assert f"finished {records.run['data']['source']} {records.model} random()" in text


def test_a_sweep_without_a_best_still_has_a_page(tmp_path: Path) -> None:
    rows = [row(k, None, status="failed", epochs=0, seconds=None, stopped="no") for k in range(2)]
    folder = make_sweep(tmp_path / "none", members=rows, best=None, final=None, rungs=[])
    text = text_of(render_sweep(folder))
    assert "No member has a score" in text
    assert "failed 2 of 2 members" in text
    assert "Train the best alone" not in text


def test_new_seeds_are_named(tmp_path: Path) -> None:
    final = {"test": 0.95, "interval": [0.93, 0.97], "over": "seeds", "seeds": 3, "new": True}
    text = text_of(render_sweep(make_sweep(tmp_path / "c", final=final)))
    assert "mean of 3 new seeds" in text
    assert "95% interval over seeds 93.0% to 97.0%" in text


def test_what_is_no_finished_sweep_is_refused(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "d", members=[])
    with pytest.raises(RunError, match="must be a finished sweep"):
        render_sweep(folder)
    with pytest.raises(RunError, match=r"has no group\.json"):
        render_sweep(tmp_path)


def test_places_on_an_axis() -> None:
    log = SettingAxis(name="lr", log=True, ends=(1e-4, 1.0))
    assert [log.place(value) for value in (1e-4, 1e-2, 1.0)] == pytest.approx([0, 0.5, 1])
    plain = SettingAxis(name="width", ends=(10.0, 20.0))
    assert plain.place(15) == 0.5
    assert SettingAxis(name="model", labels=("a", "b")).place("b") == 0.75


def test_figures_say_their_numbers_and_mark_the_best() -> None:
    axis = SettingAxis(name="lr", log=True, ends=(1e-4, 1.0))
    svg = along_setting(axis, [0.1, 0.01, 0.5], [0.3, 0.1, 40.0], title="loss", best=1, lower=True)
    assert "3 members, from 0.1 to 40; the best, 0.1, at lr 0.01" in svg
    both = [axis, SettingAxis(name="model", labels=("a", "b"))]
    rows = [{"lr": 0.1, "model": "a"}, {"lr": 0.2, "model": "b"}, {"lr": 0.3}]
    svg = all_settings(both, rows, [0.1, 0.2, 0.3], title="all", metric="loss", best=0, lower=True)
    assert "3 members; the best has lr 0.1, model a" in svg
    rungs = [{"epochs": 1, "scores": {"0": 0.1, "1": None}, "kept": [0], "judged": [0, 1]}]
    assert "after 1: 1 of 2 went on" in rung_scores(rungs, title="rungs")


def test_names_are_as_short_as_they_can_be() -> None:
    names = ["lr", "model.hidden.times", "model.hidden.value", "optimizer.SGD.lr", "model.dropout"]
    assert _short_names(names) == [
        "lr",
        "hidden.times",
        "hidden.value",
        "optimizer.SGD.lr",
        "dropout",
    ]
