"""Labels of images from a CSV file: which column names the files, which one the class."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, final

from ...core.errors import DataError
from .._bad_rows import BadRows
from ._listing import ImageFile

IdStyle = Literal["stem", "name", "path", "bare_path"]

LABEL_NAMES = ("label", "class", "category", "target", "y")
ID_STYLES: tuple[IdStyle, ...] = ("path", "name", "bare_path", "stem")


@final
@dataclass(frozen=True)
class Labels:
    """What a labels file says.

    Args:
        labels: Class of each image, by the image's path.
        keys: Value of the column to split by, by the image's path; empty without one.
        id_name: Header of the column of files.
        label_name: Header of the column of classes.
        style: How that column writes a file.
        refused: Paths of images whose row is bad.
    """

    labels: Mapping[str, str]
    keys: Mapping[str, str]
    id_name: str
    label_name: str
    style: IdStyle
    refused: frozenset[str] = frozenset()


def image_id(name: str, style: IdStyle) -> str:
    """Give the id of an image: its relative path or file name, with or without extension.

    Args:
        name: Relative path with forward slashes.
        style: Which of the four.
    """
    path = PurePosixPath(name)
    if style == "path":
        return name
    if style == "name":
        return path.name
    return path.stem if style == "stem" else path.with_suffix("").as_posix()


def id_style(files: Sequence[ImageFile]) -> IdStyle:
    """Choose the ids of images without a labels file: the stem if it is unique, else the path.

    Args:
        files: The images.
    """
    stems = {image_id(file.name, "stem") for file in files}
    return "stem" if len(stems) == len(files) else "path"


def read_labels(
    path: Path, files: Sequence[ImageFile], split_by: str | None, bad: BadRows
) -> Labels:
    """Read the classes of images from a CSV file with a header row.

    The column of files is the one whose values name most of them (first of equals); the column of
    classes is called label, class, category, target or y, or is the only one that remains.

    Args:
        path: The file, separated by comma, semicolon or tab.
        files: The images that were found.
        split_by: A column to keep for splitting.
        bad: Where rows without a file, without a class or with a known id are reported.

    Raises:
        DataError: The file cannot be read, has no fitting columns, or a row is bad.
    """
    header, rows = _read(path)
    lookup = {style: _by_id(files, style) for style in ID_STYLES}
    column, style = _file_column(path, header, rows, lookup)
    label_column = _label_column(path, header, column, split_by)
    if split_by is not None and split_by not in header:
        raise DataError(
            f"{path}: there is no column {split_by!r} to split by; the columns are"
            f" {', '.join(map(repr, header))}. Correct `split_by`."
        )
    key_column = None if split_by is None else header.index(split_by)
    labels: dict[str, str] = {}
    keys: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, row in rows:
        if len(row) != len(header):
            problem = f"has {len(row)} values for {len(header)} columns"
            bad.report(path, number, problem, "Correct the row; quote values with separators.")
            continue
        name, label = row[column].strip(), row[label_column].strip()
        file = lookup[style].get(_key(name))
        if file is None:
            problem = f"names the image {name!r}, which is not in the folder"
            bad.report(path, number, problem, "Add the image or remove the row.")
        elif file.path == "":
            problem = f"names {name!r}, which is the name of several images"
            bad.report(path, number, problem, "Write paths relative to the folder.")
        elif file.path in first:
            problem = f"names {name!r} again, after row {first[file.path]}"
            bad.report(path, number, problem, "Keep one of the two rows.")
        elif not label:
            bad.report(path, number, f"has no label for {name!r}", "Fill it in or remove the row.")
        else:
            labels[file.path] = label
            if key_column is not None:
                keys[file.path] = row[key_column].strip()
        if file is not None and file.path:
            first.setdefault(file.path, number)
    refused = frozenset(first) - frozenset(labels)
    return Labels(labels, keys, header[column], header[label_column], style, refused)


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)
            lines = list(enumerate(csv.reader(file, delimiter=separator), start=1))
    except UnicodeDecodeError as err:
        raise DataError(
            f"{path}: the labels are not UTF-8 text ({err.reason} at byte {err.start})."
            " Save the file as CSV UTF-8."
        ) from err
    except (OSError, csv.Error) as err:
        raise DataError(f"{path}: the labels cannot be read ({err}). Give a CSV file.") from err
    rows = [(number, row) for number, row in lines if any(value.strip() for value in row)]
    if not rows:
        raise DataError(f"{path}: the file of labels is empty. Give a CSV file with a header row.")
    header = [name.strip() for name in rows[0][1]]
    return header, rows[1:]


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _by_id(files: Sequence[ImageFile], style: IdStyle) -> dict[str, ImageFile]:
    """Index files by id; an id of several files leads to a file without a path."""
    found: dict[str, ImageFile] = {}
    for file in files:
        key = image_id(file.name, style)
        found[key] = ImageFile("", key, (0, 0, 0)) if key in found else file
    return found


def _file_column(
    path: Path,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str]]],
    lookup: Mapping[IdStyle, Mapping[str, ImageFile]],
) -> tuple[int, IdStyle]:
    best: tuple[int, int, IdStyle] = (0, 0, "path")
    for column in range(len(header)):
        values = [_key(row[column].strip()) for _, row in rows if column < len(row)]
        for style in ID_STYLES:
            hits = sum(value in lookup[style] for value in values)
            if hits > best[0]:
                best = (hits, column, style)
    if any(_key(name) in names for name in header for names in lookup.values()):
        raise DataError(
            f"{path}, row 1: the header row is missing; the first row is {', '.join(header)!r}."
            " Add a first row such as 'file,label'."
        )
    if best[0] == 0:
        example = rows[0][1] if rows else []
        some = next(iter(lookup["path"].values())).name
        raise DataError(
            f"{path}: no column names images of the folder; its first row of values is"
            f" {example}, the first image is {some!r}. Give the labels of this folder, with a"
            " column of file names."
        )
    return best[1], best[2]


def _label_column(path: Path, header: Sequence[str], column: int, split_by: str | None) -> int:
    others = [i for i, name in enumerate(header) if i != column and name != split_by]
    named = [i for wanted in LABEL_NAMES for i in others if header[i].lower() == wanted]
    if named:
        return named[0]
    if len(others) == 1:
        return others[0]
    raise DataError(
        f"{path}: it is not clear which column holds the labels; besides {header[column]!r} there"
        f" are {[header[i] for i in others]}. Name one of them 'label'."
    )
