"""The small files that the examples of the documentation use."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, PHOTOS, HOUSES = 24, 14, 80
GRAY = {"cat": 60, "dog": 180}


def prepare(folder: Path) -> None:
    """Write photos, tables, a sample file, and the same with faults."""
    random = np.random.default_rng(0)
    for name, gray in GRAY.items():
        for number in range(PHOTOS):
            _photo(folder / "photos" / name / f"{number:02d}.jpg", gray, random)
    for number in range(3):
        _photo(folder / "new_photos" / f"{number}.jpg", 60 + 60 * number, random)
    labels = [("file", "label")]
    for number in range(2 * PHOTOS):
        name = list(GRAY)[number % 2]
        _photo(folder / "flat_photos" / f"{number:02d}.jpg", GRAY[name], random)
        labels.append((f"{number:02d}.jpg", name))
    _rows(folder / "labels.csv", labels)
    header = ("id", "area", "rooms", "city", "built", "price")
    houses = [_house(number, random) for number in range(1, HOUSES + 1)]
    _rows(folder / "houses.csv", [header, *houses])
    new = [_house(number, random) for number in range(HOUSES + 1, HOUSES + 11)]
    _rows(folder / "new_houses.csv", [row[:-1] for row in (header, *new)])
    sample = [("id", "tested_price"), *((row[0], "0") for row in new)]
    _rows(folder / "sample.csv", sample)
    _faults(folder, [header, *houses], sample)


def _photo(file: Path, gray: int, random: np.random.Generator) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.normal(gray, 30, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def _house(number: int, random: np.random.Generator) -> tuple[str, ...]:
    area, rooms = random.integers(40, 200), random.integers(1, 7)
    city = ("Taipei", "Tainan", "Hualien", "Chiayi")[random.integers(4)]
    built = f"{random.integers(2000, 2020)}-{random.integers(1, 10):02d}-15"
    price = f"{area * (2 + rooms) + random.normal(0, 10):.1f}"
    shown_rooms = "" if number % 20 == 0 else str(rooms)
    return (f"{number:04d}", str(area), shown_rooms, city, built, price)


def _faults(folder: Path, houses: list[tuple[str, ...]], sample: list[tuple[str, ...]]) -> None:
    for name in ("truncated", "empty_class", "one_of_a_kind"):
        shutil.copytree(folder / "photos", folder / name)
    damaged = folder / "truncated" / "cat" / "03.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (folder / "empty_class" / "bird").mkdir()
    (folder / "one_of_a_kind" / "bird").mkdir()
    shutil.copy(folder / "photos/cat/00.jpg", folder / "one_of_a_kind/bird/00.jpg")

    def with_row(number: int, *cells: str) -> list[tuple[str, ...]]:
        return [*houses[:number], tuple(cells), *houses[number + 1 :]]

    _rows(folder / "text_in_number.csv", with_row(5, houses[5][0], "large", *houses[5][2:]))
    _rows(folder / "no_target.csv", with_row(7, *houses[7][:-1], ""))
    _rows(folder / "long_row.csv", with_row(7, *houses[7], "9"))
    _rows(folder / "no_header.csv", houses[1:])
    _rows(folder / "duplicate_id.csv", [*houses[:9], houses[8], *houses[9:]])
    bad = [("id", "price"), sample[1], ("82", "0"), *sample[3:]]
    _rows(folder / "bad_submission.csv", bad)


def _rows(file: Path, rows: list[tuple[str, ...]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)
