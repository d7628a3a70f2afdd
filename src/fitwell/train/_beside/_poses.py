"""How accuracy falls when pictures are turned or resized, which convolutions do not allow for.

B batch, C channels, H W height width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import UsageError

_ANGLES = tuple(range(-180, 180, 15))
_SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)


def accuracy_by_angle(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    angles: Sequence[float] = _ANGLES,
    fill: float = 0.0,
) -> dict[float, float]:
    """Turn all images by each angle and give the accuracy of a classifier at each.

    A convolution moves with its image but does not turn with it: what was trained on upright
    pictures alone fails at large angles. If such pictures occur, train with `data.Rotate`, and look
    at the worst angle, not at the mean. Costs a forward pass over all images for each angle.

    Args:
        model: Classifier of images, (B, C, H, W) to (B, K).
        batches: Images and labels.
        angles: Degrees, counter-clockwise around the center.
        fill: Value of the corners that become empty.

    Returns:
        Accuracy by angle.

    Raises:
        UsageError: There are no angles or no batches, or the batches are no images with labels.

    Source: engstrom2019exploring, section 3.
    Differs: rotations alone, without shifts, and the mean over images at each angle.
    Checked against: `torch.rot90`; a classifier whose accuracy at each angle is known.
    """
    _check("accuracy_by_angle", angles=angles)
    return _accuracy("accuracy_by_angle", model, batches, angles, [1.0] * len(angles), fill)


def accuracy_by_scale(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    scales: Sequence[float] = _SCALES,
    fill: float = 0.0,
) -> dict[float, float]:
    """Resize what all images show by each factor and give the accuracy of a classifier at each.

    The size of the images stays: below 1 a border becomes empty, above 1 the outer part is lost.
    If objects come in many sizes, train with `data.Zoom`.

    Args:
        model: Classifier of images, (B, C, H, W) to (B, K).
        batches: Images and labels.
        scales: Factors; 1 leaves the images as they are.
        fill: Value of the border that becomes empty.

    Returns:
        Accuracy by factor.

    Raises:
        UsageError: There are no factors or no batches, a factor is not above 0, or the batches are
            no images with labels.

    Source: engstrom2019exploring, section 3.
    Differs: changes of size, which the source leaves out, in place of shifts.
    Checked against: enlarging by whole factors; a classifier whose accuracy at each is known.
    """
    _check("accuracy_by_scale", scales=scales)
    for scale in scales:
        if not 0 < scale < math.inf:
            raise UsageError(
                f"accuracy_by_scale: `scales` must be above 0; got {scale}. Use 1 for the images"
                " as they are."
            )
    return _accuracy("accuracy_by_scale", model, batches, [0.0] * len(scales), scales, fill)


def _check(owner: str, **values: Sequence[float]) -> None:
    for name, given in values.items():
        if not given:
            raise UsageError(f"{owner}: `{name}` must hold at least one number; got none.")


def _accuracy(
    owner: str,
    model: nn.Module,
    batches: Iterable[Any],
    angles: Sequence[float],
    scales: Sequence[float],
    fill: float,
) -> dict[float, float]:
    right = [0] * len(angles)
    count = 0
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for images, labels, *_ in batches:
                if images.ndim != 4 or labels.ndim != 1 or labels.is_floating_point():
                    raise UsageError(
                        f"{owner}: `batches` must give images (B, C, H, W) and whole labels (B,);"
                        f" got {tuple(images.shape)} and {tuple(labels.shape)}."
                    )
                count += len(labels)
                for place, (angle, scale) in enumerate(zip(angles, scales, strict=True)):
                    outputs = model(_posed(images, angle, scale, fill))
                    right[place] += int((outputs.argmax(dim=1) == labels).sum())
    finally:
        model.train(was_training)
    if not count:
        raise UsageError(f"{owner}: `batches` must hold at least one image; got none.")
    names = scales if owner == "accuracy_by_scale" else angles
    return {name: hits / count for name, hits in zip(names, right, strict=True)}


def _posed(images: Tensor, angle: float, scale: float, fill: float) -> Tensor:
    """Turn images by an angle and enlarge them by a factor, in one resampling."""
    if angle == 0 and scale == 1:
        return images
    height, width = images.shape[2:]
    cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    # Coordinates reach from -1 to 1 along both axes, whatever their lengths.
    rows = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    theta = torch.tensor(rows, dtype=images.dtype, device=images.device)
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images - fill, grid, align_corners=False) + fill
