"""The recipe that sets a deep network against a fat one: its target, a small form, its record."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fitwell.core.records import read_records

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    for name in ("recording", "deep_or_fat"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("deep_or_fat")
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records.jsonl")
    return module


def test_the_target_is_the_same_in_all_directions(recipe: Any) -> None:
    x, y = recipe.drawn(50, seed=0)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(recipe.waves(x @ turn), y, rtol=0, atol=1e-5)
    assert not torch.equal(recipe.drawn(50, seed=1)[0], x)


def test_intro_50_both_are_trained_to_the_same_loss_in_small(recipe: Any, tmp_path: Path) -> None:
    found = recipe.main(seeds=(0, 1), level=0.35, points=64)
    assert len(found) == 4
    for row in found.values():
        assert len(row["gaps"]) == 2
        assert max(row["train"]) <= 0.35
        for gap, train, test in zip(row["gaps"], row["train"], row["test"], strict=True):
            assert gap == pytest.approx(test - train)
        assert row["gap"] == pytest.approx(sum(row["gaps"]) / 2)
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record["seeds"] == [0, 1]


def test_intro_50_deep_has_fewer_weights_and_the_smaller_gap_in_the_record() -> None:
    records = read_records(ROOT / "records" / "recipes.jsonl")
    (*_, newest) = [r for r in records if r["what"].startswith("deep or fat")]
    rows = newest["result"]
    deep = [row for name, row in rows.items() if name.startswith("deep")]
    fat = [row for name, row in rows.items() if name.startswith("fat")]
    assert len(newest["seeds"]) >= 5
    for narrow in deep:
        for wide in fat:  # whatever the rates
            assert narrow["weights"] < wide["weights"] / 3
            assert max(narrow["gaps"]) < min(wide["gaps"])
            assert narrow["to"] < wide["95% from"]
            # Trained equally far: losses on the training points differ by less than the gaps.
            difference = abs(max(narrow["train"]) - min(wide["train"]))
            assert difference < (wide["gap"] - narrow["gap"]) / 10
            assert max(narrow["train"] + wide["train"]) <= 0.02
