"""MobileNet: convolutions split into one per channel and one across channels.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.spec import Spec
from ._cnn import ChannelsLast, conv_norm_relu
from ._norm_choice import check_norm
from ._resnet import Stem, he_init, is_small
from ._shapes import ImageSize, check_image_size, check_images, check_positive

# howard2017mobilenets, table 1: channels out and stride of each separable convolution.
_LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)


def separable_conv(
    in_channels: int, out_channels: int, stride: int = 1, *, norm: str | Spec = "batch"
) -> nn.Sequential:
    """Build a depthwise separable convolution: 3 x 3 in each channel, then 1 x 1 across channels.

    Costs about a ninth of a full 3 x 3 convolution.

    Args:
        in_channels: Channels before.
        out_channels: Channels after.
        stride: Step of the 3 x 3 part.
        norm: Normalization of both parts; see `CNN`.

    Source: howard2017mobilenets, section 3.1.
    Checked against: a full convolution whose filters are the products of both parts.
    """
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, stride=stride, groups=in_channels, norm=norm),
        conv_norm_relu(in_channels, out_channels, kernel_size=1, norm=norm),
    )


@final
class MobileNet(nn.Module):
    """Classify images with few multiplications: a stack of depthwise separable convolutions.

    Meant for phones; on a desktop processor it saves less time than multiplications, since
    depthwise convolutions are bound by memory.

    Args:
        in_channels: Channels of the images.
        out_features: Outputs per image, such as one logit per class.
        width: Multiplies the channels of every layer; 1 is the published network.
        stem: imagenet halves the image in the first layer, cifar does not; auto takes cifar when
            `image_size` is known and at most 64.
        norm: Normalization of each convolution, such as ``"group"``; see `CNN`.
        image_size: Height and width if known.

    Shapes:
        x: (B, in_channels, 40, 40)
        return: (B, out_features)

    Raises:
        UnknownName: There is no normalization of that name.
        UsageError: A size is out of range, or there is no such stem.

    Source: howard2017mobilenets, table 1.
    Checked against: the published parameter count, 4,231,976 at 1,000 classes.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_features: int = 1000,
        *,
        width: float = 1.0,
        stem: Stem = "auto",
        norm: str | Spec = "batch",
        image_size: ImageSize = None,
    ) -> None:
        super().__init__()
        check_positive("MobileNet", in_channels=in_channels, out_features=out_features)
        if not 0 < width <= 4:
            raise UsageError(
                f"MobileNet: `width` must lie in (0, 4]; got {width}. Use 1, 0.75, 0.5 or 0.25."
            )
        small = is_small(stem, check_image_size("MobileNet", image_size), "MobileNet")
        self.in_channels = in_channels
        self.layout = ChannelsLast()
        # At these sizes the last layers see at least one pixel, after four or five halvings.
        self.smallest = 8 if small else 32
        check_image_size("MobileNet", image_size, smallest=self.smallest)
        widths = [self._channels(full, width) for full, _ in _LAYERS]
        channels = self._channels(32, width)
        check_norm("MobileNet", norm, [channels, *widths])
        self.stem = conv_norm_relu(in_channels, channels, stride=1 if small else 2, norm=norm)
        self.blocks = nn.Sequential()
        for next_channels, (_, stride) in zip(widths, _LAYERS, strict=True):
            self.blocks.append(separable_conv(channels, next_channels, stride, norm=norm))
            channels = next_channels
        self.head = nn.Linear(channels, out_features)
        he_init(self)

    @staticmethod
    def _channels(full: int, width: float) -> int:
        return max(8, int(full * width))

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch of images."""
        check_images("MobileNet", x, self.in_channels, smallest=self.smallest)
        result: Tensor = self.head(self.blocks(self.stem(self.layout(x))).mean((2, 3)))
        return result
