"""Nothing of validation and test reaches training: other rows there, the same weights, bit for bit.

The weights compared are those after the last step; the kept ones are chosen by validation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.data import Examples, Splits, load_arrays, load_images, load_table
from fitwell.train import Run, load_weights

from ..data.image_factory import class_folders, photo
from .runs import CITIES, curve, house, manifest, quick, table


def other(part: Examples, seed: int) -> Examples:
    """Examples of the same kind, far from what they were."""
    generator = torch.Generator().manual_seed(seed)
    inputs = part.inputs
    if inputs.dtype == torch.uint8:
        inputs = torch.randint(0, 256, inputs.shape, generator=generator, dtype=torch.uint8)
    else:
        inputs = torch.where(
            torch.rand(inputs.shape, generator=generator) < 0.1,
            torch.nan if part.schema.kind == "table" else 0.0,
            inputs * 100 + 1000 * torch.rand(inputs.shape, generator=generator),
        )
        codes = [c for c, column in enumerate(part.schema.columns) if column.kind == "category"]
        inputs[:, codes] = part.inputs[:, codes].flip(0)
    assert part.targets is not None
    targets = part.targets.flip(0)
    if targets.is_floating_point():
        targets = targets * 50 - 3
    return replace(part, inputs=inputs, targets=targets)


def last_weights(run: Run) -> dict[str, torch.Tensor]:
    step = run.checkpoints().newest()
    return load_weights(run.folder / "checkpoints" / f"step-{step:09d}" / "weights.safetensors")


def trained(splits: Splits, folder: Path) -> Run:
    return quick(splits, run=folder, batch_size=16, epochs=3)


def of_table(folder: Path, target: str, ignored: str) -> Splits:
    return load_table(
        table(folder / "houses.csv", [house(n) for n in range(120)]),
        target=target,
        ignore=[ignored],
    )


@pytest.mark.parametrize("kind", ["numbers", "classes", "images", "arrays"])
def test_valid_and_test_rows_leave_scaling_and_weights_alone(kind: str, tmp_path: Path) -> None:
    if kind == "numbers":
        splits = of_table(tmp_path, "price", "kind")
    elif kind == "classes":
        splits = of_table(tmp_path, "kind", "price")
    elif kind == "images":
        folder = class_folders(tmp_path / "photos", each=20, size=(8, 8))
        splits = load_images(folder)
    else:
        x = torch.randn(100, 2, 5, 7, generator=torch.Generator().manual_seed(0))
        splits = load_arrays(x, (x.sum(dim=(1, 2, 3)) > 0).long())
    assert splits.test is not None
    changed = replace(splits, valid=other(splits.valid, 1), test=other(splits.test, 2))
    assert changed.fingerprint != splits.fingerprint
    first, second = trained(splits, tmp_path / "a"), trained(changed, tmp_path / "b")
    assert manifest(first)["scaling"] == manifest(second)["scaling"]
    assert manifest(first)["scaling"]
    one, two = last_weights(first), last_weights(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    trains = [[r.get("train", r.get("loss")) for r in curve(run)] for run in (first, second)]
    assert trains[0] == trains[1]
    # And the change was not in vain: what is measured on those parts differs.
    assert first.result["test"] != second.result["test"]
    assert first.result["valid"] != second.result["valid"]


def test_other_files_for_valid_and_test_leave_training_alone(tmp_path: Path) -> None:
    """Through the verb and files: categories and scales come from the training file alone."""
    settings: dict[str, Any] = {"target": "price", "ignore": ("kind",), "batch_size": 16}
    main = table(tmp_path / "train.csv", [house(n) for n in range(100)])
    runs = []
    for name, city, size in (("a", CITIES[0], "50"), ("b", "Atlantis", "99999")):
        rows = [{**house(n), "city": city, "size": size} for n in range(200, 230)]
        aside = table(tmp_path / f"{name}.csv", rows)
        files = {"valid_path": str(aside), "test_path": str(aside)}
        runs.append(quick("table", main, run=tmp_path / name, **settings, **files))
    for key in ("scaling", "schema"):
        first, second = (dict(manifest(run)[key]) for run in runs)
        for each in (first, second):
            each.pop("source", None)
        assert first == second
    assert "Atlantis" not in str(manifest(runs[1])["schema"]["columns"])
    one, two = (last_weights(run) for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_other_image_folders_for_valid_and_test_leave_training_alone(tmp_path: Path) -> None:
    main = class_folders(tmp_path / "photos", each=16, size=(8, 8))
    runs = []
    for name, seed in (("a", 5), ("b", 77)):
        aside = tmp_path / f"aside-{name}"
        for kind in ("cat", "dog"):
            (aside / kind).mkdir(parents=True)
            for number in range(4):
                image = photo(8, 8, seed=seed + number)
                image.point(lambda v, s=seed: v if s == 5 else 255 - v // 2).save(
                    aside / kind / f"{number}.png"
                )
        files = {"valid_path": str(aside), "test_path": str(aside)}
        runs.append(quick("images", main, run=tmp_path / name, **files))
    assert manifest(runs[0])["scaling"] == manifest(runs[1])["scaling"]
    one, two = (last_weights(run) for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert runs[0].result["test"] != runs[1].result["test"]


def test_a_change_of_the_training_part_is_seen(tmp_path: Path) -> None:
    """The tests above can fail: other training rows do give other scaling and weights."""
    splits = of_table(tmp_path, "price", "kind")
    changed = replace(splits, train=other(splits.train, 1))
    first, second = trained(splits, tmp_path / "a"), trained(changed, tmp_path / "b")
    assert manifest(first)["scaling"] != manifest(second)["scaling"]
    one, two = last_weights(first), last_weights(second)
    assert not all(torch.equal(one[name], two[name]) for name in one)
    assert fitwell.evaluate(first, splits).parts["test"] == first.result["test"]
