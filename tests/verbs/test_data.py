"""The verbs on data sets: what they print, what they give as JSON, what they draw."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fitwell.core.errors import DataError, UnknownName, UsageError
from fitwell.data import BUILTIN, Examples, Schema, contact_sheet, load_builtin
from fitwell.verbs._data import get_data, list_data, show_data


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FITWELL_DATA", raising=False)


def test_list_has_a_line_per_set() -> None:
    result = list_data()
    lines = str(result).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(BUILTIN)
    assert lines[0].split() == ["name", "kind", "examples", "target", "files", "licence"]
    plain = json.loads(json.dumps(result.to_dict()))["datasets"]
    by_name = {entry["name"]: entry for entry in plain}
    assert by_name["digits"]["where"] == "embedded"
    assert by_name["mnist"]["where"] == "to download"
    assert by_name["mnist"]["examples"] == 70_000
    assert by_name["diabetes"]["classes"] == 0


def test_get_embedded_and_missing() -> None:
    assert str(get_data("iris")) == "iris comes with scikit-learn; there is nothing to get."
    assert get_data("iris").to_dict() == {"name": "iris", "files": []}
    with pytest.raises(DataError, match="has no original file to download"):
        get_data("uci_regression:yacht")
    with pytest.raises(UnknownName, match="nearest: 'iris'"):
        get_data("irsi")


def test_show_images(tmp_path: Path) -> None:
    page = show_data("digits")
    assert page.picture == Path("digits.png")
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.format == "PNG"
    assert page.counts == {"train": 1257, "valid": 270, "test": 270}
    assert sum(sum(parts.values()) for parts in page.balance.values()) == 1797
    assert page.fingerprint == load_builtin("digits").fingerprint
    text = str(page)
    for part in ("images, 1x8x8", "10 classes", "1,257", BUILTIN["digits"].license, "digits.png"):
        assert part in text
    longest = max(page.balance, key=lambda name: page.balance[name]["train"])
    (line,) = [line for line in text.splitlines() if line.startswith(f"{longest} ")]
    assert line.endswith("█" * 24)
    assert json.loads(json.dumps(page.to_dict()))["picture"] == "digits.png"


def test_show_table_of_numbers(tmp_path: Path) -> None:
    page = show_data("diabetes")
    train = load_builtin("diabetes").train
    assert page.picture is None
    assert not list(tmp_path.glob("*.png"))
    assert page.balance == {}
    assert [column.name for column in page.columns] == [c.name for c in train.schema.columns]
    assert page.columns[0].low == train.inputs[:, 0].min().item()
    assert page.columns[0].high == train.inputs[:, 0].max().item()
    assert page.columns[0].mean == pytest.approx(train.inputs[:, 0].mean().item())
    assert page.target is not None
    assert train.targets is not None
    assert page.target.high == train.targets.max().item()
    assert "target of train: progression, " in str(page)
    json.dumps(page.to_dict())


def test_show_wide_table_is_cut_short() -> None:
    assert "(10 more features; --json lists all)" in str(show_data("breast_cancer"))
    assert len(show_data("breast_cancer").to_dict()["columns"]) == 30


def test_show_own_table(tmp_path: Path) -> None:
    rows = [f"{k % 7},{'?' if k % 10 == 0 else 'ab'[k % 2]},{k % 3}.5" for k in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["size,letter,price", *rows]))
    page = show_data("own.csv", target="price")
    kinds = {column.name: column for column in page.columns}
    assert kinds["letter"].categories == 2
    assert kinds["letter"].missing > 0
    assert kinds["size"].kind == "number"
    assert "licence" not in str(page)
    assert "2 categories" in str(page)
    with pytest.raises(UsageError, match="`target` must name the column"):
        show_data("own.csv")


def test_show_own_folder(tmp_path: Path) -> None:
    for label, value in (("dark", 20), ("light", 220)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (9, 9), (value + number, 0, 0))
            image.save(tmp_path / "photos" / label / f"{number}.png")
    page = show_data("photos", picture=tmp_path / "out" / "sheet.png")
    assert list(page.balance) == ["dark", "light"]
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_show_refuses_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="`picture` must be left out"):
        show_data("iris", picture=Path("iris.png"))
    with pytest.raises(UnknownName, match="nearest: 'digits'"):
        show_data("digit")
    with pytest.raises(UsageError, match=r"one set of the family; got 'adbench'"):
        show_data("adbench")
    Path("file").write_text("in the way")
    with pytest.raises(UsageError, match=r"`picture` must be a path that can be written"):
        show_data("digits", picture=Path("file") / "digits.png")


def pictures(count: int, shape: tuple[int, int, int], names: tuple[str, ...]) -> Examples:
    values = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1) * 20
    return Examples(
        inputs=values.expand(count, *shape).contiguous(),
        targets=torch.arange(count) % len(names) if names else None,
        schema=Schema(kind="images", input_shape=shape, target_kind="class", class_names=names),
    )


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 10, 20), (2, 300, 100)])
def test_contact_sheet_shows_every_example_in_its_row(shape: tuple[int, int, int]) -> None:
    examples = pictures(5, shape, ("even", "odd"))
    sheet = np.asarray(contact_sheet(examples, per_class=3))
    _, height, width = shape
    scale = 56 // max(height, width) if max(height, width) <= 56 else 56 / max(height, width)
    tile_height, tile_width = round(height * scale), round(width * scale)
    right, bottom = sheet.shape[1] - 12, sheet.shape[0] - 12
    seen = [
        [
            sheet[
                bottom - (2 - row) * (tile_height + 3) + 3 + tile_height // 2,
                right - (3 - place) * (tile_width + 3) + 3 + tile_width // 2,
            ].tolist()
            for place in range(3)
        ]
        for row in range(2)
    ]
    assert seen == [[[0] * 3, [40] * 3, [80] * 3], [[20] * 3, [60] * 3, [240] * 3]]


def test_contact_sheet_without_labels_and_its_refusals() -> None:
    examples = pictures(5, (1, 8, 8), ())
    wide, high = contact_sheet(examples, per_class=5), contact_sheet(examples, per_class=1)
    assert wide.width > high.width
    assert wide.height < high.height
    with pytest.raises(UsageError, match="must be at least 1; got 0 and 40"):
        contact_sheet(examples, per_class=0)
    with pytest.raises(UsageError, match="must be images, at least one; got 104 of kind 'table'"):
        contact_sheet(load_builtin("iris").train)
