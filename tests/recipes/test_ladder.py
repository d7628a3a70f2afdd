"""The rungs from simple to boss, in small: folds, what the boss answers, records, submissions."""

from __future__ import annotations

import csv
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fitwell
from fitwell.core.records import read_records
from fitwell.data import Examples, Splits, load_arrays
from fitwell.train import Run

RECIPES = Path(__file__).parents[2] / "recipes"
FLOAT = {"rtol": 1e-5, "atol": 1e-6}
TINY = {
    "model": "CNN(widths=(4,), convs=1, dropout=0.0)",
    "epochs": 1,
    "batch_size": 16,
    "quiet": True,
}


def imported(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES / "images"))
    monkeypatch.syspath_prepend(str(RECIPES))
    for module in ("recording", "ladder", name):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported("ladder", monkeypatch)


def images(count: int, classes: int = 4) -> Splits:
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2 * count, 3, 8, 8), generator=draws, dtype=torch.uint8)
    return load_arrays(pixels, torch.arange(2 * count) % classes, valid=0.25, test=0.25)


def folds_of(ladder: ModuleType, count: int) -> Any:
    splits = images(count)
    assert splits.test is not None
    return ladder.Folds(pool=splits.train, test=splits.test, how="random pixels")


def tiny(ladder: ModuleType) -> Any:
    return ladder.Ladder(
        plain=TINY, longer={"augment": "Flip()"}, strong={**TINY, "augment": "Mixup()"}
    )


def rows(examples: Examples) -> list[bytes]:
    pixels = torch.as_tensor(examples.inputs[:])
    return [image.numpy().tobytes() for image in pixels]


def test_hw3_06_each_image_is_held_out_once_and_classes_keep_their_shares(
    ladder: ModuleType,
) -> None:
    folds = folds_of(ladder, 46)
    splits = [folds.split(number) for number in range(ladder.FOLDS)]
    everything = rows(folds.pool)
    held = [row for split in splits for row in rows(split.valid)]
    assert sorted(held) == sorted(everything)
    for split in splits:
        assert sorted(rows(split.train) + rows(split.valid)) == sorted(everything)
        assert split.test is folds.test
    counts = np.array([np.bincount(s.valid.targets.numpy(), minlength=4) for s in splits])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert splits[0].fingerprint == folds.split(0).fingerprint != splits[1].fingerprint


def test_all_rungs_climb_and_are_recorded(ladder: ModuleType, tmp_path: Path) -> None:
    folds, records, place = folds_of(ladder, 40), tmp_path / "recipes.jsonl", tmp_path / "ladder"
    found = {rung: ladder.climb(rung, tiny(ladder), folds, place, records) for rung in ladder.RUNGS}
    assert [len(runs) for runs in found.values()] == [1, 1, 1, 5]
    assert found["boss"][0].folder == found["strong"][0].folder  # trained once
    augments = [runs[0].settings.optimization.augment for runs in found.values()]
    assert augments[1:] == ["Flip()", "Mixup()", "Mixup()"]
    written = {record["what"]: record for record in read_records(records)}
    assert list(written) == ["ladder simple", "ladder medium", "ladder strong", "ladder boss"]
    for record in written.values():
        test = record["result"]["test"]
        assert test["low"] <= test["accuracy"] <= test["high"]
        assert record["images"] == {"train": 32, "valid": 8, "test": 20}
    simple, boss = written["ladder simple"], written["ladder boss"]
    measured = found["simple"][0].result["test"]["accuracy"]
    assert simple["result"]["test"]["accuracy"] == pytest.approx(measured)
    assert boss["seeds"] == [0, 1, 2, 3, 4]
    assert boss["parameters"] == 5 * written["ladder strong"]["parameters"]
    result = boss["result"]
    together, mirrored = (result[name]["accuracy"] for name in ("test, all models", "test"))
    assert result["gain of mirror images"]["accuracy"] == pytest.approx(mirrored - together)
    first = result["test, one model"]["of each"][0]
    assert result["gain of all models"]["accuracy"] == pytest.approx(together - first)


def test_hw3_04_the_boss_answers_with_the_mean_over_models_and_mirror_images(
    ladder: ModuleType, tmp_path: Path
) -> None:
    folds = folds_of(ladder, 40)
    runs = ladder.boss(tiny(ladder), folds, tmp_path)
    x = torch.as_tensor(folds.test.inputs[:]).float() / 255
    total = torch.zeros(len(x), 4, dtype=torch.float64)
    with torch.no_grad():
        for run in runs:
            network = run.model()
            for view in (x, torch.from_numpy(x.numpy()[..., ::-1].copy())):
                total += network(view).double().softmax(dim=1)
    torch.testing.assert_close(ladder.submitted("boss", runs, folds.test), total / 10, **FLOAT)
    with torch.no_grad():
        plain = runs[0].model()(x).double().softmax(dim=1)
    torch.testing.assert_close(ladder.submitted("strong", runs[:1], folds.test), plain, **FLOAT)


def test_what_is_done_is_not_done_again_and_what_was_stopped_goes_on(
    ladder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, settings = folds_of(ladder, 40).split(0), {**TINY, "epochs": 2}
    whole = ladder.trained(splits, tmp_path / "whole", settings)
    stopped = fitwell.train(
        splits, run=tmp_path / "cut", seed=ladder.SEED, report=False, max_minutes=1e-9, **settings
    )
    assert stopped.status == "stopped"
    again = ladder.trained(splits, tmp_path / "cut", settings)
    assert again.status == "finished"
    assert again.result["test"] == whole.result["test"]
    monkeypatch.setattr(ladder, "fitwell", SimpleNamespace(open_run=fitwell.open_run))
    assert ladder.trained(splits, tmp_path / "cut", settings).result == again.result


def test_quick_tries_every_rung(
    ladder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    small = ladder.Ladder(
        plain={**ladder.SMALL_IMAGES.plain, "model": TINY["model"]},
        longer=ladder.SMALL_IMAGES.longer,
        strong={**ladder.SMALL_IMAGES.strong, "model": TINY["model"], "augment": "Mixup()"},
    )
    monkeypatch.setattr(ladder, "SMALL_IMAGES", small)
    monkeypatch.setattr(ladder, "cifar10", lambda count: folds_of(ladder, 40))
    monkeypatch.setattr(ladder, "RECORDS", tmp_path / "none.jsonl")
    monkeypatch.setattr(sys, "argv", ["ladder.py", "--quick", "--runs", str(tmp_path)])
    ladder.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ladder.RUNGS)
    assert not (tmp_path / "none.jsonl").exists()
    assert Run.open(tmp_path / "ladder_quick" / "medium").result["epochs"] == 1


def test_the_pool_is_drawn_by_class_and_all_published_tests_stay(
    ladder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, **given: Any) -> Splits:
        asked.update(given, name=name)
        return replace(images(40), how="cifar10 (a copy): test: as published")

    monkeypatch.setattr(ladder, "load_builtin", load)
    folds = ladder.cifar10(10_000)
    assert asked == {"name": "cifar10", "valid": 0.2, "test": 0, "seed": 0}
    assert (len(folds.pool), len(folds.test)) == (20, 20)
    assert folds.how.startswith("cifar10 (a copy): 10,000 of the training images")
    assert len(ladder.few(replace(folds, pool=folds.pool.select(range(5)))).test) == 5


def test_every_rung_says_why_it_helps(ladder: ModuleType) -> None:
    assert all("Why it helps: " in rung.__doc__ for rung in ladder.RUNGS.values())


# Food-11 ------------------------------------------------------------------------------------------


def photo_folder(root: Path) -> Path:
    random = np.random.default_rng(0)
    names = [
        f"{part}/{c}_{n}.jpg" for part in ("train", "valid") for c in range(3) for n in range(6)
    ]
    for name in (*names, *(f"test/{n:04d}.jpg" for n in range(1, 5))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def test_food11_writes_a_submission_for_every_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    food11 = imported("food11", monkeypatch)
    photos = replace(food11.PHOTOS, plain=TINY, strong={**food11.PHOTOS.strong, **TINY})
    monkeypatch.setattr(food11, "PHOTOS", photos)
    monkeypatch.setattr(food11, "QUICK_SIDE", 16)
    root, runs = photo_folder(tmp_path / "food11"), tmp_path / "runs"
    monkeypatch.setattr(
        sys, "argv", ["food11.py", str(root), "--quick", "--runs", str(runs), "--device", "cpu"]
    )
    food11.main()
    for rung in food11.RUNGS:
        with (runs / "food11_quick" / rung / "submission.csv").open(newline="") as file:
            header, *answers = csv.reader(file)
        assert header == ["Id", "Category"]
        assert [row[0] for row in answers] == ["0001", "0002", "0003", "0004"]
        assert {row[1] for row in answers} <= {"0", "1", "2"}
    assert Run.open(runs / "food11_quick" / "strong").settings.optimization.device == "cpu"


# Large batches ------------------------------------------------------------------------------------


def test_claims_about_batches_compare_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = imported("large_batches", monkeypatch)
    asked: list[dict[str, Any]] = []

    def train(**settings: Any) -> list[Any]:
        asked.append(settings)
        optimization = SimpleNamespace(optimizer=settings["optimizer"])
        values = (len(asked) / 100, len(asked) / 100 + 0.02)
        parts = ({"test": {"accuracy": v}, "valid": {"accuracy": v}} for v in values)
        settings_of = SimpleNamespace(optimization=optimization)
        return [SimpleNamespace(result=part, settings=settings_of) for part in parts]

    found = recipe.falls(train)
    assert found["batches of 128"] == {"one rate": 0.02, "one rate, each": [0.01, 0.03]}
    assert found["batches of 8,192"].keys() > {"one rate", "scaled rate, rise"}
    assert {s["optimizer"] for s in asked if s["schedule"] == "Constant()"} == {recipe.sgd(0.01)}
    assert asked[-1]["optimizer"] == recipe.sgd(0.64)
    asked.clear()
    assert len(recipe.scaled(train)) == 4
    assert asked[-1]["optimizer"] == recipe.sgd(1.6, 0.0005)
    asked.clear()
    found = recipe.cycle(train)
    assert {row["by"] for row in found.values()} == {recipe.sgd(0.2, 0.0005)}
    assert [s["epochs"] for s in asked] == [18] * 4 + [6] * 4
    assert found["one cycle, 6 epochs"]["best rate"] == pytest.approx(0.09)


def test_images_are_halved_by_means_over_four_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = imported("large_batches", monkeypatch)
    given = images(10).train
    small = recipe.halved(given)
    pixels = np.asarray(given.inputs[:]).astype(float)
    means = sum(pixels[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    assert np.abs(np.asarray(small.inputs[:]) - means).max() <= 0.5
    assert small.schema.input_shape == (3, 4, 4)
