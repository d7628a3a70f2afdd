"""Eigenvalues, spectrum and trace: equal to what numpy and closed forms say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.doctor import (
    Curvature,
    SpectralDensity,
    estimate_trace,
    extreme_eigenvalues,
    spectral_density,
)

EXACT = 1e-9  # float64, relative to the largest eigenvalue


def symmetric(values: list[float], seed: int = 0) -> Tensor:
    """Make a matrix with given eigenvalues in random directions."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square)[0]
    return basis @ torch.tensor(values, dtype=torch.float64).diag() @ basis.T


def like_a_network(size: int) -> Tensor:
    """Make a matrix with a bulk near zero and a few large eigenvalues."""
    return symmetric([10.0, 5.0, 3.0, *np.linspace(-0.1, 0.2, size - 3).tolist()])


spectra = st.lists(
    st.one_of(st.just(0.0), st.integers(-3, 3).map(float), st.floats(-100, 100)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@example(values=[0.0, 1.0, 5.0, 0.0, 0.0, 1.0, -1.0, 5.0, 5.0], seed=0, block=2, some=(1, 0))
@given(
    values=spectra,
    seed=st.integers(0, 2**31),
    block=st.integers(1, 4),
    some=st.tuples(st.integers(1, 12), st.integers(0, 12)),
)
def test_all_eigenvalues_of_any_matrix(
    values: list[float], seed: int, block: int, some: tuple[int, int]
) -> None:
    matrix = symmetric(values, seed)
    matrix = (matrix + matrix.T) / 2
    largest = min(some[0], len(values))
    smallest = min(some[1], len(values) - largest)
    found = extreme_eigenvalues(
        matrix, largest=len(values), tolerance=0, max_products=50, block=block, seed=seed
    )
    scale = max(map(abs, values))
    assert found.values == pytest.approx(sorted(values, reverse=True), abs=EXACT * scale + 1e-12)
    ends = extreme_eigenvalues(
        matrix, largest=largest, smallest=smallest, block=len(values), seed=seed
    )
    ordered = sorted(values, reverse=True)
    wanted = ordered[:largest] + ordered[len(values) - smallest :]
    assert ends.values == pytest.approx(wanted, abs=EXACT * scale + 1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), products=st.integers(4, 30), block=st.integers(1, 3))
def test_a_true_eigenvalue_lies_within_each_residual(seed: int, products: int, block: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    matrix = square + square.T
    true = torch.linalg.eigvalsh(matrix)
    found = extreme_eigenvalues(
        matrix, largest=2, smallest=2, max_products=products, block=block, seed=seed
    )
    for value, vector, residual in zip(found.values, found.vectors.T, found.residuals, strict=True):
        assert vector.norm().item() == pytest.approx(1, abs=1e-10)
        measured = (matrix @ vector - value * vector).norm().item()
        assert residual == pytest.approx(measured, abs=1e-9)
        assert (true - value).abs().min().item() <= residual + 1e-9
    assert found.values[-1] >= true[0].item() - 1e-9


def test_the_ends_come_long_before_the_whole() -> None:
    matrix = like_a_network(400)
    found = extreme_eigenvalues(matrix, largest=3, smallest=1)
    assert found.settled
    assert found.products < 60
    assert found.values[:3] == pytest.approx([10, 5, 3], rel=1e-5)
    assert found.to_dict()["products"] == found.products


def test_eigenvalues_that_occur_twice_need_a_block() -> None:
    matrix = symmetric([*[4.0] * 3, *np.linspace(-1, 1, 97).tolist()])
    found = extreme_eigenvalues(matrix, largest=3, block=3, tolerance=1e-6)
    assert found.values == pytest.approx([4, 4, 4], rel=1e-6)
    gram = found.vectors.T @ found.vectors
    torch.testing.assert_close(gram, torch.eye(3, dtype=torch.float64))


def test_a_search_that_ends_early_says_so() -> None:
    found = extreme_eigenvalues(like_a_network(300), largest=20, max_products=24, tolerance=1e-6)
    assert not found.settled
    assert found.products == 24
    assert len(found.values) == 20


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(2, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)), (4,)),
        (
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)),
            (1, 4, 4),
        ),
        (Sequence(), (3, 2)),
    ],
    ids=["mlp", "cnn", "lstm"],
)
def test_networks_have_the_eigenvalues_of_their_whole_hessian(
    model: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = model.double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    batches = [(torch.randn(n, *shape).double(), torch.randint(4, (n,))) for n in (12, 7)]
    curvature = Curvature(model, nn.CrossEntropyLoss(), batches, mode="train")
    true = torch.linalg.eigvalsh(curvature.matrix()).flip(0)
    found = extreme_eigenvalues(curvature, largest=5, smallest=2, tolerance=1e-6)
    expected = torch.cat([true[:5], true[-2:]]).tolist()
    assert found.values == pytest.approx(expected, abs=1e-8 * true[0].item())
    whole = spectral_density(curvature, steps=curvature.size, probes=2)
    assert whole.share(0.1 * true[0].item()) == pytest.approx(
        (true > 0.1 * true[0]).double().mean().item(), abs=0.1
    )
    trace = estimate_trace(curvature, products=curvature.size)
    assert trace.value == pytest.approx(true.sum().item(), rel=1e-9)
    assert trace.error == 0


def test_float32_is_enough_for_the_large_ones() -> None:
    found = extreme_eigenvalues(like_a_network(300).float(), largest=3, tolerance=1e-6)
    assert found.values == pytest.approx([10, 5, 3], rel=1e-5)
    assert found.settled


def test_the_density_integrates_to_one() -> None:
    for matrix in (like_a_network(200), torch.eye(5), torch.zeros(3, 3)):
        found = spectral_density(matrix)
        assert sum(found.weights) == pytest.approx(1, abs=1e-6)
        spread = max(found.values[-1] - found.values[0], 1e-3)
        low, high = found.values[0] - spread, found.values[-1] + spread
        points = torch.linspace(low, high, 20_001, dtype=torch.float64)
        heights = found.density(points, width=spread / 100)
        assert torch.trapezoid(heights, points).item() == pytest.approx(1, abs=1e-6)


def test_the_density_has_the_moments_of_the_spectrum() -> None:
    matrix = like_a_network(300)
    found = spectral_density(matrix, probes=200, steps=12)
    values = torch.linalg.eigvalsh(matrix)
    for power, tolerance in ((1, 0.05), (2, 0.05), (3, 0.05)):
        pairs = zip(found.values, found.weights, strict=True)
        moment = sum(weight * value**power for value, weight in pairs)
        assert moment == pytest.approx(values.pow(power).mean().item(), rel=tolerance)
    assert found.trace == pytest.approx(values.sum().item(), rel=0.05)
    assert found.products == 2400


def test_shares_are_those_of_the_spectrum() -> None:
    matrix = symmetric([-2.0] * 30 + [1.0] * 60 + [5.0] * 10)
    found = spectral_density(matrix, probes=100, steps=5)
    assert found.share(high=0) == pytest.approx(0.3, abs=0.02)
    assert found.share(0) == pytest.approx(0.7, abs=0.02)
    assert found.share(2, 6) == pytest.approx(0.1, abs=0.02)
    exact = SpectralDensity(values=(0.0, 1.0), weights=(0.5, 0.5), size=2, products=2)
    assert exact.share(0) == 0.5
    assert exact.share(high=0) == 0.5


def test_hutchinson_is_the_mean_over_sign_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix = square + square.T
    estimates = torch.tensor(
        [estimate_trace(matrix, products=5, sketch=0, seed=seed).value for seed in range(800)]
    )
    # The variance of one sample is twice the sum of squares off the diagonal.
    variance = 2 * (matrix.square().sum() - matrix.diag().square().sum()) / 5
    assert estimates.var().item() == pytest.approx(variance.item(), rel=0.15)
    error = math.sqrt(variance / 800)
    assert abs(estimates.mean().item() - matrix.trace().item()) < 4 * error


def test_the_estimate_with_a_sketch_is_unbiased_and_its_error_is_true() -> None:
    matrix = like_a_network(60)
    found = [estimate_trace(matrix, products=18, seed=seed) for seed in range(300)]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    spread = values.std().item()
    assert abs(values.mean().item() - matrix.trace().item()) < 4 * spread / math.sqrt(300)
    stated = torch.tensor([one.error for one in found]).square().mean().sqrt().item()
    assert stated == pytest.approx(spread, rel=0.2)


def test_a_sketch_pays_where_few_eigenvalues_are_large() -> None:
    matrix = like_a_network(200)

    def error(sketch: int | None) -> float:
        values = [
            estimate_trace(matrix, products=30, sketch=sketch, seed=s).value for s in range(40)
        ]
        return float(np.sqrt(np.mean((np.array(values) - matrix.trace().item()) ** 2)))

    assert error(None) < error(0) / 5


def test_the_trace_of_low_rank_is_exact() -> None:
    matrix = symmetric([3.0, -2.0, 1.0, *[0.0] * 47])
    found = estimate_trace(matrix, products=12)
    assert found.value == pytest.approx(2, abs=1e-9)
    assert found.error < 1e-9
    assert found.to_dict() == {"value": found.value, "error": found.error, "products": 12}


def test_figures_are_drawn() -> None:
    figure = spectral_density(like_a_network(50)).figure()
    (axes,) = figure.axes
    assert axes.get_xlabel() == "eigenvalue"
    assert axes.get_yscale() == "log"


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (extreme_eigenvalues, {"largest": 0}, "`largest` and `smallest` must be 0 or more, not both 0"),
    (extreme_eigenvalues, {"smallest": -1}, "`largest` and `smallest` must be 0 or more"),
    (extreme_eigenvalues, {"tolerance": 1.0}, r"`tolerance` must lie in \[0, 1\); got 1.0"),
    (extreme_eigenvalues, {"largest": 9, "max_products": 8}, "`max_products` must be at least 9"),
    (extreme_eigenvalues, {"block": 0}, "`block` must be at least 1; got 0"),
    (spectral_density, {"probes": 0}, "`probes` must be at least 1; got 0"),
    (spectral_density, {"steps": 0}, "`steps` must be at least 1; got 0"),
    (estimate_trace, {"products": 0}, "`products` must be at least 1; got 0"),
    (estimate_trace, {"products": 4, "sketch": 2}, "below half of `products`; got 2 of 4"),
    (estimate_trace, {"products": 4, "sketch": -1}, "`sketch` must be 0 or more"),
]


@pytest.mark.parametrize(("function", "change", "message"), BAD)
def test_wrong_numbers_are_refused(function: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        function(torch.eye(10), **change)


@pytest.mark.parametrize("function", [extreme_eigenvalues, spectral_density, estimate_trace])
def test_matrices_that_are_not_symmetric_are_refused(function: Any) -> None:
    for matrix in (torch.ones(2, 3), torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.ones(0, 0)):
        with pytest.raises(UsageError, match="`matrix` must be symmetric; got a tensor of shape"):
            function(matrix)
