"""A picture of a data set: a row of examples per class, to look at before training.

N examples, C channels, H W height width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.errors import UsageError
from ._examples import Examples

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_TILE = 56  # pixels; smaller images are enlarged by a whole factor, larger ones reduced to it
_GAP = 3
_MARGIN = 12
_INK, _PAPER, _EMPTY = (34, 34, 34), (255, 255, 255), (240, 240, 240)


def contact_sheet(
    examples: Examples, *, per_class: int = 12, max_classes: int = 40, title: str = ""
) -> Image.Image:
    """Draw the first examples of every class side by side, one row per class.

    A wrong label, a mirrored letter or an empty picture shows here before it costs a training.

    Args:
        examples: Images; without class labels they fill the rows in order.
        per_class: Examples per row.
        max_classes: Rows; the classes beyond them are left out.
        title: Line above the rows.

    Raises:
        UsageError: The examples are no images, or a count is not positive.
    """
    if examples.schema.kind != "images" or not len(examples):
        raise UsageError(
            "contact_sheet: `examples` must be images, at least one; got"
            f" {len(examples)} of kind {examples.schema.kind!r}. Tables have value ranges instead."
        )
    if per_class < 1 or max_classes < 1:
        raise UsageError(
            "contact_sheet: `per_class` and `max_classes` must be at least 1; got"
            f" {per_class} and {max_classes}."
        )
    from PIL import Image, ImageDraw, ImageFont

    rows = _rows(examples, per_class, max_classes)
    font = ImageFont.load_default(13)
    _, height, width = examples.schema.input_shape
    tile_width, tile_height = _tile_size(width, height)
    label_width = max((_text_width(font, label) for label, _ in rows), default=0)
    left = _MARGIN + (label_width + _MARGIN if label_width else 0)
    top = _MARGIN + (24 if title else 0)
    right = left + per_class * (tile_width + _GAP) - _GAP
    size = (
        max(right, _MARGIN + _text_width(font, title)) + _MARGIN,
        top + len(rows) * (tile_height + _GAP) - _GAP + _MARGIN,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=font, anchor="lt")
    for number, (label, members) in enumerate(rows):
        y = top + number * (tile_height + _GAP)
        middle = y + tile_height // 2
        draw.text((left - _MARGIN, middle), label, fill=_INK, font=font, anchor="rm")
        for place in range(per_class):
            x = left + place * (tile_width + _GAP)
            if place < len(members):
                pixels = examples.inputs[members[place]].numpy()
                sheet.paste(_tile(pixels, tile_width, tile_height), (x, y))
            else:
                draw.rectangle((x, y, x + tile_width - 1, y + tile_height - 1), fill=_EMPTY)
    return sheet


def _rows(examples: Examples, per_class: int, max_classes: int) -> list[tuple[str, list[int]]]:
    """Give label and positions of each row."""
    names = examples.schema.class_names
    if examples.targets is None or not names:
        shown = list(range(min(len(examples), per_class * max_classes)))
        return [("", shown[k : k + per_class]) for k in range(0, len(shown), per_class)]
    labels = examples.targets.numpy()
    return [
        (_short(name), np.flatnonzero(labels == label)[:per_class].tolist())
        for label, name in enumerate(names[:max_classes])
    ]


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _text_width(font: FreeTypeFont | ImageFont, text: str) -> int:
    return int(np.ceil(font.getlength(text))) if text else 0


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    scale = _TILE // longest if longest <= _TILE else _TILE / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile(pixels: npt.NDArray[np.uint8], width: int, height: int) -> Image.Image:
    """Make a picture of one image (C, H, W); of other channel counts the first one is shown."""
    from PIL import Image

    if pixels.shape[0] in (3, 4):
        image = Image.fromarray(np.ascontiguousarray(pixels[:3].transpose(1, 2, 0)))
    else:
        image = Image.fromarray(np.ascontiguousarray(pixels[0]))
    enlarged = width >= image.width
    chosen = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), chosen)
