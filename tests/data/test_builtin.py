"""Built-in sets: against scikit-learn, against their documentation, and how they are cut."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fitwell.core.errors import DataError, UnknownName, UsageError
from fitwell.data import (
    BUILTIN,
    DataSet,
    Examples,
    RemoteFile,
    find_builtin,
    get_files,
    load_builtin,
    open_unlabelled,
    where,
)
from fitwell.data import _builtin as builtin
from fitwell.data._builtin_source import fit_categories

EMBEDDED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("FITWELL_DATA", raising=False)


def whole(dataset: DataSet) -> Examples:
    return dataset.load(get_files(dataset)).examples


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_equal_scikit_learn(name: str) -> None:
    from sklearn import datasets

    arguments = {"scaled": False} if name == "diabetes" else {}
    reference = getattr(datasets, f"load_{name}")(**arguments)
    examples = whole(BUILTIN[name])
    assert examples.targets is not None
    targets = examples.targets.numpy()
    np.testing.assert_array_equal(targets, reference.target.astype(targets.dtype))
    if name == "digits":
        pixels = examples.inputs.numpy()
        assert pixels.shape == (1797, 1, 8, 8)
        assert pixels.dtype == np.uint8
        exact = reference.images[:, None] * 255 / 16
        assert np.abs(pixels - exact).max() <= 0.5
        np.testing.assert_array_equal(
            np.rint(pixels.astype(np.float64) * 16 / 255), reference.images[:, None]
        )
    else:
        np.testing.assert_array_equal(examples.inputs, reference.data.astype(np.float32))
        assert [column.name for column in examples.schema.columns] == list(reference.feature_names)
    names = [] if name == "diabetes" else [str(n) for n in reference.target_names]
    assert list(examples.schema.class_names) == names


def test_embedded_sets_do_not_import_scikit_learn() -> None:
    code = (
        "import sys; from fitwell.data import load_builtin\n"
        f"for name in {EMBEDDED}: load_builtin(name)\n"
        "print(sorted({'sklearn', 'scipy', 'PIL', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", EMBEDDED)
def test_parts_cover_the_set_once(name: str) -> None:
    splits = load_builtin(name, seed=3)
    examples = whole(BUILTIN[name])
    rows = [row for part in splits.indices.values() for row in part]
    assert sorted(rows) == list(range(BUILTIN[name].examples))
    for part, found in splits.parts().items():
        assert torch.equal(found.inputs, examples.inputs[list(splits.indices[part])])
        assert splits.schema == found.schema
    assert splits.schema.num_classes == BUILTIN[name].classes
    assert splits.schema.kind == BUILTIN[name].kind
    assert splits.schema.source == {"builtin": name}


def test_cut_follows_seed_shares_and_mode() -> None:
    first, same, other = (load_builtin("digits", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == same.fingerprint
    assert first.fingerprint != other.fingerprint
    assert load_builtin("digits", mode="random").indices != first.indices
    assert load_builtin("iris", valid=0.2, test=0).test is None
    assert len(load_builtin("iris", valid=0.2, test=0).valid) == 30
    counts = torch.bincount(load_builtin("iris", valid=0.2, test=0.2).valid.targets)
    assert counts.tolist() == [10, 10, 10]


def test_how_tells_the_cut() -> None:
    assert load_builtin("iris", seed=4).how == (
        "iris: valid: 0.15 and test: 0.15 of all rows, stratified, seed 4"
    )
    assert "no test part, random" in load_builtin("diabetes", test=0).how


def test_bad_arguments_are_named() -> None:
    with pytest.raises(UsageError, match=r"`mode` must be 'auto', 'random' or .*; got 'x'"):
        load_builtin("iris", mode="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs class labels"):
        load_builtin("diabetes", mode="stratified")
    with pytest.raises(UsageError, match="`valid` and `test` must be shares"):
        load_builtin("iris", valid=0.9, test=0.9)
    with pytest.raises(UsageError, match="one of: covid_survey"):
        open_unlabelled("iris")


def test_names_are_found_or_explained() -> None:
    assert find_builtin("Fashion-MNIST")[0].name == "fashion_mnist"
    assert find_builtin("uci_regression:yacht/19")[1] == 19
    assert find_builtin("adbench:Ionosphere")[0].name == "adbench:ionosphere"
    with pytest.raises(UnknownName, match="nearest: 'digits'"):
        find_builtin("digit")
    with pytest.raises(UnknownName, match="nearest: 'adbench:cardio'"):
        find_builtin("adbench:cardoi")
    with pytest.raises(UsageError, match=r"family.*adbench:annthyroid, adbench:breastw, .*vowels"):
        find_builtin("adbench")
    with pytest.raises(UsageError, match="cut from 0 to 19; got 'uci_regression:yacht/20'"):
        find_builtin("uci_regression:yacht/20")
    with pytest.raises(UsageError, match="'mnist' alone, which has no choice of cuts"):
        find_builtin("mnist/1")


def test_where_and_errors_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert where(BUILTIN["digits"]) == "embedded"
    assert where(BUILTIN["mnist"]) == "to download"
    assert where(BUILTIN["uci_regression:yacht"]) == "needs FITWELL_DATA"
    with pytest.raises(DataError, match=r"FITWELL_DATA is not set.*uci_regression/yacht.npz"):
        load_builtin("uci_regression:yacht")
    monkeypatch.setattr(builtin, "fetch", lambda file, folder, progress: _refuse(file.url))
    with pytest.raises(
        DataError, match=r"asked for https://ossci-datasets.s3.amazonaws.com/mnist/"
    ):
        load_builtin("mnist")


def _refuse(url: str) -> Path:
    raise DataError(f"asked for {url}")


def test_forms_of_a_set_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_DATA", str(tmp_path))
    files = [
        RemoteFile(name, hashlib.sha256(name.encode()).hexdigest(), len(name), f"http://{name}")
        for name in ("a.csv", "b.csv", "a.csv.gz")
    ]
    toy = replace(BUILTIN["adult"], name="toy", files=tuple(files[:2]), local_files=(files[2],))
    fetched: list[str] = []

    def fetch(file: RemoteFile, folder: Path, progress: object) -> Path:
        fetched.append(file.name)
        path = tmp_path / file.name
        path.write_text(file.name)
        return path

    monkeypatch.setattr(builtin, "fetch", fetch)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "b.csv").write_text("b.csv")
    assert where(toy) == "to download"
    assert list(get_files(toy)) == ["a.csv", "b.csv"]
    assert fetched == ["a.csv"]  # only what is missing
    (tmp_path / "toy" / "a.csv.gz").write_text("a.csv.gz")
    assert where(toy) == "here"
    assert list(get_files(toy)) == ["a.csv.gz"]
    (tmp_path / "toy" / "a.csv").write_text("a.cs!")
    with pytest.raises(DataError, match=r"toy/a.csv: must have the SHA-256"):
        get_files(toy)


def test_categories_come_from_training_rows_only() -> None:
    from fitwell.data import Column, Schema

    schema = Schema(
        kind="table",
        input_shape=(2,),
        target_kind="class",
        class_names=("no", "yes"),
        columns=(Column(name="n"), Column(name="c", kind="category", categories=("a", "b", "d"))),
    )
    inputs = torch.tensor([[7.0, 3.0], [7.0, 0.0], [7.0, 2.0], [7.0, 1.0]])
    examples = Examples(inputs=inputs, targets=torch.tensor([0, 1, 0, 1]), schema=schema)
    fitted = fit_categories(examples, np.array([0, 1, 3]))
    assert fitted.schema.columns[1].categories == ("a", "d")
    assert fitted.inputs[:, 1].tolist() == [2, 0, 0, 1]
    assert inputs[:, 1].tolist() == [3, 0, 2, 1]
    assert fit_categories(examples, np.arange(4)).fingerprint == examples.fingerprint


def test_every_set_says_what_it_is() -> None:
    for name, dataset in BUILTIN.items():
        assert name == dataset.name
        assert dataset.title
        assert dataset.license
        assert dataset.homepage.startswith("http")
        assert dataset.embedded == (name in EMBEDDED)
        for file in (*dataset.files, *dataset.local_files):
            assert len(file.sha256) == 64
            assert file.bytes > 0
        assert all(file.url.startswith("http") for file in dataset.files)
        assert (dataset.load_unlabelled is not None) == (name == "covid_survey")


def test_docs_have_a_row_for_every_set() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for dataset in BUILTIN.values():
        target = f"{dataset.classes} classes" if dataset.classes else "a number"
        row = (
            f"| `{dataset.name}` | {dataset.title} | {dataset.kind} | {dataset.examples:,} |"
            f" {target} | {dataset.license} | [page]({dataset.homepage}) |"
        )
        assert row in text, f"docs/data.md lacks this line:\n{row}"
