"""Truths of the convolution chapter, one test per catalogue row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.nn import (
    LocallyConnected2d,
    check_input,
    conv_output_size,
    count_parameters,
    gradient_support,
    receptive_field,
)

EXACT = {"rtol": 1e-9, "atol": 1e-12}
SLIDE = torch.tensor(
    [
        [1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 1, 0],
    ]
).double()
DIAGONAL = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double()
COLUMN = torch.tensor([[-1, 1, -1], [-1, 1, -1], [-1, 1, -1]]).double()


def by_hand(x: Tensor, weight: Tensor, bias: Tensor | None, setting: dict[str, int]) -> Tensor:
    """Convolution from its definition; differentiable."""
    stride, dilation, groups = setting["stride"], setting["dilation"], setting["groups"]
    x = F.pad(x, (setting["padding"],) * 4)
    reach = [dilation * (k - 1) + 1 for k in weight.shape[2:]]
    height = (x.shape[2] - reach[0]) // stride + 1
    width = (x.shape[3] - reach[1]) // stride + 1
    depth, filters = weight.shape[1], weight.shape[0] // groups
    maps = []
    for o in range(weight.shape[0]):
        part = x[:, o // filters * depth : (o // filters + 1) * depth]
        total = x.new_zeros(len(x), height, width)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                down, across = i * dilation, j * dilation
                seen = part[
                    :,
                    :,
                    down : down + (height - 1) * stride + 1 : stride,
                    across : across + (width - 1) * stride + 1 : stride,
                ]
                total = total + (seen * weight[o, :, i, j].view(1, -1, 1, 1)).sum(1)
        maps.append(total if bias is None else total + bias[o])
    return torch.stack(maps, 1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), kernel=st.integers(1, 4), share=st.floats(0, 1))
def test_cnn_02_local_layer_with_any_mask_equals_dense_layer_with_zeros(
    seed: int, kernel: int, share: float
) -> None:
    torch.manual_seed(seed)
    places = (5 - kernel + 1) * (4 - kernel + 1)
    mask = torch.rand(places, 3, 2, kernel, kernel) < share
    layer = LocallyConnected2d(2, 3, kernel, image_size=(5, 4), mask=mask).double()
    dense = nn.Linear(40, 3 * places).double()
    # Independent of `dense()`: place every weight by its pixel, and leave zeros elsewhere.
    weight = torch.zeros(3, places, 2, 5, 4, dtype=torch.float64)
    for place in range(places):
        row, column = divmod(place, 4 - kernel + 1)
        window = (slice(row, row + kernel), slice(column, column + kernel))
        weight[:, place, :, window[0], window[1]] = (layer.weight * mask)[place].detach()
    dense.weight.data.copy_(weight.flatten(2).flatten(0, 1))
    dense.bias.data.copy_(layer.bias.detach().T.flatten())
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x).flatten(1), dense(x.flatten(1)), **EXACT)
    torch.testing.assert_close(layer.dense().weight, dense.weight, **EXACT)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_cnn_03_convolution_equals_its_definition_forward_and_backward(
    seed: int, kernel: int, bias: bool, **setting: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 6, kernel, bias=bias, **setting).double()
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64, requires_grad=True)
    expected = by_hand(x, conv.weight, conv.bias, setting)
    result = conv(x)
    torch.testing.assert_close(result, expected, **EXACT)
    upstream = torch.randn_like(result)
    wanted = [x, *conv.parameters()]
    for one, other in zip(
        torch.autograd.grad(result, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **EXACT)
    window = {key: setting[key] for key in ("stride", "padding", "dilation")}
    assert tuple(result.shape[2:]) == (
        conv_output_size(6, kernel, **window),
        conv_output_size(7, kernel, **window),
    )


@settings(deadline=None, max_examples=200)
@given(
    size=st.integers(1, 30),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
)
def test_cnn_03_output_size_formula_is_exact(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> None:
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    assume(size + 2 * padding >= dilation * (kernel - 1) + 1)
    with torch.device("meta"):
        x = torch.empty(1, 1, size)
        conv = nn.Conv1d(1, 1, kernel, **window)  # type: ignore[arg-type]
        assert conv_output_size(size, kernel, **window) == conv(x).shape[2]
        if padding <= kernel // 2:
            pool = nn.MaxPool1d(kernel, ceil_mode=ceil_mode, **window)
            assert (
                conv_output_size(size, kernel, ceil_mode=ceil_mode, **window) == (pool(x).shape[2])
            )


@pytest.mark.parametrize(("kernel", "channels"), [(3, 1), (3, 3), (5, 64)])
def test_cnn_04_filters_are_output_channels_and_parameters_follow(
    kernel: int, channels: int
) -> None:
    conv = nn.Conv2d(channels, 64, kernel)
    assert conv(torch.zeros(1, channels, 8, 8)).shape[1] == 64
    assert count_parameters(conv) == (kernel * kernel * channels + 1) * 64


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1)])
def test_cnn_05_tied_local_layer_is_convolution(stride: int, padding: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, stride=stride, padding=padding).double()
    tied = LocallyConnected2d.tied(conv, (7, 6))
    x = torch.randn(4, 2, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(tied(x), conv(x), **EXACT)
    # The gradient of the shared filter is the sum over all places.
    conv(x).square().sum().backward()
    tied(x).square().sum().backward()
    assert tied.weight.grad is not None
    torch.testing.assert_close(tied.weight.grad.sum(0), conv.weight.grad, **EXACT)


@settings(deadline=None, max_examples=20)
@given(down=st.integers(-7, 7), across=st.integers(-7, 7))
def test_cnn_05_circular_convolution_moves_with_its_input(down: int, across: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    x = torch.randint(-8, 8, (1, 2, 6, 7)).double()
    # Whole numbers, so that the order of sums cannot matter.
    conv.weight.data.mul_(64).round_()
    conv.bias.data.zero_()
    moved = conv(x.roll((down, across), (2, 3)))
    assert torch.equal(moved, conv(x).roll((down, across), (2, 3)))


def span_distance(basis: Tensor, matrix: Tensor) -> float:
    """Relative distance of a matrix from the linear span of others."""
    columns = basis.flatten(1).T
    solution = torch.linalg.lstsq(columns, matrix.flatten().unsqueeze(1)).solution
    return ((columns @ solution).squeeze(1) - matrix.flatten()).norm().item() / (
        matrix.norm().item()
    )


def test_cnn_06_convolution_is_within_local_is_within_dense() -> None:
    torch.manual_seed(0)
    size = (4, 4)

    def matrix(layer: LocallyConnected2d) -> Tensor:
        return layer.dense().weight.detach()

    def units(layer: LocallyConnected2d, tied: bool) -> Tensor:
        shape = layer.weight.shape[1:] if tied else layer.weight.shape
        basis = []
        for index in range(math.prod(shape)):
            unit = torch.zeros(math.prod(shape), dtype=torch.float64)
            unit[index] = 1
            layer.weight.data.copy_(unit.view(shape))
            basis.append(matrix(layer))
        return torch.stack(basis)

    layer = LocallyConnected2d(1, 2, 3, image_size=size, bias=False).double()
    conv_span, local_span = units(layer, tied=True), units(layer, tied=False)
    dimensions = [int(torch.linalg.matrix_rank(s.flatten(1))) for s in (conv_span, local_span)]
    dense = nn.Linear(16, 8, bias=False).double().weight.detach()
    assert dimensions == [18, 72]
    assert dense.numel() == 128
    # Dense can copy the others, since it is every matrix; local can copy conv, not the reverse.
    conv = nn.Conv2d(1, 2, 3, bias=False).double()
    copied = nn.Linear(16, 8, bias=False).double()
    copied.weight.data.copy_(matrix(LocallyConnected2d.tied(conv, size)))
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(copied(x.flatten(1)), conv(x).flatten(1), **EXACT)
    assert span_distance(local_span, copied.weight.detach()) < 1e-12
    nn.init.normal_(layer.weight)
    assert span_distance(conv_span, matrix(layer)) > 0.1
    assert span_distance(local_span, dense) > 0.1


def test_cnn_07_the_filters_of_the_slide_find_their_patterns() -> None:
    from scipy.signal import correlate2d

    image = SLIDE.view(1, 1, 6, 6)
    first = F.conv2d(image, DIAGONAL.view(1, 1, 3, 3))[0, 0]
    second = F.conv2d(image, COLUMN.view(1, 1, 3, 3))[0, 0]
    assert first.shape == (4, 4)
    assert first.tolist() == [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]
    assert second.tolist() == [[-1, -1, -1, -1], [-1, -1, -2, 1], [-1, -1, -2, 1], [-1, 0, -4, 3]]
    np.testing.assert_array_equal(first, correlate2d(SLIDE, DIAGONAL, mode="valid"))
    # The greatest values stand where the image has the diagonal: top left and bottom left.
    assert (first == first.max()).nonzero().tolist() == [[0, 0], [3, 0]]
    for row, column in ((0, 0), (3, 0)):
        assert torch.equal(SLIDE[row : row + 3, column : column + 3], torch.eye(3).double())


def test_cnn_08_filters_of_another_depth_are_refused_with_a_clear_message() -> None:
    wrong = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(32, 64, 3))
    message = (
        r"layer '2', Conv2d\(32, 64, .*\), takes 32 channels; got 64 in an input of shape"
        r" \(1, 64, 26, 26\). Build this layer for 64 channels"
    )
    with pytest.raises(UsageError, match=message):
        check_input(wrong, torch.zeros(1, 1, 28, 28))
    right = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    check_input(right, torch.zeros(1, 1, 28, 28))
    assert right[2].weight.shape[1] == 64


LAYERS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["conv", "max", "mean"]),
            "kernel": st.integers(1, 3),
            "stride": st.integers(1, 2),
            "dilation": st.integers(1, 2),
            "border": st.booleans(),
            "ceil": st.booleans(),
        }
    ),
    min_size=1,
    max_size=4,
)


def make_layer(setting: dict[str, Any]) -> nn.Module:
    kernel, stride = setting["kernel"], setting["stride"]
    if setting["kind"] == "conv":
        padding = kernel // 2 if setting["border"] else 0
        return nn.Conv2d(2, 2, kernel, stride, padding, setting["dilation"])
    padding = kernel // 2 if setting["border"] else 0
    if setting["kind"] == "max":
        return nn.MaxPool2d(kernel, stride, padding, setting["dilation"], ceil_mode=setting["ceil"])
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=setting["ceil"])


@settings(deadline=None, max_examples=60)
@given(layers=LAYERS)
def test_cnn_09_receptive_field_equals_measured_support(layers: list[dict[str, Any]]) -> None:
    stack = nn.Sequential(*[m for s in layers for m in (make_layer(s), nn.ReLU())])
    field = receptive_field(stack)
    with torch.no_grad():
        shape = stack(torch.zeros(1, 2, 60, 60)).shape[2:]
    place = (shape[0] // 2, shape[1] // 2)
    seen = gradient_support(stack, 2, (60, 60), place)
    for axis in (0, 1):
        hits = seen.any(1 - axis).nonzero().flatten()
        begin = field.start[axis] + place[axis] * field.step[axis]
        assert (hits.min().item(), hits.max().item()) == (begin, begin + field.size[axis] - 1)


def test_cnn_09_two_small_filters_see_as_much_as_a_large_one() -> None:
    def convs(count: int) -> nn.Sequential:
        return nn.Sequential(*[nn.Conv2d(1, 1, 3) for _ in range(count)])

    assert [receptive_field(convs(n)).size[0] for n in (1, 2, 3)] == [3, 5, 7]
    assert gradient_support(convs(2), 1, (9, 9), (2, 2)).sum() == 25
    strided = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, dilation=2))
    assert receptive_field(strided).size == (11, 11)


def test_cnn_10_bias_is_added_to_the_swept_filter() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    swept = torch.empty(2, 4, 4, 4, dtype=torch.float64)
    for o in range(4):
        for row in range(4):
            for column in range(4):
                window = x[:, :, row : row + 3, column : column + 3]
                swept[:, o, row, column] = (window * conv.weight[o].detach()).sum((1, 2, 3))
                swept[:, o, row, column] += conv.bias[o].detach()  # type: ignore[index]
    torch.testing.assert_close(conv(x).detach(), swept, **EXACT)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    border=st.booleans(),
    ceil_mode=st.booleans(),
)
def test_cnn_11_pooling_equals_its_definition(
    seed: int, kernel: int, stride: int, border: bool, ceil_mode: bool
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(1, 2, 7, 8, dtype=torch.float64)
    padding = kernel // 2 if border else 0
    window = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    largest = nn.MaxPool2d(kernel, **window)(x)
    mean = nn.AvgPool2d(kernel, count_include_pad=False, **window)(x)
    size = [conv_output_size(n, kernel, **window) for n in (7, 8)]
    assert largest.shape == mean.shape == (1, 2, *size)
    for row in range(size[0]):
        for column in range(size[1]):
            top, left = row * stride - padding, column * stride - padding
            part = x[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            torch.testing.assert_close(largest[..., row, column], part.amax((2, 3)), **EXACT)
            torch.testing.assert_close(mean[..., row, column], part.mean((2, 3)), **EXACT)
    assert list(nn.MaxPool2d(kernel).parameters()) == []
