"""Which image files a folder holds, in which class folder and which part. Opens no image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from ...core.errors import DataError
from .._bad_rows import BadRows

Layout = Literal["classes", "flat"]

EXTENSIONS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
PARTS = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "val": "valid", "validation": "valid", "dev": "valid"},
    **{"test": "test", "testing": "test"},
}
_LITTER = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"})


@final
@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image file that was found.

    Args:
        path: Where it is.
        name: Its path relative to the folder that was read, with forward slashes.
        stamp: Size in bytes, time of change and time of status change in ns; tells whether a file
            is still the one that was read before.
        part: ``train``, ``valid`` or ``test`` where the folder says so, else empty.
        label: Name of its class folder, else None.
    """

    path: str
    name: str
    stamp: tuple[int, int, int]
    part: str = ""
    label: str | None = None


@final
@dataclass
class Folder:
    """The direct content of a folder, sorted naturally; hidden files and litter are left out."""

    path: Path
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    images: list[os.DirEntry[str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def natural(name: str) -> tuple[list[str | int], str]:
    """Give the key that sorts ``2.jpg`` before ``10.jpg``.

    Args:
        name: A name or relative path.
    """
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(p) if i % 2 else p for i, p in enumerate(pieces)], name


def scan(path: Path, notes: Counter[str]) -> Folder:
    """Read the direct content of a folder.

    Args:
        path: The folder.
        notes: Counts the files that are no images by their extension.

    Raises:
        DataError: The folder cannot be read.
    """
    found = Folder(path)
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                    continue
                if entry.is_dir():
                    found.folders.append(entry)
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    found.images.append(entry)
                else:
                    notes[os.path.splitext(entry.name)[1].lower() or "no extension"] += 1
    except OSError as err:
        raise DataError(
            f"{path}: the folder cannot be read ({err.strerror or err}). Allow it: chmod u+rx."
        ) from err
    found.folders.sort(key=lambda entry: natural(entry.name))
    found.images.sort(key=lambda entry: natural(entry.name))
    return found


def check_folder(path: Path, what: str) -> None:
    """Refuse a path that is no folder.

    Args:
        path: What the user gave.
        what: Name of the argument.

    Raises:
        DataError: It does not exist or is a file.
    """
    if path.is_dir():
        return
    if not path.exists():
        near = path.parent
        while not near.exists():
            near = near.parent
        raise DataError(
            f"images: `{what}` must be a folder of images; got {path}, which does not exist"
            f" (the path is right up to {near}). Correct the path."
        )
    remedy = "Unpack it and give the folder." if path.suffix in (".zip", ".tar", ".gz") else ""
    raise DataError(
        f"images: `{what}` must be a folder of images; got {path}, which is a file."
        f" {remedy or 'Give the folder it lies in.'}"
    )


def as_files(
    root: Path, entries: Sequence[os.DirEntry[str]], part: str = "", label: str | None = None
) -> Iterator[ImageFile]:
    """Give directory entries as image files.

    Args:
        root: The folder that names are relative to.
        entries: What `scan` found.
        part: The part they belong to.
        label: The class folder they lie in.
    """
    if not entries:
        return
    above = Path(os.path.dirname(entries[0].path)).relative_to(root).as_posix()
    prefix = "" if above == "." else above + "/"
    for entry in entries:
        try:
            stat = entry.stat()
            stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            stamp = (-1, 0, 0)
        yield ImageFile(entry.path, prefix + entry.name, stamp, part, label)


def part_folders(top: Folder) -> dict[str, Path]:
    """Give the folders for training, validation and test, if that is how a folder is divided.

    Args:
        top: The folder. One that holds ``train`` without a second part is not divided: ``train``
            is also a vehicle.
    """
    parts: dict[str, Path] = {}
    for entry in top.folders:
        name = PARTS.get(entry.name.lower())
        if name is not None:
            parts.setdefault(name, Path(entry.path))
    parts = {part: parts[part] for part in ("train", "valid", "test") if part in parts}
    return parts if "train" in parts and len(parts) > 1 else {}


def list_classes(
    root: Path, folder: Path, part: str, bad: BadRows, others: Counter[str]
) -> list[ImageFile]:
    """List a folder that has one subfolder per class.

    Args:
        root: The folder that names are relative to.
        folder: The folder of class folders.
        part: The part the images belong to.
        bad: Where empty and nested folders and images without a class are reported.
        others: Counts the files that are no images.

    Raises:
        DataError: Two class folders differ only in upper and lower case, or a row is bad.
    """
    top = scan(folder, others)
    seen: dict[str, str] = {}
    for entry in top.folders:
        twin = seen.setdefault(entry.name.casefold(), entry.name)
        if twin != entry.name:
            raise DataError(
                f"{folder}: the class folders {twin!r} and {entry.name!r} differ only in upper and"
                " lower case. Merge them or rename one."
            )
    if not top.folders:
        return []
    for image in top.images:
        problem = "lies beside the class folders and so has no class"
        bad.report(image.path, None, problem, "Move it into the folder of its class.")
    files: list[ImageFile] = []
    for entry in top.folders:
        inner = scan(Path(entry.path), others)
        for nested in inner.folders:
            if any(True for _ in walk(root, Path(nested.path), Counter())):
                problem = "holds images in a folder inside a class folder"
                bad.report(nested.path, None, problem, f"Move them up into {entry.path}.")
        if not inner.images:
            if not inner.folders:
                remedy = f"Add images ({' '.join(EXTENSIONS[:10])} ...) or remove the folder."
                bad.report(entry.path, None, "is a class folder without images", remedy)
            continue
        files.extend(as_files(root, inner.images, part, entry.name))
    return files


def walk(root: Path, folder: Path, others: Counter[str]) -> Iterator[ImageFile]:
    """List all images below a folder, sorted naturally, folders after files.

    Args:
        root: The folder that names are relative to.
        folder: Where to begin.
        others: Counts the files that are no images.
    """
    top = scan(folder, others)
    yield from as_files(root, top.images)
    for entry in top.folders:
        if not entry.is_symlink():
            yield from walk(root, Path(entry.path), others)


def check_not_wrapped(top: Folder) -> None:
    """Refuse a folder that holds nothing but a folder of class folders.

    Args:
        top: The folder.

    Raises:
        DataError: It is one level too high.
    """
    if len(top.folders) == 1 and not top.images:
        inner = scan(Path(top.folders[0].path), Counter())
        if inner.folders and not inner.images:
            raise DataError(
                f"{top.path}: the folder holds one folder and no images. Did you mean {inner.path}?"
            )


def one_file(path: Path) -> ImageFile:
    """Give a single file, whatever its extension.

    Args:
        path: The file.
    """
    stat = path.stat()
    return ImageFile(str(path), path.name, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def no_class_folders(root: Path, top: Folder, others: Counter[str]) -> DataError:
    """Build the error for a folder in which no image has a class.

    Args:
        root: The folder.
        top: Its direct content.
        others: What was found that is no image.
    """
    if top.images and not top.folders:
        return DataError(
            f"{root}: the images have no labels. Sort them into one subfolder per class, or name"
            " their classes in a CSV file: --labels FILE.csv."
        )
    return no_images(root, others)


def no_images(root: Path, others: Counter[str]) -> DataError:
    """Build the error for a folder without images.

    Args:
        root: The folder.
        others: What was found instead.
    """
    instead = ", ".join(f"{count} {kind}" for kind, count in others.most_common(3))
    found = f"; found {instead}" if instead else ", nor any other file"
    return DataError(
        f"{root}: the folder holds no images{found}. Known extensions:"
        f" {' '.join(EXTENSIONS)}. Give another folder, or convert the files."
    )


def ignored(others: Counter[str]) -> list[str]:
    """Say which files were ignored because they are no images.

    Args:
        others: Their number by extension.
    """
    if not others:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
    return [f"Ignored files that are no images: {kinds}."]
