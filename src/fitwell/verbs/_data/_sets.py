"""`fitwell data`: list the built-in data sets, show one, get its files."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UnknownName, UsageError
from ...core.files import atomic_path
from ._page import ColumnRange, DataEntry, DataFiles, DataList, DataPage

if TYPE_CHECKING:
    import numpy as np

    from ...data import DataSet, Examples, Splits


def list_data() -> DataList:
    """List the built-in data sets: what they are, whether they are here, what they may be used for.

    Reads no data and needs no network.
    """
    from ...data import BUILTIN, where

    return DataList(
        tuple(
            DataEntry(s.name, s.kind, s.examples, s.classes, where(s), s.license, s.title)
            for s in BUILTIN.values()
        )
    )


def get_data(
    name: str,
    /,
    *,
    out: Path | None = None,
    sha256: str | None = None,
    size: int | None = None,
) -> DataFiles:
    """Get the files of a built-in data set, or one file from Google Drive or the web, and check it.

    A download that broke off is gone on with, and a file stands under its name only when it is
    whole. From Drive it takes what everyone who has the link may read.

    Args:
        name: Such as `mnist` or `adbench:cardio`; or `drive:ID`, a link that Drive's share button
            gives, or any other http address of a file.
        out: The file to write, for an address.
        sha256: SHA-256 that the file at an address must have.
        size: Bytes that the file at an address must have.

    Raises:
        UnknownName: No set of that name.
        UsageError: An address comes without `out`, or a set with it.
        DataError: A file cannot be had, or is not the original one.
    """
    from ...data import fetch_address, find_builtin

    if not name.startswith(("drive:", "http:", "https:")):
        for option, value in (("out", out), ("sha256", sha256), ("size", size)):
            if value is not None:
                raise UsageError(
                    f"data get: `{option}` must be left out for a built-in set; got {value} for"
                    f" {name!r}. Its place and content are known."
                )
        dataset, _ = find_builtin(name)
        return DataFiles(dataset.name, tuple(_fetched(dataset).values()))
    if out is None:
        raise UsageError(f"data get: `out` must name the file to write for {name!r}; got None.")
    progress = _progress if sys.stderr.isatty() else None
    path = fetch_address(name, out, sha256=sha256 or "", size=size or 0, progress=progress)
    return DataFiles(name, (path,))


def show_data(
    name: str,
    /,
    *,
    target: str | None = None,
    picture: Path | None = None,
    augment: str | None = None,
) -> DataPage:
    """Show a data set: counts, balance of the classes, value ranges, and for images a picture.

    The parts are the ones that training with the default settings would use.

    Args:
        name: Such as ``mnist``, ``adbench:cardio`` or ``uci_regression:yacht/3``; or a folder of
            images, a table or an .npz file of yours.
        target: Column to predict, for a table of yours.
        picture: Where the contact sheet of a set of images goes; by default NAME.png in the
            current folder.
        augment: Such as `Flip(), Crop(padding=4)`, or `auto`: the picture shows an example of each
            class and beside it what training would make of it.

    Raises:
        UnknownName: No set or no augmentation of that name.
        UsageError: A picture of a table is asked for, a table lacks its target, or an augmentation
            does not suit the images.
        DataError: A file cannot be had, or it is bad.
    """
    from ...data import find_builtin
    from ...tasks import open_source

    if not Path(name).exists():
        with contextlib.suppress(UnknownName):  # `open_source` says it with all it could have been
            _fetched(find_builtin(name)[0])
    source = open_source(name, reader={"target": target})
    splits, dataset = source.splits, find_builtin(name)[0] if source.path is None else None
    plain = Path(name).resolve().name if dataset is None else dataset.name
    title = str(Path(name)) if dataset is None else dataset.title
    if splits.schema.kind == "images":
        caption = f"{plain}: {title}; {len(splits.train):,} examples to train on"
        picture = _draw(splits, caption, picture or Path(f"{plain}.png"), augment)
    for option, value in (("picture", picture), ("augment", augment)):
        if splits.schema.kind != "images" and value is not None:
            raise UsageError(
                f"data show: `{option}` must be left out for anything but images; got"
                f" {str(value)!r} for {name!r}. The value ranges are printed."
            )
    by_class = splits.schema.target_kind == "class"
    return DataPage(
        name=plain,
        title=title,
        kind=splits.schema.kind,
        input_shape=splits.schema.input_shape,
        terms={"licence": dataset.license, "homepage": dataset.homepage} if dataset else {},
        counts={part: len(examples) for part, examples in splits.parts().items()},
        balance=_count_classes(splits) if by_class else {},
        target=None if by_class else _number_range(splits),
        columns=_column_ranges(splits.train),
        how=splits.how,
        fingerprint=splits.fingerprint,
        picture=picture,
    )


def _fetched(dataset: DataSet) -> dict[str, Path]:
    """Get the files, saying on a terminal how far it is."""
    from ...data import get_files

    return get_files(dataset, progress=_progress if sys.stderr.isatty() else None)


def _progress(file: str, have: int, whole: int) -> None:
    line = f"\r{file}  {have / 2**20:,.1f} of {whole / 2**20:,.1f} MiB  {have / whole:4.0%}"
    print(line, end="\n" if have >= whole else "", file=sys.stderr, flush=True)


def _draw(splits: Splits, title: str, path: Path, augment: str | None) -> Path:
    from ...data import (
        augmentation,
        augmented_sheet,
        check_plausible,
        contact_sheet,
        default_augment,
        domain_of,
    )

    domain, (channels, *sides) = domain_of(splits.schema), splits.schema.input_shape
    if augment == "auto":
        augment = default_augment(domain, min(sides))
    chain = augmentation(augment)
    if chain is None:
        sheet = contact_sheet(splits.train, title=title)
    else:
        check_plausible(chain, domain, channels)
        sheet = augmented_sheet(splits.train, chain, title=f"{title.partition(':')[0]}: {augment}")
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, format="PNG")
    except OSError as err:
        raise UsageError(
            f"data show: `picture` must be a path that can be written; got {str(path)!r}"
            f" ({err.strerror}). Name another one."
        ) from err
    return path


def _count_classes(splits: Splits) -> dict[str, dict[str, int]]:
    import numpy as np

    names = splits.schema.class_names
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    for part, examples in splits.parts().items():
        if examples.targets is not None:
            found = np.bincount(examples.targets.numpy(), minlength=len(names))
            for name, count in zip(names, found.tolist(), strict=True):
                counts[name][part] = count
    return counts


def _column_ranges(train: Examples) -> tuple[ColumnRange, ...]:
    import numpy as np

    ranges: list[ColumnRange] = []
    for place, column in enumerate(train.schema.columns):
        values = train.inputs[:, place].numpy().astype(np.float64)
        if column.kind == "category":
            missing = int((values == 0).sum())
            size = len(column.categories)
            ranges.append(ColumnRange(column.name, "category", None, None, None, size, missing))
        else:
            ranges.append(_range(column.name, values))
    return tuple(ranges)


def _number_range(splits: Splits) -> ColumnRange | None:
    if splits.train.targets is None:
        return None
    import numpy as np

    values = splits.train.targets.numpy().astype(np.float64)
    return _range(splits.schema.target_name, values)


def _range(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> ColumnRange:
    import numpy as np

    there = values[~np.isnan(values)]
    missing = len(values) - len(there)
    if not len(there):
        return ColumnRange(name, "number", None, None, None, 0, missing)
    low, mean, high = float(there.min()), float(there.mean()), float(there.max())
    return ColumnRange(name, "number", low, mean, high, 0, missing)
