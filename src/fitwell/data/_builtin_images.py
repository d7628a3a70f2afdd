"""Readers of the image sets: IDX files, the CIFAR-10 archive, and CIFAR-10 as JPEG.

N examples, C channels, H W height width.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import os
import pickle
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.files import atomic_path, cache_dir
from ._builtin_source import Files, Source, images
from ._download import RemoteFile

FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10_ARCHIVE = RemoteFile(
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    170_498_071,
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
CIFAR10_JPEG = RemoteFile(
    "cifar10_jpeg.npz",
    "52c0f565a55906d38bf5123373dcb3b73cad873a44c230fd47a53a30f8869501",
    18_133_233,
)

Bytes = npt.NDArray[np.uint8]


def load_mnist(files: Files) -> Source:
    """Read the four files of MNIST.

    Args:
        files: The IDX files by name.
    """
    return _load_idx(files, tuple(str(digit) for digit in range(10)))


def load_fashion_mnist(files: Files) -> Source:
    """Read the four files of Fashion-MNIST.

    Args:
        files: The IDX files by name.
    """
    return _load_idx(files, FASHION)


def _load_idx(files: Files, class_names: tuple[str, ...]) -> Source:
    pixels = [read_idx(files[f"{part}-images-idx3-ubyte.gz"]) for part in ("train", "t10k")]
    labels = [read_idx(files[f"{part}-labels-idx1-ubyte.gz"]) for part in ("train", "t10k")]
    return _official(np.concatenate(pixels)[:, None], np.concatenate(labels), class_names)


def _official(pixels: Bytes, labels: Bytes, class_names: tuple[str, ...]) -> Source:
    test = np.arange(len(labels) - 10_000, len(labels))
    return Source(examples=images(pixels, labels, class_names), tests=(test,))


def read_idx(path: Path) -> Bytes:
    """Read a compressed IDX file of bytes, the form MNIST is published in.

    Args:
        path: The ``.gz`` file.

    Raises:
        DataError: The file is no IDX file of bytes, or it is cut short.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as err:
        raise DataError(f"{path}: must be a gzip file; {err}. Get the original file.") from err
    rank = raw[3] if len(raw) > 3 and raw[:3] == b"\x00\x00\x08" else 0
    shape = tuple(int(size) for size in np.frombuffer(raw[4 : 4 + 4 * rank], dtype=">u4"))
    values = np.frombuffer(raw, dtype=np.uint8, offset=min(4 + 4 * rank, len(raw)))
    if not rank or len(shape) != rank or values.size != np.prod(shape, dtype=np.int64):
        raise DataError(
            f"{path}: must be an IDX file of bytes; got {len(raw):,} bytes that begin with"
            f" {raw[:4].hex()}. Get the original file."
        )
    return values.reshape(shape)


def load_cifar10(files: Files) -> Source:
    """Read CIFAR-10 from its archive or from its JPEG form, decoding once.

    Args:
        files: One file, by name.
    """
    form, read = CIFAR10_JPEG, read_cifar_jpeg
    if CIFAR10_ARCHIVE.name in files:
        form, read = CIFAR10_ARCHIVE, read_cifar_archive
    pixels, labels = decoded_once(files[form.name], form.sha256, read)
    return _official(pixels, labels, CIFAR10)


def decoded_once(
    path: Path, key: str, read: Callable[[Path], tuple[Bytes, Bytes]]
) -> tuple[Bytes, Bytes]:
    """Give images and labels as memory maps that an earlier call decoded, or decode them now.

    Args:
        path: The file.
        key: SHA-256 of the file, which the maps are kept under.
        read: Decodes the file.

    Returns:
        Images (N, C, H, W) and labels (N,).
    """
    folder = cache_dir() / "decoded" / key
    pixels_path, labels_path = folder / "images.npy", folder / "labels.npy"
    with contextlib.suppress(OSError, ValueError):
        # Copy-on-write maps are writable, as torch wants them, and never change the file.
        return np.load(pixels_path, mmap_mode="c"), np.load(labels_path, mmap_mode="c")
    pixels, labels = read(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        for target, array in ((pixels_path, pixels), (labels_path, labels)):
            with atomic_path(target) as temporary, temporary.open("wb") as file:
                np.save(file, array)
    return pixels, labels


def read_cifar_jpeg(path: Path) -> tuple[Bytes, Bytes]:
    """Decode the JPEG form of CIFAR-10: training images, then test images.

    Args:
        path: The ``.npz`` file: a header that all images share, their bytes, offsets and labels.

    Returns:
        Images (N, 3, 32, 32) and labels (N,).
    """
    with np.load(path) as arrays:
        header = arrays["header"].tobytes()
        labels = np.concatenate([arrays["train_label"], arrays["test_label"]])
        jpegs: list[bytes] = []
        for part in ("train", "test"):
            data, ends = arrays[f"{part}_bytes"].tobytes(), arrays[f"{part}_offset"].tolist()
            jpegs += [data[a:b] for a, b in itertools.pairwise(ends)]
    pixels = np.empty((len(jpegs), 3, 32, 32), dtype=np.uint8)

    def decode(start: int, stop: int) -> None:
        from PIL import Image

        for place in range(start, stop):
            with Image.open(io.BytesIO(header + jpegs[place])) as image:
                pixels[place] = np.asarray(image).transpose(2, 0, 1)

    bounds = np.linspace(0, len(jpegs), 8 * (os.cpu_count() or 1) + 1).astype(int).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, bounds[:-1], bounds[1:]))  # `list` passes errors on
    return pixels, labels


def read_cifar_archive(path: Path) -> tuple[Bytes, Bytes]:
    """Read the archive of CIFAR-10 as its author gives it: five training batches, one of test.

    Args:
        path: The ``.tar.gz`` file with batches pickled by Python 2.

    Returns:
        Images (N, 3, 32, 32) and labels (N,).

    Raises:
        DataError: A batch is missing, or holds anything but arrays and lists.
    """
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    batches: dict[str, dict[bytes, Any]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                stream = archive.extractfile(member) if name in names else None
                if stream is not None:
                    batches[name] = ArrayUnpickler(stream, encoding="bytes").load()
        data = np.concatenate([batches[name][b"data"] for name in names])
        labels = np.concatenate([batches[name][b"labels"] for name in names])
    except (tarfile.TarError, EOFError, KeyError, pickle.UnpicklingError) as err:
        raise DataError(
            f"{path}: must hold the six batches of CIFAR-10; {err!r}. Get the original file."
        ) from err
    return data.reshape(-1, 3, 32, 32), labels.astype(np.uint8)


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of containers and NumPy arrays; anything that could run code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Give the few names that an array is rebuilt from.

        Args:
            module: Module the pickle asks for.
            name: Name in that module.

        Raises:
            pickle.UnpicklingError: The name is none of those.
        """
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is refused")


def _empty_array(kind: type, shape: tuple[int, ...], dtype: bytes) -> npt.NDArray[Any]:
    """Stand in for NumPy's private `_reconstruct`: an array that `__setstate__` fills."""
    return np.ndarray.__new__(np.ndarray, shape, dtype.decode())
