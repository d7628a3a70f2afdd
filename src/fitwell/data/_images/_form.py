"""Choose the size and the channels that all images of a set are brought to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Literal

from ...core.errors import DataError, UsageError
from .._bad_rows import BadRows
from ._cache import ImageCache
from ._decode import Channels, Header
from ._listing import ImageFile
from ._pixels import Form

ImageChannels = Literal["auto", "gray", "rgb"]

_LARGEST_SIDE = 224  # of images that differ in size; the usual input of networks for photos
_LARGEST_KEPT = 512 * 512  # pixels of images that are all alike and so are left as they are
_SAMPLE = 16  # heads that are read to tell gray from rgb
_WORDS = {"gray": "gray", "rgb": "in color"}


def check_image_size(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Give height and width, from one number if they are equal.

    Args:
        image_size: One side, or height and width; None leaves the choice to the images.

    Raises:
        UsageError: It is not one or two positive numbers.
    """
    if image_size is None:
        return None
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UsageError(
            "images: `image_size` must be one or two positive whole numbers (height, width);"
            f" got {image_size}. Use for example 64."
        )
    return sides[0], sides[1]


def choose_form(
    cache: ImageCache,
    files: Sequence[ImageFile],
    image_size: tuple[int, int] | None,
    channels: ImageChannels,
    bad: BadRows,
) -> tuple[Form, str]:
    """Choose what images are brought to, and say why.

    Args:
        cache: Where heads of files are known from.
        files: The images.
        image_size: What the user wants; None keeps the size that all have if it is moderate, else
            takes the middle one of their short sides, at most 224.
        channels: What the user wants; ``auto`` takes what most of a sample are.
        bad: Where an image of the sample is reported that is not like the others.

    Raises:
        DataError: No file is an image, or gray and color are mixed and nothing was chosen.
    """
    why = ""
    if image_size is None:
        heads = [head for head in cache.headers(range(len(files))) if head is not None]
        if heads:
            image_size, why = _common_size(heads)
    kind: Channels = "rgb" if channels == "auto" else channels
    if channels == "auto":
        sample = range(0, len(files), -(-len(files) // _SAMPLE))
        kinds = [(i, h.kind) for i, h in zip(sample, cache.headers(sample), strict=True) if h]
        counts = Counter(kind for _, kind in kinds)
        kind = "gray" if counts["gray"] > counts["rgb"] else "rgb"
        if bad.mode == "stop":
            for i, found in kinds:
                if found != kind:
                    report_odd(files[i], kind, bad)
    # Files that are all unreadable are reported one by one when they are decoded.
    return Form(image_size or (1, 1), kind), why


def report_odd(file: ImageFile, kind: Channels, bad: BadRows) -> None:
    """Report an image that is in color among gray ones, or the other way round.

    Args:
        file: The image.
        kind: What most of them are.
        bad: Where to.
    """
    odd = "gray" if kind == "rgb" else "rgb"
    problem = f"is {_WORDS[odd]}, while most of the images are {_WORDS[kind]}"
    bad.report(file.path, None, problem, "Convert all alike: --channels rgb (or gray).")


def _common_size(heads: Sequence[Header]) -> tuple[tuple[int, int], str]:
    sizes = {(head.height, head.width) for head in heads}
    if len(sizes) == 1:
        height, width = sizes.pop()
        if height * width <= _LARGEST_KEPT:
            return (height, width), "the size of all images"
    middle = median_low(min(head.height, head.width) for head in heads)
    side = min(middle, _LARGEST_SIDE)
    same = "all images are larger" if middle > side else f"half of the short sides are <= {side}"
    return (side, side), f"chosen because {same}"


def no_good_images(root: object, bad: BadRows) -> DataError:
    """Build the error for a source of which every row was left out.

    Args:
        root: The folder.
        bad: What was reported.
    """
    first = f" The first: {bad.messages[0]}" if bad.messages else ""
    return DataError(
        f"{root}: no image is left, {bad.count} were left out.{first} Correct the images."
    )
