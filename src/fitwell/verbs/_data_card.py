"""What the training data looks like: ``data.json``, with pictures or with ranges of columns."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.files import write_json
from ..data import Column, Examples, Splits
from ..train import Run

_SIDE: Final = 40
"""Pixels of a picture on the contact sheet at most; smaller ones stay as they are."""
_TILES: Final = 96
_ROWS: Final = 24
_ACROSS: Final = 10
_COLUMNS: Final = 200
_CELLS: Final = 20_000_000
"""Values of a table that are looked at, evenly spaced rows; bounds time and memory."""
_BINS: Final = 12

Numbers = npt.NDArray[np.float64]


def write_data_card(run: Run, splits: Splits) -> None:
    """Write ``data.json`` into a run, for the report.

    Args:
        run: The run.
        splits: Its data.
    """
    write_json(run.folder / "data.json", data_card(splits))


def data_card(splits: Splits) -> dict[str, Any]:
    """Describe the training part: a contact sheet of images, the columns of a table, the target.

    Args:
        splits: The data.

    Returns:
        Plain data: ``sheet`` has a row of pictures (PNG in base64) for each of at most 24 classes
        or ranges of the target; ``columns`` and ``target`` have ranges and counts.
    """
    train = splits.train
    targets = train.targets
    number = train.schema.target_kind == "number" and targets is not None
    return {
        "part": "train",
        "sheet": _sheet(train),
        "columns": _columns(train),
        "target": _spread(_floats(targets)) if number and targets is not None else None,
    }


def png(image: Tensor, side: int) -> str | None:
    """Encode a uint8 image (1 or 3, H, W) as PNG in base64; anything else has no picture.

    Args:
        image: The image.
        side: Pixels of its longer side at most.
    """
    if not _is_image(image.dtype, tuple(image.shape)):
        return None
    return _encode(_picture(image, side))


def _is_image(dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    return dtype == torch.uint8 and len(shape) == 3 and shape[0] in (1, 3)


def _picture(image: Tensor, side: int) -> Any:
    from PIL import Image

    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((side, side))
    return picture


def _encode(picture: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _sheet(train: Examples) -> dict[str, Any] | None:
    """Give a row of pictures for each class, or for each range of a number."""
    if not _is_image(train.inputs.dtype, train.schema.input_shape) or not len(train):
        return None
    groups, more = _groups(train)
    across = min(_ACROSS, max(4, _TILES // max(1, len(groups))))
    rows = []
    for label, places in groups:
        chosen = places[_evenly(len(places), across)]
        rows.append(
            {
                "label": label,
                "count": len(places),
                "shown": len(chosen),
                "picture": _strip(train.inputs[chosen]) if len(chosen) else None,
            }
        )
    return {"across": across, "rows": rows, "more": more}


def _groups(train: Examples) -> tuple[list[tuple[str, Tensor]], int]:
    """Give label and places of each row of the sheet, and how many classes have none."""
    everything = torch.arange(len(train))
    if train.targets is None:
        return [("", everything)], 0
    targets = train.targets.cpu()
    names = train.schema.class_names
    if names:
        found = [(name, (targets == k).nonzero()[:, 0]) for k, name in enumerate(names[:_ROWS])]
        return found, len(names) - len(found)
    parts = targets.argsort(stable=True).tensor_split(min(8, len(train)))
    ends = [(float(targets[part[0]]), float(targets[part[-1]])) for part in parts]
    return [
        (f"{low:.4g} to {high:.4g}", part) for (low, high), part in zip(ends, parts, strict=True)
    ], 0


def _evenly(count: int, wanted: int) -> Tensor:
    """Choose places at equal distances, the first among them."""
    wanted = min(count, wanted)
    return torch.tensor([place * count // wanted for place in range(wanted)], dtype=torch.int64)


def _strip(images: Tensor) -> str:
    """Put pictures side by side with a gap that lets the page through."""
    from PIL import Image

    pictures = [_picture(image, _SIDE) for image in images]
    width, height = pictures[0].size
    gap = max(1, width // 14)
    mode = "LA" if pictures[0].mode == "L" else "RGBA"
    strip = Image.new(mode, (len(pictures) * (width + gap) - gap, height))
    for place, picture in enumerate(pictures):
        strip.paste(picture.convert(mode), (place * (width + gap), 0))
    return _encode(strip)


def _columns(train: Examples) -> list[dict[str, Any]]:
    columns = train.schema.columns[:_COLUMNS]
    if not columns or not len(train):
        return []
    rows = min(len(train), max(1, _CELLS // len(train.schema.columns)))
    values = train.inputs[_evenly(len(train), rows)].cpu()
    return [
        {"name": column.name, "kind": column.kind, **_column(column, values[:, place])}
        for place, column in enumerate(columns)
    ]


def _column(column: Column, values: Tensor) -> dict[str, Any]:
    if column.kind == "number":
        return _spread(_floats(values))
    codes = torch.bincount(values.long().clamp(0), minlength=len(column.categories) + 1)
    order = codes[1:].argsort(descending=True, stable=True)[:3].tolist()
    return {
        "rows": len(values),
        "missing": int(codes[0]),
        "distinct": len(column.categories),
        "common": [[column.categories[k], int(codes[k + 1])] for k in order if codes[k + 1]],
    }


def _spread(values: Numbers) -> dict[str, Any]:
    """Give range, quartiles and a coarse histogram of numbers."""
    there = values[np.isfinite(values)]
    found: dict[str, Any] = {"rows": len(values), "missing": len(values) - len(there)}
    if not len(there):
        return found
    marks = np.quantile(there, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return {
        **found,
        **dict(zip(("low", "quarter", "median", "three_quarters", "high"), marks, strict=True)),
        "mean": float(there.mean()),
        "std": float(there.std()),
        "bins": np.histogram(there, _BINS)[0].tolist() if marks[0] < marks[-1] else [],
    }


def _floats(values: Tensor) -> Numbers:
    return values.cpu().numpy().astype(np.float64)
