"""Read images: a folder per class, given parts, or a folder with a CSV of labels.

What is where is in `_listing`, labels in `_labels`, one file to pixels in
`_decode`, all files to one memory map in `_cache`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch

from ...core.errors import DataError, UsageError
from .._bad_rows import BadRows, OnBadRow
from .._examples import Examples, Schema, Splits
from .._splits import Indices, SplitMode, cut
from . import _listing as listing
from ._form import ImageChannels, check_image_size, no_good_images
from ._labels import ID_STYLES, IdStyle, Labels, id_style, image_id
from ._pixels import Form, take_rows
from ._reader import Reader, Row


def load_images(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: ImageChannels = "auto",
    valid_path: str | Path | None = None,
    test_path: str | Path | None = None,
    mode: SplitMode | Literal["auto"] = "auto",
    split_by: str | None = None,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    on_bad_row: OnBadRow = "stop",
    workers: int | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Splits:
    """Read labelled images for training, decoded once and for all into a cache on disk.

    The folder holds one subfolder per class; or images whose names begin with the number of their
    class, such as ``3_17.jpg``; or ``train`` and ``valid`` and/or ``test`` folders that do; or
    images, named by a CSV file of labels. Classes are numbered in the natural order of their names
    (2 before 10). See `read_images` for images to predict. Not covered: several labels per image,
    numbers as targets, boxes and masks.

    Args:
        path: The folder.
        labels: CSV file with a header row, a column that names the images and one of classes.
        image_size: Side, or height and width, that all images are resized to: they are made to
            cover it and cropped in the middle. None keeps the size that all have in common, up to
            512 x 512 pixels; else it is the median of the short sides, at most 224.
        channels: What images are converted to; ``auto`` is what they are, if all are alike.
        valid_path: Folder of the validation images, if they lie apart.
        test_path: Folder of the test images, if they lie apart.
        mode: How validation and test part are drawn, if they are not given; ``auto`` is grouped
            with `split_by`, else stratified.
        split_by: Column of the labels whose groups or times are kept apart.
        valid: Share of the images for validation, where it is cut.
        test: Share of the images for the test part, where both parts are cut; 0 makes none.
        seed: Seed of the cut.
        on_bad_row: Whether a bad file or row stops everything or is left out and counted.
        workers: Threads that decode; None is one per processor.
        cache: Folder of the decoded images; None is ``images`` in the cache folder of fitwell.
        progress: Told how many images are decoded, of how many; see `DecodingProgress`.

    Raises:
        DataError: A folder, an image or the labels cannot be used; the message names it.
        UsageError: The arguments do not fit together.
    """
    size = check_image_size(image_size)
    _check_split(mode, split_by, labels is not None, valid, test)
    reader = Reader(BadRows(on_bad_row), workers, cache, progress)
    folders = [("train", path), ("valid", valid_path), ("test", test_path)]
    roots = [(part, Path(root).expanduser()) for part, root in folders if root is not None]
    sources = [(root, reader.find(root, part, labels is not None)) for part, root in roots]
    found: Labels | None = None
    if labels is not None:
        sources, found = reader.label(sources, Path(labels).expanduser(), split_by)
    stratify = split_by is None and mode in ("auto", "stratified")
    if on_bad_row == "stop":  # nothing will be left out, so settle before the decoding
        reader.settle(roots[0][1], [file for _, files in sources for file in files], stratify)
    rows, form, why = reader.decode_all(sources, size, channels)
    kept, class_names = reader.settle(roots[0][1], [row.file for row in rows], stratify)
    rows = [row for row in rows if row.file.path in kept]
    parts, indices, how = _parts(
        rows,
        _Cut(mode, split_by, valid, test, seed),
        {} if found is None else found.keys,
        class_names,
    )
    style = found.style if found else id_style([row.file for row in rows])
    schema = Schema(
        kind="images",
        input_shape=form.shape,
        target_kind="class",
        class_names=class_names,
        id_name=found.id_name if found else "id",
        target_name=found.label_name if found else "label",
        source={
            "reader": "images",
            "image_size": list(form.image_size),
            "channels": form.channels,
            "ids": found.style if found else "auto",
            **reader.summary(),
        },
    )
    made = {part: _examples(some, schema, style) for part, some in parts.items()}
    how += f"; images {form.image_size[0]}x{form.image_size[1]} {form.channels}"
    return Splits(**made, indices=indices, how=f"{how}, {why}" if why else how)


def read_images(
    path: str | Path,
    schema: Schema,
    *,
    labels: str | Path | None = None,
    on_bad_row: OnBadRow = "stop",
    workers: int | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Examples:
    """Read more images as those of a known schema were read, to predict or to evaluate.

    Targets are read where there are labels: a CSV file, subfolders of which at least one is named
    as a class, or names that all begin with the number of a class. Images come in the natural order
    of their names.

    Args:
        path: A folder of images, a folder with one subfolder per class, or one image.
        schema: What `load_images` found.
        labels: CSV file of labels with a header row.
        on_bad_row: Whether a bad file or row stops everything or is left out and counted.
        workers: Threads that decode; None is one per processor.
        cache: Folder of the decoded images; None is ``images`` in the cache folder of fitwell.
        progress: Told how many images are decoded, of how many; see `DecodingProgress`.

    Raises:
        DataError: The folder, an image or the labels cannot be used; the message names it.
        UsageError: The schema is not one of images.
    """
    if schema.kind != "images":
        raise UsageError(
            f"images: `schema` must be of kind 'images'; got {schema.kind!r}."
            " Give the schema of a set of images."
        )
    reader = Reader(BadRows(on_bad_row), workers, cache, progress)
    root = Path(path).expanduser()
    if root.is_file():
        one = listing.one_file(root)
        root, files = root.parent, [one]
    else:
        files = reader.find_known(root, schema.class_names, labels is not None)
    if labels is not None:
        ((_, files),), _ = reader.label([(root, files)], Path(labels).expanduser(), None)
    asked = schema.source.get("ids", "auto")
    style: IdStyle = asked if asked in ID_STYLES else id_style(files)
    if len({image_id(file.name, style) for file in files}) < len(files):
        style = "path"
    labelled = any(file.label is not None for file in files)
    if labelled:
        files = reader.only_known(files, schema.class_names)
    if not files:
        raise no_good_images(root, reader.bad)
    channels, height, width = schema.input_shape
    form = Form((height, width), "gray" if channels == 1 else "rgb")
    rows, _, _ = reader.decode(root, files, form)
    schema = replace(schema, source={**schema.source, **reader.summary()})
    return _examples(rows, schema, style)


@final
@dataclass(frozen=True)
class _Cut:
    """How to cut the parts that are not given."""

    mode: SplitMode | Literal["auto"]
    split_by: str | None
    valid: float
    test: float
    seed: int


def _check_split(
    mode: str, split_by: str | None, with_labels: bool, valid: float, test: float
) -> None:
    if mode in ("grouped", "by_time") and split_by is None:
        raise UsageError(
            f"images: `split_by` must name a column of the labels for mode {mode!r}; got None."
            " Name one."
        )
    if split_by is not None and not with_labels:
        raise UsageError(
            f"images: `split_by` must come with a file of `labels`; got split_by={split_by!r}"
            " alone. Give the labels as a CSV file."
        )
    if split_by is not None and mode in ("random", "stratified"):
        raise UsageError(
            f"images: `mode` must be 'grouped' or 'by_time' with `split_by`; got {mode!r}."
            " Leave one of them out."
        )
    if not (0 < valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise UsageError(
            "images: `valid` and `test` must be shares that leave images to train on;"
            f" got valid={valid}, test={test}. Use for example 0.15 and 0.15."
        )


def _examples(rows: Sequence[Row], schema: Schema, style: IdStyle) -> Examples:
    """Gather rows of one entry, ascending."""
    codes = {name: code for code, name in enumerate(schema.class_names)}
    targets = None
    if rows[0].file.label is not None:
        targets = torch.tensor([codes[str(row.file.label)] for row in rows], dtype=torch.int64)
    return Examples(
        inputs=take_rows(rows[0].entry, [row.position for row in rows]),
        targets=targets,
        schema=schema,
        ids=tuple(image_id(row.file.name, style) for row in rows),
    )


def _parts(
    rows: Sequence[Row], wanted: _Cut, keys: Mapping[str, str], class_names: Sequence[str]
) -> tuple[dict[str, list[Row]], dict[str, tuple[int, ...]], str]:
    """Sort rows into parts, cutting those that are not given; say how."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.file.part, []).append(row)
    if "valid" in parts:
        return parts, {}, f"parts as given ({_counts(parts)})"
    train = parts["train"]
    way, drawn = _draw(train, wanted, keys, class_names, 0.0 if "test" in parts else wanted.test)
    indices = {name: tuple(np.sort(index).tolist()) for name, index in drawn.items()}
    made = {name: [train[i] for i in index] for name, index in indices.items()}
    by = f" by {wanted.split_by!r}" if wanted.split_by else ""
    how = f"cut {way.replace('_', ' ')}{by}, seed {wanted.seed} ({_counts(made)})"
    if "test" in parts:
        how += f", test as given ({len(parts['test'])})"
    return {**parts, **made}, indices, how


def _counts(parts: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{name} {len(some)}" for name, some in parts.items())


def _draw(
    train: Sequence[Row],
    wanted: _Cut,
    keys: Mapping[str, str],
    class_names: Sequence[str],
    test: float,
) -> tuple[SplitMode, dict[str, Indices]]:
    codes = {name: code for code, name in enumerate(class_names)}
    labels = np.array([codes[str(row.file.label)] for row in train], np.int64)
    values = _sortable([keys[row.file.path] for row in train]) if keys else None

    def draw(way: SplitMode) -> tuple[SplitMode, dict[str, Indices]]:
        parts = cut(
            len(train),
            mode=way,
            valid=wanted.valid,
            test=test,
            seed=wanted.seed,
            labels=labels,
            keys=values,
        )
        return way, parts

    if wanted.mode != "auto":
        return draw(wanted.mode)
    if wanted.split_by is not None:
        return draw("grouped")
    try:
        return draw("stratified")
    except (DataError, UsageError):  # too few images of some class to have it in every part
        return draw("random")


def _sortable(values: Sequence[str]) -> npt.NDArray[np.generic]:
    """Give numbers if all values are, else text; ISO dates sort as text."""
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return np.array(values)
