"""What `train` takes as data, and what it says to what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from fitwell.core.errors import UnknownName, UsageError
from fitwell.data import load_builtin
from fitwell.tasks import open_source, smoke

from ..data.image_factory import class_folders


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("a,b,y\n" + "".join(f"{n},{n % 3},{n * 0.5 + 0.25}\n" for n in range(60)))
    return path


def test_a_built_in_set_by_name() -> None:
    source = open_source("digits", reader={"seed": 3, "valid": None})
    assert (source.name, source.path, source.task.name) == ("digits", None, "images")
    assert source.reader == {"seed": 3}
    assert source.splits.fingerprint == load_builtin("digits", seed=3).fingerprint


@pytest.mark.parametrize("named", [True, False])
def test_a_table_by_kind_or_by_its_name(named: bool, csv: Path) -> None:
    arguments = ("table", csv) if named else (csv,)
    source = open_source(*arguments, reader={"target": "y"})
    assert (source.name, source.path, source.task.name) == ("table", str(csv), "table")
    assert sum(len(part) for part in source.splits.parts().values()) == 60


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_of_images(named: bool, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", size=(8, 8))
    source = open_source(*(("images", folder) if named else (str(folder),)))
    assert (source.name, source.task.name) == ("images", "images")


@pytest.mark.parametrize("named", [True, False])
def test_arrays_in_a_file(named: bool, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50) % 2)
    source = open_source(*(("arrays", path) if named else (path,)))
    assert (source.name, source.path) == ("arrays", str(path))


def test_data_in_memory() -> None:
    x, y = torch.randn(50, 3), torch.arange(50) % 2
    splits = load_builtin("iris")
    for given in ((x, y), TensorDataset(x, y), splits):
        source = open_source(given)
        assert (source.name, source.path) == ("memory", None)
    assert open_source(splits).splits is splits


@pytest.mark.parametrize(
    ("arguments", "reader", "error", "message"),
    [
        (("nothing.csv",), {}, UsageError, "`target` must name the column to predict"),
        (("table",), {}, UsageError, "`path` must follow 'table'"),
        (("tabel", "x.csv"), {}, UnknownName, "no kind of data named 'tabel'; nearest: 'table'"),
        (("digts",), {}, UnknownName, "no data set, folder or file named 'digts'; nearest"),
        (("not/here",), {}, UsageError, "got 'not/here', which is not there"),
        (("digits",), {"target": "y"}, UsageError, "`target` must be left out for 'digits'"),
        ((7,), {}, UsageError, "a pair of arrays .* or a map-style Dataset; got int"),
    ],
)
def test_what_is_no_data_is_said(
    arguments: tuple[Any, ...], reader: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_source(*arguments, reader=reader)


def test_a_file_of_another_kind_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.docx', which is none of them"):
        open_source(tmp_path / "notes.docx")


def test_ready_splits_take_no_reader() -> None:
    with pytest.raises(UsageError, match="`valid` must be left out when `source` is already split"):
        open_source(load_builtin("iris"), reader={"valid": 0.2})
    with pytest.raises(UsageError, match="`split_seed` must be left out"):
        open_source(load_builtin("iris"), reader={"seed": 3})


def test_smoke_keeps_a_hundredth_the_same_each_time() -> None:
    splits = load_builtin("digits", valid=0.1, test=0.01)
    small = smoke(splits)
    assert small.test is not None
    assert (len(small.train), len(small.valid), len(small.test)) == (32, 32, 18)
    assert small.fingerprint == smoke(splits).fingerprint
    assert "smoke" in small.how
    whole = {tuple(row.flatten().tolist()) for row in splits.train.inputs}
    assert {tuple(row.flatten().tolist()) for row in small.train.inputs} <= whole
