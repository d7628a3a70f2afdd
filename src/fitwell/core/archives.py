"""Zip and tar archives, unpacked so that nothing in them can reach outside the folder."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import DataError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged archive raises."""

_BLOCK = 2**20


def is_archive(path: Path) -> bool:
    """Say whether a file is an archive, by its name.

    Args:
        path: The file.
    """
    return path.name.lower().endswith(ENDINGS)


def stem(path: Path) -> str:
    """Give the name of an archive without its ending, such as ``photos`` of ``photos.tar.gz``.

    Args:
        path: The archive, or any other file or folder.
    """
    name = path.name
    ending = max((e for e in ENDINGS if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)] or name


def content_size(path: Path) -> int | None:
    """Give the bytes that an archive holds, if it says so without being read; else None.

    Args:
        path: The archive.
    """
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    return None


def unpack(archive: Path, folder: Path) -> tuple[int, int, int]:
    """Write the files of an archive into a new folder.

    Only regular files are made. A link to a file within the archive becomes a copy of it; other
    links and special files are left out.

    Args:
        archive: The archive.
        folder: An empty folder.

    Returns:
        Files, their bytes, and how much was left out.

    Raises:
        DataError: A name in it leads out of the folder, or it is encrypted or packed in a way that
            Python cannot read.
    """
    files = size = skipped = 0
    made: set[Path] = set()
    for name, content in _members(archive):
        target = folder / _safe(name, archive)
        if content is None:
            skipped += 1
            continue
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        with content, target.open("wb") as out:
            shutil.copyfileobj(content, out, _BLOCK)
            size += out.tell()
        files += 1
    return files, size, skipped


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Give name and content of all that is no folder; None for what is left out."""
    # A tar that ends with a zip looks like that zip, since zips are recognized by their end.
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                if entry.flag_bits & 1:
                    raise DataError(
                        f"data stage: {archive.name} is encrypted. Unpack it with its password,"
                        " and stage the folder."
                    )
                if not entry.is_dir():
                    link = stat.S_ISLNK(entry.external_attr >> 16)
                    yield entry.filename, None if link else _opened(zipped, entry, archive)
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if not member.isdir():
                try:
                    content = tarred.extractfile(member)  # follows links within the archive only
                except (KeyError, RecursionError):
                    content = None
                yield member.name, content


def _opened(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, archive: Path) -> IO[bytes]:
    try:
        return zipped.open(entry)
    except NotImplementedError as err:  # such as Deflate64, which Windows takes for large files
        raise DataError(
            f"data stage: {archive.name} holds {entry.filename!r}, packed in a way that Python"
            " cannot read. Unpack it with another program, and stage the folder."
        ) from err


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Refuse a name that leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        raise DataError(
            f"data stage: {archive.name} holds {name!r}, which leads out of the folder; nothing of"
            " it was taken. Do not use this archive."
        )
    return path
