"""LeNet-5, in its usual form and with the connection table of the paper.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._mlp import make_activation
from ._shapes import ImageSize, check_image_size, check_images, check_positive

# lecun1998gradient, table 1: which of the 6 maps of S2 each of the 16 maps of C3 sees.
_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
_SIZE = 32


class _TableConv(nn.Module):
    """The convolution C3, whose filters see only the maps that the table names."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        places = [6 * row + column for row, columns in enumerate(_TABLE) for column in columns]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        dense = nn.Conv2d(6, 16, 5)
        self.weight = nn.Parameter(dense.weight.detach().reshape(96, 5, 5)[self.places].clone())
        self.bias = nn.Parameter(dense.weight.new_zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(96, 5, 5).index_copy(0, self.places, self.weight)
        return F.conv2d(x, dense.view(16, 6, 5, 5), self.bias)


class _Subsample(nn.Module):
    """Mean over 2 x 2, times a coefficient per map, plus a bias per map: S2 and S4 of the paper."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) * self.weight + self.bias


@final
class LeNet5(nn.Module):
    """Classify 32 x 32 images with the network of 1998; smaller images get a border of zeros.

    For teaching and comparison; for use take `CNN`. In its usual form C3 sees all maps of S2 and
    pooling has no parameters (61,706 parameters at 10 classes). With `table` the layers up to F6
    have the 60,000 parameters of the paper.

    Args:
        in_channels: Channels of the images; 1 in the paper.
        out_features: Outputs per image, such as one logit per class.
        activation: What follows each layer; tanh in the paper.
        table: Connect C3 by the table of the paper, and give pooling its coefficients and biases.
        image_size: Height and width if known, so that images too large are refused at once.

    Shapes:
        x: (B, in_channels, 28, 28)
        return: (B, out_features)

    Raises:
        UsageError: A size is out of range, or the images are larger than 32 x 32.

    Source: lecun1998gradient, section II.B and table 1.
    Differs: a linear last layer instead of fixed radial basis functions; no scaling of tanh.
    Checked against: the parameter counts of the paper, layer by layer.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_features: int = 10,
        *,
        activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
        table: bool = False,
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_positive("LeNet5", in_channels=in_channels, out_features=out_features)
        check_image_size("LeNet5", image_size, largest=_SIZE)
        self.in_channels = in_channels

        def pool(channels: int) -> nn.Module:
            return _Subsample(channels) if table else nn.AvgPool2d(2)

        self.features = nn.Sequential()
        self.features.add_module("c1", nn.Conv2d(in_channels, 6, 5))
        self.features.add_module("act1", make_activation("LeNet5", activation))
        self.features.add_module("s2", pool(6))
        self.features.add_module("c3", _TableConv() if table else nn.Conv2d(6, 16, 5))
        self.features.add_module("act3", make_activation("LeNet5", activation))
        self.features.add_module("s4", pool(16))
        self.features.add_module("c5", nn.Conv2d(16, 120, 5))
        self.features.add_module("act5", make_activation("LeNet5", activation))
        self.f6 = nn.Linear(120, 84)
        self.act6 = make_activation("LeNet5", activation)
        self.output = nn.Linear(84, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("LeNet5", x, self.in_channels, largest=_SIZE)
        missing_h, missing_w = _SIZE - x.shape[2], _SIZE - x.shape[3]
        if missing_h or missing_w:
            left, top = missing_w // 2, missing_h // 2
            x = F.pad(x, (left, missing_w - left, top, missing_h - top))
        result: Tensor = self.output(self.act6(self.f6(self.features(x).flatten(1))))
        return result
