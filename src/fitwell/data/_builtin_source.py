"""What a reader of a built-in set gives: all labelled examples, before they are cut into parts.

N examples, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch

from ._download import RemoteFile
from ._examples import Column, Examples, Schema
from ._splits import Indices

Files = Mapping[str, Path]
Domain = Literal["digits", "letters", "clothes", "objects", "photos", "unknown"]


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """All labelled examples of a set, and the rows that its authors hold out.

    Args:
        examples: The examples in the order of the files.
        tests: Test rows as published: none, one part, or one per published fold.
    """

    examples: Examples
    tests: tuple[Indices, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A built-in data set: what it is, what it may be used for, and how it is read.

    Args:
        name: What `load_builtin` and the command line call it.
        title: One line that says what an example is and what is predicted.
        kind: What the inputs are.
        examples: Number of labelled examples.
        classes: Number of classes; 0 when the target is a number.
        license: Terms of the data, as far as its authors state them.
        homepage: Where the authors describe it.
        files: The original files; empty for a set that has none of its own.
        local_files: The same data in another form, taken from ``FITWELL_DATA`` when the original
            files are not there.
        folds: Number of published train/test cuts to choose from by ``name/k``; 0 for at most one.
        load: Reads the labelled examples from the files, by name.
        load_unlabelled: Reads examples whose targets were never published, if there are any.
    """

    name: str
    title: str
    kind: Literal["images", "table"]
    examples: int
    classes: int
    license: str
    homepage: str
    load: Callable[[Files], Source]
    files: tuple[RemoteFile, ...] = ()
    local_files: tuple[RemoteFile, ...] = ()
    folds: int = 0
    load_unlabelled: Callable[[Files], Examples] | None = None

    @property
    def folder(self) -> str:
        """Name of the folder its files are kept in; members of a family share one."""
        return self.name.partition(":")[0]

    @property
    def embedded(self) -> bool:
        """Whether the data comes with an installed package, so that no file is needed."""
        return not self.files and not self.local_files


def numbers(
    values: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    names: Sequence[str],
    *,
    class_names: Sequence[str] = (),
    target_name: str = "target",
) -> Examples:
    """Make examples of a table whose features are all numbers.

    Args:
        values: Features; (N, F).
        targets: Class indices, or numbers; (N,).
        names: Name of each feature.
        class_names: Names of the classes; empty when the target is a number.
        target_name: Name of what is predicted.
    """
    dtype = np.int64 if class_names else np.float32
    return Examples(
        inputs=torch.from_numpy(values.astype(np.float32)),
        targets=torch.from_numpy(targets.astype(dtype)),
        schema=Schema(
            kind="table",
            input_shape=(len(names),),
            target_kind="class" if class_names else "number",
            class_names=tuple(class_names),
            columns=tuple(Column(name=name) for name in names),
            target_name=target_name,
        ),
    )


def images(
    pixels: npt.NDArray[np.uint8], labels: npt.NDArray[Any], class_names: Sequence[str]
) -> Examples:
    """Make examples of images with class labels.

    Args:
        pixels: The images; (N, C, H, W).
        labels: Class indices; (N,).
        class_names: Names of the classes.
    """
    _, channels, height, width = pixels.shape
    return Examples(
        inputs=torch.from_numpy(pixels),
        targets=torch.from_numpy(labels.astype(np.int64)),
        schema=Schema(
            kind="images",
            input_shape=(channels, height, width),
            target_kind="class",
            class_names=tuple(class_names),
            target_name="label",
        ),
    )


def fit_categories(examples: Examples, train: Indices) -> Examples:
    """Keep the categories that occur in the training rows; all others become code 0.

    Args:
        examples: Examples with the categories of all rows.
        train: Positions of the training rows; (M,).
    """
    schema = examples.schema
    if all(column.kind == "number" for column in schema.columns):
        return examples
    inputs = examples.inputs[:].clone()
    columns = list(schema.columns)
    for place, column in enumerate(columns):
        if column.kind == "number":
            continue
        codes = inputs[:, place].long()
        kept = [code for code in np.unique(codes[train].numpy()).tolist() if code > 0]
        renumber = torch.zeros(len(column.categories) + 1, dtype=inputs.dtype)
        renumber[kept] = torch.arange(1, len(kept) + 1, dtype=inputs.dtype)
        inputs[:, place] = renumber[codes]
        names = tuple(column.categories[code - 1] for code in kept)
        columns[place] = replace(column, categories=names)
    return replace(examples, inputs=inputs, schema=replace(schema, columns=tuple(columns)))
