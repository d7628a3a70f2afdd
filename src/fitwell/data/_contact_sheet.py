"""Pictures of a data set to look at before training: a row per class, plain or augmented.

N examples, C channels, H W height width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ..core.errors import UsageError
from ._augment import Chain
from ._examples import Examples

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

Pixels = npt.NDArray[np.uint8]

# Pixels; smaller images are enlarged by a whole factor, larger ones reduced to it.
_TILE, _LARGE_TILE = 56, 96
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
    _check("contact_sheet", examples, per_class=per_class, max_classes=max_classes)
    rows = [
        (label, [examples.inputs[place].numpy() for place in places])
        for label, places in _rows(examples, per_class, max_classes)
    ]
    return _sheet(rows, per_class, title)


def augmented_sheet(
    examples: Examples,
    chain: Chain,
    *,
    draws: int = 9,
    max_rows: int = 12,
    seed: int = 0,
    title: str = "",
) -> Image.Image:
    """Draw an example of every class as it is and, beside it, as augmentation changes it.

    To look at before training: is every picture still what its label says?

    Args:
        examples: Images; without class labels the first ones are shown.
        chain: The augmentations; those that mix images mix the ones shown.
        draws: Changed pictures per example.
        max_rows: Examples; classes beyond them are left out.
        seed: Seed of the draws.
        title: Line above the rows.

    Raises:
        UsageError: The examples are no images, or a count is not positive.
    """
    _check("augmented_sheet", examples, draws=draws, max_rows=max_rows)
    chosen = [(label, place) for label, places in _rows(examples, 1, max_rows) for place in places]
    plain = torch.stack([examples.inputs[place] for _, place in chosen])
    x, generator = plain.float() / 255, torch.Generator().manual_seed(seed)
    columns = [plain]
    for _ in range(draws):
        changed = chain(x, generator)
        if chain.mixes:
            changed, _ = chain.mix(changed, torch.eye(len(x)), generator)
        columns.append(changed.mul(255).round().clamp(0, 255).byte())
    rows = [
        (label, [column[number].numpy() for column in columns])
        for number, (label, _) in enumerate(chosen)
    ]
    return _sheet(rows, 1 + draws, title, apart=True)


def _check(owner: str, examples: Examples, **counts: int) -> None:
    if examples.schema.kind != "images" or not len(examples):
        raise UsageError(
            f"{owner}: `examples` must be images, at least one; got"
            f" {len(examples)} of kind {examples.schema.kind!r}. Tables have value ranges instead."
        )
    if min(counts.values()) < 1:
        names, values = (
            " and ".join(words)
            for words in (
                [f"`{name}`" for name in counts],
                [str(value) for value in counts.values()],
            )
        )
        raise UsageError(f"{owner}: {names} must be at least 1; got {values}.")


def _sheet(
    rows: list[tuple[str, list[Pixels]]], columns: int, title: str, *, apart: bool = False
) -> Image.Image:
    """Paste rows of pictures beside their labels; larger, the first column apart, if asked."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    _, height, width = next(pictures[0] for _, pictures in rows if pictures).shape
    tile_width, tile_height = _tile_size(width, height, _LARGE_TILE if apart else _TILE)
    label_width = max((_text_width(font, label) for label, _ in rows), default=0)
    left = _MARGIN + (label_width + _MARGIN if label_width else 0)
    top = _MARGIN + (24 if title else 0)
    right = left + columns * (tile_width + _GAP) - _GAP + (_MARGIN if apart else 0)
    size = (
        max(right, _MARGIN + _text_width(font, title)) + _MARGIN,
        top + len(rows) * (tile_height + _GAP) - _GAP + _MARGIN,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=font, anchor="lt")
    for number, (label, pictures) in enumerate(rows):
        y = top + number * (tile_height + _GAP)
        middle = y + tile_height // 2
        draw.text((left - _MARGIN, middle), label, fill=_INK, font=font, anchor="rm")
        for place in range(columns):
            x = left + place * (tile_width + _GAP) + (_MARGIN if apart and place else 0)
            if place < len(pictures):
                sheet.paste(_tile(pictures[place], tile_width, tile_height), (x, y))
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


def _tile_size(width: int, height: int, side: int) -> tuple[int, int]:
    longest = max(width, height)
    scale = side // longest if longest <= side else side / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile(pixels: Pixels, width: int, height: int) -> Image.Image:
    """Make a picture of one image (C, H, W); of other channel counts the first one is shown."""
    from PIL import Image

    if pixels.shape[0] in (3, 4):
        image = Image.fromarray(np.ascontiguousarray(pixels[:3].transpose(1, 2, 0)))
    else:
        image = Image.fromarray(np.ascontiguousarray(pixels[0]))
    enlarged = width >= image.width
    chosen = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), chosen)
