"""Folders of images whose names begin with their class, as Food-11 has them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fitwell
from fitwell.core.errors import DataError
from fitwell.data import load_images, read_images
from fitwell.data._images._named import label_in

from .image_factory import photo, write


def food(root: Path, classes: int = 11, each: int = 2, test: int = 4) -> Path:
    """A small folder in the form of Food-11; image k of a class is drawn from a seed of its own."""
    for part, seed in (("train", 0), ("valid", 500)):
        names = [(label, number) for label in range(classes) for number in range(each)]
        files = {
            f"{part}/{label}_{number}.jpg": photo(16, 16, seed + 20 * label + number)
            for label, number in names
        }
        write(root, files)
    return write(root, {f"test/{n:04d}.jpg": photo(16, 16, 900 + n) for n in range(1, test + 1)})


def test_hw3_01_classes_are_read_from_names_and_unlabelled_tests_left_out(tmp_path: Path) -> None:
    splits = load_images(food(tmp_path / "food11"))
    assert splits.schema.class_names == tuple(str(label) for label in range(11))
    assert splits.test is None
    for part in (splits.train, splits.valid):
        assert part.ids is not None
        assert part.targets is not None
        wanted = [Path(name).name.partition("_")[0] for name in part.ids]
        assert [splits.schema.class_names[code] for code in part.targets.tolist()] == wanted
        assert wanted.count("10") == 2
    notes = splits.schema.source["notes"]
    assert sum("the numbers that the names begin with" in note for note in notes) == 2
    assert sum("its images have no labels" in note for note in notes) == 1


def test_pixels_belong_to_their_names(tmp_path: Path) -> None:
    root = food(tmp_path / "food11")
    named = load_images(root).train
    for label in range(11):
        folder = tmp_path / "sorted" / f"{label}"
        folder.mkdir(parents=True)
        for file in (root / "train").glob(f"{label}_*.jpg"):
            (folder / file.name).write_bytes(file.read_bytes())
    known = read_images(tmp_path / "sorted", named.schema)
    assert torch.equal(torch.as_tensor(named.inputs[:]), torch.as_tensor(known.inputs[:]))
    assert torch.equal(torch.as_tensor(named.targets), torch.as_tensor(known.targets))


def test_one_part_alone_is_cut_like_any_folder(tmp_path: Path) -> None:
    root = food(tmp_path / "food11", classes=3, each=8)
    splits = load_images(root / "train")
    assert "cut stratified" in splits.how
    given_valid = load_images(root / "train", valid_path=root / "valid")
    assert (len(given_valid.train), len(given_valid.valid)) == (24, 24)


def test_a_labelled_test_part_is_read(tmp_path: Path) -> None:
    root = food(tmp_path / "food11", classes=2, test=0)
    write(root, {f"test/{label}_{n}.jpg": photo(16, 16, n) for label in (0, 1) for n in (1, 2, 3)})
    test = load_images(root).test
    assert test is not None
    assert torch.as_tensor(test.targets).tolist() == [0, 0, 0, 1, 1, 1]


def test_images_to_predict_keep_their_numbers_and_known_labels_are_read(tmp_path: Path) -> None:
    root = food(tmp_path / "food11", classes=3)
    schema = load_images(root).schema
    unknown = read_images(root / "test", schema)
    assert unknown.targets is None
    assert unknown.ids == ("0001", "0002", "0003", "0004")
    known = read_images(root / "valid", schema)
    assert torch.as_tensor(known.targets).tolist() == [0, 0, 1, 1, 2, 2]
    write(tmp_path / "more", {"0_1.jpg": photo(16, 16), "7_1.jpg": photo(16, 16, 1)})
    assert read_images(tmp_path / "more", schema).targets is None  # 7 is no class


def test_an_image_without_a_class_is_named(tmp_path: Path) -> None:
    root = write(food(tmp_path / "food11", classes=3), {"train/lunch.jpg": photo(16, 16)})
    with pytest.raises(
        DataError, match=r"lunch\.jpg: has no class before an underscore .* Name it like 3_17\.jpg"
    ):
        load_images(root)
    splits = load_images(root, on_bad_row="skip")
    assert len(splits.train) == 6
    assert splits.schema.source["skipped"] == 1


def test_a_class_that_only_validation_has_is_named(tmp_path: Path) -> None:
    root = write(food(tmp_path / "food11", classes=3), {"valid/9_1.jpg": photo(16, 16)})
    with pytest.raises(DataError, match=r"9_1\.jpg: has the label '9', which no training image"):
        load_images(root)


@pytest.mark.parametrize("name", ["{:04d}.jpg", "IMG_{:04d}.jpg", "20260101_{:06d}.jpg"])
def test_numbers_of_a_camera_are_no_classes(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "p", {name.format(n): photo(16, 16, n) for n in range(4)})
    with pytest.raises(DataError, match="the images have no labels"):
        load_images(root)


@given(st.integers(0, 999), st.integers(0, 10**7), st.sampled_from(["jpg", "png", "JPEG"]))
def test_the_class_is_what_stands_before_the_underscore(label: int, number: int, end: str) -> None:
    assert label_in(f"train/{label}_{number}.{end}") == str(label)
    assert label_in(f"train/{label}{number}.{end}") is None
    assert label_in(f"train/x{label}_{number}.{end}") is None


def test_predictions_have_the_form_of_the_homework(tmp_path: Path) -> None:
    root = food(tmp_path / "food11")
    run = fitwell.train(
        root,
        model="CNN(widths=(4,), convs=1)",
        epochs=1,
        run=tmp_path / "run",
        report=False,
        quiet=True,
        device="cpu",
    )
    fitwell.predict(run, root / "test", id_name="Id", target_name="Category")
    with (run.folder / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["Id", "Category"]
    assert [row[0] for row in rows] == ["0001", "0002", "0003", "0004"]
    assert {row[1] for row in rows} <= {str(label) for label in range(11)}
