"""What the chapter on residual networks claims: the block, and what its skip does to gradients."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.nn import CifarResNet, ResNet18

EXACT = {"rtol": 1e-9, "atol": 1e-10}
SEEDS = (0, 1, 2)


def normalized(x: Tensor, weights: Mapping[str, Tensor], name: str, training: bool) -> Tensor:
    """Batch norm from its definition."""
    if training:
        mean = x.mean((0, 2, 3))
        variance = x.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    mean, variance, weight, bias = (
        values.view(1, -1, 1, 1)
        for values in (mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"])
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def basic_block(
    x: Tensor, weights: Mapping[str, Tensor], stride: int, shortcut: str, training: bool
) -> Tensor:
    """The block of he2016deep, figure 2, in the order that torchvision's BasicBlock documents.

    Convolution, norm, ReLU, convolution, norm, then the sum with the shortcut, then ReLU; only the
    first convolution steps.
    """
    y = F.conv2d(x, weights["conv1.weight"], stride=stride, padding=1)
    y = normalized(y, weights, "norm1", training).clamp_min(0)
    y = F.conv2d(y, weights["conv2.weight"], stride=1, padding=1)
    y = normalized(y, weights, "norm2", training)
    if shortcut == "project":
        x = F.conv2d(x, weights["project.0.weight"], stride=stride)
        x = normalized(x, weights, "project.1", training)
    elif shortcut == "zeros":
        x = x[:, :, ::stride, ::stride]
        missing = y.shape[1] - x.shape[1]
        empty = x.new_zeros(len(x), missing // 2, *x.shape[2:])
        x = torch.cat([empty, x, empty], dim=1)
    return (y + x).clamp_min(0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("model", "place", "stride", "shortcut"),
    [
        (ResNet18, 0, 1, "identity"),
        (ResNet18, 2, 2, "project"),
        (CifarResNet, 1, 1, "identity"),
        (CifarResNet, 3, 2, "zeros"),
    ],
)
def test_cnn_21_block_equals_the_documented_one_with_all_gradients(
    model: type[nn.Module], place: int, stride: int, shortcut: str, training: bool
) -> None:
    torch.manual_seed(0)
    block = model().double().blocks[place].train(training)  # type: ignore[index, union-attr]
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it had been trained
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    channels = block.conv1.in_channels
    x = torch.randn(3, channels, 6, 6, dtype=torch.float64, requires_grad=True)
    weights = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    parameters = dict(block.named_parameters())
    expected = basic_block(x, weights | parameters, stride, shortcut, training)
    result = block(x)
    torch.testing.assert_close(result, expected, **EXACT)
    upstream = torch.randn_like(expected)
    wanted = [x, *parameters.values()]
    for one, other in zip(
        torch.autograd.grad(result, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **EXACT)


def first_gradient(depth: int, residual: bool, norm: str, seed: int) -> float:
    """Norm of the loss gradient at the first layer, with the weights that torch draws."""
    torch.manual_seed(seed)
    model = CifarResNet(depth=depth, residual=residual, norm=norm).double()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    x = torch.randn(16, 3, 8, 8, dtype=torch.float64)
    loss = F.cross_entropy(model(x), torch.randint(10, (16,)))
    (gradient,) = torch.autograd.grad(loss, model.stem[0].weight)
    return gradient.norm().item()


@pytest.mark.parametrize("seed", SEEDS)
def test_hw3_09_the_skip_keeps_the_gradient_that_vanishes_without_it(seed: int) -> None:
    plain = [first_gradient(depth, False, "none", seed) for depth in (8, 20, 56)]
    skip = [first_gradient(depth, True, "none", seed) for depth in (8, 20, 56)]
    # Each plain layer shrinks it, 12 more layers by a factor of about 1e-6.
    assert plain[1] < 1e-5 * plain[0]
    assert plain[2] < 1e-15 * plain[1]
    # With skips the depth does not matter.
    assert max(skip) < 3 * min(skip)
    assert min(skip) > 100 * plain[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_hw3_09_with_batch_norm_it_explodes_without_the_skip(seed: int) -> None:
    """Batch norm cures the vanishing alone; before training the plain network then errs upwards."""
    plain = [first_gradient(depth, False, "batch", seed) for depth in (20, 56)]
    skip = [first_gradient(depth, True, "batch", seed) for depth in (20, 56)]
    assert plain[1] > 100 * plain[0]
    assert skip[1] < 10 * skip[0]


def test_hw3_09_zero_branches_pass_the_gradient_on_unchanged() -> None:
    """With F = 0 the Jacobian of a block is that of its shortcut: 1 wherever the ReLU is open."""
    torch.manual_seed(0)
    blocks = CifarResNet(depth=56).double().blocks[:9].eval()
    for block in blocks:
        nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(blocks(x), x, upstream)
    assert torch.equal(gradient, upstream)
