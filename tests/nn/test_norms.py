from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.nn import BatchRenorm, GhostBatchNorm, LpBatchNorm, NoisyBatchNorm

Array = npt.NDArray[np.float64]

# float64 sums in another order.
EXACT = {"rtol": 1e-10, "atol": 1e-12}
# Finite differences of step 1e-6 in float64.
DIFFERENCES = {"rtol": 1e-5, "atol": 1e-7}
SHAPES = [(6, 3), (6, 3, 4), (6, 3, 4, 5)]
KINDS: dict[str, Callable[..., nn.Module]] = {
    "renorm": BatchRenorm,
    "ghost": GhostBatchNorm,
    "noisy": NoisyBatchNorm,
    "lp": LpBatchNorm,
}


def batch_norm(shape: tuple[int, ...]) -> nn.Module:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    return kind(shape[1]).double()


def batches(shape: tuple[int, ...], count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return [3 * torch.randn(shape, **draw) + torch.rand(1, **draw) for _ in range(count)]


def learned(layer: nn.Module) -> nn.Module:
    """Give a layer gains and shifts that are not 1 and 0."""
    torch.manual_seed(5)
    layer.double()
    nn.init.uniform_(layer.weight, 0.5, 2.0)
    nn.init.normal_(layer.bias)
    return layer


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], **EXACT)


# What they share ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_of_batch_norm_fit_and_give_its_outputs_at_rest(
    kind: str, shape: tuple[int, ...]
) -> None:
    theirs = learned(batch_norm(shape))
    for x in batches(shape, 3):
        theirs(x)
    ours = KINDS[kind](shape[1]).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    (x,) = batches(shape, 1, seed=9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_update_bn_of_torch_finds_them(kind: str) -> None:
    layer = KINDS[kind](3).double()
    data = batches((8, 3), 4)
    torch.optim.swa_utils.update_bn(data, layer)
    mean = torch.stack([x.mean(0) for x in data]).mean(0)
    torch.testing.assert_close(layer.running_mean, mean, **EXACT)
    assert layer.momentum == 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_printed_form_holds_the_arguments(kind: str) -> None:
    layer = KINDS[kind](3, eps=0.25)
    assert repr(layer).startswith(f"{type(layer).__name__}(3, ")
    assert "eps=0.25, momentum=0.1, affine=True)" in repr(layer)


@pytest.mark.parametrize("kind", KINDS)
def test_without_gain_and_shift_there_are_no_parameters(kind: str) -> None:
    layer = KINDS[kind](3, affine=False).double()
    (x,) = batches((64, 3), 1)
    y = layer(x)
    assert list(layer.parameters()) == []
    if kind != "noisy":
        torch.testing.assert_close(y.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_goes_in_and_comes_out(kind: str) -> None:
    layer = KINDS[kind](3)
    x = torch.randn(16, 3, 4, 4).bfloat16()
    y = layer(x)
    assert y.isfinite().all()
    if kind != "noisy":
        assert y.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_they_refuse_what_they_cannot_take(kind: str) -> None:
    name = KINDS[kind].__name__
    with pytest.raises(UsageError, match=rf"{name}: `x` must have 3 channels .* got shape \(4, 5"):
        KINDS[kind](3)(torch.rand(4, 5))
    with pytest.raises(UsageError, match=rf"{name}: `x` must have more than one value per channel"):
        KINDS[kind](3)(torch.rand(1, 3))
    with pytest.raises(UsageError, match=rf"{name}: `num_features` must be at least 1; got 0"):
        KINDS[kind](0)
    with pytest.raises(UsageError, match=rf"{name}: `momentum` must lie in \(0, 1\]; got 1.5"):
        KINDS[kind](3, momentum=1.5)
    with pytest.raises(UsageError, match=rf"{name}: `eps` must be positive; got 0"):
        KINDS[kind](3, eps=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BatchRenorm(3, max_r=0.5), "`max_r` must be at least 1; got 0.5"),
        (lambda: BatchRenorm(3, max_d=-1), "`max_d` must not be negative; got -1"),
        (lambda: BatchRenorm(3, warmup_steps=-1), "`warmup_steps` must not be negative"),
        (lambda: GhostBatchNorm(3, ghost_size=0), "`ghost_size` must be at least 1; got 0"),
        (lambda: NoisyBatchNorm(3, max_shift=-1), "`max_shift` must be at least 0; got -1"),
        (lambda: NoisyBatchNorm(3, max_scale=0.5), "`max_scale` must be at least 1; got 0.5"),
        (lambda: LpBatchNorm(3, p=0.5), "`p` must be at least 1; got 0.5. Use 1, 2 or inf"),
    ],
)
def test_options_out_of_range_are_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


# Batch renormalization ---------------------------------------------------------------------------


def renormed(x: Array, gain: Array, shift: Array, r: Array, d: Array, eps: float) -> Array:
    """The output of ioffe2017batch, algorithm 1, at given corrections; x is (N, C)."""
    deviation = np.sqrt(eps + ((x - x.mean(0)) ** 2).mean(0))
    result: Array = gain * ((x - x.mean(0)) / deviation * r + d) + shift
    return result


def corrections(
    x: Array, mean: Array, deviation: Array, max_r: float, max_d: float, eps: float
) -> tuple[Array, Array]:
    now = np.sqrt(eps + ((x - x.mean(0)) ** 2).mean(0))
    r = np.clip(now / deviation, 1 / max_r, max_r)
    return r, np.clip((x.mean(0) - mean) / deviation, -max_d, max_d)


def as_rows(x: Tensor) -> Array:
    return x.movedim(1, -1).reshape(-1, x.shape[1]).detach().numpy().astype(np.float64)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("warmup", [0, 4])
def test_norm_10_equals_the_algorithm_in_numpy(shape: tuple[int, ...], warmup: int) -> None:
    eps, momentum = 1e-3, 0.2
    options = {"max_r": 1.5, "max_d": 0.1, "warmup_steps": warmup}
    layer = learned(BatchRenorm(3, eps=eps, momentum=momentum, **options))
    gain, shift = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    mean, deviation = np.zeros(3), np.full(3, math.sqrt(1 + eps))
    clipped = 0
    for step, x in enumerate(batches(shape, 8)):
        share = min(1.0, step / warmup) if warmup else 1.0
        limits = 1 + share * 0.5, share * 0.1
        rows = as_rows(x)
        r, d = corrections(rows, mean, deviation, *limits, eps)
        clipped += int((np.abs(d) == limits[1]).sum())
        expected = renormed(rows, gain, shift, r, d, eps)
        np.testing.assert_allclose(as_rows(layer(x)), expected, **EXACT)
        mean = mean + momentum * (rows.mean(0) - mean)
        now = np.sqrt(eps + rows.var(0))
        deviation = deviation + momentum * (now - deviation)
    assert 0 < clipped < 8 * 3  # both sides of the limit were met
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, **EXACT)
    np.testing.assert_allclose(layer.running_var.numpy(), deviation**2 - eps, **EXACT)
    (x,) = batches(shape, 1, seed=3)
    expected = gain * (as_rows(x) - mean) / deviation + shift
    np.testing.assert_allclose(as_rows(layer.eval()(x)), expected, **EXACT)


def test_norm_10_no_gradient_flows_through_the_corrections() -> None:
    eps = 1e-3
    layer = learned(BatchRenorm(2, eps=eps, warmup_steps=0, max_r=4.0))
    layer.running_mean.fill_(0.7)
    layer.running_var.fill_(2.0)
    (x,) = batches((5, 2), 1)
    rows, weights = x.numpy(), np.random.default_rng(0).normal(size=(5, 2))
    gain, shift = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    r, d = corrections(rows, np.full(2, 0.7), np.full(2, math.sqrt(2 + eps)), 4.0, 5.0, eps)
    x.requires_grad_()
    (layer(x) * torch.from_numpy(weights)).sum().backward()
    numeric = np.zeros_like(rows)
    for place in itertools.product(range(5), range(2)):
        sides = []
        for step in (1e-6, -1e-6):
            moved = rows.copy()
            moved[place] += step
            sides.append((weights * renormed(moved, gain, shift, r, d, eps)).sum())
        numeric[place] = (sides[0] - sides[1]) / 2e-6
    np.testing.assert_allclose(x.grad, numeric, **DIFFERENCES)
    whitened = renormed(rows, np.ones(2), np.zeros(2), r, d, eps)
    np.testing.assert_allclose(layer.weight.grad, (weights * whitened).sum(0), **EXACT)
    np.testing.assert_allclose(layer.bias.grad, weights.sum(0), **EXACT)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norm_10_without_corrections_it_is_batch_norm(shape: tuple[int, ...]) -> None:
    theirs = learned(batch_norm(shape))
    ours = learned(BatchRenorm(3, max_r=1.0, max_d=0.0, warmup_steps=0))
    for data in batches(shape, 3):
        x, twin = data.clone().requires_grad_(), data.clone().requires_grad_()
        y = ours(x)
        torch.testing.assert_close(y, theirs(twin), **EXACT)
        y.square().sum().backward()
        theirs(twin).square().sum().backward()
        torch.testing.assert_close(x.grad, twin.grad, **EXACT)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, **EXACT)


def test_norm_10_once_settled_training_computes_what_rest_computes() -> None:
    layer = BatchRenorm(3, warmup_steps=0, max_r=1e6, max_d=1e6).double()
    for x in batches((64, 3), 50):
        layer(x)
    (x,) = batches((4, 3), 1, seed=1)
    at_rest = copy.deepcopy(layer).eval()(x)
    torch.testing.assert_close(layer(x), at_rest, **EXACT)
    assert not torch.allclose(nn.BatchNorm1d(3).double()(x), at_rest, atol=0.1)


# Ghost batches -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 40), size=st.integers(2, 20), seed=st.integers(0, 10**6))
def test_ghosts_are_batches_of_their_own(count: int, size: int, seed: int) -> None:
    ours, theirs = learned(GhostBatchNorm(3, ghost_size=size)), learned(nn.BatchNorm2d(3))
    (x,) = batches((count, 3, 2, 2), 1, seed)
    parts = x.tensor_split(max(1, count // size))
    assert all(len(part) >= min(size, count) for part in parts)
    torch.testing.assert_close(ours(x), torch.cat([theirs(part) for part in parts]), **EXACT)
    assert_same_state(ours, theirs)


def test_a_ghost_as_large_as_the_batch_is_batch_norm() -> None:
    ours, theirs = learned(GhostBatchNorm(3, ghost_size=9)), learned(nn.BatchNorm1d(3))
    for x in batches((8, 3), 2):
        torch.testing.assert_close(ours(x), theirs(x), **EXACT)
    assert_same_state(ours, theirs)


# Noise -------------------------------------------------------------------------------------------


def test_without_noise_it_is_batch_norm() -> None:
    ours = learned(NoisyBatchNorm(3, max_shift=0.0, max_scale=1.0, jitter=0.0))
    theirs = learned(nn.BatchNorm1d(3))
    for x in batches((8, 3), 2):
        torch.testing.assert_close(ours(x), theirs(x), **EXACT)
    assert_same_state(ours, theirs)


def test_noise_is_drawn_by_the_generator_and_changes_at_every_step() -> None:
    layer = NoisyBatchNorm(3)
    x = torch.randn(8, 3)
    generator = torch.Generator().manual_seed(4)
    first, second = layer(x, generator), layer(x, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, layer(x, torch.Generator().manual_seed(4)))


def test_noise_without_jitter_is_one_shift_and_one_scale_per_channel() -> None:
    layer = NoisyBatchNorm(2, max_shift=0.5, max_scale=1.25, jitter=0.0).double()
    (x,) = batches((16, 2), 1)
    clean = nn.BatchNorm1d(2).double()(x)
    for seed in range(20):
        y = layer(x, torch.Generator().manual_seed(seed))
        scale = (y[1] - y[0]) / (clean[1] - clean[0])
        torch.testing.assert_close(y, scale * clean + y.mean(0), rtol=1e-9, atol=1e-9)
        assert ((scale >= 1) & (scale <= 1.25)).all()
        assert (y.mean(0).abs() <= 0.5).all()


def test_noise_has_the_moments_of_its_distributions() -> None:
    # For inputs of -1 and 1 the outputs are the shift less the scale, and their sum.
    layer = NoisyBatchNorm(1, max_shift=0.6, max_scale=1.5, jitter=0.2, affine=False, eps=1e-12)
    layer.double().train()
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(5_000).view(1, 1, -1)
    generator = torch.Generator().manual_seed(0)
    low, high = [], []
    for _ in range(200):
        y = layer(x, generator).view(-1)
        low.append(y[0::2])
        high.append(y[1::2])
    plus, minus = torch.stack(high), torch.stack(low)
    shift, scale = (plus + minus) / 2, (plus - minus) / 2
    # Within a step: half the sum of two independent shifts and of two scales of other signs.
    within = (0.2**2 / 3 + 0.2**2) / 2
    assert float(shift.var(1).mean()) == pytest.approx(within, rel=0.02)
    assert float(scale.var(1).mean()) == pytest.approx(within, rel=0.02)
    # Across steps: the means of the distributions, uniform; 200 draws.
    assert float(shift.mean(1).std()) == pytest.approx(0.6 / math.sqrt(3), rel=0.15)
    assert float(scale.mean(1).std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.15)
    assert float(scale.mean()) == pytest.approx(1.25, abs=4 * 0.25 / math.sqrt(3 * 200))


# Other norms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lp_equals_its_formula(p: float, shape: tuple[int, ...]) -> None:
    eps, layer = 1e-3, learned(LpBatchNorm(3, p=p, eps=1e-3))
    gain, shift = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    scale, mean = np.full(3, math.sqrt(1 + eps)), np.zeros(3)
    for x in batches(shape, 3):
        rows = as_rows(x)
        centred = rows - rows.mean(0)
        if math.isinf(p):
            now = np.abs(centred).max(0) + eps
        else:
            now = ((np.abs(centred) ** p).mean(0) + eps) ** (1 / p)
        expected = gain * centred / now + shift
        np.testing.assert_allclose(as_rows(layer(x)), expected, **EXACT)
        scale, mean = scale + 0.1 * (now - scale), mean + 0.1 * (rows.mean(0) - mean)
    expected = gain * (rows - mean) / scale + shift
    np.testing.assert_allclose(as_rows(layer.eval()(x)), expected, **EXACT)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, math.inf])
def test_lp_gradients_equal_finite_differences(p: float) -> None:
    layer = learned(LpBatchNorm(3, p=p))
    (x,) = batches((5, 3, 2), 1)
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),), atol=1e-6)


def test_lp_of_two_is_batch_norm_in_training() -> None:
    ours, theirs = learned(LpBatchNorm(3, p=2.0)), learned(nn.BatchNorm2d(3))
    (x,) = batches((6, 3, 4, 5), 1)
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)


def test_lp_follows_the_scale_of_the_input() -> None:
    for p in (1.0, 2.0, math.inf):
        layer = LpBatchNorm(3, p=p, eps=1e-12).double()
        (x,) = batches((8, 3), 1)
        torch.testing.assert_close(layer(x), layer(7 * x + 3), rtol=1e-9, atol=1e-9)
