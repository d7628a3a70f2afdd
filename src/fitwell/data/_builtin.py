"""Built-in data sets by name: find the files, read them, cut them into parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from ..core.errors import DataError, UsageError, unknown_name
from ..core.files import local_data_dir
from ._builtin_catalog import BUILTIN
from ._builtin_images import CIFAR10_JPEG
from ._builtin_source import DataSet, Source, fit_categories
from ._download import Progress, RemoteFile, download_dir, fetch, local_path, verify
from ._examples import Examples, Splits
from ._splits import cut

Where = Literal["embedded", "here", "to download", "needs FITWELL_DATA"]
BuiltinMode = Literal["auto", "random", "stratified"]


def find_builtin(name: str) -> tuple[DataSet, int]:
    """Find a built-in set by name, and the published cut that was asked for.

    Args:
        name: Such as ``"mnist"``, ``"adbench:cardio"`` or ``"uci_regression:yacht/3"``; case,
            dashes and underscores do not matter.

    Raises:
        UnknownName: No set of that name.
        UsageError: The name is that of a family, or the set has no such published cut.
    """
    base, slash, fold = name.partition("/")
    folded = {_fold(key): dataset for key, dataset in BUILTIN.items()}
    dataset = folded.get(_fold(base))
    if dataset is None:
        members = [key for key in BUILTIN if _fold(key).startswith(_fold(base) + ":")]
        if members:
            raise UsageError(
                f"data: `name` must name one set of the family; got {name!r}."
                f" Use one of: {', '.join(members)}."
            )
        raise unknown_name("data", "built-in data set", name, BUILTIN)
    if slash and not (fold.isdecimal() and int(fold) < dataset.folds):
        wanted = (
            f"a published cut from 0 to {dataset.folds - 1}"
            if dataset.folds
            else f"{dataset.name!r} alone, which has no choice of cuts"
        )
        raise UsageError(f"data: `name` must give {wanted}; got {name!r}. Change what follows '/'.")
    return dataset, int(fold or 0)


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def load_builtin(
    name: str,
    *,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    mode: BuiltinMode = "auto",
) -> Splits:
    """Read a built-in set and cut it into parts, keeping a published test part as it is.

    The files are taken from ``FITWELL_DATA``, from an earlier download, or from their original
    address. Categories of a table are numbered by the training rows; one that occurs only in
    other rows has code 0.

    Args:
        name: Such as ``"mnist"``, ``"adbench:cardio"`` or ``"uci_regression:yacht/3"``.
        valid: Share of the rows for validation; of those outside the test part where that is
            published.
        test: Share of the rows for the test part where none is published; 0 makes none.
        seed: Seed of the cut.
        mode: How rows are drawn; ``auto`` is ``stratified`` for classes, ``random`` for numbers.

    Raises:
        UnknownName: No set of that name.
        UsageError: The name is that of a family, or the cut is not possible.
        DataError: The files cannot be had, or are not the original ones.
    """
    dataset, fold = find_builtin(name)
    if mode not in get_args(BuiltinMode):
        raise UsageError(
            f"load_builtin: `mode` must be 'auto', 'random' or 'stratified'; got {mode!r}."
            " Other ways to cut are for data of your own."
        )
    files = get_files(dataset)
    source = dataset.load(files)
    examples, rows, held = source.examples, np.arange(len(source.examples)), None
    if source.tests:
        held, test = source.tests[fold], 0.0
        rows = np.delete(rows, held)
    labels = None
    if examples.schema.target_kind == "class" and examples.targets is not None:
        labels = examples.targets.numpy()[rows]
    chosen = ("random" if labels is None else "stratified") if mode == "auto" else mode
    cuts = cut(len(rows), mode=chosen, valid=valid, test=test, seed=seed, labels=labels)
    parts = {part: rows[places] for part, places in cuts.items()}
    if held is not None:
        parts["test"] = held
    examples = fit_categories(examples, parts["train"])
    examples = replace(examples, schema=replace(examples.schema, source={"builtin": dataset.name}))
    selected = {part: examples.select(torch.from_numpy(r)) for part, r in parts.items()}
    return Splits(
        train=selected["train"],
        valid=selected["valid"],
        test=selected.get("test"),
        indices={part: tuple(places.tolist()) for part, places in parts.items()},
        how=_how(dataset, source, files, fold, chosen, valid, test, seed),
    )


def _how(
    dataset: DataSet,
    source: Source,
    files: dict[str, Path],
    fold: int,
    mode: str,
    valid: float,
    test: float,
    seed: int,
) -> str:
    if dataset.folds:
        first = f"test: published cut {fold}; valid: {valid:g} of the rest"
    elif source.tests:
        first = f"test: as published; valid: {valid:g} of the rest"
    elif test:
        first = f"valid: {valid:g} and test: {test:g} of all rows"
    else:
        first = f"valid: {valid:g} of all rows; no test part"
    note = " (JPEG copy, not the original pixels)" if CIFAR10_JPEG.name in files else ""
    return f"{dataset.name}{note}: {first}, {mode}, seed {seed}"


def open_unlabelled(name: str) -> Examples:
    """Read the examples of a built-in set whose targets were never published.

    Args:
        name: Name of the set, such as ``"covid_survey"``.

    Raises:
        UnknownName: No set of that name.
        UsageError: The set has no such examples.
        DataError: The files cannot be had, or are not the original ones.
    """
    dataset, _ = find_builtin(name)
    if dataset.load_unlabelled is None:
        having = [key for key, other in BUILTIN.items() if other.load_unlabelled is not None]
        raise UsageError(
            f"open_unlabelled: `name` must be a set with unlabelled examples; got {name!r}."
            f" Use one of: {', '.join(having)}."
        )
    examples = dataset.load_unlabelled(get_files(dataset))
    return replace(examples, schema=replace(examples.schema, source={"builtin": dataset.name}))


def where(dataset: DataSet) -> Where:
    """Say where the files of a built-in set are, without reading them.

    Args:
        dataset: The set.
    """
    if dataset.embedded:
        return "embedded"
    if _present(dataset) is not None:
        return "here"
    return "to download" if dataset.files else "needs FITWELL_DATA"


def get_files(dataset: DataSet, *, progress: Progress | None = None) -> dict[str, Path]:
    """Find the files of a built-in set on this machine, or download them.

    Args:
        dataset: The set.
        progress: Called while a file comes in, with its name, the bytes so far and of the whole.

    Returns:
        Checked paths by file name; empty for an embedded set.

    Raises:
        DataError: A file cannot be had, or is not the original one.
    """
    if dataset.embedded:
        return {}
    form = _present(dataset)
    if form is None and not dataset.files:
        names = ", ".join(f"{dataset.folder}/{file.name}" for file in dataset.local_files)
        given = local_data_dir()
        raise DataError(
            f"data: {dataset.name} has no original file to download, and FITWELL_DATA is"
            f" {'not set' if given is None else given}. Set it to a folder that holds {names}."
        )
    found: dict[str, Path] = {}
    for file in form or dataset.files:
        path = local_path(file, dataset.folder)
        if path is None:
            path = fetch(file, download_dir(dataset.folder), progress=progress)
        found[file.name] = verify(path, file)
    return found


def _present(dataset: DataSet) -> tuple[RemoteFile, ...] | None:
    """Give the form of a set whose files are all on this machine; the original one first."""
    for form in (dataset.files, dataset.local_files):
        if form and all(local_path(file, dataset.folder) is not None for file in form):
            return form
    return None
