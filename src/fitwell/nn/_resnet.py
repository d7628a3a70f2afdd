"""Residual networks, for small images and for large ones, and their plain twins.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ..core.spec import Spec
from ._cnn import ChannelsLast, conv_norm_relu
from ._dropouts import StochasticDepth
from ._norm_choice import check_norm, make_norm, shifts
from ._shapes import (
    ImageSize,
    check_fraction,
    check_image_size,
    check_images,
    check_positive,
)

Shortcut = Literal["pad", "project", "none"]
Stem = Literal["auto", "imagenet", "cifar"]

# Below this size the stem for large images would throw away most of the picture.
_SMALL = 64


def he_init(module: nn.Module) -> None:
    """Draw the weights of every convolution so that gradients keep their size through ReLU layers.

    Args:
        module: Changed in place; other layers stay as they are.

    Source: he2015delving, equation 14.
    Checked against: the standard deviation that the equation states.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class _Block(nn.Module):
    """Two 3 x 3 convolutions and the way around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shortcut: Shortcut,
        *,
        norm: str | Spec,
        drop: float,
    ) -> None:
        super().__init__()
        first, second = (make_norm("ResNet", norm, out_channels) for _ in range(2))
        bias = not shifts(first)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=bias)
        self.norm1 = first
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=bias)
        self.norm2 = second
        self.shortcut = shortcut
        self.stride = stride
        self.more_channels = out_channels - in_channels
        changes = stride != 1 or self.more_channels != 0
        self.project = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=bias),
                make_norm("ResNet", norm, out_channels),
            )
            if shortcut == "project" and changes
            else None
        )
        self.drop = StochasticDepth(drop) if drop else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.shortcut == "none":
            return F.relu(y, inplace=True)
        if self.drop is not None:
            y = self.drop(y)
        return F.relu(y + self._around(x), inplace=True)

    def _around(self, x: Tensor) -> Tensor:
        if self.project is not None:
            result: Tensor = self.project(x)
            return result
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.more_channels:
            before = self.more_channels // 2
            x = F.pad(x, (0, 0, 0, 0, before, self.more_channels - before))
        return x


def _stack(
    widths: Sequence[int], repeats: int, shortcut: Shortcut, *, norm: str | Spec, drop: float
) -> nn.Sequential:
    """Build groups of blocks, each but the first at half the size of the one before."""
    blocks = nn.Sequential()
    channels, total = widths[0], len(widths) * repeats
    for width in widths:
        for number in range(repeats):
            stride = 2 if number == 0 and width != widths[0] else 1
            share = (len(blocks) + 1) / total * drop  # huang2016deep, equation 4
            blocks.append(_Block(channels, width, stride, shortcut, norm=norm, drop=share))
            channels = width
    return blocks


@final
class CifarResNet(nn.Module):
    """Classify small images with the narrow residual network that He et al. built for CIFAR-10.

    Three groups of (depth - 2) / 6 blocks with 16, 32 and 64 channels. `ResNet20`, `ResNet32`,
    `ResNet44`, `ResNet56` and `ResNet110` are this class at a fixed depth. For images above 64 x 64
    use `ResNet18`.

        xₖ₊₁ = relu( xₖ + F(xₖ) ),  F: two 3 x 3 convolutions, each with normalization

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        depth: Layers with weights: 6 n + 2.
        residual: Add the way around each block; off gives the plain twin with equal parameters.
        norm: Normalization of each convolution, such as ``"group"``; see `CNN`.
        stochastic_depth: Probability of dropping the last block for an example in training; that of
            block l of L is l / L of it. 0 disables.
        image_size: Height and width if known, so that images too small are refused at once.

    Shapes:
        x: (B, in_channels, 32, 32)
        return: (B, out_features)

    Raises:
        UnknownName: There is no normalization of that name.
        UsageError: The depth is not 6 n + 2, a number is out of range, the images are too small, or
            blocks would be dropped that nothing goes around.

    Source: he2016deep, section 4.2, shortcuts of option A (no parameters); huang2016deep, equation
        4, for stochastic depth.
    Differs: zero channels are added on both sides instead of at the end.
    Checked against: the parameter counts of the paper for 20 to 110 layers.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_features: int = 10,
        *,
        depth: int = 20,
        residual: bool = True,
        norm: str | Spec = "batch",
        stochastic_depth: float = 0.0,
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_positive("CifarResNet", in_channels=in_channels, out_features=out_features)
        check_norm("CifarResNet", norm, (16, 32, 64))
        check_fraction("CifarResNet", stochastic_depth=stochastic_depth)
        if stochastic_depth and not residual:
            raise UsageError(
                "CifarResNet: `stochastic_depth` must be 0 without `residual`, or nothing would"
                f" pass a dropped block; got {stochastic_depth}. Leave one of them out."
            )
        if depth < 8 or (depth - 2) % 6:
            raise UsageError(
                f"CifarResNet: `depth` must be 6 n + 2 and at least 8; got {depth}."
                " Use 20, 32, 44, 56 or 110."
            )
        check_image_size("CifarResNet", image_size, smallest=8)
        self.in_channels = in_channels
        self.layout = ChannelsLast()
        self.stem = conv_norm_relu(in_channels, 16, norm=norm)
        shortcut: Shortcut = "pad" if residual else "none"
        repeats = (depth - 2) // 6
        self.blocks = _stack((16, 32, 64), repeats, shortcut, norm=norm, drop=stochastic_depth)
        self.head = nn.Linear(64, out_features)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("CifarResNet", x, self.in_channels, smallest=8)
        result: Tensor = self.head(self.blocks(self.stem(self.layout(x))).mean((2, 3)))
        return result


def is_small(stem: Stem, size: tuple[int, int] | None, owner: str) -> bool:
    """Decide whether a network gets the stem for small images.

    Args:
        stem: What the user asked for; auto decides by the size.
        size: Height and width of the images if known.
        owner: Which model asks, for the message.

    Raises:
        UsageError: There is no such stem.
    """
    if stem not in ("auto", "imagenet", "cifar"):
        raise UsageError(f"{owner}: `stem` must be 'auto', 'imagenet' or 'cifar'; got {stem!r}.")
    if stem == "auto":
        return size is not None and min(size) <= _SMALL
    return stem == "cifar"


@final
class ResNet18(nn.Module):
    """Classify images with the 18-layer residual network; strong and well known, but not small.

    The stem for large images shrinks them four times before the first block; the one for small
    images keeps their size.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        stem: imagenet is 7 x 7 with stride 2 and max pooling, cifar is 3 x 3; auto takes cifar when
            `image_size` is known and at most 64.
        norm: Normalization of each convolution, such as ``"group"``; see `CNN`.
        stochastic_depth: Probability of dropping the last block for an example in training; that of
            block l of L is l / L of it. 0 disables.
        image_size: Height and width if known.

    Shapes:
        x: (B, in_channels, 40, 40)
        return: (B, out_features)

    Raises:
        UnknownName: There is no normalization of that name.
        UsageError: A number is out of range, or there is no such stem.

    Source: he2016deep, table 1, shortcuts of option B (projections where the size changes);
        huang2016deep, equation 4, for stochastic depth.
    Checked against: the published parameter count, 11,689,512 at 1,000 classes.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_features: int = 1000,
        *,
        stem: Stem = "auto",
        norm: str | Spec = "batch",
        stochastic_depth: float = 0.0,
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_norm("ResNet18", norm, (64, 128, 256, 512))
        check_fraction("ResNet18", stochastic_depth=stochastic_depth)
        check_positive("ResNet18", in_channels=in_channels, out_features=out_features)
        small = is_small(stem, check_image_size("ResNet18", image_size), "ResNet18")
        self.in_channels = in_channels
        self.layout = ChannelsLast()
        # The last block still sees 2 x 2 pixels at these sizes.
        self.smallest = 8 if small else 33
        check_image_size("ResNet18", image_size, smallest=self.smallest)
        if small:
            self.stem = conv_norm_relu(in_channels, 64, norm=norm)
        else:
            self.stem = conv_norm_relu(in_channels, 64, kernel_size=7, stride=2, norm=norm)
            self.stem.append(nn.MaxPool2d(3, 2, 1))
        widths = (64, 128, 256, 512)
        self.blocks = _stack(widths, 2, "project", norm=norm, drop=stochastic_depth)
        self.head = nn.Linear(512, out_features)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("ResNet18", x, self.in_channels, smallest=self.smallest)
        result: Tensor = self.head(self.blocks(self.stem(self.layout(x))).mean((2, 3)))
        return result
