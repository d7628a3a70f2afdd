"""`fitwell surface`: losses that other verbs measure too, files that are whole, words that help."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fitwell
from fitwell import doctor
from fitwell.core.errors import RunError, UsageError
from fitwell.doctor import LossLine, LossPlane, state_digest
from fitwell.train import Run
from fitwell.verbs._surface import SurfaceResult, surface

from .runs import call, quick

ALL = 10_000  # examples: more than there are
SAME = 1e-5  # sums of float32 in another order


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("trio")
    kept = {"keep_every": 20}
    return [quick("digits", run=folder / f"run-{k}", seed=k, **kept) for k in range(3)]


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("normed")
    return [
        quick("digits", run=folder / f"run-{k}", seed=k, model="CNN(widths=(4,))", epochs=1)
        for k in range(2)
    ]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "surface"
    }


def plane_of(found: SurfaceResult) -> LossPlane:
    assert isinstance(found.surface, LossPlane)
    return found.surface


def line_of(found: SurfaceResult) -> LossLine:
    assert isinstance(found.surface, LossLine)
    return found.surface


def test_intro_03_a_slice_has_the_loss_of_the_run_in_its_centre(trio: list[Run]) -> None:
    run = trio[0]
    before, state = digest(run.folder), state_digest()
    found = surface(run.folder, points=3, rows=ALL, quiet=True)
    assert digest(run.folder) == before
    assert state_digest() == state
    expected = fitwell.evaluate(run).parts["train"]["loss"]
    assert plane_of(found).centre == pytest.approx(expected, rel=SAME)
    page, picture, numbers = found.files
    assert page == run.folder / "surface" / "slice.html"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert picture.read_bytes().startswith(b"\x89PNG")
    kept = json.loads(numbers.read_text())
    assert kept == json.loads(json.dumps(found.to_dict()))
    assert kept["surface"]["losses"][1][1] == pytest.approx(expected, rel=SAME)
    assert "filter lengths" in str(found)
    assert str(page) in str(found)


def test_the_same_seed_gives_the_same_losses_and_rows_are_drawn(trio: list[Run]) -> None:
    few = [surface(trio[0], kind="line", points=3, rows=100, seed=seed) for seed in (0, 0, 1)]
    assert few[0].examples == 100
    assert few[0].surface == few[1].surface
    assert few[0].surface != few[2].surface


def test_the_ends_of_an_interpolation_are_the_losses_of_both_runs(trio: list[Run]) -> None:
    found = surface(*trio[:2], part="valid", rows=ALL, points=5, quiet=True)
    line = line_of(found)
    for place, run in ((0.0, trio[0]), (1.0, trio[1])):
        expected = fitwell.evaluate(run).parts["valid"]["loss"]
        assert line.at(place) == pytest.approx(expected, rel=SAME)
    assert found.kind == "interpolation"
    assert found.barriers == {"run-0 to run-1": line.barrier}
    assert "run-0" in line.label
    assert "of valid" in str(found)


def test_a_plane_goes_through_three_runs_and_tells_the_barrier_of_each_pair(
    trio: list[Run], tmp_path: Path
) -> None:
    found = surface(*trio, points=3, rows=ALL, output=tmp_path / "new", quiet=True)
    plane = plane_of(found)
    assert [mark.name for mark in plane.marks] == ["run-0", "run-1", "run-2"]
    for mark, run in zip(plane.marks, trio, strict=True):
        expected = fitwell.evaluate(run).parts["train"]["loss"]
        assert mark.loss == pytest.approx(expected, rel=SAME)
    assert set(found.barriers) == {"run-0 to run-1", "run-0 to run-2", "run-1 to run-2"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "plane.html",
        "plane.json",
        "plane.png",
    ]
    assert str(found).count("barrier") == 3


def test_a_trajectory_begins_with_the_first_weights_and_passes_the_checkpoints(
    trio: list[Run],
) -> None:
    run = trio[0]
    state = state_digest()
    found = surface(run, kind="trajectory", points=3, rows=ALL, quiet=True)
    assert state_digest() == state
    plane = plane_of(found)
    steps = [entry.step for entry in run.checkpoints().entries()]
    assert [mark.name for mark in plane.marks] == ["step 0", *(f"step {step}" for step in steps)]
    assert (steps[0], steps[-1]) == (20, 40)
    losses = [mark.loss for mark in plane.marks]
    assert losses[0] > losses[1] > losses[-1]
    assert len(plane.path) == len(losses)
    assert sum(plane.explained) > 0.9
    assert "of its spread lies on the plane" in str(found)


def test_batch_norm_is_by_batches_between_runs_unless_told_otherwise(normed: list[Run]) -> None:
    inside = surface(normed[0], kind="line", points=3, rows=200, quiet=True)
    assert inside.mode == "eval"
    found = surface(*normed, points=3, rows=ALL, quiet=True)
    assert found.mode == "batch"
    assert "batch norm by batches" in str(found)
    plain = surface(*normed, points=3, rows=ALL, mode="eval", quiet=True)
    for place, run in ((0.0, normed[0]), (1.0, normed[1])):
        expected = fitwell.evaluate(run).parts["train"]["loss"]
        assert line_of(plain).at(place) == pytest.approx(expected, rel=SAME)
        assert line_of(found).at(place) != pytest.approx(expected, rel=SAME)
    noisy = surface(*normed, points=3, rows=100, mode="train", quiet=True)
    assert noisy.mode == "train"
    assert "training mode" in noisy.subtitle


def test_a_table_of_numbers_has_a_surface_too(prices: Run, tmp_path: Path) -> None:
    found = surface(prices, points=3, rows=ALL, output=tmp_path, quiet=True)
    expected = fitwell.evaluate(prices).parts["train"]["loss"]
    assert plane_of(found).centre == pytest.approx(expected, rel=1e-4)


def test_the_command_line_prints_what_was_measured(
    trio: list[Run], tmp_path: Path, capsys: Any
) -> None:
    words: list[str | Path] = [
        "--points",
        "3",
        "--rows",
        "50",
        "--output",
        tmp_path,
        "--kind",
        "line",
    ]
    code, said, _ = call(capsys, "surface", trio[0].folder, *words)
    assert code == 0
    assert said["kind"] == "line"
    assert said["examples"] == 50
    assert said["files"][0] == str(tmp_path / "line.html")
    assert len(said["surface"]["losses"]) == 3


def test_runs_of_one_name_are_told_apart_by_their_folders(trio: list[Run], tmp_path: Path) -> None:
    copies = [tmp_path / name / "run" for name in "ab"]
    for run, copy in zip(trio, copies, strict=False):
        shutil.copytree(run.folder, copy)
    found = surface(*copies, points=3, rows=50, quiet=True)
    assert found.names == ("a/run", "b/run")


def test_a_model_of_ones_own_is_given_again(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    run = quick("digits", run=tmp_path / "own", model=make, epochs=1)
    with pytest.raises(UsageError, match=r"model of your own .* Give it again"):
        surface(run.folder, points=3, quiet=True)
    assert not (run.folder / "surface").exists()
    found = surface(run.folder, points=3, rows=50, model=make, quiet=True)
    assert plane_of(found).centre > 0


def test_a_module_of_ones_own_stays_as_it_is(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    run = quick("digits", run=tmp_path / "own", model=net, epochs=3, keep_every=10)
    with torch.no_grad():
        net[1].weight.add_(1.0)  # the user went on with it
    before = state_digest(net)
    for kind in ("slice", "trajectory"):
        found = surface(run, kind=kind, points=3, rows=50, model=net, quiet=True)
        assert found.mode == ("eval" if kind == "slice" else "batch")
        assert state_digest(net) == before


@pytest.mark.parametrize("rows", [64 + 1, 2 * 64 + 1, 2, 3])
def test_no_batch_is_a_single_row(normed: list[Run], rows: int) -> None:
    found = surface(normed[0], kind="line", points=3, rows=rows, mode="train", quiet=True)
    assert found.examples == rows
    assert all(math.isfinite(loss) for loss in line_of(found).losses)


def test_a_single_row_has_no_statistics(normed: list[Run]) -> None:
    with pytest.raises(UsageError, match=r"^surface: `rows` must be at least 2 .*; got 1\. .*eval"):
        surface(normed[0], kind="line", points=3, rows=1, mode="batch", quiet=True)
    assert surface(normed[0], kind="line", points=3, rows=1, quiet=True).examples == 1


def test_the_seed_is_that_of_the_noise_too(trio: list[Run]) -> None:
    states = [run.load_model() for run in trio]
    model, inputs = trio[0].model(), torch.rand(20, 1, 8, 8)
    batch = (inputs, torch.arange(20) % 10)
    asked: list[Callable[[int], Any]] = [
        lambda seed: doctor.interpolation(
            *(model, F.cross_entropy, batch, *states[:2]), points=3, mode="train", seed=seed
        ),
        lambda seed: doctor.plane_through(
            model, F.cross_entropy, batch, states, points=2, mode="train", seed=seed
        ),
        lambda seed: doctor.trajectory_plane(
            model, F.cross_entropy, batch, states, points=2, mode="train", seed=seed
        ),
    ]
    for ask in asked:
        assert ask(3) == ask(3)
        assert ask(3).losses != ask(4).losses
    noisy = [
        surface(*trio[:2], points=3, rows=ALL, mode="train", seed=seed, quiet=True).surface.losses
        for seed in (3, 3, 4)
    ]
    assert noisy[0] == noisy[1] != noisy[2]


def test_a_surface_without_a_finite_loss_is_refused(trio: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"^surface: `span` must .*; got 1e\+38, .* 16 .*--span"):
        surface(*trio, points=4, rows=50, span=1e38, output=out, quiet=True)
    run = Run.open(shutil.copytree(trio[0].folder, tmp_path / "run"))
    weights = run.load_model()
    run.save_model({k: torch.full_like(v, torch.nan) for k, v in weights.items()})
    with pytest.raises(UsageError, match=r"^surface: `run` must have a finite loss; .*evaluate"):
        surface(run.folder, points=3, rows=50, output=out, quiet=True)
    assert not out.exists()
    found = surface(trio[0], points=3, rows=50, span=1e30, output=out, quiet=True)
    assert math.isfinite(plane_of(found).centre)  # the weights themselves are on it


def test_the_progress_of_a_plane_counts_its_barriers(
    trio: list[Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("fitwell.verbs._surface._verb._progress", lambda *done: told.append(done))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    surface(*trio, points=3, rows=50, output=tmp_path)
    of = 9 + 3 * 11
    assert told == [(done, of) for done in range(1, of + 1)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "plane"}, "`kind` 'plane' is of three runs; got 1. For 1 take slice or line"),
    ({"kind": "way"}, "`kind` must be one of 'slice', 'line', .*; got 'way'"),
    ({"points": 4}, "`points` must be odd for 'slice', .*; got 4. Use 5."),
    ({"points": 1}, "`points` must be at least 3; got 1"),
    ({"span": 0.0}, "`span` must be greater than 0 for 'slice'; got 0.0"),
    ({"span": -1.0, "kind": "trajectory"}, "`span` must be 0 or more for 'trajectory'; got -1"),
    ({"span": float("nan")}, "`span` must be greater than 0 for 'slice'; got nan"),
    ({"part": "test"}, "`part` must be 'train' or 'valid'; got 'test'"),
    ({"mode": "fast"}, "`mode` must be 'eval', 'batch' or 'train'; got 'fast'"),
    ({"rows": 0}, "`rows` must be at least 1; got 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_wrong_arguments_are_refused(digits: Run, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^surface: {message}"):
        surface(digits.folder, **change)
    assert not (digits.folder / "surface").exists()


def test_runs_that_do_not_fit_are_refused(
    digits: Run, prices: Run, trio: list[Run], normed: list[Run], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"must be different runs; got .*digits twice"):
        surface(digits.folder, digits.folder)
    with pytest.raises(UsageError, match=r"must be different runs; got .*run-1 twice"):
        surface(trio[0], trio[1], trio[1])
    with pytest.raises(UsageError, match=r"must have the same model; got MLP.* and CNN"):
        surface(trio[0], normed[0])
    with pytest.raises(UsageError, match=r"must have the same inputs and outputs; got \(\(1, 8"):
        surface(trio[0], prices)
    with pytest.raises(RunError, match=r"is not a run; it has no run.json"):
        surface(tmp_path / "nothing")
    message = re.escape(f"fitwell train --like {digits.folder} --keep-every")
    with pytest.raises(UsageError, match=f"has 1 checkpoint and the first weights, .*{message}"):
        surface(digits, kind="trajectory")


def test_a_group_is_refused(tmp_path: Path, digits: Run) -> None:
    folder = tmp_path / "group"
    few: dict[str, Any] = {"model": "MLP(hidden=(4,))", "epochs": 1, "report": False}
    fitwell.ensemble("digits", members=2, group=folder, quiet=True, **few)
    with pytest.raises(RunError, match="is a group of kind ensemble, and this takes a single run"):
        surface(folder)
    with pytest.raises(RunError, match="is a group of kind ensemble"):
        surface(digits, folder)
