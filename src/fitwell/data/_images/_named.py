"""Labels in the names of files, such as ``3_17.jpg`` for image 17 of class 3 (Food-11)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from .._bad_rows import BadRows
from ._listing import Folder, ImageFile, as_files

# Three digits at most: cameras write dates and running numbers the same way.
_FORM = re.compile(r"(?P<label>[0-9]{1,3})_[0-9]+")


def label_in(name: str) -> str | None:
    """Give the class that the name of a file begins with, or None if it names none.

    Args:
        name: Path of an image; the class is a number of up to three digits, as it is written,
            before an underscore and the number of the image.
    """
    match = _FORM.fullmatch(PurePosixPath(name).stem)
    return match["label"] if match else None


def has_named_labels(top: Folder) -> bool:
    """Tell whether a folder without subfolders names the classes of most of its images.

    Args:
        top: The folder.
    """
    named = sum(label_in(image.name) is not None for image in top.images)
    return not top.folders and 2 * named > len(top.images)


def list_named(root: Path, top: Folder, part: str, bad: BadRows) -> list[ImageFile]:
    """List a folder of images that bear their class in their names.

    Args:
        root: The folder that names are relative to.
        top: The folder of the images.
        part: The part the images belong to.
        bad: Where images without a class are reported.

    Raises:
        DataError: A row is bad.
    """
    files: list[ImageFile] = []
    for file in as_files(root, top.images, part):
        label = label_in(file.name)
        if label is None:
            problem = "has no class before an underscore in its name, as most images beside it have"
            bad.report(file.path, None, problem, "Name it like 3_17.jpg, or remove it.")
        else:
            files.append(replace(file, label=label))
    return files


def label_known(files: Sequence[ImageFile], class_names: Sequence[str]) -> list[ImageFile]:
    """Give images the classes in their names if every name begins with a known one.

    Args:
        files: The images.
        class_names: The classes that are known.
    """
    labels = [label_in(file.name) for file in files]
    if not set(labels) <= set(class_names):
        return list(files)
    return [replace(file, label=label) for file, label in zip(files, labels, strict=True)]
