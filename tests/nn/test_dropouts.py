from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.nn import (
    CifarResNet,
    DropBlock2d,
    DropConnect,
    GaussianDropout,
    ResNet18,
    StochasticDepth,
)

MASKS = 100_000
# Standard errors that a mean of many draws may be off by.
ERRORS = 5
KINDS: dict[str, Callable[[float], nn.Module]] = {
    "DropConnect": lambda p: DropConnect(6, 4, p=p),
    "DropConnect per example": lambda p: DropConnect(6, 4, p=p, per="example"),
    "GaussianDropout": lambda p: GaussianDropout(p),
    "StochasticDepth": lambda p: StochasticDepth(p),
    "StochasticDepth per batch": lambda p: StochasticDepth(p, per="batch"),
    "DropBlock2d": lambda p: DropBlock2d(p, block_size=2),
}


def example(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (3, 2, 5, 6) if name == "DropBlock2d" else (3, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def build(name: str, p: float) -> nn.Module:
    torch.manual_seed(0)
    return KINDS[name](p).double()


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_dropped_at_rest_or_at_probability_0(name: str) -> None:
    x, layer = example(name), build(name, 0.4)
    plain = F.linear(x, layer.weight, layer.bias) if isinstance(layer, DropConnect) else x
    assert torch.equal(layer.eval()(x), plain)
    assert torch.equal(build(name, 0.0).train()(x), plain)
    assert not torch.equal(layer.train()(x), plain)


@pytest.mark.parametrize("name", KINDS)
def test_draws_are_those_of_the_generator(name: str) -> None:
    x, layer = example(name), build(name, 0.4)
    first = layer(x, torch.Generator().manual_seed(7))
    assert torch.equal(first, layer(x, torch.Generator().manual_seed(7)))
    torch.manual_seed(7)
    assert torch.equal(first, layer(x))


@pytest.mark.parametrize("name", KINDS)
def test_gradients_pass_through_what_was_kept(name: str) -> None:
    x, layer = example(name).requires_grad_(), build(name, 0.4)
    assert torch.autograd.gradcheck(
        lambda x: layer(x, torch.Generator().manual_seed(3)), (x,), atol=1e-6
    )


def many(layer: nn.Module, x: Tensor, linear: nn.Module) -> Tensor:
    """Give what a linear layer makes of `x` under many draws, (MASKS, K)."""
    generator = torch.Generator().manual_seed(0)
    batch = x.expand(MASKS, *x.shape)
    if isinstance(layer, nn.Dropout):
        torch.manual_seed(0)
        result: Tensor = linear(layer(batch))
        return result
    result = linear(layer(batch, generator))
    return result


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(
    "kind", ["Dropout", "GaussianDropout", "StochasticDepth", "DropConnect per example"]
)
@torch.no_grad()
def test_tune_12_mean_over_masks_is_the_output_at_rest(kind: str, p: float) -> None:
    torch.manual_seed(2)
    layer = nn.Dropout(p) if kind == "Dropout" else build(kind, p)
    linear = nn.Linear(4 if isinstance(layer, DropConnect) else 6, 3).double()
    x = torch.randn(6, dtype=torch.float64)
    drawn = many(layer.train(), x, linear)
    error = drawn.std(0) / math.sqrt(MASKS)
    assert (drawn.std(0) > 0.01).all()
    off = (drawn.mean(0) - linear(layer.eval()(x))).abs()
    assert (off < ERRORS * error).all()


@pytest.mark.parametrize("kind", ["DropConnect", "StochasticDepth per batch"])
@torch.no_grad()
def test_mean_over_draws_for_whole_batches(kind: str) -> None:
    layer, x = build(kind, 0.3), example(kind)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([layer(x, generator) for _ in range(4000)])
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - layer.eval()(x)).abs() < ERRORS * error + 1e-12).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_tune_12_masks_are_scaled_as_those_of_torch(p: float) -> None:
    ones = torch.ones(MASKS, 1, dtype=torch.float64)
    torch.manual_seed(0)
    theirs = nn.Dropout(p)(ones)
    connect = DropConnect(1, 1, p=p, per="example", bias=False).double()
    nn.init.ones_(connect.weight)
    gaussian = GaussianDropout(p)(ones)
    for ours in (connect(ones), StochasticDepth(p)(ones)):
        values = ours.detach().unique()
        torch.testing.assert_close(values, theirs.unique(), rtol=1e-12, atol=0)
        share = math.sqrt(p * (1 - p) / MASKS)
        assert float((ours == 0).double().mean()) == pytest.approx(p, abs=ERRORS * share)
    # The relative error of a variance of n normal numbers is sqrt(2 / n).
    assert float(gaussian.mean()) == pytest.approx(1, abs=ERRORS * float(theirs.std()) / MASKS**0.5)
    exact = p / (1 - p)
    assert float(gaussian.var()) == pytest.approx(exact, rel=ERRORS * math.sqrt(2 / MASKS))


def test_drop_connect_equals_linear_with_the_mask() -> None:
    layer, x = build("DropConnect", 0.4), example("DropConnect")
    y = layer(x, torch.Generator().manual_seed(3))
    mask = torch.empty(4, 6, dtype=torch.float64)
    mask.bernoulli_(0.6, generator=torch.Generator().manual_seed(3))
    expected = F.linear(x, layer.weight * mask / 0.6, layer.bias)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_drop_connect_per_example_has_one_mask_for_each() -> None:
    layer, x = build("DropConnect per example", 0.4), example("DropConnect")
    y = layer(x, torch.Generator().manual_seed(3))
    masks = torch.empty(3, 4, 6, dtype=torch.float64)
    masks.bernoulli_(0.6, generator=torch.Generator().manual_seed(3))
    for row, (mask, inputs) in enumerate(zip(masks, x, strict=True)):
        expected = F.linear(inputs, layer.weight * mask / 0.6, layer.bias)
        torch.testing.assert_close(y[row], expected, rtol=1e-12, atol=1e-12)


def test_drop_connect_holds_the_parameters_of_linear() -> None:
    torch.manual_seed(0)
    ours = DropConnect(6, 4)
    torch.manual_seed(0)
    theirs = nn.Linear(6, 4)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.manual_seed(0)
    assert torch.equal(DropConnect(6, 4).weight, theirs.weight)


@pytest.mark.parametrize(("side", "size"), [(1, (4, 5)), (2, (5, 6)), (3, (7, 4)), (9, (4, 6))])
def test_drop_block_equals_a_loop_over_the_seeds(side: int, size: tuple[int, int]) -> None:
    p, (height, width) = 0.2, size
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    y = DropBlock2d(p, block_size=side)(x, torch.Generator().manual_seed(5))
    side = min(side, *size)
    places = height - side + 1, width - side + 1
    rate = p / side**2 * height * width / (places[0] * places[1])
    seeds = torch.empty(4, 3, *places, dtype=torch.float64)
    seeds.bernoulli_(rate, generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(x)
    for b, c, i, j in seeds.nonzero().tolist():
        mask[b, c, i : i + side, j : j + side] = 0
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(y, x * mask / mask.mean(), rtol=1e-6, atol=1e-9)


def test_drop_block_keeps_the_mean_and_drops_about_its_share() -> None:
    ones = torch.ones(64, 16, 14, 14, dtype=torch.float64)
    y = DropBlock2d(0.1, block_size=3)(ones, torch.Generator().manual_seed(0))
    assert float(y.mean()) == pytest.approx(1, rel=1e-6)
    # Squares overlap, so that a little less than the share is dropped.
    assert 0.08 < float((y == 0).double().mean()) < 0.1


def test_drop_block_may_drop_all() -> None:
    y = DropBlock2d(0.99, block_size=2)(torch.ones(1, 1, 2, 2), torch.Generator().manual_seed(0))
    assert torch.equal(y, torch.zeros(1, 1, 2, 2))


# In residual networks ----------------------------------------------------------------------------


def rates(model: nn.Module) -> list[float]:
    return [block.drop.p for block in model.blocks]


def test_blocks_are_dropped_by_the_linear_rule() -> None:
    assert rates(CifarResNet(depth=20, stochastic_depth=0.5)) == pytest.approx(
        [0.5 * block / 9 for block in range(1, 10)]
    )
    assert rates(ResNet18(3, 10, stochastic_depth=0.2)) == pytest.approx(
        [0.2 * block / 8 for block in range(1, 9)]
    )


def test_stochastic_depth_adds_no_weights_and_is_off_at_rest() -> None:
    torch.manual_seed(0)
    plain = CifarResNet(depth=8)
    torch.manual_seed(0)
    dropping = CifarResNet(depth=8, stochastic_depth=0.5)
    x = torch.rand(2, 3, 16, 16)
    assert list(plain.state_dict()) == list(dropping.state_dict())
    assert torch.equal(plain.eval()(x), dropping.eval()(x))


def test_a_dropped_block_is_the_way_around_it() -> None:
    torch.manual_seed(0)
    model = CifarResNet(depth=8, stochastic_depth=0.9)
    block = model.blocks[0]
    x = torch.randn(400, 16, 8, 8).relu()
    y = block(x)
    same = (y == x).flatten(1).all(1)
    # 400 decisions at 0.3, five standard deviations.
    assert int(same.sum()) == pytest.approx(0.3 * 400, abs=5 * math.sqrt(400 * 0.21))
    branch = block.norm2(block.conv2(F.relu(block.norm1(block.conv1(x)))))
    expected = F.relu(x + branch / 0.7)
    torch.testing.assert_close(y[~same], expected[~same], rtol=1e-4, atol=1e-4)


# What they refuse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianDropout(1.0), r"GaussianDropout: `p` must lie in \[0, 1\); got 1"),
        (lambda: StochasticDepth(-0.1), r"StochasticDepth: `p` must lie in \[0, 1\); got -0.1"),
        (lambda: DropConnect(0, 2), "DropConnect: `in_features` must be at least 1; got 0"),
        (lambda: DropBlock2d(block_size=0), "DropBlock2d: `block_size` must be at least 1; got 0"),
        (
            lambda: DropBlock2d()(torch.rand(2, 3)),
            r"DropBlock2d: `x` must be of shape \(B, C, H, W\); got \(2, 3\)",
        ),
        (
            lambda: StochasticDepth(per="block"),  # type: ignore[arg-type]
            r"StochasticDepth: `per` must be one of \('example', 'batch'\); got 'block'",
        ),
        (
            lambda: CifarResNet(residual=False, stochastic_depth=0.5),
            "CifarResNet: `stochastic_depth` must be 0 without `residual`",
        ),
        (
            lambda: ResNet18(stochastic_depth=1.0),
            r"ResNet18: `stochastic_depth` must lie in \[0, 1\); got 1",
        ),
    ],
)
def test_they_refuse_what_they_cannot_be(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()
