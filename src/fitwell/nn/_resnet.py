"""Residual networks, for small images and for large ones, and their plain twins.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from typing import Literal, final

from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._cnn import ChannelsLast, conv_norm_relu
from ._shapes import ImageSize, check_image_size, check_images, check_positive

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
        self, in_channels: int, out_channels: int, stride: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut
        self.stride = stride
        self.more_channels = out_channels - in_channels
        changes = stride != 1 or self.more_channels != 0
        self.project = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
            if shortcut == "project" and changes
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.shortcut == "none":
            return F.relu(y, inplace=True)
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


@final
class CifarResNet(nn.Module):
    """Classify small images with the narrow residual network that He et al. built for CIFAR-10.

    Three groups of (depth - 2) / 6 blocks with 16, 32 and 64 channels. `ResNet20`, `ResNet32`,
    `ResNet44`, `ResNet56` and `ResNet110` are this class at a fixed depth. For images above 64 x 64
    use `ResNet18`.

        xₖ₊₁ = relu( xₖ + F(xₖ) ),  F: two 3 x 3 convolutions, each with batch norm

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        depth: Layers with weights: 6 n + 2.
        residual: Add the way around each block; off gives the plain twin with equal parameters.
        image_size: Height and width if known, so that images too small are refused at once.

    Shapes:
        x: (B, in_channels, 32, 32)
        return: (B, out_features)

    Raises:
        UsageError: The depth is not 6 n + 2, a size is below 1, or the images are too small.

    Source: he2016deep, section 4.2, shortcuts of option A (no parameters).
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
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_positive("CifarResNet", in_channels=in_channels, out_features=out_features)
        if depth < 8 or (depth - 2) % 6:
            raise UsageError(
                f"CifarResNet: `depth` must be 6 n + 2 and at least 8; got {depth}."
                " Use 20, 32, 44, 56 or 110."
            )
        check_image_size("CifarResNet", image_size, smallest=8)
        self.in_channels = in_channels
        self.layout = ChannelsLast()
        self.stem = conv_norm_relu(in_channels, 16)
        self.blocks = nn.Sequential()
        channels = 16
        for width in (16, 32, 64):
            for number in range((depth - 2) // 6):
                stride = 2 if number == 0 and width != 16 else 1
                self.blocks.append(_Block(channels, width, stride, "pad" if residual else "none"))
                channels = width
        self.head = nn.Linear(channels, out_features)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("CifarResNet", x, self.in_channels, smallest=8)
        result: Tensor = self.head(self.blocks(self.stem(self.layout(x))).mean((2, 3)))
        return result


def _at_depth(
    depth: int, in_channels: int, out_features: int, residual: bool, image_size: ImageSize
) -> CifarResNet:
    return CifarResNet(
        in_channels, out_features, depth=depth, residual=residual, image_size=image_size
    )


def ResNet20(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 20.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return _at_depth(20, in_channels, out_features, residual, image_size)


def ResNet32(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 32.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return _at_depth(32, in_channels, out_features, residual, image_size)


def ResNet44(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 44.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return _at_depth(44, in_channels, out_features, residual, image_size)


def ResNet56(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 56.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return _at_depth(56, in_channels, out_features, residual, image_size)


def ResNet110(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 110.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return _at_depth(110, in_channels, out_features, residual, image_size)


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
        image_size: Height and width if known.

    Shapes:
        x: (B, in_channels, 40, 40)
        return: (B, out_features)

    Raises:
        UsageError: A size is out of range, or there is no such stem.

    Source: he2016deep, table 1, shortcuts of option B (projections where the size changes).
    Checked against: the published parameter count, 11,689,512 at 1,000 classes.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_features: int = 1000,
        *,
        stem: Stem = "auto",
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_positive("ResNet18", in_channels=in_channels, out_features=out_features)
        small = is_small(stem, check_image_size("ResNet18", image_size), "ResNet18")
        self.in_channels = in_channels
        self.layout = ChannelsLast()
        # The last block still sees 2 x 2 pixels at these sizes.
        self.smallest = 8 if small else 33
        check_image_size("ResNet18", image_size, smallest=self.smallest)
        if small:
            self.stem = conv_norm_relu(in_channels, 64)
        else:
            self.stem = conv_norm_relu(in_channels, 64, kernel_size=7, stride=2)
            self.stem.append(nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential()
        channels = 64
        for width in (64, 128, 256, 512):
            for number in range(2):
                stride = 2 if number == 0 and width != 64 else 1
                self.blocks.append(_Block(channels, width, stride, "project"))
                channels = width
        self.head = nn.Linear(channels, out_features)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("ResNet18", x, self.in_channels, smallest=self.smallest)
        result: Tensor = self.head(self.blocks(self.stem(self.layout(x))).mean((2, 3)))
        return result
