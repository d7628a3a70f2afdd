from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import (
    CNN,
    LeNet5,
    ReceptiveField,
    conv_output_size,
    count_parameters,
    receptive_field,
)


def test_receptive_field_of_known_networks() -> None:
    assert receptive_field(LeNet5().features).size == (32, 32)
    # Worked by hand: 2 convs, pool, 2 convs at step 2, pool, 2 convs at step 4.
    assert receptive_field(CNN(1, 10).features) == ReceptiveField((32, 32), (4, 4), (-14, -14))


def test_receptive_field_tells_axes_apart() -> None:
    stack = nn.Sequential(
        nn.Conv2d(1, 1, (1, 5), stride=(1, 2)), nn.MaxPool2d((3, 1), stride=(2, 1))
    )
    assert receptive_field(stack) == ReceptiveField((3, 5), (2, 2), (0, 0))


def test_receptive_field_refuses_layers_it_cannot_tell() -> None:
    with pytest.raises(UsageError, match=r"`module` must be made of .*; got AdaptiveAvgPool2d"):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(1)))


def test_conv_output_size_refuses_a_filter_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"`size` must be at least 5 for this filter; got 4"):
        conv_output_size(4, 3, dilation=2)
    with pytest.raises(RuntimeError, match="can't be greater than actual input size"):
        nn.Conv2d(1, 1, 3, dilation=2)(torch.zeros(1, 1, 4, 4))


def test_count_parameters_counts_shared_ones_once() -> None:
    layer = nn.Linear(3, 4)
    model = nn.Sequential(layer, layer, nn.Linear(4, 1))
    assert count_parameters(model) == 16 + 5
    layer.weight.requires_grad_(False)
    assert count_parameters(model, trainable=True) == 4 + 5
