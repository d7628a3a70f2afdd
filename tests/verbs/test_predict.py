"""`fitwell predict` writes the file that a leaderboard wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fitwell
from fitwell.core.errors import DataError, UsageError
from fitwell.data import Batches, load_builtin
from fitwell.train import Run, outputs_of

from ..data.image_factory import class_folders, photo
from .runs import call, house, houses, quick, rows_of, table


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return houses(tmp_path_factory.mktemp("tables") / "bare.csv", 30, 700, ("price", "kind"))


def test_header_and_zero_padded_ids_are_kept(prices: Run, bare: Path, tmp_path: Path) -> None:
    written = fitwell.predict(prices.folder, bare, output=tmp_path / "out.csv")
    header, *rows = rows_of(tmp_path / "out.csv")
    assert header == ["id", "price"]
    assert [row[0] for row in rows] == [f"{n:04d}" for n in range(700, 730)]
    values = [float(row[1]) for row in rows]
    torch.testing.assert_close(torch.tensor(values), prices.predict(bare).values)
    assert written.to_dict() == {
        "path": str(tmp_path / "out.csv"),
        "rows": 30,
        "header": ("id", "price"),
        "skipped": 0,
        "note": "",
    }
    assert "30 rows, id,price" in str(written)


def test_the_file_goes_into_the_run_by_default(tmp_path: Path, bare: Path, capsys: Any) -> None:
    path = houses(tmp_path / "houses.csv")
    run = quick("table", path, target="kind", ignore=("price",), run=tmp_path / "run")
    code, result, _ = call(capsys, "predict", run.folder, bare)
    assert code == 0
    assert result["path"] == str(tmp_path / "run" / "predictions.csv")
    assert len(rows_of(result["path"])) == 31


def test_classes_by_name_by_index_and_with_probabilities(
    kinds: Run, bare: Path, tmp_path: Path
) -> None:
    names = fitwell.predict(kinds.folder, bare, output=tmp_path / "names.csv", probs=True)
    fitwell.predict(kinds.folder, bare, output=tmp_path / "indices.csv", labels="indices")
    classes = kinds.schema.class_names
    assert classes == ("large", "small")
    assert names.header == ("id", "kind", "p_large", "p_small")
    for named, numbered in zip(
        rows_of(tmp_path / "names.csv")[1:], rows_of(tmp_path / "indices.csv")[1:], strict=True
    ):
        probs = [float(value) for value in named[2:]]
        assert named[1] == classes[int(np.argmax(probs))]
        assert sum(probs) == pytest.approx(1, abs=2e-6)  # six digits are written
        assert classes[int(numbered[1])] == named[1]


def test_headers_can_be_chosen(kinds: Run, bare: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    fitwell.predict(kinds.folder, bare, output=out, id_name="Id", target_name="Category")
    assert rows_of(out)[0] == ["Id", "Category"]


def test_a_sample_gives_header_and_order(kinds: Run, bare: Path, tmp_path: Path) -> None:
    wanted = [f"{n:04d}" for n in (710, 703, 729, 700)]
    sample = table(tmp_path / "sample.csv", [{"Id": n, "Class": "small"} for n in wanted])
    out = tmp_path / "out.csv"
    fitwell.predict(kinds.folder, bare, output=out, sample=sample)
    fitwell.predict(kinds.folder, bare, output=tmp_path / "all.csv")
    header, *rows = rows_of(out)
    assert header == ["Id", "Class"]
    assert [row[0] for row in rows] == wanted
    everything = dict(rows_of(tmp_path / "all.csv"))
    assert all(everything[name] == value for name, value in rows)
    assert fitwell.check_submission(out, sample).problems == ()


def test_a_sample_that_names_other_ids_is_refused(kinds: Run, bare: Path, tmp_path: Path) -> None:
    sample = table(tmp_path / "sample.csv", [{"id": n, "kind": "small"} for n in ("0700", "700")])
    out = tmp_path / "out.csv"
    with pytest.raises(DataError, match=r"sample\.csv: names the id '700' \(line 3\) and 0 more"):
        fitwell.predict(kinds.folder, bare, output=out, sample=sample)
    assert not out.exists()


def test_pt_20_predictions_come_in_the_order_of_the_data(prices: Run, tmp_path: Path) -> None:
    rows = [{k: v for k, v in house(n).items() if k not in ("price", "kind")} for n in range(50)]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0)).tolist()
    table(tmp_path / "straight.csv", rows)
    table(tmp_path / "shuffled.csv", [rows[place] for place in order])
    straight = prices.predict(tmp_path / "straight.csv").values
    shuffled = prices.predict(tmp_path / "shuffled.csv").values
    torch.testing.assert_close(shuffled, straight[order])
    assert straight.device.type == "cpu"
    assert len(straight.unique()) > 40


def test_pt_20_no_more_than_a_batch_is_on_the_device() -> None:
    """The model never sees more than a batch, and what it gave is on the CPU before the next."""
    sizes: list[int] = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x.flatten(1).sum(dim=1)

    test = load_builtin("digits").train
    outputs = outputs_of(Watch(), Batches(test, 100))
    assert max(sizes) == 100
    expected = test.inputs.float().flatten(1).sum(dim=1) / 255
    torch.testing.assert_close(outputs, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_pt_20_peak_memory_does_not_depend_on_the_size_of_the_test_part() -> None:
    from fitwell.data import Examples, Schema

    schema = Schema(kind="tensor", input_shape=(1000,), target_kind="number")
    peaks = []
    for count in (5_000, 50_000):
        examples = Examples(inputs=torch.zeros(count, 1000), targets=None, schema=schema)
        torch.cuda.reset_peak_memory_stats()
        model = torch.nn.Linear(1000, 1000).cuda()
        outputs_of(model, Batches(examples, 500, device="cuda"))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] == peaks[1]


def test_images_are_named_by_their_files(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", each=12, size=(12, 12))
    run = quick("images", folder, run=tmp_path / "run")
    new = tmp_path / "new"
    new.mkdir()
    for name in ("0002", "0001", "0010"):
        photo(12, 12, seed=int(name)).save(new / f"{name}.png")
    written = fitwell.predict(run.folder, new, output=tmp_path / "out.csv", probs=True)
    rows = rows_of(tmp_path / "out.csv")
    assert written.header[2:] == ("p_cat", "p_dog")
    assert [Path(row[0]).stem for row in rows[1:]] == ["0001", "0002", "0010"]
    assert {row[1] for row in rows[1:]} <= {"cat", "dog"}


def test_an_array_from_python_is_numbered(digits: Run, tmp_path: Path) -> None:
    images = load_builtin("digits").valid.inputs[:5]
    fitwell.predict(digits, images, output=tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")[1:]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row[1] for row in rows] == digits.predict(images.numpy()).words("names")


def test_the_unlabelled_rows_of_a_built_in_set(tmp_path: Path, data_dir: Path) -> None:
    run = quick("covid_survey", run=tmp_path / "run", max_steps=5, epochs=None)
    written = fitwell.predict(run.folder, "covid_survey")
    header, *rows = rows_of(written.path)
    assert header == ["id", "tested_positive"]
    assert [row[0] for row in rows] == [str(n) for n in range(1078)]
    assert not any(column.name == "id" for column in run.schema.columns)


def test_data_of_another_kind_is_refused(digits: Run, data_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"must have shape \(N, 1, 8, 8\), as in training"):
        fitwell.predict(digits, "covid_survey")
    with pytest.raises(UsageError, match=r"must have shape \(N, \*\(1, 8, 8\)\)"):
        digits.predict(np.zeros((3, 8, 8), dtype=np.uint8))


def test_probabilities_of_numbers_are_refused(prices: Run, bare: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`probs` must be left out when the target is a number"):
        fitwell.predict(prices, bare, output=tmp_path / "out.csv", probs=True)


def test_a_column_that_is_missing_is_named(prices: Run, tmp_path: Path) -> None:
    bad = houses(tmp_path / "bad.csv", without=("price", "kind", "rooms"))
    with pytest.raises(DataError, match=r"bad\.csv.*rooms"):
        fitwell.predict(prices, bad, output=tmp_path / "out.csv")


def test_bad_rows_are_skipped_and_counted(prices: Run, tmp_path: Path) -> None:
    rows = [{k: v for k, v in house(n).items() if k not in ("price", "kind")} for n in range(9)]
    rows[4]["rooms"] = "many"
    path = table(tmp_path / "bad.csv", rows)
    with pytest.raises(DataError, match="many"):
        fitwell.predict(prices, path, output=tmp_path / "out.csv")
    written = fitwell.predict(prices, path, output=tmp_path / "out.csv", on_bad_row="skip")
    assert (written.rows, written.skipped) == (8, 1)
    assert "0004" not in dict(rows_of(tmp_path / "out.csv"))
