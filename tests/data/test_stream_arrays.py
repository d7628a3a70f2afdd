"""Arrays in files that are too large for memory: the same examples, without reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fitwell
from fitwell.core.errors import DataError, UsageError
from fitwell.data import DiskRows, Splits, _arrays, _batches, contact_sheet, load_arrays
from fitwell.data._stream import _array_file

PIXELS = np.random.default_rng(1).integers(0, 256, (300, 3, 8, 6), dtype=np.uint8)
NUMBERS = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
LABELS = np.arange(300) % 3


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for 30 images, or 216 rows of numbers."""
    for module in (_arrays, _array_file, _batches):
        monkeypatch.setattr(module, "memory_budget", lambda: 30 * 144)


def same_rows(on_disk: Splits, values: np.ndarray) -> None:
    for name, part in on_disk.parts().items():
        assert isinstance(part.inputs, DiskRows)
        rows = list(on_disk.indices[name])
        assert rows == sorted(rows)
        np.testing.assert_array_equal(
            part.inputs[:].flatten(1), values[rows].reshape(len(rows), -1)
        )
        assert part.targets is not None
        assert part.targets.tolist() == LABELS[rows].tolist()


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (PIXELS, (3, 8, 6)),
        (PIXELS[:, 0].copy(), (1, 8, 6)),
        (NUMBERS, (5,)),
        (NUMBERS.reshape(300, 5, 1), (5, 1)),
    ],
    ids=["images", "gray", "table", "tensor"],
)
@pytest.mark.parametrize("way", ["npz", "folder", "map", "torch"])
def test_large_arrays_stay_on_disk(
    tmp_path: Path, values: np.ndarray, shape: tuple[int, ...], way: str
) -> None:
    given: tuple[Any, ...]
    if way == "npz":
        np.savez(tmp_path / "d.npz", x=values, y=LABELS)
        given = (tmp_path / "d.npz",)
    elif way == "torch":
        values.tofile(tmp_path / "x.bin")
        dtype = torch.from_numpy(values[:1]).dtype
        flat = torch.from_file(str(tmp_path / "x.bin"), shared=True, size=values.size, dtype=dtype)
        given = (flat.reshape(values.shape), LABELS)
    else:
        np.save(tmp_path / "x.npy", values)
        np.save(tmp_path / "y.npy", LABELS)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        given = (tmp_path,) if way == "folder" else (mapped, LABELS)
    splits = load_arrays(*given, seed=3)
    assert splits.schema.input_shape == shape
    same_rows(splits, values)
    plain = load_arrays(values.copy(), LABELS, seed=3)
    assert plain.schema == splits.schema
    for name, rows in plain.indices.items():
        assert sorted(rows) == list(splits.indices[name])


@pytest.mark.usefixtures("little")
def test_what_has_to_be_changed_is_read(tmp_path: Path) -> None:
    """Other layouts and types, and compressed files, do not stay on disk."""
    last = PIXELS.transpose(0, 2, 3, 1).copy()
    wide = NUMBERS.astype(np.float64)
    np.savez_compressed(tmp_path / "d.npz", x=PIXELS, y=LABELS)
    np.save(tmp_path / "last.npy", last)
    np.save(tmp_path / "wide.npy", wide)
    sources: list[tuple[Any, ...]] = [(tmp_path / "d.npz",)]
    sources += [(np.load(tmp_path / f"{n}.npy", mmap_mode="r"), LABELS) for n in ("last", "wide")]
    for given, values in zip(sources, (PIXELS, PIXELS, NUMBERS), strict=True):
        splits = load_arrays(*given)
        assert isinstance(splits.train.inputs, torch.Tensor)
        rows = list(splits.indices["train"])
        np.testing.assert_array_equal(splits.train.inputs, values[rows])


@pytest.mark.usefixtures("little")
def test_what_has_to_be_changed_and_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_arrays, "memory_limit", lambda: 4 * 30 * 144)
    np.save(tmp_path / "x.npy", PIXELS.transpose(0, 2, 3, 1).copy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(UsageError, match=r"must fit in memory, or lie in a file as float32 or as"):
        load_arrays(mapped, LABELS)


@pytest.mark.usefixtures("little")
def test_a_bad_value_on_disk_is_found_with_its_row(tmp_path: Path) -> None:
    values = NUMBERS.reshape(300, 5, 1).copy()
    values[271, 3] = np.nan
    np.savez(tmp_path / "d.npz", x=values, y=LABELS)
    with pytest.raises(DataError, match=r"row 271: the value at \[3, 0\] is nan"):
        load_arrays(tmp_path / "d.npz")


def test_a_folder_needs_its_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", NUMBERS)
    with pytest.raises(DataError, match=r"needs arrays named x and y, .*; got x\. Rename"):
        load_arrays(tmp_path)
    np.save(tmp_path / "y.npy", np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as a folder of \.npy files"):
        load_arrays(tmp_path)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("values", [PIXELS, NUMBERS], ids=["images", "table"])
def test_a_whole_run_on_data_that_stays_on_disk(
    tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, measuring, its pictures and predictions, as with the data in memory."""
    np.savez(tmp_path / "d.npz", x=values, y=LABELS)

    def run(name: str) -> fitwell.Run:
        return fitwell.train(
            "arrays", tmp_path / "d.npz", run=tmp_path / name, model="MLP(hidden=(8,))", epochs=1,
            batch_size=32, optimizer="SGD(lr=0)", quiet=True, device="cpu",
        )  # fmt: skip

    there = run("there")
    assert (tmp_path / "there" / "report.html").is_file()
    assert fitwell.evaluate(there).parts.keys() == {"train", "valid", "test"}
    splits = load_arrays(tmp_path / "d.npz")
    assert isinstance(splits.train.inputs, DiskRows)
    if values is PIXELS:
        contact_sheet(splits.train)
    answers = there.predict(splits.valid).values
    monkeypatch.undo()
    here = run("here")
    # With a rate of 0 the order does not matter: the scaling and the numbers have to be the same.
    fitted, wanted = there.manifest["scaling"]["inputs"], here.manifest["scaling"]["inputs"]
    assert fitted["mean"] == pytest.approx(wanted["mean"])
    assert fitted["std"] == pytest.approx(wanted["std"])
    for part in ("train", "valid", "test"):
        assert here.result[part] == pytest.approx(there.result[part], rel=1e-5)
    rows = sorted(splits.indices["valid"])
    assert torch.equal(here.predict(torch.from_numpy(values[rows])).values, answers)


@pytest.mark.usefixtures("little")
def test_a_run_on_disk_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=PIXELS, y=LABELS)

    def run(name: str, **more: Any) -> fitwell.Run:
        return fitwell.train(
            "arrays", tmp_path / "d.npz", run=tmp_path / name, model="MLP(hidden=(8,))", epochs=1,
            batch_size=32, quiet=True, device="cpu", report=False, **more,
        )  # fmt: skip

    whole = run("whole")
    run("parts", max_minutes=1e-9)
    steps = 0
    while (parts := fitwell.resume(tmp_path / "parts", max_minutes=1e-9)).status != "finished":
        steps += 1
        assert steps < 60
    assert steps > 2  # it was stopped in the middle of an epoch
    files = [run.folder / "model.safetensors" for run in (whole, parts)]
    assert files[0].read_bytes() == files[1].read_bytes()
