"""The verbs that look things up: list, list methods, show, cite, coverage."""

import json
from pathlib import Path
from typing import Any

import pytest

from fitwell import __version__
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.verbs._lookup import cite, coverage, list_methods, list_runs, show

RUN: dict[str, Any] = {
    "format": 1,
    "status": "finished",
    "task": "images",
    "settings": {
        "model": {"spec": "Linear()", "own": False},
        "loss": {"source": "fashion_mnist", "loss": "NoSuchLoss()", "path": "photos (1"},
        "optimization": {
            "optimizer": "AdamW(lr=0.001)",
            "schedule": "Linear()",
            "augment": "[Flip(), Crop(padding=4)]",
            "patience": None,
            "average": "EMA(decay=0.99)",
            "precision": "bfloat16",
        },
    },
    "data": {"source": "fashion_mnist", "counts": {"train": 55000}},
}
RESULT = {"epochs": 3, "valid": {"accuracy": 0.87654321, "loss": 0.4}, "note": None}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    (folder / "result.json").write_text(json.dumps(RESULT), encoding="utf-8")
    return folder


def test_runs_are_listed_and_a_damaged_one_is_named(run: Path) -> None:
    damaged = run.parent / "second"
    damaged.mkdir()
    (damaged / "run.json").write_text("{", encoding="utf-8")
    result = list_runs(run.parent)
    (row,) = result.to_dict()["runs"]
    assert (row["run"], row["task"], row["model"]) == (str(run), "images", "Linear()")
    assert (row["status"], row["epochs"], row["valid"]) == ("finished", 3, RESULT["valid"])
    assert list(result.to_dict()["damaged"]) == [str(damaged)]
    assert "accuracy 0.8765" in str(result)
    assert "damaged: " in str(result).splitlines()[-1]


def test_no_runs_says_how_to_make_one(tmp_path: Path) -> None:
    assert "fitwell train digits" in str(list_runs(tmp_path))


def test_methods_are_listed_by_family() -> None:
    names = {method["name"] for method in list_methods("optim").to_dict()["methods"]}
    assert {"optim.AdamW", "optim.RMSprop"} <= names
    assert all(name.startswith("optim.") for name in names)
    assert "loshchilov2019decoupled" in str(list_methods("optim"))
    assert len(list_methods().entries) > len(names)


def test_a_misspelled_family_is_refused() -> None:
    with pytest.raises(UnknownName, match="nearest: 'optim'"):
        list_methods("optin")


def test_a_method_is_shown_with_its_whole_card() -> None:
    result = show("flip")
    value = result.to_dict()
    assert value["name"] == "data.Flip"
    for part in (
        value["summary"],
        value["use"],
        value["checked_against"],
        "fitwell cite data.Flip",
    ):
        assert part in str(result)


def test_a_run_is_shown_with_settings_and_result(run: Path) -> None:
    result = show(str(run))
    assert result.to_dict()["result"] == RESULT
    assert result.to_dict()["settings"] == RUN["settings"]
    assert "AdamW(lr=0.001)" in str(result)
    assert "0.876543" in str(result)


def test_what_is_neither_run_nor_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="show: no method named 'adamv'; nearest: 'Adam'"):
        show("adamv")
    with pytest.raises(RunError, match=r"show: `run` must be a run folder; .* no run\.json"):
        show(str(tmp_path))


def test_a_run_cites_everything_that_it_used(run: Path) -> None:
    keys = cite(str(run)).keys
    assert keys == (
        "cox1958regression",
        "xiao2017fashion",
        "loshchilov2019decoupled",
        "smith2019super",
        "krizhevsky2012imagenet",
        "he2016deep",
        "polyak1992acceleration",
        "tarvainen2017mean",
        "micikevicius2018mixed",
        "paszke2019pytorch",
        "fitwell",
    )


def test_each_kind_of_name_is_cited() -> None:
    result = cite("adamw", "mnist", "he2016deep", "optim.AdamW")
    assert result.keys == ("loshchilov2019decoupled", "lecun1998gradient", "he2016deep")
    assert str(result).count("\n@") == 2


def test_without_a_name_fitwell_is_cited() -> None:
    assert cite().keys == ("fitwell",)
    assert f"version = {{{__version__}}}" in str(cite())


def test_a_name_without_source_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cite: `names` must have sources; got 'data\.Examples'"):
        cite("data.Examples")
    with pytest.raises(UnknownName, match="cite: no method named 'adamv'"):
        cite("adamv")


def test_coverage_counts_the_whole_course() -> None:
    value = coverage().to_dict()
    assert list(value) == ["rows", "works", "partial", "limit", "open", "chapters"]
    assert value["rows"] == 700
