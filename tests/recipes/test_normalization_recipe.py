"""What the recipe about normalization reads off its runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("recording", "normalization"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("normalization")


def run_of(test: float, valid: list[float]) -> Any:
    lines = [{"kind": "step", "loss": 1.0}]
    lines += [{"kind": "epoch", "valid": {"accuracy": value}} for value in valid]
    return SimpleNamespace(result={"test": {"accuracy": test}}, metrics=lambda: lines)


def test_the_epoch_is_the_first_that_is_as_good_as_the_goal(recipe: ModuleType) -> None:
    runs = [run_of(0.5, [0.1, 0.7, 0.6]), run_of(0.5, [0.1, 0.2])]
    assert recipe.reached(runs, [0.7, 0.5]) == [2, None]


def test_each_claim_compares_what_it_says(recipe: ModuleType) -> None:
    asked: list[dict[str, Any]] = []

    def train(**settings: Any) -> list[Any]:
        asked.append(settings)
        share = len(asked) / 10
        return [run_of(share, [share]), run_of(share + 0.02, [share])]

    found = recipe.rate(train)
    assert [settings["optimizer"] for settings in asked] == [
        "SGD(lr=0.02, momentum=0.9)",
        "SGD(lr=0.1, momentum=0.9)",
    ]
    assert found["none"]["test accuracy"] == pytest.approx(0.11)
    assert found["batch, 5 times the rate"]["epochs to its best"] == [1, 1]
    assert list(recipe.place(train)) == [
        f"{activation}, {where}"
        for activation in ("sigmoid", "relu")
        for where in ("before", "after")
    ]
    assert {"group, batches of 2", "batch, batches of 32"} < recipe.batch(train).keys()
