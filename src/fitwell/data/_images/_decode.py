"""One image file to pixels, through Pillow: upright, on white, 8 bits, resized with antialias.

Knows nothing of folders or caches. Of animations and many-page files the first picture is read.

C channels, H W height width.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Channels = Literal["gray", "rgb"]
Array = npt.NDArray[np.uint8]

# A JPEG is decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that still is this many times the
# wanted size; the value is the one `PIL.Image.Image.thumbnail` uses.
_REDUCING_GAP = 2.0
_COPY_AGAIN = "Copy it again from where it came from, or remove it."
_CONVERT = "Convert it to PNG or JPEG, or remove it."
# Only formats that Pillow decodes itself, never those for which it would start another program.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
_EXIF_KEYS = ("exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp")


class Header(NamedTuple):
    """What the head of an image file says, for the image as it is looked at (turned upright)."""

    height: int
    width: int
    kind: Channels


class BadImage(Exception):
    """A file that cannot become pixels: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def load_pillow() -> None:
    """Import all that decoding needs, before threads do it at the same time."""
    import importlib

    for name in (*_FORMATS, "MPO"):
        importlib.import_module(f"PIL.{name.title()}ImagePlugin".replace("Webp", "WebP"))


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file.

    Args:
        path: The file.

    Raises:
        BadImage: It cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except PermissionError as err:
        raise BadImage(
            "cannot be opened (permission denied)", "Allow reading it: chmod u+r."
        ) from err
    except OSError as err:
        raise BadImage(f"cannot be read ({err.strerror or err})", _COPY_AGAIN) from err


def read_header(path: str | Path) -> Header | None:
    """Read size and kind without decoding; None for a file that is no readable image.

    Args:
        path: The file.
    """
    try:
        with open(path, "rb") as file:
            return _header(_open(file))
    except (BadImage, OSError):
        return None


def decode(data: bytes, image_size: tuple[int, int], channels: Channels) -> tuple[Array, Header]:
    """Turn the bytes of an image file into pixels.

    The image is turned upright as its EXIF says, laid on white where it is transparent, brought to
    8 bits (16-bit gray is divided by 257), resized so that it covers `image_size` and cropped in
    the middle; shrinking averages over all pixels (Pillow's bilinear filter). A JPEG that is more
    than twice too large is first decoded at a reduced scale, as Pillow's `thumbnail` does.

    Args:
        data: The whole file.
        image_size: Wanted height and width.
        channels: Wanted channels; colors become gray by the weights of ITU-R 601.

    Returns:
        Pixels (C, H, W), and what the file was before.

    Raises:
        BadImage: The file is empty, foreign, damaged, or too large to be decoded safely.

    Checked against: `PIL.Image.resize` within 1 grey level.
    """
    if not data:
        raise BadImage("is empty (0 bytes)", _COPY_AGAIN)
    image = _open(io.BytesIO(data), data)
    try:
        header = _header(image)
        pixels = np.asarray(_fit(image, image_size, "L" if channels == "gray" else "RGB"))
    except BadImage:
        raise
    except Exception as err:  # Pillow's readers raise whatever a damaged file makes them stumble on
        cut = "truncated" in str(err)
        problem = f"is cut off ({err})" if cut else f"cannot be decoded ({err})"
        raise BadImage(problem, _COPY_AGAIN) from err
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return planes, header


def _open(file: IO[bytes], data: bytes = b"") -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as err:
        start = f"; it begins with {data[:16]!r}" if data else ""
        raise BadImage(f"is not an image that Pillow knows{start}", _CONVERT) from err
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        count = re.search(r"\d+", str(err))
        pixels = f"{int(count[0]):,}" if count else "too many"
        raise BadImage(
            f"claims to have {pixels} pixels, more than the {Image.MAX_IMAGE_PIXELS:,} that are"
            " safe to decode",
            "Shrink it with an image editor, or remove it.",
        ) from err
    except Exception as err:  # see `decode`
        raise BadImage(f"has a damaged head ({err})", _COPY_AGAIN) from err


def _header(image: Image.Image) -> Header:
    width, height = image.size
    kind: Channels = "gray" if _is_gray(image) else "rgb"
    return Header(width, height, kind) if _orientation(image) > 4 else Header(height, width, kind)


def _is_gray(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _orientation(image: Image.Image) -> int:
    # Pillow turns TIFF files itself. Asking for EXIF costs as much as a small image: look first.
    if image.format == "TIFF" or not any(key in image.info for key in _EXIF_KEYS):
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if value in range(1, 9) else 1


def _fit(image: Image.Image, image_size: tuple[int, int], mode: str) -> Image.Image:
    """Give the upright image in `mode`, covering `image_size`, cropped in the middle."""
    from PIL import Image

    turn = _orientation(image)
    height, width = image_size if turn < 5 else image_size[::-1]
    scale = max(width / image.width, height / image.height)
    full = (float(image.width), float(image.height))
    if scale < 1:
        wanted = (
            int(image.width * scale * _REDUCING_GAP),
            int(image.height * scale * _REDUCING_GAP),
        )
        drafted = image.draft(mode, (max(wanted[0], 1), max(wanted[1], 1)))
        if drafted is not None:
            full = drafted[1][2:]
    image.load()
    image = _plain(image, mode)
    if image.size != (width, height):
        share = max(width / full[0], height / full[1])
        left = max((full[0] - width / share) / 2, 0.0)
        top = max((full[1] - height / share) / 2, 0.0)
        box = (left, top, full[0] - left, full[1] - top)
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    if turn == 1:
        return image
    way = Image.Transpose
    return image.transpose(
        {
            2: way.FLIP_LEFT_RIGHT,
            3: way.ROTATE_180,
            4: way.FLIP_TOP_BOTTOM,
            5: way.TRANSPOSE,
            6: way.ROTATE_270,
            7: way.TRANSVERSE,
            8: way.ROTATE_90,
        }[turn]
    )


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Bring any of Pillow's modes to 8-bit gray or RGB, transparent pixels on white."""
    from PIL import Image

    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        color = image.mode[:-1]
        white = Image.new(color, image.size, "white")
        white.paste(image.convert(color), mask=image.getchannel("A"))
        image = white
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import Image

    # Pillow reads 16-bit PNG and PPM files as 32-bit integers in some of its versions.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise BadImage(
            f"holds 32-bit numbers (mode {image.mode!r}), whose black and white are not known",
            "Convert it to 8 or 16 bits, or pass the numbers as an .npz file.",
        )
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
