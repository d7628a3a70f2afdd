from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import MobileNet, count_parameters, separable_conv


def test_mobilenet_has_the_published_parameters() -> None:
    assert count_parameters(MobileNet(3, 1000)) == 4_231_976


@pytest.mark.parametrize(("width", "millions"), [(0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_mobilenet_widths_have_the_published_parameters(width: float, millions: float) -> None:
    # howard2017mobilenets, table 6, in millions with one digit.
    assert round(count_parameters(MobileNet(3, 1000, width=width)) / 1e6, 1) == millions


def test_separable_conv_is_a_full_convolution_whose_filters_are_products() -> None:
    torch.manual_seed(0)
    block = separable_conv(3, 5).double().eval()
    # Without what stands between the two parts.
    depthwise, pointwise = block[0][0], block[1][0]
    product = pointwise.weight[:, :, 0, 0, None, None] * depthwise.weight[None, :, 0]
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    full = nn.functional.conv2d(x, product, padding=1)
    torch.testing.assert_close(pointwise(depthwise(x)), full, rtol=1e-9, atol=1e-12)


def test_mobilenet_stem_decides_the_size_of_the_last_map() -> None:
    with torch.device("meta"):
        large, small = MobileNet(3, 10, image_size=224), MobileNet(3, 10, image_size=32)
        assert large.blocks(large.stem(torch.empty(1, 3, 224, 224))).shape[2:] == (7, 7)
        assert small.blocks(small.stem(torch.empty(1, 3, 32, 32))).shape[2:] == (2, 2)


def test_mobilenet_refuses_what_it_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"MobileNet: `width` must lie in \(0, 4\]; got 0"):
        MobileNet(width=0)
    with pytest.raises(UsageError, match=r"MobileNet: `image_size` must be at least 32 x 32"):
        MobileNet(stem="imagenet", image_size=28)
