"""Resampling of a whole batch, each image by a matrix or a window of its own.

A matrix (2, 3) says where each pixel of the result comes from, as the coefficients
(a, b, c, d, e, f) of Pillow's `Image.transform` do: the point (x, y) of the result shows the point
(ax + by + c, dx + ey + f) of the input, in pixels from the top left corner, whose pixel has its
center at (1/2, 1/2).

B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ._step import changed

Interpolation = Literal["bilinear", "nearest"]


def warp(
    x: Tensor, matrices: Tensor, *, interpolation: Interpolation = "bilinear", fill: float = 0.0
) -> Tensor:
    """Resample each image by its matrix.

    Args:
        x: The images.
        matrices: Where each pixel of the result comes from; (B, 2, 3).
        interpolation: Between the four pixels around a point, or the nearest one.
        fill: Value beyond the edges.
    """
    height, width = x.shape[2:]
    size = torch.tensor([width, height], device=x.device, dtype=matrices.dtype).view(1, 2, 1)
    # From pixels to the units of `grid_sample`, where an image reaches from -1 to 1.
    units = (matrices * (2 / size)).to(x.dtype)
    units[:, :, 2] -= 1
    across = torch.arange(width, device=x.device, dtype=x.dtype) + 0.5
    down = (torch.arange(height, device=x.device, dtype=x.dtype) + 0.5).unsqueeze(1)

    def change(images: Tensor, places: slice | Tensor) -> Tensor:
        m = units[places, :, :, None, None]
        grid = (m[:, :, 0] * across + m[:, :, 2]) + m[:, :, 1] * down  # (B, 2, H, W)
        # As numbers, not as truth values, which take ten times as long here.
        inside = torch.maximum(grid[:, :1].abs(), grid[:, 1:].abs()).lt_(1)
        sampled = F.grid_sample(
            images,
            grid.permute(0, 2, 3, 1),
            mode=interpolation,
            padding_mode="border",
            align_corners=False,
        )
        sampled.mul_(inside)
        return sampled.add_(1 - inside, alpha=fill) if fill else sampled

    return changed(x, change)


def composed(matrices: Sequence[Tensor]) -> Tensor:
    """Give the matrices that do at once what several do one after another.

    Args:
        matrices: Those of each step in order; (B, 2, 3) each.
    """
    whole = matrices[0]
    for matrix in matrices[1:]:
        linear = whole[:, :, :2]
        shift = linear @ matrix[:, :, 2:] + whole[:, :, 2:]
        whole = torch.cat([linear @ matrix[:, :, :2], shift], dim=2)
    return whole


def linear(rows: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Give matrices that keep the center of the image where it is.

    Args:
        rows: The numbers a, b, d, e, each (B,).
        size: Height and width.
    """
    a, b, d, e = rows
    y, x = (side / 2 for side in size)
    columns = [a, b, x - a * x - b * y, d, e, y - d * x - e * y]
    return torch.stack(columns, dim=1).view(-1, 2, 3)


def rotation(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Give matrices that turn counter-clockwise.

    Args:
        degrees: (B,).
        size: Height and width.
    """
    angle = degrees.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    return linear((cos, -sin, sin, cos), size)


def translation(right: Tensor, down: Tensor) -> Tensor:
    """Give matrices that move the content.

    Args:
        right: Pixels; (B,).
        down: Pixels; (B,).
    """
    one, zero = torch.ones_like(right), torch.zeros_like(right)
    return torch.stack([one, zero, -right, zero, one, -down], dim=1).view(-1, 2, 3)


def resized_windows(
    x: Tensor, boxes: Tensor, *, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Enlarge a window of each image to the size of the image.

    Args:
        x: The images.
        boxes: Top, left, height and width of each window in whole pixels; (B, 4).
        interpolation: Between the four pixels around a point, or the nearest one.
    """
    lines = [
        _line(boxes[:, axis], boxes[:, axis + 2], x.shape[axis + 2], x.dtype) for axis in (0, 1)
    ]

    def change(images: Tensor, places: slice | Tensor) -> Tensor:
        down, across = (line[places] for line in lines)
        shape = (len(images), *images.shape[2:])
        grid = torch.stack(
            [across.unsqueeze(1).expand(shape), down.unsqueeze(2).expand(shape)], dim=1
        )
        return F.grid_sample(
            images,
            grid.permute(0, 2, 3, 1),
            mode=interpolation,
            padding_mode="border",
            align_corners=False,
        )

    return changed(x, change)


def _line(start: Tensor, length: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Give where each pixel of a line comes from, in units of `grid_sample`; (B, size)."""
    steps = (torch.arange(size, device=start.device, dtype=torch.float32) + 0.5) / size
    points = start.unsqueeze(1) + steps * length.unsqueeze(1)
    # What lies outside the window counts no more than what lies outside an image.
    points = points.clamp((start + 0.5).unsqueeze(1), (start + length - 0.5).unsqueeze(1))
    return (points * (2 / size) - 1).to(dtype)
