"""The recipe that sets deep networks against wide ones: its target, its counts, its record."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fitwell.core.records import read_records
from fitwell.nn import MLP, count_parameters

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    for name in ("recording", "depth_width"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("depth_width")
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records.jsonl")
    return module


@pytest.mark.parametrize("folds", [1, 2, 4])
def test_the_target_has_two_to_the_folds_pieces_and_is_a_deep_narrow_network(
    recipe: Any, folds: int
) -> None:
    x = torch.linspace(0, 1, 2**12 + 1, dtype=torch.float64)
    y = recipe.sawtooth(x, folds)
    slopes = (y.diff() / x.diff()).round()
    assert int((slopes.diff() != 0).sum()) + 1 == 2**folds
    assert slopes.abs().unique().tolist() == [2.0**folds]
    folded = x
    for _ in range(folds):  # a layer of two units
        folded = 2 * folded.relu() - 4 * (folded - 0.5).relu()
    torch.testing.assert_close(folded, y)


def test_the_networks_have_equally_many_weights(recipe: Any) -> None:
    for depth in recipe.DEPTHS:
        width = recipe.nearest_width(depth, recipe.WEIGHTS)
        assert recipe.count_weights(depth, width) == count_parameters(
            MLP(1, 1, hidden=(width,) * depth)
        )
        assert recipe.count_weights(depth, width) == pytest.approx(recipe.WEIGHTS, rel=0.06)
        assert width >= 2  # enough for a fold per layer
    assert recipe.nearest_width(1, recipe.WEIGHTS) >= 2**recipe.FOLDS  # a unit per piece


def test_intro_13_a_sweep_over_depth_and_width_in_small(recipe: Any, tmp_path: Path) -> None:
    found = recipe.main(tmp_path / "group", seeds=(0, 1), epochs=1, quiet=True, report=False)
    assert list(found) == ["1 layer of 166", "2 layers of 20", "3 layers of 15", "4 layers of 12"]
    for row in found.values():
        assert len(row["each"]) == 2
        assert row["95% from"] < row["test mse"] < row["to"]
        assert row["test mse"] == pytest.approx(sum(row["each"]) / 2)
    assert len(list((tmp_path / "group/members").iterdir())) == 24  # depths, rates and seeds
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record["seeds"] == [0, 1]


def test_intro_13_deep_wins_in_the_record() -> None:
    records = read_records(ROOT / "records" / "recipes.jsonl")
    (*_, newest) = [r for r in records if r["what"].startswith("depth and width")]
    rows = list(newest["result"].values())
    wide, best = rows[0], min(rows, key=lambda row: row["test mse"])
    assert best is not wide
    assert best["to"] < wide["95% from"]  # the bands over seeds lie apart
    assert len(newest["seeds"]) >= 5
