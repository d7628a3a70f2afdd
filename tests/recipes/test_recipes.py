"""Recipes load without doing anything, and their settings make a run of small data."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import fitwell
from fitwell.data import Splits, load_arrays
from fitwell.train import Run

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "recording")
SHAPES = {"digits": (8, 8), "mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (3, 32, 32)}

OWN_WAY = (
    "covid_hw1",
    "deep_or_fat",
    "depth_width",
    "finetune",
    "frequency_filters",
    "go_pooling",
    "large_batches",
    "normalization",
    "rotation",
    "spatial_transformer",
    "swap",
    "text_cnn",
)
"""Recipes that are more than one training; they have tests of their own."""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Load a recipe as Python does with a script or a module."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def loaded(name: str, run_name: str | None = None) -> ModuleType:
        for module in ("recording", name):
            monkeypatch.delitem(sys.modules, module, raising=False)
        spec = importlib.util.spec_from_file_location(run_name or name, FOLDER / f"{name}.py")
        if spec is None or spec.loader is None:
            raise ImportError(name)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, run_name or name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def like(source: str) -> Splits:
    """Random images in the form of a built-in set."""
    generator = torch.Generator().manual_seed(0)
    shape = (40, *SHAPES[source])
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return load_arrays(images, torch.arange(40) % 10, valid=0.25, test=0.25)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_loads_without_doing_anything(
    name: str, load: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = load(name)
    assert module.__doc__
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OWN_WAY])
def test_the_settings_of_a_recipe_make_a_run(
    name: str, load: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, dict[str, Any]] = {}
    monkeypatch.syspath_prepend(str(FOLDER))
    recording = load("recording")
    monkeypatch.setattr(recording, "reproduce", lambda name, **given: asked.update({name: given}))
    monkeypatch.setattr(recording, "record_views", lambda run, name, **given: None)
    monkeypatch.setitem(sys.modules, "recording", recording)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    path = FOLDER / f"{name}.py"
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    exec(code, {"__name__": "__main__", "__file__": str(path)})
    assert asked
    for called, settings in asked.items():
        assert called.startswith(name)
        source = settings.pop("source")
        settings.pop("valid", None)  # the data here is split already
        settings.pop("workers", None)  # and in the memory of this process
        settings.pop("weights", None)  # of a run that is not here
        run = fitwell.train(
            like(source),
            run=tmp_path / called,
            **{**settings, "epochs": 1, "max_steps": 1, "batch_size": 8},
            report=False,
            quiet=True,
        )
        assert run.result["steps"] == 1
        assert run.result["test"]["loss"] > 0


def test_reproducing_trains_records_and_goes_on(
    load: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fitwell.core.records import read_records

    recording = load("recording")
    monkeypatch.setattr(recording, "RECORDS", tmp_path / "recipes.jsonl")
    monkeypatch.setattr(sys, "argv", ["recipe", "--runs", str(tmp_path / "runs")])
    settings = {"source": "iris", "epochs": 2, "seed": 5, "report": False}
    run = recording.reproduce("flowers", **settings)
    assert run.folder == tmp_path / "runs" / "flowers"
    recording.reproduce("flowers", **settings)
    first, second = read_records(tmp_path / "recipes.jsonl")
    assert first["what"] == "flowers"
    assert first["result"] == second["result"]
    assert first["result"]["test"] == run.result["test"]
    assert first["seeds"] == [5]
    assert "train iris" in first["method"]


@pytest.mark.usefixtures("data_dir")
def test_hw1_climbs_in_small(
    load: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fitwell.core.records import read_records

    hw1 = load("covid_hw1")
    monkeypatch.setattr(hw1, "RECORDS", tmp_path / "recipes.jsonl")
    quick = {"epochs": 1, "quiet": True}
    ladder = {
        name: hw1.Rung(
            features=rung.features,
            seeds=rung.seeds[:2],
            settings={**rung.settings, **quick},
        )
        for name, rung in hw1.LADDER.items()
    }
    splits = hw1.states_cut(hw1.labelled())
    hw1.measure("states", splits, tmp_path, ladder)
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["result"].keys() == {"references", *ladder}
    for name in ladder:
        lines = (tmp_path / "states" / name / "submission.csv").read_text().splitlines()
        assert lines[0] == "id,tested_positive"
        assert [line.partition(",")[0] for line in lines[1:]] == [str(n) for n in range(1078)]
        run = Run.open(tmp_path / "states" / name / "seed0")
        assert "id" not in [column.name for column in run.schema.columns]


@pytest.mark.usefixtures("data_dir")
def test_hw1_cuts_are_the_samples_and_without_shared_states(
    load: Callable[..., ModuleType],
) -> None:
    hw1 = load("covid_hw1")
    whole = hw1.labelled()
    by_chance = hw1.random_cut(whole)
    first, second = torch.utils.data.random_split(
        range(2699), [2160, 539], generator=torch.Generator().manual_seed(5201314)
    )
    assert torch.equal(by_chance.train.inputs, whole.inputs[list(first)])
    assert torch.equal(by_chance.valid.inputs, whole.inputs[list(second)])
    parts = hw1.states_cut(whole).parts()
    states = [set(part.inputs[:, :37].argmax(dim=1).tolist()) for part in parts.values()]
    assert sum(map(len, states)) == len(set.union(*states)) == 37


@pytest.mark.usefixtures("data_dir")
def test_hw1_chooses_features_by_training_rows_alone(load: Callable[..., ModuleType]) -> None:
    from dataclasses import replace

    hw1 = load("covid_hw1")
    splits = hw1.states_cut(hw1.labelled())
    columns = hw1.choose(splits.train, 16)
    assert len(columns) == len(set(columns)) == 20
    names = [splits.schema.columns[place].name for place in columns]
    assert names[:4] == [f"tested_positive.{day}" for day in (1, 2, 3, 4)]
    other = replace(splits.train, inputs=splits.train.inputs.roll(1, dims=1))
    assert hw1.choose(other, 16) != columns


def test_fed_43_the_network_has_the_weights_that_keras_counts(
    load: Callable[..., ModuleType],
) -> None:
    """The number is `count_params()` of the same layers in Keras 3."""
    network = load("mnist_mirrored").LectureCNN(in_channels=1, out_features=10)
    assert sum(p.numel() for p in network.parameters()) == 93_322
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
