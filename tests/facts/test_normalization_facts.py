"""What the course says about normalization, one test per catalogue row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from fitwell.nn import CNN, MLP, Normalize

# float64, in another order of operations.
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def tensors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64) + 1


def learned(layer: nn.Module) -> nn.Module:
    """Give a layer gains and shifts that are not 1 and 0."""
    torch.manual_seed(5)
    layer.double()
    nn.init.uniform_(layer.weight, 0.5, 2.0)
    nn.init.normal_(layer.bias)
    return layer


# Inputs ------------------------------------------------------------------------------------------


def steps_to_solve(x: Tensor, y: Tensor) -> tuple[float, int]:
    """Give the condition number of a least-squares loss and the steps gradient descent needs.

    The rate is the best fixed one, 2 over the sum of the outer curvatures; descent begins at 0 and
    ends when the loss is within 1e-6 of its least, relative to where it began.
    """
    hessian = x.T @ x / len(x)
    curvatures = torch.linalg.eigvalsh(hessian)
    rate = 2 / (curvatures[0] + curvatures[-1])
    best = torch.linalg.solve(hessian, x.T @ y / len(x))
    w, steps = torch.zeros_like(best), 0
    first = best @ hessian @ best
    while (w - best) @ hessian @ (w - best) > 1e-6 * first:
        w = w - rate * hessian @ (w - best)
        steps += 1
    return float(curvatures[-1] / curvatures[0]), steps


def test_norm_01_standardized_inputs_equal_those_of_scikit_learn() -> None:
    x = tensors(200, 3) * torch.tensor([1.0, 20.0, 0.1]) + torch.tensor([0.0, 300.0, -5.0])
    layer = Normalize(x.mean(0).tolist(), x.std(0, correction=0).tolist())
    expected = StandardScaler().fit_transform(x.numpy())
    np.testing.assert_allclose(layer(x.float()), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(expected.mean(0), 0, atol=1e-9)


def test_norm_01_standardizing_shrinks_the_condition_number_and_the_steps_with_it() -> None:
    x = torch.linalg.qr(tensors(60, 3) - tensors(60, 3).mean(0)).Q * math.sqrt(60)
    x = x * torch.tensor([1.0, 4.0, 10.0], dtype=torch.float64)
    y = x @ torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    condition, steps = steps_to_solve(x, y)
    assert condition == pytest.approx(100, rel=1e-9)
    scaled = (x - x.mean(0)) / x.std(0, correction=0)
    scaled_condition, scaled_steps = steps_to_solve(scaled, y)
    assert scaled_condition == pytest.approx(1, rel=1e-6)
    assert scaled_steps == 1
    # The error shrinks by (c - 1) / (c + 1) per step, the loss by its square: about 3.45 c steps
    # to 1e-6 of the loss.
    factor = (condition - 1) / (condition + 1)
    assert steps == pytest.approx(math.log(1e-6) / (2 * math.log(factor)), abs=60)
    assert steps > 50 * scaled_steps


# Batch norm --------------------------------------------------------------------------------------


def batch_norm_by_hand(
    x: Tensor, gain: Tensor, shift: Tensor, upstream: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give output and gradients (of x, gain, shift) of batch norm; x is (N, C).

    ioffe2015batch, section 3, the chain rule through μ and σ² term by term.
    """
    count = len(x)
    mean = x.mean(0)
    variance = ((x - mean) ** 2).mean(0)
    whitened = (x - mean) / torch.sqrt(variance + eps)
    of_whitened = upstream * gain
    of_variance = (of_whitened * (x - mean) * -0.5 * (variance + eps) ** -1.5).sum(0)
    of_mean = (-of_whitened / torch.sqrt(variance + eps)).sum(0)
    of_mean = of_mean + of_variance * (-2 * (x - mean)).mean(0)
    of_x = of_whitened / torch.sqrt(variance + eps)
    of_x = of_x + of_variance * 2 * (x - mean) / count + of_mean / count
    return gain * whitened + shift, of_x, (upstream * whitened).sum(0), upstream.sum(0)


def rows(x: Tensor) -> Tensor:
    """Give (N, C) of (B, C, ...)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def assert_equals_by_hand(layer: nn.Module, shape: tuple[int, ...]) -> None:
    learned(layer)
    x, upstream = tensors(*shape).requires_grad_(), tensors(*shape, seed=1)
    y = layer(x)
    y.backward(upstream)
    parts = rows(x.detach()), layer.weight.detach(), layer.bias.detach(), rows(upstream)
    expected, of_x, of_gain, of_shift = batch_norm_by_hand(*parts, layer.eps)
    torch.testing.assert_close(rows(y), expected, **EXACT)
    torch.testing.assert_close(rows(x.grad), of_x, **EXACT)
    torch.testing.assert_close(layer.weight.grad, of_gain, **EXACT)
    torch.testing.assert_close(layer.bias.grad, of_shift, **EXACT)


@pytest.mark.parametrize("shape", [(8, 4), (2, 4), (5, 4, 6)], ids=str)
def test_norm_03_forward_and_backward_through_mean_and_deviation_equal_torch(
    shape: tuple[int, ...],
) -> None:
    assert_equals_by_hand(nn.BatchNorm1d(4), shape)


def test_norm_03_the_batch_is_one_network() -> None:
    """The gradient of one example's output reaches all inputs of the batch."""
    torch.manual_seed(0)
    x = tensors(4, 3).requires_grad_()
    nn.BatchNorm1d(3).double()(x)[0].square().sum().backward()
    assert (x.grad.abs() > 1e-9).all()
    alone = tensors(4, 3).requires_grad_()
    nn.LayerNorm(3).double()(alone)[0].sin().sum().backward()
    assert not alone.grad[1:].any()


def test_norm_04_gain_and_shift_start_at_1_and_0_and_undo_the_normalization() -> None:
    for norm in (nn.BatchNorm1d(3), nn.BatchNorm2d(3), MLP(3, 2, hidden=(3,), norm="batch")):
        layer = norm if not isinstance(norm, MLP) else norm.layers[1]
        assert torch.equal(layer.weight, torch.ones(3))
        assert torch.equal(layer.bias, torch.zeros(3))
    x = tensors(50, 3)
    layer = nn.BatchNorm1d(3).double()
    y = layer(x)
    # Mean 0 and variance 1, up to eps in the variance.
    torch.testing.assert_close(y.mean(0), torch.zeros(3).double(), **EXACT)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3).double(), rtol=1e-4, atol=0)
    with torch.no_grad():
        layer.weight.copy_((x.var(0, correction=0) + layer.eps).sqrt())
        layer.bias.copy_(x.mean(0))
    torch.testing.assert_close(layer(x), x, **EXACT)


def test_norm_05_moving_values_after_50_batches() -> None:
    layer, p = nn.BatchNorm2d(3).double(), 0.1
    mean, variance = torch.zeros(3).double(), torch.ones(3).double()
    for seed in range(50):
        x = tensors(4, 3, 2, 5, seed=seed)
        layer(x)
        now = rows(x)
        unbiased = ((now - now.mean(0)) ** 2).sum(0) / (len(now) - 1)
        mean = (1 - p) * mean + p * now.mean(0)
        variance = (1 - p) * variance + p * unbiased
    torch.testing.assert_close(layer.running_mean, mean, **EXACT)
    torch.testing.assert_close(layer.running_var, variance, **EXACT)
    x = tensors(6, 3, 2, 5, seed=99)
    whitened = (x - mean.view(3, 1, 1)) / torch.sqrt(variance.view(3, 1, 1) + layer.eps)
    torch.testing.assert_close(layer.eval()(x), whitened, **EXACT)


def test_norm_05_at_rest_the_output_does_not_depend_on_batch_mates() -> None:
    torch.manual_seed(0)
    model = CNN(1, 4, widths=(4, 8)).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    model(x)
    assert not torch.allclose(model.train()(x)[:2], model(x[:2]))
    model.eval()
    torch.testing.assert_close(model(x)[:2], model(x[:2]), rtol=1e-12, atol=1e-14)


def test_norm_06_batch_norm_of_images_equals_torch() -> None:
    """One mean and one deviation per channel, over examples and places."""
    assert_equals_by_hand(nn.BatchNorm2d(4), (3, 4, 5, 6))


# The others --------------------------------------------------------------------------------------


def whiten(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(axes, keepdim=True) + eps)


def whiten_backward(x: Tensor, upstream: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Give the gradient of `whiten`: less its mean, less its part along the output, over σ."""
    y = whiten(x, axes, eps)
    deviation = torch.sqrt(x.var(axes, correction=0, keepdim=True) + eps)
    along = y * (upstream * y).mean(axes, keepdim=True)
    return (upstream - upstream.mean(axes, keepdim=True) - along) / deviation


def test_norm_11_layer_norm_equals_torch_forward_and_backward() -> None:
    layer = learned(nn.LayerNorm([4, 5]))
    x, upstream = tensors(3, 6, 4, 5).requires_grad_(), tensors(3, 6, 4, 5, seed=1)
    y = layer(x)
    y.backward(upstream)
    whitened = whiten(x.detach(), (2, 3), layer.eps)
    torch.testing.assert_close(y, whitened * layer.weight + layer.bias, **EXACT)
    of_x = whiten_backward(x.detach(), upstream * layer.weight.detach(), (2, 3), layer.eps)
    torch.testing.assert_close(x.grad, of_x, **EXACT)
    torch.testing.assert_close(layer.weight.grad, (upstream * whitened).sum((0, 1)), **EXACT)
    torch.testing.assert_close(layer.bias.grad, upstream.sum((0, 1)), **EXACT)


def test_norm_12_instance_norm_equals_torch_forward_and_backward() -> None:
    layer = learned(nn.InstanceNorm2d(4, affine=True))
    x, upstream = tensors(3, 4, 5, 6).requires_grad_(), tensors(3, 4, 5, 6, seed=1)
    y = layer(x)
    y.backward(upstream)
    gain, shift = (p.detach().view(4, 1, 1) for p in (layer.weight, layer.bias))
    torch.testing.assert_close(y, whiten(x.detach(), (2, 3), layer.eps) * gain + shift, **EXACT)
    of_x = whiten_backward(x.detach(), upstream * gain, (2, 3), layer.eps)
    torch.testing.assert_close(x.grad, of_x, **EXACT)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_norm_13_group_norm_equals_torch_forward_and_backward(groups: int) -> None:
    layer = learned(nn.GroupNorm(groups, 6))
    x, upstream = tensors(3, 6, 4, 5).requires_grad_(), tensors(3, 6, 4, 5, seed=1)
    y = layer(x)
    y.backward(upstream)
    gain, shift = (p.detach().view(6, 1, 1) for p in (layer.weight, layer.bias))
    grouped = x.detach().view(3, groups, -1)
    whitened = whiten(grouped, (2,), layer.eps).view_as(x)
    torch.testing.assert_close(y, whitened * gain + shift, **EXACT)
    of_x = whiten_backward(grouped, (upstream * gain).view_as(grouped), (2,), layer.eps)
    torch.testing.assert_close(x.grad, of_x.view_as(x), **EXACT)


def test_norm_13_group_norm_lies_between_layer_and_instance_norm() -> None:
    x = tensors(3, 6, 4, 5)
    as_layer = nn.LayerNorm([6, 4, 5], elementwise_affine=False)(x)
    as_instance = nn.InstanceNorm2d(6)(x)
    torch.testing.assert_close(nn.GroupNorm(1, 6).double()(x), as_layer, **EXACT)
    torch.testing.assert_close(nn.GroupNorm(6, 6).double()(x), as_instance, **EXACT)
