"""The recipes on looking, turning and pooling, in small: data as described, records as printed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fitwell.core.records import read_records
from fitwell.data import GoBoard, Splits, load_arrays
from fitwell.nn import count_parameters

FOLDER = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Load a recipe that records into a folder of the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["recipe"])

    def loaded(name: str) -> ModuleType:
        for module in ("recording", name):
            monkeypatch.delitem(sys.modules, module, raising=False)
        recipe = importlib.import_module(name)
        monkeypatch.setattr(recipe, "RECORDS", tmp_path / "recipes.jsonl")
        return recipe

    return loaded


def digits() -> Splits:
    """Random images in the form of MNIST."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 28, 28), generator=generator, dtype=torch.uint8)
    return load_arrays(images, torch.arange(60) % 10, valid=0.2, test=0.2)


def test_cnn_20_both_networks_train_and_are_of_equal_size(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    recipe = load("spatial_transformer")
    weights = [count_parameters(make()) for make in recipe.networks().values()]
    assert max(weights) < 1.1 * min(weights)
    found = recipe.main(digits(), images=20, tests=10, epochs=1, seeds=(0,))
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["result"] == found
    assert [row["weights"] for row in found.values()] == weights
    assert all(0 <= row["test error"] <= 1 for row in found.values())


def test_cnn_20_every_digit_is_whole_among_the_pieces(load: Callable[[str], ModuleType]) -> None:
    recipe = load("spatial_transformer")
    digits = torch.zeros(40, 28, 28, dtype=torch.uint8)
    digits[:, 4:24, 4:24] = 200
    pictures = recipe.cluttered(digits, torch.Generator().manual_seed(0))
    assert pictures.shape == (40, 1, recipe.CANVAS // 2, recipe.CANVAS // 2)
    assert pictures.dtype == torch.uint8
    # Halved, the square of 20 x 20 is 10 x 10; pieces may only add to it.
    full = (pictures > 190).float()
    squares = torch.nn.functional.avg_pool2d(full, 9, stride=1)
    assert bool((squares.amax((1, 2, 3)) == 1).all())
    assert not torch.equal(pictures[0], pictures[1])


def test_cnn_16_the_recipe_measures_all_angles_and_scales(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    recipe = load("rotation")
    found = recipe.main(digits(), images=20, tests=10, epochs=1, seed=0)
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["result"].keys() == found.keys() == {"none", recipe.AUGMENT}
    for row in found.values():
        assert row["worst angle"] == min(row["by angle"].values())
        assert row["worst scale"] == min(row["by scale"].values())
        assert len(row["by angle"]) == 12


def test_cnn_13_the_move_to_name_is_the_one_that_captures(
    load: Callable[[str], ModuleType],
) -> None:
    recipe = load("go_pooling")
    examples = recipe.positions(12, seed=3)
    assert examples.inputs.shape == (12, 3, 9, 9)
    assert bool((examples.inputs.sum(1) == 1).all())
    for stones, move in zip(examples.inputs, examples.targets.tolist(), strict=True):
        black, white = (
            [(row, column) for row, column in plane.nonzero().tolist()] for plane in stones[:2]
        )
        capturing = []
        for point in GoBoard(9, black=black, white=white).legal_moves():
            board = GoBoard(9, black=black, white=white)
            if board.play(point):
                capturing.append(point)
        # The board set up anew knows of no ko, which may add a capture.
        assert divmod(move, 9) in capturing
        assert len(capturing) <= 2


def test_cnn_13_both_networks_have_the_same_weights(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    recipe = load("go_pooling")
    found = recipe.main(train=8, test=4, epochs=1, seeds=(0,))
    assert found["full size"]["weights"] == found["pooled"]["weights"]
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["what"] == "go, pooling"
