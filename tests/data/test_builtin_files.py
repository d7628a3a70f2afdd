"""The real files, where they are on this machine: counts, values and traps of each set."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fitwell.data import BUILTIN, get_files, load_builtin, open_unlabelled, where
from fitwell.data._builtin_images import CIFAR10, read_cifar_jpeg

pytestmark = pytest.mark.skipif(
    "FITWELL_DATA" not in os.environ, reason="FITWELL_DATA names no folder of data sets"
)

ANOMALIES = {
    "annthyroid": (7200, 6, 534),
    "breastw": (683, 9, 239),
    "cardio": (1831, 21, 176),
    "ionosphere": (351, 32, 126),
    "letter": (1600, 32, 100),
    "musk": (3062, 166, 97),
    "optdigits": (5216, 64, 150),
    "pendigits": (6870, 16, 156),
    "satellite": (6435, 36, 2036),
    "shuttle": (49097, 9, 3511),
    "thyroid": (3772, 6, 93),
    "vowels": (1456, 12, 50),
}
REGRESSION = {
    "concrete": (1030, 8),
    "energy": (768, 8),
    "kin8nm": (8192, 8),
    "naval-propulsion-plant": (11934, 16),
    "power-plant": (9568, 4),
    "yacht": (308, 6),
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITWELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def need(name: str) -> None:
    if where(BUILTIN[name]) != "here":
        pytest.skip(f"FITWELL_DATA holds no {name}")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets(name: str) -> None:
    need(name)
    splits = load_builtin(name, valid=1 / 6)
    assert [len(part) for part in splits.parts().values()] == [50_000, 10_000, 10_000]
    assert splits.schema.input_shape == (1, 28, 28)
    assert splits.indices["test"] == tuple(range(60_000, 70_000))
    raw = gzip.decompress(get_files(BUILTIN[name])["t10k-images-idx3-ubyte.gz"].read_bytes())
    assert splits.test is not None
    assert splits.test.inputs.numpy().tobytes() == raw[16:]
    assert splits.test.targets is not None
    labels = gzip.decompress(get_files(BUILTIN[name])["t10k-labels-idx1-ubyte.gz"].read_bytes())
    assert splits.test.targets.tolist() == list(labels[8:])


def test_cifar10_jpeg_is_near_the_original_pixels(tmp_path: Path) -> None:
    need("cifar10")
    from PIL import Image

    path = get_files(BUILTIN["cifar10"]).get("cifar10_jpeg.npz")
    if path is None:
        pytest.skip("FITWELL_DATA holds the original archive instead")
    with np.load(path) as arrays:
        for part, count in (("train", 50_000), ("test", 10_000)):
            assert np.bincount(arrays[f"{part}_label"]).tolist() == [count // 10] * 10
            assert len(arrays[f"{part}_offset"]) == count + 1
        assert tuple(arrays["class_names"]) == CIFAR10
        # The first thousand test images, of which the original pixels are there too.
        some = {name: arrays[name] for name in ("header", "test_bytes")}
        some |= {
            "test_offset": arrays["test_offset"][:1001],
            "test_label": arrays["test_label"][:1000],
        }
    none = {"train_bytes": [], "train_offset": [0], "train_label": []}
    empty = {name: np.array(value, np.uint8) for name, value in none.items()}
    np.savez(tmp_path / "some.npz", **some, **empty)
    pixels, labels = read_cifar_jpeg(tmp_path / "some.npz")
    lossless = path.parent / "lossless"
    with np.load(lossless / "labels.npz") as arrays:
        assert any(np.array_equal(labels, arrays[name]) for name in arrays.files)
    original = np.asarray(Image.open(lossless / "batch_50.png").convert("RGB"))
    original = original.reshape(1000, 32, 32, 3).transpose(0, 3, 1, 2).astype(np.float64)
    error = ((pixels - original) ** 2).mean((1, 2, 3))
    assert (10 * np.log10(255**2 / error)).mean() == pytest.approx(30.5, abs=0.5)


def test_covid_survey() -> None:
    need("covid_survey")
    splits = load_builtin("covid_survey")
    assert sum(len(part) for part in splits.parts().values()) == 2699
    columns = [column.name for column in splits.schema.columns]
    assert len(columns) == 37 + 5 * 16 - 1
    assert "id" not in columns
    assert columns[-1] == "worried_finances.5"
    states = splits.train.inputs[:, :37]
    assert states.sum(1).tolist() == [1] * len(states)
    unlabelled = open_unlabelled("covid_survey")
    assert len(unlabelled) == 1078
    assert unlabelled.schema.columns == splits.schema.columns


def test_covid_survey_rows_overlap() -> None:
    """The trap that docs/data.md tells: the target of most rows is a feature of another row."""
    need("covid_survey")
    examples = BUILTIN["covid_survey"].load(get_files(BUILTIN["covid_survey"])).examples
    assert examples.targets is not None
    values = torch.cat([examples.inputs, examples.targets[:, None]], 1).numpy()
    states, days = values[:, :37].argmax(1), values[:, 37:].reshape(-1, 5, 16)
    earlier = {(s, day.tobytes()) for s, row in zip(states, days, strict=True) for day in row[:4]}
    told = sum((s, row[4].tobytes()) in earlier for s, row in zip(states, days, strict=True))
    assert told == 2653


def test_adult() -> None:
    need("adult")
    splits = load_builtin("adult")
    assert splits.test is not None
    assert len(splits.train) + len(splits.valid) == 32_561
    assert len(splits.test) == 16_281
    assert splits.test.targets is not None
    assert torch.bincount(splits.test.targets).tolist() == [12_435, 3_846]
    for place, column in enumerate(splits.schema.columns):
        codes = splits.train.inputs[:, place]
        if column.kind == "category":
            used = set(codes.unique().int().tolist()) - {0}
            assert used == set(range(1, len(column.categories) + 1))
        assert not codes.isnan().any()


@pytest.mark.parametrize("name", REGRESSION)
def test_uci_regression(name: str) -> None:
    need(f"uci_regression:{name}")
    rows, features = REGRESSION[name]
    tests = []
    for fold in (0, 19):
        splits = load_builtin(f"uci_regression:{name}/{fold}")
        assert sum(len(part) for part in splits.parts().values()) == rows
        assert splits.schema.input_shape == (features,)
        assert f"published cut {fold}" in splits.how
        tests.append(splits.indices["test"])
        assert not set(splits.indices["test"]) & set(splits.indices["train"])
    assert tests[0] != tests[1]
    assert len(tests[0]) == pytest.approx(rows / 10, abs=1)


@pytest.mark.parametrize("name", ANOMALIES)
def test_adbench(name: str) -> None:
    need(f"adbench:{name}")
    rows, features, anomalies = ANOMALIES[name]
    splits = load_builtin(f"adbench:{name}")
    targets = torch.cat([p.targets for p in splits.parts().values() if p.targets is not None])
    assert torch.bincount(targets).tolist() == [rows - anomalies, anomalies]
    assert splits.schema.input_shape == (features,)
    assert splits.test is not None
    assert splits.test.targets is not None
    assert splits.test.targets.sum().item() == pytest.approx(anomalies * 0.15, abs=1)
