"""The spatial transformer against a grid and a sampler written from the paper's equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.nn import SpatialTransformer

EXACT = {"rtol": 1e-9, "atol": 1e-9}
IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
PADDINGS = ("zeros", "border", "reflection")


def grid_by_hand(theta: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """(B, H, W, 2): where each output pixel lies in the input, jaderberg2015spatial eq. 1."""

    def place(index: int, size: int) -> float:
        if align_corners:
            return 2 * index / (size - 1) - 1 if size > 1 else 0.0
        return (2 * index + 1) / size - 1

    rows = []
    for matrix in theta:
        for i in range(height):
            for j in range(width):
                x, y = place(j, width), place(i, height)
                rows.append(torch.stack([m[0] * x + m[1] * y + m[2] for m in matrix]))
    return torch.stack(rows).view(len(theta), height, width, 2)


def reflected(place: Tensor, low: float, high: float) -> Tensor:
    """Fold a line back and forth at two ends, as between two mirrors."""
    span = high - low
    if span == 0:
        return torch.zeros_like(place)
    offset = (place - low).abs()
    turns = torch.floor(offset / span)
    rest = offset - turns * span
    return torch.where(turns % 2 == 0, rest + low, span - rest + low)


def sampled_by_hand(x: Tensor, grid: Tensor, padding: str, align_corners: bool) -> Tensor:
    """Sum every pixel times max(0, 1 - |distance|) in both axes, jaderberg2015spatial eq. 5."""
    places = []
    for axis, size in ((0, x.shape[3]), (1, x.shape[2])):
        unit = (grid[..., axis] + 1) / 2
        pixel = unit * (size - 1) if align_corners else unit * size - 0.5
        if padding == "reflection":
            ends = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
            pixel = reflected(pixel, *ends)
        if padding != "zeros":
            pixel = pixel.clamp(0, size - 1)
        places.append(pixel)
    across = torch.arange(x.shape[3], dtype=x.dtype)
    down = torch.arange(x.shape[2], dtype=x.dtype)
    near_x = (1 - (places[0].unsqueeze(-1) - across).abs()).clamp_min(0)
    near_y = (1 - (places[1].unsqueeze(-1) - down).abs()).clamp_min(0)
    return torch.einsum("bijh,bijw,bchw->bcij", near_y, near_x, x)


def moved(layer: SpatialTransformer, scale: float = 0.3) -> SpatialTransformer:
    """Give the head weights, so that the layer is no longer the identity."""
    nn.init.normal_(layer.head.weight, std=scale)
    nn.init.normal_(layer.head.bias, std=scale)
    return layer


# CNN-17 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["affine", "zoom", "attention"])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(28, 28), (17, 40), (9, 8)])
def test_cnn_17_begins_as_the_identity_to_the_last_bit(
    mode: Any, padding_mode: Any, align_corners: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = SpatialTransformer(2, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    x = torch.randn(3, 2, *size)
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.theta(x), IDENTITY.expand(3, 2, 3))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(2, 5),
    width=st.integers(2, 5),
    align_corners=st.booleans(),
)
def test_cnn_17_grid_equals_the_equation(
    seed: int, height: int, width: int, align_corners: bool
) -> None:
    draws = torch.Generator().manual_seed(seed)
    theta = torch.randn(2, 2, 3, generator=draws, dtype=torch.float64)
    expected = grid_by_hand(theta, height, width, align_corners)
    grid = F.affine_grid(theta, [2, 1, height, width], align_corners=align_corners)
    torch.testing.assert_close(grid, expected, **EXACT)


@pytest.mark.parametrize(
    ("mode", "numbers", "expected"),
    [
        ("affine", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [[1.1, 0.2, 0.3], [0.4, 1.5, 0.6]]),
        ("zoom", [-0.5, 0.3, 0.25, -0.1], [[0.5, 0, 0.3], [0, 1.25, -0.1]]),
        ("attention", [-0.5, 0.3, -0.1], [[0.5, 0, 0.3], [0, 0.5, -0.1]]),
    ],
)
def test_cnn_17_each_mode_frees_the_numbers_it_names(
    mode: Any, numbers: list[float], expected: list[list[float]]
) -> None:
    layer = SpatialTransformer(1, mode=mode)
    layer.head.bias.data.copy_(torch.tensor(numbers))
    theta = layer.theta(torch.rand(2, 1, 9, 9))
    torch.testing.assert_close(theta, torch.tensor(expected).expand(2, 2, 3))


def test_cnn_17_attention_cuts_a_part_out_and_enlarges_it() -> None:
    layer = SpatialTransformer(1, mode="attention", output_size=4)
    # Scale 1/2 around the point (1/2, -1/2): the upper right quarter.
    layer.head.bias.data.copy_(torch.tensor([-0.5, 0.5, -0.5]))
    x = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(layer(x), x[:, :, :4, 4:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_cnn_17_quarter_turns_are_those_of_rot90(degrees: int) -> None:
    layer = SpatialTransformer(1).double()
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    theta = torch.tensor([cos - 1, -sin, 0, sin, cos - 1, 0], dtype=torch.float64)
    layer.head.bias.data.copy_(theta)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    expected = torch.rot90(x, degrees // 90, (2, 3))
    torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


# CNN-18 -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), align_corners=st.booleans(), padding=st.sampled_from(PADDINGS))
def test_cnn_18_rounding_leaves_no_gradient_and_interpolation_does(
    seed: int, align_corners: bool, padding: str
) -> None:
    draws = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, 7, 6, generator=draws)
    shift = 0.2 * torch.randn(2, 2, 3, generator=draws)

    def gradient(mode: str) -> Tensor:
        theta = (IDENTITY + shift).requires_grad_()
        grid = F.affine_grid(theta, [2, 3, 7, 6], align_corners=align_corners)
        picture = F.grid_sample(x, grid, mode, padding, align_corners)
        return torch.autograd.grad(picture.square().sum(), theta)[0]

    assert torch.equal(gradient("nearest"), torch.zeros(2, 2, 3))
    assert bool((gradient("bilinear") != 0).all())


def test_cnn_18_rounded_places_have_no_slope_by_hand() -> None:
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    theta = torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1]]], dtype=torch.float64)

    def rounded(theta: Tensor) -> Tensor:
        places = ((grid_by_hand(theta, 6, 6, False) + 1) * 3 - 0.5).round().clamp(0, 5)
        flat = (places[..., 1] * 6 + places[..., 0]).long()
        return x.flatten()[flat].sum() + 0 * places.sum()

    (slope,) = torch.autograd.grad(rounded(theta.requires_grad_()), theta)
    assert torch.equal(slope, torch.zeros(1, 2, 3, dtype=torch.float64))
    # And by differences: a small step changes nothing at all.
    with torch.no_grad():
        assert rounded(theta + 1e-9) == rounded(theta)
        # A large one does, which no gradient tells.
        assert rounded(theta + 0.5) != rounded(theta)


# CNN-19 -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    padding=st.sampled_from(PADDINGS),
    align_corners=st.booleans(),
    height=st.integers(2, 6),
    width=st.integers(2, 6),
    reach=st.sampled_from([0.9, 1.5, 4.0]),
)
def test_cnn_19_bilinear_sampling_and_both_gradients_equal_the_equation(
    seed: int, padding: str, align_corners: bool, height: int, width: int, reach: float
) -> None:
    draws = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"generator": draws, "dtype": torch.float64}
    x = torch.randn(2, 3, height, width, **options).requires_grad_()
    grid = (reach * (2 * torch.rand(2, 4, 5, 2, **options) - 1)).requires_grad_()
    upstream = torch.randn(2, 3, 4, 5, **options)
    result = F.grid_sample(x, grid, "bilinear", padding, align_corners)
    expected = sampled_by_hand(x, grid, padding, align_corners)
    torch.testing.assert_close(result, expected, **EXACT)
    for one, other in zip(
        torch.autograd.grad(result, (x, grid), upstream),
        torch.autograd.grad(expected, (x, grid), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("output_size", [None, 5, (4, 6)])
def test_cnn_19_the_layer_equals_the_equations_with_all_gradients(
    padding_mode: Any, align_corners: bool, output_size: Any
) -> None:
    torch.manual_seed(3)
    layer = SpatialTransformer(
        2, output_size=output_size, padding_mode=padding_mode, align_corners=align_corners
    )
    moved(layer.double())
    x = torch.randn(2, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    result = layer(x)
    grid = grid_by_hand(layer.theta(x), *result.shape[2:], align_corners)
    expected = sampled_by_hand(x, grid, padding_mode, align_corners)
    torch.testing.assert_close(result, expected, **EXACT)
    upstream = torch.randn_like(result)
    wanted = [x, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad(result, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_cnn_19_the_head_gets_its_gradient_while_it_is_the_identity() -> None:
    torch.manual_seed(0)
    layer = SpatialTransformer(1).double()
    x = torch.rand(3, 1, 9, 9, dtype=torch.float64)
    upstream = torch.randn_like(x)
    layer(x).backward(upstream)
    theta = IDENTITY.double().expand(3, 2, 3).clone().requires_grad_()
    grid = F.affine_grid(theta, [3, 1, 9, 9], align_corners=False)
    sampled = F.grid_sample(x, grid, align_corners=False)
    (slope,) = torch.autograd.grad(sampled, theta, upstream)
    assert slope.abs().min() > 0
    torch.testing.assert_close(layer.head.bias.grad, slope.sum(0).flatten(), **EXACT)


# Contract and use ---------------------------------------------------------------------------------


def test_one_image_that_stays_does_not_change_the_others() -> None:
    torch.manual_seed(0)
    layer = SpatialTransformer(1, localization=nn.Flatten(), localization_features=64)
    layer.head.weight.data[0, 0] = 1.0
    x = torch.rand(2, 1, 8, 8)
    x[0, 0, 0, 0] = 0
    y = layer(x)
    assert torch.equal(y[0], x[0])
    grid = F.affine_grid(layer.theta(x), [2, 1, 8, 8], align_corners=False)
    torch.testing.assert_close(y[1], F.grid_sample(x, grid, align_corners=False)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_places_are_kept_exact_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = moved(SpatialTransformer(1), 0.1)
    x = torch.rand(2, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        theta, y = layer.theta(x), layer(x.to(dtype))
    assert theta.dtype == torch.float32
    assert y.dtype == dtype
    expected = F.grid_sample(
        x.to(dtype).float(), F.affine_grid(theta, [2, 1, 64, 64], False), align_corners=False
    )
    # bfloat16 keeps 8 bits of the pixels; a shift of one would be wrong by a third on the average.
    torch.testing.assert_close(y.float(), expected, rtol=0, atol=1e-5 if y is x else 0.03)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_stacked_members_equal_single_ones() -> None:
    torch.manual_seed(0)
    members = [moved(SpatialTransformer(1)).double() for _ in range(3)]
    parameters, buffers = stack_module_state(members)  # type: ignore[arg-type]
    x = torch.rand(3, 2, 1, 8, 8, dtype=torch.float64)

    def loss(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
        result: Tensor = functional_call(members[0], (parameters, buffers), (x,)).square().sum()
        return result

    gradients = vmap(grad(loss))(parameters, buffers, x)
    for number, member in enumerate(members):
        member(x[number]).square().sum().backward()
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(gradients[name][number], parameter.grad, **EXACT)


def test_it_learns_to_center_what_only_its_center_shows() -> None:
    """Blobs at random places; the loss looks at the middle alone."""
    torch.manual_seed(0)
    layer = SpatialTransformer(1, mode="attention")
    rows = torch.arange(20.0).view(1, 20, 1)

    def blobs(count: int, draws: torch.Generator) -> Tensor:
        y, x = (6 + 8 * torch.rand(count, 1, 1, generator=draws) for _ in range(2))
        far = (rows - y).square() + (rows.mT - x).square()
        return torch.exp(-far / 8).unsqueeze(1)

    def outside(images: Tensor) -> Tensor:
        middle = layer(images)[:, :, 8:12, 8:12].mean((1, 2, 3))
        return (1 - middle).mean()

    draws = torch.Generator().manual_seed(1)
    fresh = blobs(200, torch.Generator().manual_seed(2))
    before = outside(fresh).item()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.005)
    for _ in range(80):
        optimizer.zero_grad()
        outside(blobs(32, draws)).backward()
        optimizer.step()
    assert before > 0.5
    assert outside(fresh).item() < 0.3 * before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpatialTransformer(0), "SpatialTransformer: `in_channels` must be at least 1"),
        (
            lambda: SpatialTransformer(1, mode="shear"),  # type: ignore[arg-type]
            r"`mode` must be one of .*; got 'shear'. Use 'affine'",
        ),
        (
            lambda: SpatialTransformer(1, padding_mode="wrap"),  # type: ignore[arg-type]
            "`padding_mode` must be one of",
        ),
        (
            lambda: SpatialTransformer(1, output_size=(4, 0)),
            r"`output_size` must be one number or .* at least 1; got \(4, 0\)",
        ),
        (
            lambda: SpatialTransformer(1, output_size=1, align_corners=True),
            "`output_size` must be .* each at least 2; got 1. Leave it out",
        ),
        (
            lambda: SpatialTransformer(1, output_size=(4, 4, 4)),
            r"`output_size` must be .*; got \(4, 4, 4\)",
        ),
        (
            lambda: SpatialTransformer(3)(torch.rand(2, 1, 9, 9)),
            r"`x` must be images of shape \(B, 3, H, W\); got \(2, 1, 9, 9\)",
        ),
        (
            lambda: SpatialTransformer(1)(torch.rand(2, 1, 3, 9)),
            "must be at least 4 x 4; got 3 x 9",
        ),
        (
            lambda: SpatialTransformer(1, localization=nn.Identity())(torch.rand(2, 1, 9, 9)),
            r"`localization` must give \(B, 32\); got \(2, 1, 9, 9\). Flatten its output",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
