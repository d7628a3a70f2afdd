"""Readers of the forms that data sets are published in, on small files made here."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fitwell.core.errors import DataError
from fitwell.data._builtin_images import (
    decoded_once,
    read_cifar_archive,
    read_cifar_jpeg,
    read_idx,
)
from fitwell.data._builtin_tables import (
    load_adbench,
    load_adult,
    load_covid_survey,
    load_covid_unlabelled,
    load_uci,
)

RNG = np.random.default_rng(0)


def test_idx_round_trip(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 5, 4, 3) + pixels.tobytes())
    )
    np.testing.assert_array_equal(read_idx(path), pixels)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\x03" + struct.pack(">2I", 5, 4),
        b"\0\0\x0d\x01" + struct.pack(">I", 4) + b"abcd",
        b"\0\0\x08\x01" + struct.pack(">I", 5) + b"abcd",
        b"\0\0\x08\x00",
    ],
)
def test_other_files_are_no_idx(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(DataError, match=r"labels.gz: must be an IDX file of bytes"):
        read_idx(path)


def test_idx_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 4) + b"abcd")[:-9])
    with pytest.raises(DataError, match="must be a gzip file"):
        read_idx(path)


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as the strings of Python 2, as in the archive of CIFAR-10."""

    dispatch: ClassVar[dict[type, object]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_python2_string(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_python2_string


def archive(path: Path, batches: dict[str, object]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, batch in {"batches.meta": {b"label_names": []}, **batches}.items():
            stream = io.BytesIO()
            Python2Pickler(stream, protocol=2).dump(batch)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = stream.tell()
            stream.seek(0)
            tar.addfile(info, stream)
    return path


def cifar_batches() -> dict[str, object]:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {
        name: {
            b"batch_label": name.encode(),
            b"labels": [number, 9 - number],
            b"data": RNG.integers(0, 256, (2, 3072), dtype=np.uint8),
            b"filenames": [b"a.png", b"b.png"],
        }
        for number, name in enumerate(names)
    }


def test_cifar_archive(tmp_path: Path) -> None:
    batches = cifar_batches()
    pixels, labels = read_cifar_archive(archive(tmp_path / "cifar.tar.gz", batches))
    assert labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    wanted = np.concatenate([batch[b"data"] for batch in batches.values()])  # type: ignore[index]
    np.testing.assert_array_equal(pixels, wanted.reshape(12, 3, 32, 32))


class Malice:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def test_cifar_archive_runs_no_code(tmp_path: Path) -> None:
    batches = {**cifar_batches(), "data_batch_3": {b"data": Malice(tmp_path / "owned")}}
    path = archive(tmp_path / "cifar.tar.gz", batches)
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir, which is refused"):
        read_cifar_archive(path)
    assert not (tmp_path / "owned").exists()


def test_cifar_archive_with_a_batch_missing(tmp_path: Path) -> None:
    batches = cifar_batches()
    del batches["test_batch"]
    with pytest.raises(DataError, match=r"must hold the six batches of CIFAR-10.*test_batch"):
        read_cifar_archive(archive(tmp_path / "cifar.tar.gz", batches))


def test_cifar_jpeg(tmp_path: Path) -> None:
    from PIL import Image

    images, files = RNG.integers(0, 256, (7, 32, 32, 3), dtype=np.uint8), []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="JPEG")
        files.append(stream.getvalue())
    scan = files[0].index(b"\xff\xda")  # the files differ only after their tables
    header, bodies = files[0][:scan], [file[scan:] for file in files]

    def packed(part: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        ends = np.cumsum([0, *(len(body) for body in part)]).astype(np.int32)
        return np.frombuffer(b"".join(part), np.uint8), ends

    (train, train_ends), (test, test_ends) = packed(bodies[:4]), packed(bodies[4:])
    path = tmp_path / "jpeg.npz"
    np.savez(
        path,
        header=np.frombuffer(header, np.uint8),
        train_bytes=train,
        train_offset=train_ends,
        train_label=np.arange(4, dtype=np.uint8),
        test_bytes=test,
        test_offset=test_ends,
        test_label=np.arange(4, 7, dtype=np.uint8),
    )
    pixels, labels = read_cifar_jpeg(path)
    assert labels.tolist() == list(range(7))
    for found, file in zip(pixels, files, strict=True):
        np.testing.assert_array_equal(
            found.transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(file)))
        )


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path))
    calls: list[Path] = []

    def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
        calls.append(path)
        return np.full((2, 1, 3, 3), len(calls), np.uint8), np.array([0, 1], np.uint8)

    first, _ = decoded_once(tmp_path / "x", "key", read)
    again, labels = decoded_once(tmp_path / "x", "key", read)
    np.testing.assert_array_equal(first, again)
    assert labels.tolist() == [0, 1]
    assert len(calls) == 1
    again[:] = 9  # the map is private to this process
    assert decoded_once(tmp_path / "x", "key", read)[0].max() == 1
    assert decoded_once(tmp_path / "x", "other", read)[0].max() == 2
    (tmp_path / "decoded" / "key" / "images.npy").write_bytes(b"\x93NUMPY damaged")
    assert decoded_once(tmp_path / "x", "key", read)[0].max() == 3


ADULT_ROW = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, {}, Husband, White, Male, 2174, 0, 40, {}"
)


def test_adult_forms_agree(tmp_path: Path) -> None:
    rows = [ADULT_ROW.format(job, country) for job, country in (("Sales", "Peru"), ("?", "Cuba"))]
    train = f"{rows[0]}, <=50K\n{rows[1]}, >50K\n"
    test = f"{rows[1]}, >50K.\n"
    (tmp_path / "adult.data").write_text(train + "\n")
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n" + test + "\n")
    (tmp_path / "adult.data.gz").write_bytes(gzip.compress(train.encode()))
    (tmp_path / "adult.test.gz").write_bytes(gzip.compress(test.encode()))
    plain, packed = (
        load_adult({name: tmp_path / name for name in (f"adult.data{end}", f"adult.test{end}")})
        for end in ("", ".gz")
    )
    examples = plain.examples
    assert examples.fingerprint == packed.examples.fingerprint
    assert [tests.tolist() for tests in plain.tests] == [[2]]
    assert examples.targets is not None
    assert examples.targets.tolist() == [0, 1, 1]
    columns = {column.name: place for place, column in enumerate(examples.schema.columns)}
    assert examples.inputs[:, columns["fnlwgt"]].tolist() == [77516] * 3
    assert examples.inputs[:, columns["occupation"]].tolist() == [1, 0, 0]
    assert examples.schema.columns[columns["native-country"]].categories == ("Cuba", "Peru")


def test_covid_survey_keeps_ids_out_of_the_features(tmp_path: Path) -> None:
    header = "id,AL,cli,tested_positive,cli,tested_positive"
    (tmp_path / "covid.train.csv").write_text(f"{header}\n007,1,2,3,4,5\n8,0,3,4,5,6\n")
    (tmp_path / "covid.test.csv").write_text(
        f"{header.removesuffix(',tested_positive')}\n9,1,2,3,4\n"
    )
    files = {name: tmp_path / name for name in ("covid.train.csv", "covid.test.csv")}
    examples = load_covid_survey(files).examples
    names = [column.name for column in examples.schema.columns]
    assert names == ["AL", "cli.1", "tested_positive.1", "cli.2"]
    assert examples.ids == ("007", "8")
    assert examples.inputs.tolist() == [[1, 2, 3, 4], [0, 3, 4, 5]]
    assert examples.targets is not None
    assert examples.targets.tolist() == [5, 6]
    unlabelled = load_covid_unlabelled(files)
    assert unlabelled.targets is None
    assert unlabelled.ids == ("9",)
    assert len(unlabelled.schema.columns) == 4


def test_uci_folds(tmp_path: Path) -> None:
    data = RNG.normal(size=(40, 7))
    folds = {f"test_order_{k}": np.array([k, k + 20], np.uint16) for k in range(20)}
    path = tmp_path / "yacht.npz"
    np.savez(path, data=data, feature_columns=np.arange(6), target_column=6, **folds)
    source = load_uci({"yacht.npz": path}, name="yacht")
    np.testing.assert_array_equal(source.examples.inputs, data[:, :6].astype(np.float32))
    np.testing.assert_array_equal(source.examples.targets, data[:, 6].astype(np.float32))
    assert [tests.tolist() for tests in source.tests] == [[k, k + 20] for k in range(20)]


def test_adbench_labels(tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    np.savez(path, X=np.arange(6.0).reshape(3, 2), y=np.array([0, 1, 0]))
    examples = load_adbench({"toy.npz": path}, name="toy.npz").examples
    assert examples.schema.class_names == ("normal", "anomaly")
    assert examples.targets is not None
    assert examples.targets.tolist() == [0, 1, 0]
    np.savez(path, X=np.zeros((2, 2)), y=np.array([1, 2]))
    with pytest.raises(DataError, match=r"toy.npz: labels must be 0 or 1; got \[1 2\]"):
        load_adbench({"toy.npz": path}, name="toy.npz")
