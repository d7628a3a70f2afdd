"""One image file to pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from fitwell.data._images._decode import _FORMATS, BadImage, decode, load_pillow, read_header

from .image_factory import encoded, gray16, photo, png_bomb, rotated_jpeg

BILINEAR = Image.Resampling.BILINEAR
GREY_LEVEL = 1  # rounding of a box that is not whole pixels, and of turning after resizing


def planes(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image).astype(np.int64)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def close(data: bytes, expected: Image.Image, channels: str = "rgb") -> bool:
    found, _ = decode(data, expected.size[::-1], channels)
    assert found.dtype == np.uint8
    return bool(np.abs(found.astype(np.int64) - planes(expected)).max() <= GREY_LEVEL)


@pytest.mark.parametrize("size", [(100, 100), (64, 48), (7, 9), (300, 500)])
@pytest.mark.parametrize("which", [0, 1])
def test_resizing_equals_pillow(size: tuple[int, int], which: int) -> None:
    image = Image.fromarray(load_sample_images().images[which])
    height, width = size
    expected = ImageOps.fit(image, (width, height), BILINEAR)
    assert close(encoded(image), expected)
    gray = image.convert("L")
    assert close(encoded(gray), ImageOps.fit(gray, (width, height), BILINEAR), "gray")


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    to_height=st.integers(1, 30),
    to_width=st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_any_size_equals_pillow(height: int, width: int, to_height: int, to_width: int) -> None:
    image = photo(height, width)
    assert close(encoded(image), ImageOps.fit(image, (to_width, to_height), BILINEAR))


@pytest.mark.parametrize("side", [150, 100, 48])
def test_a_large_jpeg_equals_pillows_thumbnail_of_it(side: int) -> None:
    square = Image.fromarray(load_sample_images().images[0]).crop((0, 0, 420, 420))
    data = encoded(square, "JPEG", quality=90)
    reduced = Image.open(io.BytesIO(data))
    reduced.thumbnail((side, side), BILINEAR, reducing_gap=2.0)
    assert close(data, reduced)
    whole, _ = decode(data, (420, 420), "rgb")
    exact = planes(Image.fromarray(whole.transpose(1, 2, 0)).resize((side, side), BILINEAR))
    found, _ = decode(data, (side, side), "rgb")
    # The reduced scale is not the same filter; on photos it is off by about one level.
    assert np.abs(found.astype(np.int64) - exact).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (12, 20)])
def test_exif_turns_the_image_upright(orientation: int, size: tuple[int, int] | None) -> None:
    data = rotated_jpeg(photo(32, 48), orientation)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    if size is not None:
        upright = ImageOps.fit(upright, size[::-1], BILINEAR)
    assert close(data, upright)


def test_size_in_the_header_is_the_upright_one(tmp_path) -> None:
    for orientation, shape in ((1, (32, 48)), (6, (48, 32))):
        path = tmp_path / f"{orientation}.jpg"
        path.write_bytes(rotated_jpeg(photo(32, 48), orientation))
        assert read_header(path) == (*shape, "rgb")


def test_transparent_becomes_white() -> None:
    image = photo(8, 8, mode="RGBA")
    image.putalpha(Image.fromarray(np.tile(np.array([0, 128, 255, 255], np.uint8), (8, 2))))
    white = Image.new("RGBA", (8, 8), "white")
    assert close(encoded(image), Image.alpha_composite(white, image).convert("RGB"))
    assert (decode(encoded(image), (8, 8), "rgb")[0][:, :, 0] == 255).all()


def test_transparent_gray_becomes_white() -> None:
    image = Image.merge("LA", (Image.new("L", (4, 4), 10), Image.new("L", (4, 4), 0)))
    pixels, header = decode(encoded(image), (4, 4), "gray")
    assert header.kind == "gray"
    assert (pixels == 255).all()


def test_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    pixels, header = decode(encoded(image, transparency=0), (4, 4), "rgb")
    assert header.kind == "rgb"
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 1, 1].tolist() == [200, 10, 20]


def test_gray_palette_is_gray() -> None:
    image = photo(8, 8, mode="L")
    palette = image.convert("P")
    palette.putpalette([level for level in range(256) for _ in range(3)])
    pixels, header = decode(encoded(palette, "GIF"), (8, 8), "gray")
    assert header.kind == "gray"
    assert np.array_equal(pixels, planes(image))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_gray_keeps_its_range(form: str) -> None:
    values = np.array([[0, 257, 128, 129], [65535, 65407, 65406, 32768]], np.uint16)
    pixels, header = decode(gray16(values, form), (2, 4), "gray")
    assert header.kind == "gray"
    assert pixels[0].tolist() == np.round(values / 257).astype(int).tolist()


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "LAB", "I", "F"])
def test_other_modes(mode: str) -> None:
    image = photo(8, 8, mode=mode)
    data = encoded(image, "TIFF")
    if mode in ("I", "F"):
        with pytest.raises(BadImage, match="32-bit numbers"):
            decode(data, (8, 8), "gray")
        return
    assert close(data, image.convert("RGB"))


def test_color_to_gray_is_itu_601() -> None:
    image = photo(32, 32)
    assert close(encoded(image), image.convert("L"), "gray")


def test_every_format_is_loaded_before_threads_start() -> None:
    load_pillow()
    assert set(_FORMATS) <= set(Image.OPEN)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_formats(form: str) -> None:
    pixels, _ = decode(encoded(photo(16, 24), form), (16, 24), "rgb")
    # GIF has 256 colors, JPEG and WebP lose detail: only the picture as a whole is compared.
    assert np.abs(pixels - planes(photo(16, 24))).mean() < 12


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"Dear Sir or Madam, ...", "not an image that Pillow knows; it begins with b'Dear Sir"),
        (encoded(photo(64, 64), "JPEG")[:900], "is cut off"),
        (encoded(photo(64, 64), "PNG")[:3000], "is cut off"),
        (png_bomb(), r"claims to have 3,600,000,000 pixels, more than the [\d,]+ that are safe"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image that Pillow knows"),
    ],
)
def test_bad_files_say_what_is_wrong(data: bytes, problem: str) -> None:
    with pytest.raises(BadImage, match=problem) as caught:
        decode(data, (8, 8), "rgb")
    assert caught.value.remedy.endswith(".")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_never_escapes_as_another_error(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]))
    content = bytearray(encoded(photo(16, 16), form))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels, _ = decode(bytes(content), (8, 8), "rgb")
        except BadImage:
            return
    assert pixels.shape == (3, 8, 8)
