"""A layer that moves, turns and zooms its input as it learns to.

Axes: B batch, C channels, H W height width, K free numbers of the transformation.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._shapes import ImageSize, check_choice, check_images, check_positive

Mode = Literal["affine", "zoom", "attention"]
Padding = Literal["zeros", "border", "reflection"]

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# Which of the six numbers, row by row, each free number changes.
_CHANGES: dict[str, tuple[tuple[int, ...], ...]] = {
    "affine": ((0,), (1,), (2,), (3,), (4,), (5,)),
    "zoom": ((0,), (2,), (4,), (5,)),
    "attention": ((0, 4), (2,), (5,)),
}


@final
class SpatialTransformer(nn.Module):
    """Move, turn and zoom each image by what a small network reads off the image itself.

    For objects that are small, off center or turned in a larger picture: put it before a
    classifier, or between its layers, and the labels of the classes alone teach it where to look.
    It begins as the identity. Training is less steady than without: give its parameters a lower
    rate, or clip the gradient. Where the changes are known beforehand, augmentation is simpler.

        θ        = identity + head(localization(x)),  2 x 3
        (x', y') = θ · (x, y, 1)                      each output pixel's place in the input
        out      = bilinear mean of the four pixels around (x', y')

    Coordinates run from -1 to 1 across the image. A scale below 1 zooms in.

    Args:
        in_channels: Channels of the images.
        mode: ``affine`` is free in all six numbers of θ; ``zoom`` in two scales and two shifts;
            ``attention`` in one scale for both axes and two shifts.
        localization: Network from the images to (B, localization_features); None builds two small
            convolutions that take any size from 4 x 4 on.
        localization_features: What `localization` gives per image.
        output_size: Height and width of the result; None keeps those of the input. Smaller ones
            cut the cost of what follows.
        padding_mode: What lies outside of the image.
        align_corners: Whether -1 and 1 are the centers of the outermost pixels, instead of their
            outer edges.

    Shapes:
        x: (B, in_channels, H, W)
        return: (B, in_channels, H, W)

    Raises:
        UsageError: A size is out of range, there is no such option, or the localization network
            gives another shape.

    Source: jaderberg2015spatial, equations 1, 2 and 5.
    Differs: an image whose θ is the identity to the last bit is returned as it is; the sampler
        would blend neighbors by its rounding error. The gradient is that of the sampler.
    Reduces to: the identity where the head gives 0, as it does before training.
    Checked against: a bilinear sampler written from the equation, values and both gradients.
    """

    identity: Tensor
    changes: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        mode: Mode = "affine",
        localization: nn.Module | None = None,
        localization_features: int = 32,
        output_size: ImageSize = None,
        padding_mode: Padding = "zeros",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        check_positive(
            "SpatialTransformer",
            in_channels=in_channels,
            localization_features=localization_features,
        )
        check_choice("SpatialTransformer", Mode, mode=mode)
        check_choice("SpatialTransformer", Padding, padding_mode=padding_mode)
        self.in_channels = in_channels
        self.localization_features = localization_features
        self.output_size = _sides(output_size, smallest=2 if align_corners else 1)
        self.padding_mode = padding_mode
        self.align_corners = align_corners
        self.smallest = 4 if localization is None else 1
        if localization is None:
            localization = _small_localization(in_channels, localization_features)
        self.localization = localization
        self.head = nn.Linear(localization_features, len(_CHANGES[mode]))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        changes = torch.zeros(len(_CHANGES[mode]), 6)
        for number, places in enumerate(_CHANGES[mode]):
            changes[number, list(places)] = 1
        self.register_buffer("identity", torch.tensor(_IDENTITY), persistent=False)
        self.register_buffer("changes", changes, persistent=False)

    def theta(self, x: Tensor) -> Tensor:
        """Give the transformation of each image, such as to draw where the layer looks.

        Args:
            x: Images, (B, in_channels, H, W).

        Returns:
            (B, 2, 3), in float32 or better: what `torch.nn.functional.affine_grid` takes.
        """
        check_images("SpatialTransformer", x, self.in_channels, smallest=self.smallest)
        features = self.localization(x)
        if features.ndim != 2 or features.shape[1] != self.localization_features:
            raise UsageError(
                "SpatialTransformer: `localization` must give"
                f" (B, {self.localization_features}); got {tuple(features.shape)}. Flatten its"
                " output, or set `localization_features`."
            )
        numbers = _precise(self.head(features))
        # Outside of autocast: bfloat16 has too few digits to tell pixels apart.
        with torch.autocast(x.device.type, enabled=False):
            theta = self.identity.to(numbers) + numbers @ self.changes.to(numbers)
        return theta.view(-1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Give the transformed images."""
        theta = self.theta(x)
        size = self.output_size or (x.shape[2], x.shape[3])
        with torch.autocast(x.device.type, enabled=False):
            images = _precise(x)
            grid = F.affine_grid(
                theta.to(images), [x.shape[0], x.shape[1], *size], self.align_corners
            )
            sampled = F.grid_sample(
                images, grid, padding_mode=self.padding_mode, align_corners=self.align_corners
            )
            if size == (x.shape[2], x.shape[3]):
                still = (theta.flatten(1) == self.identity.to(theta)).all(1).view(-1, 1, 1, 1)
                exact = torch.where(still, images, sampled).detach()
                sampled = exact + (sampled - sampled.detach())
        return sampled.to(x.dtype)


def _sides(output_size: ImageSize, smallest: int) -> tuple[int, int] | None:
    if output_size is None:
        return None
    sides = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
    if len(sides) != 2 or min(sides) < smallest:
        raise UsageError(
            "SpatialTransformer: `output_size` must be one number or height and width, each at"
            f" least {smallest}; got {output_size}. Leave it out to keep the size of the input."
        )
    return sides


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _small_localization(in_channels: int, features: int) -> nn.Sequential:
    """Build two convolutions and one layer; maps of 4 x 4 places still say where things are."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, features),
        nn.ReLU(inplace=True),
    )
