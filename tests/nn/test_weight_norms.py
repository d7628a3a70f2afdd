from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from fitwell.core.errors import UsageError
from fitwell.nn import conv_operator_norm, weight_norm_init_

EXACT = {"rtol": 1e-10, "atol": 1e-12}
# The power iteration stops when a step changes its value by 1e-8 of it.
CONVERGED = 1e-5


# Weight norm -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "conv1d", "conv2d"])
def test_norm_14_weight_norm_of_torch_is_its_formula_in_value_and_gradient(kind: str) -> None:
    torch.manual_seed(0)
    layer, x = {
        "linear": (nn.Linear(5, 4), torch.randn(7, 5)),
        "conv1d": (nn.Conv1d(5, 4, 3), torch.randn(7, 5, 6)),
        "conv2d": (nn.Conv2d(5, 4, 3), torch.randn(7, 5, 6, 7)),
    }[kind]
    layer, x = weight_norm(layer.double()), x.double()
    parts = layer.parametrizations.weight
    gain, direction = (p.detach().clone().requires_grad_() for p in parts.parameters())
    length = direction.flatten(1).norm(dim=1).view(gain.shape)
    weight = gain * direction / length
    torch.testing.assert_close(layer.weight, weight, **EXACT)
    # salimans2016weight, equation 3, from the gradient of the weights.
    layer(x).sin().sum().backward()
    free = weight.detach().requires_grad_()
    bare = {"linear": F.linear, "conv1d": F.conv1d, "conv2d": F.conv2d}[kind]
    bare(x, free, layer.bias.detach()).sin().sum().backward()
    axes = list(range(1, free.ndim))
    of_gain = (free.grad * direction / length).sum(axes, keepdim=True)
    of_direction = gain / length * free.grad - gain * of_gain / length**2 * direction
    torch.testing.assert_close(parts.original0.grad, of_gain, **EXACT)
    torch.testing.assert_close(parts.original1.grad, of_direction, **EXACT)


@pytest.mark.parametrize("kind", ["linear", "sequence", "conv1d", "conv2d", "unbatched"])
def test_norm_14_init_gives_outputs_of_mean_0_and_variance_1(kind: str) -> None:
    torch.manual_seed(0)
    layer, x, axes = {
        "linear": (nn.Linear(5, 4), torch.randn(50, 5), (0,)),
        "sequence": (nn.Linear(5, 4), torch.randn(20, 6, 5), (0, 1)),
        "conv1d": (nn.Conv1d(5, 4, 3), torch.randn(9, 5, 16), (0, 2)),
        "conv2d": (nn.Conv2d(5, 4, 3, stride=2), torch.randn(9, 5, 8, 8), (0, 2, 3)),
        "unbatched": (nn.Conv2d(5, 4, 3), torch.randn(5, 8, 8), (1, 2)),
    }[kind]
    layer, x = weight_norm(layer.double()), 3 * x.double() + 1
    direction = layer.parametrizations.weight.original1.detach().clone()
    y = weight_norm_init_(layer, x)
    torch.testing.assert_close(y.mean(axes), torch.zeros(4).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        y.var(axes, correction=0), torch.ones(4).double(), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(layer(x), y, **EXACT)
    assert torch.equal(layer.parametrizations.weight.original1, direction)
    assert all(p.requires_grad and p.grad is None for p in layer.parameters())


def test_norm_14_init_is_equation_6() -> None:
    torch.manual_seed(0)
    layer, x = weight_norm(nn.Linear(5, 4).double()), torch.randn(50, 5, dtype=torch.float64)
    weight_norm_init_(layer, x)
    direction = layer.parametrizations.weight.original1
    t = x @ (direction / direction.norm(dim=1, keepdim=True)).T
    gain = layer.parametrizations.weight.original0.squeeze(1)
    torch.testing.assert_close(gain, 1 / t.std(0, correction=0), **EXACT)
    torch.testing.assert_close(layer.bias, -t.mean(0) / t.std(0, correction=0), **EXACT)


def test_init_of_a_model_sets_each_layer_with_what_the_ones_before_give() -> None:
    torch.manual_seed(0)
    first, second = weight_norm(nn.Conv2d(3, 6, 3)), weight_norm(nn.Linear(6, 4))
    model = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), second)
    x = torch.randn(40, 3, 8, 8)
    y = weight_norm_init_(model, x)
    inside = first(x)
    for values, axes in ((inside, (0, 2, 3)), (y, (0,))):
        assert values.mean(axes).abs().max() < 1e-4
        assert (values.var(axes, correction=0) - 1).abs().max() < 1e-3
    assert torch.equal(model(x), y)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_init_refuses_what_it_cannot_set() -> None:
    x = torch.randn(8, 5)
    with pytest.raises(UsageError, match=r"`module` must have linear layers .* got Linear without"):
        weight_norm_init_(nn.Linear(5, 4), x)
    with pytest.raises(
        UsageError, match=r"must have a bias in every layer .* got layer '0' without"
    ):
        weight_norm_init_(nn.Sequential(weight_norm(nn.Linear(5, 4, bias=False))), x)
    with pytest.raises(UsageError, match="must make every output of layer '0' vary; got 4 that do"):
        weight_norm_init_(nn.Sequential(weight_norm(nn.Linear(5, 4))), torch.ones(8, 5))


# Spectral norm -----------------------------------------------------------------------------------


def test_norm_15_power_iteration_equals_torch_step_by_step_and_ends_at_the_svd() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4).double()
    weight = layer.weight.detach().clone()
    spectral_norm(layer)
    (parametrization,) = layer.parametrizations.weight
    v = parametrization._v.clone()
    for _ in range(3):
        u = F.normalize(weight @ v, dim=0)
        v = F.normalize(weight.T @ u, dim=0)
        torch.testing.assert_close(layer.weight, weight / (u @ weight @ v), **EXACT)
        torch.testing.assert_close(parametrization._u, u, **EXACT)
    for _ in range(300):
        _ = layer.weight
    largest = torch.linalg.svdvals(weight)[0]
    torch.testing.assert_close(layer.weight, weight / largest, **EXACT)


def test_norm_15_the_gradient_takes_the_singular_vectors_as_fixed() -> None:
    """miyato2018spectral, equation 12: the part of the gradient along u v' is taken out."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(6, 4).double(), n_power_iterations=500)
    x = torch.randn(9, 6, dtype=torch.float64)
    layer(x).sin().sum().backward()
    layer.eval()
    (parametrization,) = layer.parametrizations.weight
    weight = layer.parametrizations.weight.original.detach()
    sigma = torch.linalg.svdvals(weight)[0]
    free = (weight / sigma).requires_grad_()
    F.linear(x, free, layer.bias.detach()).sin().sum().backward()
    along = torch.outer(parametrization._u, parametrization._v)
    expected = (free.grad - (free.grad * free.detach()).sum() * along) / sigma
    torch.testing.assert_close(
        layer.parametrizations.weight.original.grad, expected, rtol=1e-8, atol=1e-10
    )


def dense(layer: nn.Module, size: tuple[int, ...]) -> Tensor:
    """Give the matrix of a convolution, column by column."""
    count = layer.in_channels * math.prod(size)
    basis = torch.eye(count, dtype=torch.float64).view(count, layer.in_channels, *size)
    with torch.no_grad():
        images = layer(basis) - layer(torch.zeros_like(basis))
    return images.flatten(1).T


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), (5, 6)),
        (nn.Conv2d(3, 2, 3, stride=2), (7, 7)),
        (nn.Conv2d(4, 6, (1, 3), padding=(0, 2), dilation=(1, 2), groups=2), (4, 6)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (5, 4)),
        (nn.Conv2d(2, 3, 3, padding="same"), (5, 4)),
        (nn.Conv1d(3, 4, 5, padding=2), (9,)),
        (nn.Conv3d(2, 2, 2), (3, 4, 3)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (5, 6)),
        (nn.Conv2d(3, 2, (3, 5), padding="same", padding_mode="circular"), (6, 5)),
        (nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular", stride=2), (6, 6)),
        (nn.Conv1d(3, 4, 5, padding=2, padding_mode="circular"), (9,)),
    ],
    ids=str,
)
def test_norm_15_operator_norm_is_that_of_the_dense_matrix(
    layer: nn.Module, size: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer.reset_parameters()
    layer.double()
    exact = float(torch.linalg.svdvals(dense(layer, size))[0])
    found = conv_operator_norm(layer, size, generator=torch.Generator().manual_seed(0))
    assert found == pytest.approx(exact, rel=CONVERGED)
    assert found <= exact * (1 + 1e-9)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("seed", range(5))
def test_norm_15_reshaped_filters_have_another_norm_within_the_bounds(mode: str, seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, bias=False).double()
    reshaped = float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0])
    true = conv_operator_norm(layer, 9)
    assert reshaped * 1.05 < true < math.sqrt(9) * reshaped
    # So the layer of spectral_norm can enlarge an image, though its name says otherwise.
    spectral_norm(layer, n_power_iterations=200)
    assert conv_operator_norm(layer.eval(), 9) == pytest.approx(true / reshaped, rel=1e-3)


def test_operator_norm_of_one_filter_of_ones_meets_the_upper_bound() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    nn.init.ones_(layer.weight)
    assert conv_operator_norm(layer, 8) == pytest.approx(9)
    assert float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) == pytest.approx(3)


def test_operator_norm_of_zeros_and_of_a_1_x_1_convolution() -> None:
    layer = nn.Conv2d(3, 4, 1).double()
    exact = float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0])
    assert conv_operator_norm(layer, (4, 5)) == pytest.approx(exact, rel=CONVERGED)
    nn.init.zeros_(layer.weight)
    assert conv_operator_norm(layer, 4) == 0


def test_operator_norm_refuses_what_does_not_fit() -> None:
    layer = nn.Conv2d(3, 4, 3)
    with pytest.raises(UsageError, match=r"`image_size` must be one number or 2, at least 1; got"):
        conv_operator_norm(layer, (4, 5, 6))
    with pytest.raises(UsageError, match=r"`iterations` must be at least 1; got 0"):
        conv_operator_norm(layer, 8, iterations=0)
    with pytest.raises(UsageError, match=r"`tolerance` must be positive; got 0"):
        conv_operator_norm(layer, 8, tolerance=0)
