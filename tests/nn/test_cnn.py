from __future__ import annotations

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.nn import CNN, ChannelsLast, count_parameters


@pytest.mark.parametrize(("widths", "convs"), [((16, 32, 64), 2), ((8,), 1), ((4, 6), 3)])
def test_cnn_has_the_parameters_of_the_formula(widths: tuple[int, ...], convs: int) -> None:
    total, channels = 0, 3
    for width in widths:
        for _ in range(convs):
            total += 9 * channels * width + 2 * width
            channels = width
    total += (channels + 1) * 10
    assert count_parameters(CNN(3, 10, widths=widths, convs=convs)) == total


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (64, 32)])
def test_cnn_takes_images_of_any_size_from_8_on_even_one_in_training(size: tuple[int, int]) -> None:
    model = CNN(1, 10, image_size=size).train()
    assert model(torch.rand(1, 1, *size)).isfinite().all()


def test_cnn_does_not_depend_on_the_layout_of_its_input() -> None:
    torch.manual_seed(0)
    model = CNN(3, 4, widths=(4, 4)).double().eval()
    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    other = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x), model(other), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_keeps_values_and_changes_strides(channels: int) -> None:
    x = torch.rand(2, channels, 4, 5)
    y = ChannelsLast()(x)
    assert torch.equal(x, y)
    assert y.stride() == (4 * 5 * channels, 1, 5 * channels, channels)


def test_weights_stay_contiguous_for_files() -> None:
    assert all(value.is_contiguous() for value in CNN(1, 10).state_dict().values())


def test_cnn_refuses_what_it_cannot_take() -> None:
    message = r"CNN: `image_size` must be at least 8 x 8; got 7 x 28. Enlarge the images"
    with pytest.raises(UsageError, match=message):
        CNN(1, 10, image_size=(7, 28))
    with pytest.raises(UsageError, match=message):
        CNN(1, 10)(torch.rand(2, 1, 7, 28))
    with pytest.raises(UsageError, match=r"`x` must be images of shape \(B, 1, H, W\); got \(2, 3"):
        CNN(1, 10)(torch.rand(2, 3, 28, 28))
    with pytest.raises(UsageError, match=r"CNN: `widths` must name at least one group"):
        CNN(1, 10, widths=())
    with pytest.raises(UsageError, match=r"`image_size` must be one number, or height and width"):
        CNN(1, 10, image_size=(1, 28, 28))
    with pytest.raises(UsageError, match=r"CNN: `convs` must be at least 1; got 0"):
        CNN(1, 10, convs=0)


@pytest.mark.parametrize("pool", ["max", "avg", "stride"])
def test_every_way_to_halve_gives_the_same_sizes(pool: str) -> None:
    model = CNN(3, 5, widths=(4, 6, 8), pool=pool).eval()
    x = torch.randn(2, 3, 16, 20)
    assert model.features(x).shape == (2, 8, 4, 5)
    assert model(x).shape == (2, 5)
    assert count_parameters(model) == count_parameters(CNN(3, 5, widths=(4, 6, 8)))


def test_an_unknown_way_to_halve_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`pool` must be one of .*; got 'min'"):
        CNN(3, 5, pool="min")
