"""Modules of one's own: an instance, something that makes one, a name in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import UnknownName, UsageError
from fitwell.train import Run

from .runs import QUICK, call, curve, manifest, quick, weights

CODE = '''
from torch import nn


class Net(nn.Module):
    """A network of the user's own."""

    def __init__(self, in_features, out_features, width=4):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, out_features)
        )

    def forward(self, x):
        return self.body(x)


def make(out_features):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(out_features))


LIMIT = 3
'''


class Seen(nn.Module):
    """Keeps what it was given, and trains one layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.last = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.detach()
        out: Tensor = self.layer(x.flatten(1))
        return out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def settings(**changes: Any) -> dict[str, Any]:
    return {**{k: v for k, v in QUICK.items() if k != "model"}, **changes}


def test_a_file_is_named_with_arguments(file: Path, tmp_path: Path, capsys: Any) -> None:
    text = f"{file}:Net(width=8)"
    run = fitwell.train("digits", model=text, run=tmp_path / "run", **settings())
    assert manifest(run)["settings"]["model"].items() >= {"spec": text, "own": True}.items()
    assert run.result["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert run.result["model"] == text
    words = ("evaluate", run.folder, "--model", text)
    code, result, _ = call(capsys, *words)
    assert code == 0
    assert result["test"] == run.result["test"]


def test_a_file_replays_by_its_name(file: Path, tmp_path: Path) -> None:
    run = fitwell.train("digits", model=f"{file}:Net(width=8)", run=tmp_path / "run", **settings())
    again = fitwell.train(
        like=run.folder, run=tmp_path / "again", log_every=5, report=False, quiet=True
    )
    assert curve(again) == curve(run)


def test_a_class_gets_the_sizes_it_asks_for(tmp_path: Path, house_file: Path) -> None:
    data = {"target": "price", "ignore": ("kind",)}
    run = fitwell.train("table", house_file, model=Seen, run=tmp_path / "run", **settings(**data))
    assert run.own_model is Seen
    # Three cities and one for missing give an embedding; size is missing now and then.
    assert run.result["parameters"] > 0
    values = run.predict(house_file).values
    assert values.shape == (120,)
    assert values.dtype == torch.float32


def test_an_instance_gets_images_as_floats_between_0_and_1(tmp_path: Path) -> None:
    model = Seen(64, 10)
    before = model.layer.weight.detach().clone()
    run = fitwell.train("digits", model=model, run=tmp_path / "run", **settings())
    assert model.last.shape[1:] == (1, 8, 8)
    assert model.last.dtype == torch.float32
    assert 0 <= model.last.min() < model.last.max() <= 1
    assert not torch.equal(model.layer.weight, before)
    assert manifest(run)["settings"]["model"].items() >= {"spec": "Seen", "own": True}.items()
    assert run.predict(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).values.shape == (2,)


def test_resuming_needs_the_model_and_equals_not_stopping(file: Path, tmp_path: Path) -> None:
    text = f"{file}:Net(width=8)"
    whole = fitwell.train("digits", model=text, run=tmp_path / "whole", **settings())
    fitwell.train("digits", model=text, run=tmp_path / "parts", **settings(max_steps=7))
    with pytest.raises(UsageError, match=r"model of your own \(.*Net\(width=8\)\), whose code"):
        fitwell.resume(tmp_path / "parts", epochs=2)
    more = {"report": False, "quiet": True}
    steps = whole.result["steps"]
    constant = fitwell.resume(tmp_path / "parts", model=text, max_steps=steps, **more)
    assert constant.status == "finished"
    assert constant.result["steps"] == steps


def test_a_run_of_ones_own_is_of_no_use_without_it(file: Path, tmp_path: Path) -> None:
    run = fitwell.train("digits", model=f"{file}:Net()", run=tmp_path / "run", **settings())
    for use in (fitwell.evaluate, fitwell.resume):
        with pytest.raises(UsageError, match=r"Give it again with `model` \(--model\)"):
            use(run.folder)
    with pytest.raises(UsageError, match=r"Give it again with `model` \(--model\)"):
        fitwell.predict(run.folder, torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_like_a_run_of_an_instance_asks_for_it(tmp_path: Path) -> None:
    run = fitwell.train("digits", model=Seen(64, 10), run=tmp_path / "run", **settings())
    with pytest.raises(UsageError, match=r"`model` must be given again; the run .* with Seen"):
        fitwell.train(like=run.folder, run=tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Nett()", UnknownName, "no class or function named 'Nett'; nearest: 'Net'"),
        ("LIMIT", UnknownName, "no class or function named 'LIMIT'"),
        ("Net(", UsageError, "must be a name with literal arguments"),
        ("Net(depth=3)", UsageError, "Net: got an unexpected keyword argument 'depth'"),
    ],
)
def test_a_wrong_name_in_a_file_is_said(
    name: str, error: type[Exception], message: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        quick("digits", model=f"{file}:{name}", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_missing_or_broken_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must name a Python file that is there; got .*none\.py"):
        quick("digits", model=f"{tmp_path}/none.py:Net")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(UsageError, match=r"broken.py cannot be loaded \(ModuleNotFoundError"):
        quick("digits", model=f"{tmp_path}/broken.py:Net")


def test_the_model_of_a_run_is_a_plain_module(digits: Run) -> None:
    model = digits.model()
    assert isinstance(model, nn.Module)
    assert not model.training
    assert weights(digits)
