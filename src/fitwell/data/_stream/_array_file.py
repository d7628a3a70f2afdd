"""Arrays in ``.npz`` files and in folders of ``.npy`` files; large ones are mapped, not read."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ._memory import memory_budget

Arrays = tuple[Any, Any]
_INPUT_KEYS = ("x", "X", "inputs", "images", "data", "features")
_TARGET_KEYS = ("y", "Y", "labels", "targets", "target")
_PART_WORDS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
_LOCAL_HEAD = 30  # bytes of the head of a file in a zip archive, in front of its name


def read_arrays(path: Path) -> dict[str, Arrays]:
    """Give inputs and targets of each part; ``train`` may be the whole.

    Args:
        path: An ``.npz`` file, or a folder of ``.npy`` files.

    Raises:
        DataError: There is no such file, it holds objects, or its arrays have other names.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file. Check the path.")
    try:
        arrays = _folder(path) if path.is_dir() else _npz(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as err:
        if isinstance(err, DataError):
            raise
        kind = "a folder of .npy files" if path.is_dir() else "an .npz file"
        raise DataError(
            f"{path}: cannot be read as {kind} of plain arrays ({err})."
            " Save numbers and texts, not objects, with np.savez."
        ) from err
    found = {}
    for part, words in _PART_WORDS.items():
        names = [f"{{}}_{word}" for word in words] + [f"{word}_{{}}" for word in words]
        pair = _pair(arrays, ["{}", *names] if part == "train" else names)
        if pair is not None:
            found[part] = pair
    if "train" not in found:
        raise DataError(
            f"{path}: needs arrays named x and y, or x_train and y_train; got"
            f" {', '.join(sorted(arrays)) or 'none'}. Rename them."
        )
    return found


def _folder(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.npy"))
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}


def _npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise DataError(
                f"{path}: holds one array. Save inputs and targets with np.savez, or give the"
                " folder of x.npy and y.npy."
            )
        large = _large_members(path)
        return {name: large[name] if name in large else file[name] for name in file.files}


def _large_members(path: Path) -> dict[str, Any]:
    """Map the arrays that lie in the archive as they are, if they are too large for memory."""
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        for member in archive.infolist():
            stored = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
            if not stored or member.file_size <= memory_budget():
                continue
            stream.seek(member.header_offset + _LOCAL_HEAD - 4)
            name, extra = struct.unpack("<HH", stream.read(4))
            stream.seek(name + extra, 1)
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                continue
            read_head = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, by_column, dtype = read_head(stream)
            if not dtype.hasobject:
                found[member.filename.removesuffix(".npy")] = np.memmap(
                    path, dtype, "r", stream.tell(), shape, "F" if by_column else "C"
                )
    return found


def _pair(arrays: Mapping[str, Any], patterns: Sequence[str]) -> Arrays | None:
    for pattern in patterns:
        sides = [
            next((arrays[n] for n in map(pattern.format, keys) if n in arrays), None)
            for keys in (_INPUT_KEYS, _TARGET_KEYS)
        ]
        if sides[0] is not None and sides[1] is not None:
            return sides[0], sides[1]
    return None
