"""The small convolutional network that images get by default.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final, get_args

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ._shapes import ImageSize, check_fraction, check_image_size, check_images, check_positive

Pool = Literal["max", "avg", "stride"]


def conv_norm_relu(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution that keeps the size (at stride 1), batch norm and ReLU.

    Args:
        in_channels: Channels before.
        out_channels: Channels after.
        kernel_size: Height and width of the filters; odd.
        stride: Step of the filters.
        groups: Groups of channels that do not see each other.
    """
    return nn.Sequential(
        # The norm has a shift of its own, so a bias here would be a parameter without effect.
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


@final
class ChannelsLast(nn.Module):
    """Lay the numbers out with channels innermost, the faster layout for convolutions; values stay.

    Belongs before the first convolution; those that follow keep the layout.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Source: paszke2019pytorch, memory formats.
    Reduces to: the identity, in values.
    Checked against: the identity.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Give the same values in the other layout."""
        if x.shape[1] == 1:
            # With one channel both layouts look alike, `contiguous` changes nothing, and PyTorch
            # falls back to the slower one. This way the strides say channels last.
            return x.reshape(x.shape[0], x.shape[2], x.shape[3], 1).permute(0, 3, 1, 2)
        return x.contiguous(memory_format=torch.channels_last)


@final
class CNN(nn.Module):
    """Classify small images: groups of convolutions, each group half the size of the one before.

    Each group is `convs` times convolution, batch norm and ReLU; pooling stands between groups, and
    the mean over all positions goes into one linear layer. Takes images of any size from 8 x 8
    on and stays cheap on a processor. For higher accuracy at more compute use `ResNet20`
    (32 x 32 images) or `ResNet18`.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        widths: Channels of each group.
        convs: Convolutions per group.
        dropout: Probability of dropping each number before the last layer; 0 disables.
        pool: What halves the size between groups; ``stride`` lets the next convolution step by two
            instead, which learns its own pooling.
        image_size: Height and width if known, so that images too small are refused at once.

    Shapes:
        x: (B, in_channels, 17, 19)
        return: (B, out_features)

    Raises:
        UsageError: A size is out of range, or the images are too small for the pooling.

    Source: lecun1998gradient, with ioffe2015batch between layers.
    Differs: batch norm, ReLU and a mean over positions instead of fully connected layers.
    Checked against: executed shapes; parameter count formula.
    """

    def __init__(
        self,
        in_channels: int,
        out_features: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        convs: int = 2,
        dropout: float = 0.1,
        pool: Pool = "max",
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        if pool not in get_args(Pool):
            raise UsageError(
                f"CNN: `pool` must be one of {get_args(Pool)}; got {pool!r}. Use 'max'."
            )
        if not widths:
            raise UsageError(
                "CNN: `widths` must name at least one group; got (). Use (16, 32, 64)."
            )
        check_positive("CNN", in_channels=in_channels, out_features=out_features, convs=convs)
        for width in widths:
            check_positive("CNN", widths=width)
        check_fraction("CNN", dropout=dropout)
        # The last group still sees at least 2 x 2, so that batch norm has more than one value.
        self.smallest = 2 ** len(widths)
        check_image_size("CNN", image_size, smallest=self.smallest)
        self.in_channels = in_channels
        layers: list[nn.Module] = [ChannelsLast()]
        channels = in_channels
        for group, width in enumerate(widths):
            if group and pool != "stride":
                layers.append(nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2))
            for place in range(convs):
                halve = bool(group) and pool == "stride" and place == 0
                layers.append(conv_norm_relu(channels, width, stride=2 if halve else 1))
                channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels, out_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("CNN", x, self.in_channels, smallest=self.smallest)
        result: Tensor = self.head(self.features(x))
        return result
