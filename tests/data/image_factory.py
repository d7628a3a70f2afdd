"""Make odd images and folders of images with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def photo(height: int = 24, width: int = 32, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Smooth colors with some noise, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(height // 8, 2), max(width // 8, 2), 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth).astype(np.int64) + random.integers(-6, 7, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def gray16(values: npt.NDArray[np.uint16], form: str = "PNG") -> bytes:
    return encoded(Image.fromarray(values), form)


def rotated_jpeg(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())


def png_bomb(side: int = 60_000) -> bytes:
    """A valid PNG head that claims `side` x `side` pixels, and next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def write(root: Path, files: Mapping[str, bytes | Image.Image]) -> Path:
    """Write files below a folder; images in the format their names say."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path)
        else:
            path.write_bytes(content)
    return root


def class_folders(
    root: Path,
    classes: tuple[str, ...] = ("cat", "dog"),
    each: int = 10,
    *,
    size: tuple[int, int] = (24, 32),
    extension: str = "png",
    mode: str = "RGB",
) -> Path:
    """One folder per class with images 0, 1, ... of one size."""
    return write(
        root,
        {
            f"{name}/{i}.{extension}": photo(*size, seed=1000 * number + i, mode=mode)
            for number, name in enumerate(classes)
            for i in range(each)
        },
    )
