"""The newest weights that fit a model are found by headers alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from fitwell.core.errors import RunError
from fitwell.train import Run, load_weights, newest_compatible, save_weights
from fitwell.train._stored import read_shapes, stored_weights

from ..verbs.runs import quick


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: a narrow one, a wide one, and a narrow one that was never finished."""
    folder = tmp_path_factory.mktemp("registry") / "runs"
    for name, width in (("narrow", 4), ("wide", 8), ("cut-short", 4)):
        model = f"MLP(hidden=({width},))"
        quick("iris", run=folder / name, model=model, epochs=2, keep_best=2, checkpoint_seconds=0)
    (folder / "cut-short" / "model.safetensors").unlink()
    for age, stored in enumerate(sorted(stored_weights(folder), key=lambda w: str(w.file))):
        os.utime(stored.file, (0, 1000 - age))  # the first by name is the newest
    return folder


def network(folder: Path) -> nn.Module:
    run = Run.open(folder)
    from fitwell.tasks import TASKS

    return TASKS[run.manifest["task"]].build_model(
        run.settings.model.spec, run.schema, run.manifest["scaling"]
    )


def brute_force(folder: Path, model: nn.Module) -> Path | None:
    """Load every file and try it; the newest that loads is the answer."""
    fits = []
    for file in folder.rglob("*.safetensors"):
        if file.name not in ("model.safetensors", "weights.safetensors"):
            continue
        try:
            model.load_state_dict(load_weights(file))
        except (RuntimeError, RunError):
            continue
        fits.append(file)
    return max(fits, key=lambda file: file.stat().st_mtime, default=None)


@pytest.mark.parametrize("name", ["narrow", "wide", "cut-short"])
def test_plat_09_the_newest_that_fits_equals_loading_them_all(runs: Path, name: str) -> None:
    model = network(runs / name)
    found = newest_compatible(runs, model)
    assert found is not None
    assert found.file == brute_force(runs, model)
    assert found.run in found.file.parents
    assert newest_compatible(runs, runs / name) == found
    model.load_state_dict(load_weights(found.file))


def test_plat_09_one_run_is_searched_too(runs: Path) -> None:
    found = newest_compatible(runs / "cut-short", network(runs / "narrow"))
    assert found is not None
    assert found.step is not None
    assert found.run == runs / "cut-short"


def test_nothing_fits_another_model(runs: Path) -> None:
    assert newest_compatible(runs, nn.Linear(3, 4)) is None
    assert newest_compatible(runs.parent / "nowhere", nn.Linear(3, 4)) is None


def test_plat_09_damaged_files_are_passed_over(runs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(runs, tmp_path / "runs")
    for harm in (b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{}x"):
        newest = newest_compatible(copy, runs / "narrow")
        assert newest is not None
        newest.file.write_bytes(harm)
        again = newest_compatible(copy, runs / "narrow")
        assert again is not None
        assert again.file != newest.file


def test_headers_say_what_loading_says(tmp_path: Path) -> None:
    state = {"a": torch.zeros(2, 3), "b.c": torch.ones(()), "d": torch.ones(0, 4, dtype=torch.int8)}
    save_weights(tmp_path / "x.safetensors", state)
    loaded = load_weights(tmp_path / "x.safetensors")
    assert read_shapes(tmp_path / "x.safetensors") == {k: tuple(v.shape) for k, v in loaded.items()}
    whole = (tmp_path / "x.safetensors").read_bytes()
    for torn in (whole[:5], whole[:40], whole[:-1], whole + b"x"):
        (tmp_path / "torn.safetensors").write_bytes(torn)
        with pytest.raises(RunError, match="is not a whole safetensors file"):
            read_shapes(tmp_path / "torn.safetensors")


def test_a_path_without_weights_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no weights"):
        newest_compatible(runs, tmp_path)
    file = runs / "wide" / "model.safetensors"
    found = newest_compatible(runs, file)
    assert found is not None
    assert found.run == runs / "wide"
