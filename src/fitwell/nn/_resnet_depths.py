"""`CifarResNet` at the depths that are published."""

from __future__ import annotations

from ..core.spec import Spec
from ._resnet import CifarResNet
from ._shapes import ImageSize


def ResNet20(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    norm: str | Spec = "batch",
    stochastic_depth: float = 0.0,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 20.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        norm: Normalization of each convolution.
        stochastic_depth: Probability of dropping the last block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return CifarResNet(
        in_channels,
        out_features,
        depth=20,
        residual=residual,
        norm=norm,
        stochastic_depth=stochastic_depth,
        image_size=image_size,
    )


def ResNet32(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    norm: str | Spec = "batch",
    stochastic_depth: float = 0.0,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 32.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        norm: Normalization of each convolution.
        stochastic_depth: Probability of dropping the last block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return CifarResNet(
        in_channels,
        out_features,
        depth=32,
        residual=residual,
        norm=norm,
        stochastic_depth=stochastic_depth,
        image_size=image_size,
    )


def ResNet44(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    norm: str | Spec = "batch",
    stochastic_depth: float = 0.0,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 44.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        norm: Normalization of each convolution.
        stochastic_depth: Probability of dropping the last block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return CifarResNet(
        in_channels,
        out_features,
        depth=44,
        residual=residual,
        norm=norm,
        stochastic_depth=stochastic_depth,
        image_size=image_size,
    )


def ResNet56(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    norm: str | Spec = "batch",
    stochastic_depth: float = 0.0,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 56.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        norm: Normalization of each convolution.
        stochastic_depth: Probability of dropping the last block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return CifarResNet(
        in_channels,
        out_features,
        depth=56,
        residual=residual,
        norm=norm,
        stochastic_depth=stochastic_depth,
        image_size=image_size,
    )


def ResNet110(
    in_channels: int = 3,
    out_features: int = 10,
    *,
    residual: bool = True,
    norm: str | Spec = "batch",
    stochastic_depth: float = 0.0,
    image_size: ImageSize = None,
) -> CifarResNet:
    """Build `CifarResNet` at depth 110.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image.
        residual: Add the way around each block.
        norm: Normalization of each convolution.
        stochastic_depth: Probability of dropping the last block.
        image_size: Height and width if known.

    Source: he2016deep, table 6.
    Checked against: the parameter count of the paper.
    """
    return CifarResNet(
        in_channels,
        out_features,
        depth=110,
        residual=residual,
        norm=norm,
        stochastic_depth=stochastic_depth,
        image_size=image_size,
    )
