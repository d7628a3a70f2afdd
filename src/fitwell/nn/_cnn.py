"""The small convolutional network that images get by default.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.spec import Spec
from ._dropouts import DropBlock2d, GaussianDropout
from ._norm_choice import NormPlace, check_norm, make_norm, shifts
from ._shapes import (
    ImageSize,
    check_choice,
    check_fraction,
    check_image_size,
    check_images,
    check_positive,
)

Pool = Literal["max", "avg", "stride"]
DropoutKind = Literal["element", "gaussian", "channel", "block"]

_BEFORE_LAST: Mapping[str, Callable[[float], nn.Module]] = {
    "element": nn.Dropout,
    "gaussian": GaussianDropout,
}
_AFTER_GROUPS: Mapping[str, Callable[[float], nn.Module]] = {
    "channel": nn.Dropout2d,
    "block": lambda p: DropBlock2d(p, block_size=3),
}


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    groups: int = 1,
    norm: str | Spec = "batch",
    norm_place: NormPlace = "before",
) -> nn.Sequential:
    """Build a convolution that keeps the size (at stride 1), normalization and ReLU.

    Args:
        in_channels: Channels before.
        out_channels: Channels after.
        kernel_size: Height and width of the filters; odd.
        stride: Step of the filters.
        groups: Groups of channels that do not see each other.
        norm: Name of the normalization, with arguments if need be; see `CNN`.
        norm_place: Before or after the ReLU.

    Raises:
        UsageError: The normalization or its place does not exist, or does not fit the channels.
    """
    check_choice("conv_norm_relu", NormPlace, norm_place=norm_place)
    layer = make_norm("conv_norm_relu", norm, out_channels)
    before = norm_place == "before"
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        # A norm right after it has a shift of its own; a bias would add little or nothing.
        bias=not (before and shifts(layer)),
    )
    relu = nn.ReLU(inplace=True)
    if isinstance(layer, nn.Identity):
        return nn.Sequential(conv, relu)
    return nn.Sequential(conv, layer, relu) if before else nn.Sequential(conv, relu, layer)


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

    Each group is `convs` times convolution, normalization and ReLU; pooling stands between groups,
    and the mean over all positions goes into one linear layer. Takes images of any size from 8 x 8
    on and stays cheap on a processor. For higher accuracy at more compute use `ResNet20`
    (32 x 32 images) or `ResNet18`.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        widths: Channels of each group.
        convs: Convolutions per group.
        dropout: Probability of dropping; 0 disables.
        dropout_kind: ``element`` drops numbers before the last layer, ``gaussian`` multiplies them
            by noise; ``channel`` drops whole channels after each group, ``block`` 3 x 3 squares.
        norm: Normalization of each layer: batch, batch_renorm, ghost, lp and noisy by the batch;
            group, instance, layer and rms by each image alone; or none. With arguments if need be,
            such as ``"group(groups=8)"``.
        norm_place: Normalize before or after the ReLU.
        pool: What halves the size between groups; ``stride`` lets the next convolution step by two
            instead, which learns its own pooling.
        image_size: Height and width if known, so that images too small are refused at once.

    Shapes:
        x: (B, in_channels, 17, 19)
        return: (B, out_features)

    Raises:
        UnknownName: There is no normalization of that name.
        UsageError: A size is out of range, there is no such option, or the images are too small
            for the pooling.

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
        dropout_kind: DropoutKind = "element",
        norm: str | Spec = "batch",
        norm_place: NormPlace = "before",
        pool: Pool = "max",
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_choice("CNN", Pool, pool=pool)
        check_choice("CNN", DropoutKind, dropout_kind=dropout_kind)
        check_choice("CNN", NormPlace, norm_place=norm_place)
        if not widths:
            raise UsageError(
                "CNN: `widths` must name at least one group; got (). Use (16, 32, 64)."
            )
        check_positive("CNN", in_channels=in_channels, out_features=out_features, convs=convs)
        for width in widths:
            check_positive("CNN", widths=width)
        check_fraction("CNN", dropout=dropout)
        check_norm("CNN", norm, widths)
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
                step = 2 if halve else 1
                layers.append(
                    conv_norm_relu(channels, width, stride=step, norm=norm, norm_place=norm_place)
                )
                channels = width
            if dropout and dropout_kind in _AFTER_GROUPS:
                layers.append(_AFTER_GROUPS[dropout_kind](dropout))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            _BEFORE_LAST.get(dropout_kind, nn.Identity)(dropout),
            nn.Linear(channels, out_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("CNN", x, self.in_channels, smallest=self.smallest)
        result: Tensor = self.head(self.features(x))
        return result
