"""The recipes about weights run in small and record what they claim."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fitwell.core.records import read_records
from fitwell.data import Splits, load_arrays

FOLDER = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Load a recipe that records into a folder of the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("recording", request.param):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(request.param)
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records.jsonl")
    monkeypatch.setattr(sys, "argv", [request.param])
    monkeypatch.chdir(tmp_path)
    return module


def images(channels: int, side: int, count: int = 400) -> Splits:
    """Images whose brightest row is their class."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 10
    x = torch.randint(0, 200, (count, channels, side, side), generator=generator)
    x[torch.arange(count), :, targets * (side // 10)] = 255
    return load_arrays(x.to(torch.uint8), targets, valid=0.1, test=0.2)


@pytest.mark.parametrize("recipe", ["swap"], indirect=True)
def test_tune_29_swap_in_small(recipe: Any, tmp_path: Path) -> None:
    large = {"batch_size": 80, "epochs": 2, "lr": 0.1, "schedule": "OneCycle()"}
    small = {"batch_size": 20, "epochs": 1, "lr": 0.05, "schedule": "Constant()"}
    found = recipe.main(images(3, 20), large=large, small=small, workers=2)
    assert list(found["test accuracy"]) == [
        "after phase 1",
        "worker 1",
        "worker 2",
        "mean of the workers",
    ]
    gains = found["gain of the mean, 95% interval"]
    for worker, (gain, low, high) in gains.items():
        accuracies = found["test accuracy"]
        difference = accuracies["mean of the workers"] - accuracies[worker]
        assert gain == pytest.approx(difference)
        assert low <= gain <= high
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record["result"] == found
    assert record["seeds"] == [0, 1, 2]


@pytest.mark.parametrize("recipe", ["finetune"], indirect=True)
def test_opt_34_finetune_in_small(recipe: Any, tmp_path: Path) -> None:
    found = recipe.main(source=images(1, 20), few=10, epochs=5, before=1, seeds=(0, 1))
    assert len(found) == 4
    assert all(len(values) == 2 for values in found.values())
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record["result"]["scratch"]["each"] == found["scratch"]
    assert (tmp_path / "runs" / "finetune" / "large.safetensors").exists()


@pytest.mark.parametrize("recipe", ["finetune"], indirect=True)
def test_images_are_made_small_in_blocks_and_more_hold_the_fewer(recipe: Any) -> None:
    train = images(1, 20).train
    made = recipe.small(train)
    assert made.inputs.shape == (len(train), 1, 8, 8)
    pixels = train.inputs.float() / 255
    expected = pixels[:, 0, 2:4, 2:4].mean(dim=(1, 2))
    torch.testing.assert_close(made.inputs[:, 0, 0, 0], expected)
    few, many = recipe.draw(made, 10, 3), recipe.draw(made, 100, 3)
    assert torch.equal(few.inputs, many.inputs[:10])
    assert not torch.equal(few.inputs, recipe.draw(made, 10, 4).inputs)
