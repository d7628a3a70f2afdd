"""Folders of images: forms, parts, labels, ids, and everything that can be wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fitwell.core.errors import DataError, UsageError
from fitwell.data import Examples, Schema, Splits, load_images, read_images
from fitwell.data._images import _decode

from .image_factory import class_folders, encoded, photo, png_bomb, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))


def flat(root: Path, count: int = 20) -> Path:
    return write(root, {f"{i:04d}.png": photo(8, 8, seed=i) for i in range(count)})


def labels_file(path: Path, count: int = 20, head: str = "id,label", form: str = "{:04d}") -> Path:
    rows = [f"{form.format(i)},{'cat' if i % 2 else 'dog'}" for i in range(count)]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def class_of(examples: Examples) -> list[str]:
    assert examples.targets is not None
    return [examples.schema.class_names[i] for i in examples.targets.tolist()]


def test_class_folders(tmp_path: Path) -> None:
    splits = load_images(class_folders(tmp_path / "p", ("dog", "cat", "10", "2")), seed=3)
    assert splits.schema.class_names == ("2", "10", "cat", "dog")
    for part in splits.parts().values():
        assert part.ids is not None
        assert [name.split("/")[0] for name in part.ids] == class_of(part)
    assert sorted(i for index in splits.indices.values() for i in index) == list(range(40))
    assert {name: len(part) for name, part in splits.parts().items()} == {
        "train": 28,
        "valid": 6,
        "test": 6,
    }
    assert splits.how == (
        "cut stratified, seed 3 (train 28, test 6, valid 6);"
        " images 24x32 rgb, the size of all images"
    )
    assert Schema.from_dict(splits.schema.to_dict()) == splits.schema


def test_pixels_belong_to_their_ids(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    for part in load_images(root).parts().values():
        for pixels, name in zip(part.inputs, part.named_ids(), strict=True):
            expected, _ = _decode.decode((root / name).read_bytes(), (24, 32), "rgb")
            assert np.array_equal(pixels.numpy(), expected)


def test_given_parts_are_views_of_one_map(tmp_path: Path) -> None:
    for part, each in (("train", 5), ("val", 3), ("Test", 2)):
        class_folders(tmp_path / "p" / part, each=each)
    splits = load_images(tmp_path / "p")
    assert [len(part) for part in splits.parts().values()] == [10, 6, 4]
    assert splits.indices == {}
    assert "as given (train 10, valid 6, test 4)" in splits.how
    assert class_of(splits.valid) == ["cat"] * 3 + ["dog"] * 3
    storages = {part.inputs.untyped_storage().data_ptr() for part in splits.parts().values()}
    assert len(storages) == 1


def test_validation_is_cut_from_training_if_only_a_test_part_is_given(tmp_path: Path) -> None:
    for part, each in (("train", 10), ("test", 2)):
        class_folders(tmp_path / "p" / part, each=each)
    splits = load_images(tmp_path / "p", valid=0.2)
    assert [len(part) for part in splits.parts().values()] == [16, 4, 4]
    assert splits.test is not None
    assert all(name.startswith("test/") for name in splits.test.named_ids())
    assert "test as given (4)" in splits.how


def test_a_test_part_without_labels_is_left_out_with_a_note(tmp_path: Path) -> None:
    class_folders(tmp_path / "p" / "train")
    flat(tmp_path / "p" / "test")
    splits = load_images(tmp_path / "p")
    assert sum(len(part) for part in splits.parts().values()) == 20
    assert "have no labels" in splits.schema.source["notes"][0]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    splits = load_images(class_folders(tmp_path / "p", ("train", "car", "bus")))
    assert splits.schema.class_names == ("bus", "car", "train")


def test_parts_in_folders_of_their_own(tmp_path: Path) -> None:
    roots = {name: class_folders(tmp_path / name, each=4) for name in ("a", "b", "c")}
    splits = load_images(roots["a"], valid_path=roots["b"], test_path=roots["c"], image_size=8)
    assert [len(part) for part in splits.parts().values()] == [8, 8, 8]
    assert splits.schema.input_shape == (3, 8, 8)
    without_test = load_images(roots["a"], valid_path=roots["b"])
    assert without_test.test is None


def test_labels_from_a_file(tmp_path: Path) -> None:
    splits = load_images(flat(tmp_path / "p"), labels=labels_file(tmp_path / "labels.csv"))
    assert splits.schema.id_name == "id"
    assert splits.schema.target_name == "label"
    for part in splits.parts().values():
        assert part.ids is not None
        assert class_of(part) == ["cat" if int(name) % 2 else "dog" for name in part.ids]
        assert all(len(name) == 4 for name in part.ids)


@pytest.mark.parametrize(
    ("head", "form", "style"),
    [
        ("file,class", "{:04d}.png", "name"),
        ("label;image".replace(";", ","), "{:04d}", None),
        ("image,Category", "./{:04d}.png", "path"),
        ("name,whatever", "{:04d}", "stem"),
    ],
)
def test_columns_are_found(tmp_path: Path, head: str, form: str, style: str | None) -> None:
    path = labels_file(tmp_path / "labels.csv", head=head, form=form)
    if style is None:  # columns the other way round, semicolons, a byte order mark
        rows = [";".join(reversed(line.split(","))) for line in path.read_text().splitlines()]
        path.write_text("\n".join(["label;image", *rows[1:]]), encoding="utf-8-sig")
    splits = load_images(flat(tmp_path / "p"), labels=path)
    assert splits.schema.class_names == ("cat", "dog")
    assert splits.schema.id_name == ("image" if style is None else head.split(",")[0])
    assert splits.train.named_ids()[0].endswith(".png") == (style in ("name", "path"))


def test_groups_stay_together_and_times_in_order(tmp_path: Path) -> None:
    root = flat(tmp_path / "p")
    rows = [f"{i:04d},{'ab'[i % 2]},{i // 4},2024-01-{i + 1:02d}" for i in range(20)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["id,label,person,day", *rows]))
    people = load_images(root, labels=path, split_by="person", valid=0.2, test=0.2)
    groups = [{int(name) // 4 for name in p.named_ids()} for p in people.parts().values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 5
    assert "cut grouped by 'person'" in people.how
    later = load_images(root, labels=path, split_by="day", mode="by_time", valid=0.2, test=0.2)
    assert max(later.train.named_ids()) < min(later.valid.named_ids())
    assert later.test is not None
    assert max(later.valid.named_ids()) < min(later.test.named_ids())


def test_labels_for_given_parts_with_a_hidden_test(tmp_path: Path) -> None:
    root = tmp_path / "p"
    flat(root / "train")
    write(root / "test", {f"{i}.png": photo(8, 8, seed=i) for i in range(100, 103)})
    splits = load_images(root, labels=labels_file(tmp_path / "train.csv"))
    assert sum(len(part) for part in splits.parts().values()) == 20
    assert any("does not name them" in note for note in splits.schema.source["notes"])


@pytest.mark.parametrize(
    ("sizes", "expected", "why"),
    [
        ([(20, 30)] * 3, (20, 30), "the size of all images"),
        ([(20, 30), (40, 25), (60, 50)], (25, 25), "half of the short sides are <= 25"),
        ([(300, 400), (400, 300), (500, 600)], (224, 224), "all images are larger"),
        ([(600, 700)] * 3, (224, 224), "all images are larger"),
    ],
)
def test_size_is_chosen(
    tmp_path: Path, sizes: list[tuple[int, int]], expected: tuple[int, int], why: str
) -> None:
    images = {
        f"{name}/{i}.jpg": photo(*size, seed=i) for name in "ab" for i, size in enumerate(sizes)
    }
    if "larger" in why and len(set(sizes)) > 1:
        why = "half of the short sides are <= 224" if min(map(min, sizes)) < 224 else why
    for _ in range(2):  # the second time from what is remembered
        splits = load_images(write(tmp_path / "p", images), test=0, valid=0.34)
        assert splits.schema.input_shape == (3, *expected)
        assert why in splits.how


def test_gray_images_stay_gray_unless_asked(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p", mode="L")
    assert load_images(root).schema.input_shape == (1, 24, 32)
    colored = load_images(root, channels="rgb").train.inputs
    assert colored.shape[1] == 3
    assert (colored[:, :1] == colored).all()


def test_predicting_reads_in_natural_order(tmp_path: Path) -> None:
    schema = load_images(class_folders(tmp_path / "p")).schema
    more = {name: photo(24, 32) for name in ("10.png", "9.png", "007.png", "1.jpg")}
    found = read_images(write(tmp_path / "new", more), schema)
    assert found.ids == ("1", "007", "9", "10")
    assert found.targets is None
    assert found.inputs.shape == (4, 3, 24, 32)
    one = read_images(tmp_path / "new" / "007.png", schema)
    assert one.ids == ("007",)
    assert (one.inputs[0] == found.inputs[1]).all()


def test_predicting_resizes_and_converts_as_in_training(tmp_path: Path) -> None:
    schema = load_images(class_folders(tmp_path / "p")).schema
    write(tmp_path / "new", {"a.png": photo(50, 60, mode="L"), "b.png": photo(9, 9)})
    assert read_images(tmp_path / "new", schema).inputs.shape == (2, 3, 24, 32)


def test_predicting_uses_ids_as_the_labels_wrote_them(tmp_path: Path) -> None:
    path = labels_file(tmp_path / "labels.csv", head="file,label", form="{:04d}.png")
    schema = load_images(flat(tmp_path / "p"), labels=path).schema
    assert schema.id_name == "file"
    found = read_images(flat(tmp_path / "new", 2), schema)
    assert found.ids == ("0000.png", "0001.png")


def test_evaluating_reads_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    schema = load_images(root).schema
    assert class_of(read_images(root, schema)) == ["cat"] * 10 + ["dog"] * 10
    from_file = read_images(
        flat(tmp_path / "f"), schema, labels=labels_file(tmp_path / "labels.csv")
    )
    assert class_of(from_file) == ["dog", "cat"] * 10
    unnamed = read_images(write(tmp_path / "n", {"inner/1.png": photo()}), schema)
    assert unnamed.targets is None
    assert "no labels" in unnamed.schema.source["notes"][0]


def test_predicting_needs_one_part(tmp_path: Path) -> None:
    for part in ("train", "test"):
        class_folders(tmp_path / "p" / part, each=10)
    schema = load_images(tmp_path / "p").schema
    with pytest.raises(DataError, match=r"is divided into train, test\. Give one of them, such as"):
        read_images(tmp_path / "p", schema)
    assert len(read_images(tmp_path / "p" / "test", schema)) == 20


def test_litter_is_ignored_silently_and_other_files_with_a_note(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    write(root, {"cat/.DS_Store": b"x", "Thumbs.db": b"x", "dog/._1.png": b"x", ".git/x.png": b""})
    write(root, {"readme.txt": b"x", "cat/notes.txt": b"x", "cat/LICENSE": b"x"})
    splits = load_images(root)
    assert splits.schema.source["notes"] == [
        "Ignored files that are no images: 2 .txt, 1 no extension."
    ]
    assert splits.schema.source["skipped"] == 0


# What is wrong with a folder of 2 x 10 good images, and what the message says about it.
BAD_FILES = {
    "truncated": ({"cat/x.jpg": encoded(photo(99, 99), "JPEG")[:2000]}, r"x\.jpg: is cut off"),
    "text": ({"cat/x.jpg": b"hello, world"}, r"x\.jpg: is not an image .* b'hello, world'"),
    "empty": ({"dog/x.png": b""}, r"x\.png: is empty \(0 bytes\)\. Copy it again"),
    "bomb": ({"dog/x.png": png_bomb()}, r"x\.png: claims to have 3,600,000,000 pixels"),
    "beside": ({"x.png": photo(24, 32)}, r"x\.png: lies beside the class folders"),
    "nested": ({"dog/old/x.png": photo(24, 32)}, r"dog/old: holds images in a folder inside"),
    "one member": ({"owl/x.png": photo(24, 32)}, "x.png: is the only image of class 'owl'"),
    "no member": ({"owl/readme.txt": b""}, "owl: is a class folder without images"),
    "mixed": ({"dog/x.png": photo(24, 32, mode="L")}, r"x\.png: is gray, while .*--channels rgb"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_stop_or_are_left_out(tmp_path: Path, case: str) -> None:
    files, message = BAD_FILES[case]
    clean = load_images(class_folders(tmp_path / "clean"), image_size=(24, 32))
    root = write(class_folders(tmp_path / "p"), files)
    with pytest.raises(DataError, match=message) as caught:
        load_images(root, image_size=(24, 32))
    assert str(caught.value).endswith("--on-bad-row skip.")
    for _ in range(2):  # the second time from the cache
        splits = load_images(root, image_size=(24, 32), on_bad_row="skip")
        assert splits.schema.source["skipped"] == 1
        assert splits.fingerprint == clean.fingerprint
        assert splits.schema.class_names == ("cat", "dog")
    with pytest.raises(DataError, match=message):
        load_images(root, image_size=(24, 32))


def test_mixed_channels_are_converted_if_asked(tmp_path: Path) -> None:
    root = write(class_folders(tmp_path / "p"), {"dog/x.png": photo(24, 32, mode="L")})
    assert load_images(root, channels="rgb").schema.input_shape == (3, 24, 32)
    assert load_images(root, channels="gray").schema.input_shape == (1, 24, 32)


@pytest.mark.parametrize("code", [PermissionError, OSError])
def test_a_file_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: type[OSError]
) -> None:
    root = class_folders(tmp_path / "p")

    def refuse(path: str, *args: object) -> object:
        if str(path).endswith("cat/3.png"):
            raise code(13, "Permission denied")
        return open(path, *args)

    monkeypatch.setattr(_decode, "open", refuse, raising=False)
    with pytest.raises(DataError, match=r"cat/3\.png: cannot be"):
        load_images(root)
    assert load_images(root, on_bad_row="skip").schema.source["skipped"] == 1


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path / "p")
    scandir = os.scandir

    def refuse(path: object = ".") -> object:
        if Path(str(path)).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"dog: the folder cannot be read \(Permission denied\)"):
        load_images(root)


def test_folders_that_are_none(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    with pytest.raises(DataError, match=r"which does not exist \(the path is right up to .*/p\)"):
        load_images(root / "nowhere" / "at" / "all")
    with pytest.raises(DataError, match=r"0\.png, which is a file\. Give the folder it lies in"):
        load_images(root / "cat" / "0.png")
    (tmp_path / "p.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"`valid_path` .*which is a file. Unpack it"):
        load_images(root, valid_path=tmp_path / "p.zip")
    write(tmp_path / "e", {"a.txt": b"", "b.txt": b""})
    with pytest.raises(DataError, match=r"holds no images; found 2 \.txt. Known extensions: .avif"):
        load_images(tmp_path / "e")
    with pytest.raises(DataError, match=r"no labels. .*--labels FILE.csv"):
        load_images(flat(tmp_path / "flat"))
    with pytest.raises(DataError, match="at least two classes to tell apart; got 'cat'"):
        load_images(class_folders(tmp_path / "one", ("cat",)))
    with pytest.raises(DataError, match="'Cat' and 'cat' differ only in upper and lower case"):
        load_images(class_folders(tmp_path / "case", ("Cat", "cat", "dog")))
    with pytest.raises(DataError, match=r"one folder and no images. Did you mean .*wrap/p\?"):
        load_images(class_folders(tmp_path / "wrap" / "p").parent)


def test_unknown_label_in_the_test_part(tmp_path: Path) -> None:
    class_folders(tmp_path / "p" / "train")
    class_folders(tmp_path / "p" / "test", ("cat", "zebra"), each=2)
    message = r"zebra/0\.png: has the label 'zebra', which no training image has \(cat, dog\)"
    with pytest.raises(DataError, match=message):
        load_images(tmp_path / "p")
    splits = load_images(tmp_path / "p", on_bad_row="skip")
    assert splits.schema.source["skipped"] == 2
    assert splits.test is not None
    assert class_of(splits.test) == ["cat", "cat"]


# Lines after 20 good ones, and what the message says.
BAD_ROWS = {
    "missing file": ("9999,cat", r"labels\.csv, row 22: names the image '9999', which is not in"),
    "twice": ("0003,cat", r"labels\.csv, row 22: names '0003' again, after row 5"),
    "no label": ("extra,", r"labels\.csv, row 22: has no label for 'extra'"),
    "too long": ("extra,cat,dog", r"labels\.csv, row 22: has 3 values for 2 columns"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_of_labels(tmp_path: Path, case: str) -> None:
    line, message = BAD_ROWS[case]
    path = labels_file(tmp_path / "labels.csv")
    path.write_text(path.read_text() + line + "\n")
    root = flat(tmp_path / "p")
    if line.startswith("extra"):
        write(root, {"extra.png": photo(8, 8)})
    with pytest.raises(DataError, match=message):
        load_images(root, labels=path)
    splits = load_images(root, labels=path, on_bad_row="skip")
    assert sum(len(part) for part in splits.parts().values()) == 20
    assert splits.schema.source["skipped"] == (2 if case == "too long" else 1)
    assert message.split("row 22: ")[1][:8] in splits.schema.source["bad_rows"][0]


def test_a_file_without_a_label(tmp_path: Path) -> None:
    root = write(flat(tmp_path / "p"), {"extra.png": photo(8, 8)})
    path = labels_file(tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"extra\.png: is an image without a label in .*labels.csv"):
        load_images(root, labels=path)
    assert load_images(root, labels=path, on_bad_row="skip").schema.source["skipped"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the file of labels is empty"),
        (b"id,label\n", "no column names images of the folder"),
        (b"id,label\nx,cat\n", r"no column names images .* \['x', 'cat'\], the first .*'0000.png'"),
        (b"0000,cat\n0001,dog\n", "row 1: the header row is missing; the first row is '0000, cat'"),
        (b"id,a,b\n0000,1,2\n", r"which column holds the labels; .* \['a', 'b'\]. Name one"),
        (b"id,label\n0000,\xff\n", "not UTF-8 text"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(text)
    with pytest.raises(DataError, match=message):
        load_images(flat(tmp_path / "p"), labels=tmp_path / "labels.csv")


def test_a_name_of_several_images(tmp_path: Path) -> None:
    flat(tmp_path / "p" / "a")
    root = write(tmp_path / "p", {"b/0003.png": photo(8, 8)})
    with pytest.raises(DataError, match="row 5: names '0003', which is the name of several images"):
        load_images(root, labels=labels_file(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "`image_size` must be one or two positive whole numbers"),
        ({"image_size": (8, 8, 8)}, r"got \(8, 8, 8\)"),
        ({"mode": "grouped"}, "`split_by` must name a column"),
        ({"split_by": "x"}, "`split_by` must come with a file of `labels`"),
        ({"valid": 0.6, "test": 0.5}, "`valid` and `test` must be shares"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_images(tmp_path / "p", **arguments)


def test_other_bad_arguments(tmp_path: Path) -> None:
    root, path = flat(tmp_path / "p"), labels_file(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="no column 'x' to split by; the columns are 'id', 'label'"):
        load_images(root, labels=path, split_by="x")
    with pytest.raises(UsageError, match="`mode` must be 'grouped' or 'by_time' with `split_by`"):
        load_images(root, labels=path, split_by="label", mode="random")
    table = Schema(kind="table", input_shape=(1,), target_kind="number")
    with pytest.raises(UsageError, match="`schema` must be of kind 'images'; got 'table'"):
        read_images(root, table)


def test_all_images_bad(tmp_path: Path) -> None:
    root = write(tmp_path / "p", {f"{c}/{i}.jpg": b"no" for c in "ab" for i in range(5)})
    with pytest.raises(DataError, match=r"no image is left, 10 were left out\. The first: .*a/0"):
        load_images(root, on_bad_row="skip")
    with pytest.raises(DataError, match=r"a/0\.jpg: is not an image"):
        load_images(root)


def test_too_few_images_to_stratify_are_drawn_at_random(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p", ("a", "b", "c"), each=2)
    splits: Splits = load_images(root, valid=0.17, test=0.17)
    assert "cut random" in splits.how
    assert sum(len(part) for part in splits.parts().values()) == 6
