"""The whole spectrum and the trace, from products with random vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._lanczos import Krylov
from ._operator import Curvature, Symmetric, as_symmetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 0.01  # of the drawn peaks, as a share of the range of the spectrum
_POINT = 1e-12  # their width where all eigenvalues are equal


@final
@dataclass(frozen=True, kw_only=True)
class SpectralDensity:
    """How the eigenvalues of a matrix are spread, as points with weights.

    Args:
        values: Where there are eigenvalues, ascending.
        weights: Share of all eigenvalues that each point stands for; they sum to 1.
        size: Number of eigenvalues.
        products: How many were computed.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...]
    size: int
    products: int

    def share(self, low: float = -math.inf, high: float = math.inf) -> float:
        """Give the share of eigenvalues that lie above one value and at most at another.

        Args:
            low: Lower end, excluded.
            high: Upper end, included.
        """
        pairs = zip(self.values, self.weights, strict=True)
        return sum(weight for value, weight in pairs if low < value <= high)

    @property
    def trace(self) -> float:
        """Sum of all eigenvalues, as estimated by the same vectors."""
        return self.size * sum(v * w for v, w in zip(self.values, self.weights, strict=True))

    def density(self, points: Tensor, width: float | None = None) -> Tensor:
        """Give the density at some points, each eigenvalue spread as a normal distribution.

        Args:
            points: Where.
            width: Standard deviation of the normal distribution; None takes a hundredth of the
                range of the values.
        """
        sigma = width or _WIDTH * (self.values[-1] - self.values[0]) or _POINT
        values = torch.tensor(self.values, dtype=torch.float64)
        weights = torch.tensor(self.weights, dtype=torch.float64)
        away = (points.double()[:, None] - values) / sigma
        return (weights * torch.exp(-(away**2) / 2)).sum(1) / (sigma * math.sqrt(2 * math.pi))

    def draw(self, axes: Axes, width: float | None = None) -> None:
        """Draw the density on given axes, with a logarithmic scale.

        Args:
            axes: Of matplotlib.
            width: As in `density`.
        """
        low, high = self.values[0], self.values[-1]
        margin = 5 * (width or _WIDTH * (high - low) or _POINT)
        points = torch.linspace(low - margin, high + margin, 1000, dtype=torch.float64)
        heights = self.density(points, width)
        axes.semilogy(points.numpy(), heights.numpy())
        axes.set_ylim(float(heights.max()) * 1e-7, float(heights.max()) * 2)
        axes.axvline(0, color="0.7", linewidth=1, zorder=0)
        axes.set(xlabel="eigenvalue", ylabel="density")

    def figure(self, width: float | None = None) -> Figure:
        """Draw the density with a logarithmic scale.

        Args:
            width: As in `density`.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        self.draw(figure.subplots(), width)
        return figure


def spectral_density(
    matrix: Curvature | Tensor, *, probes: int = 4, steps: int = 40, seed: int = 0
) -> SpectralDensity:
    """Estimate how all eigenvalues are spread, by stochastic Lanczos quadrature.

    For the bulk and the outliers at one glance, and for the share of negative eigenvalues. Costs
    `probes` times `steps` products, and says little about single eigenvalues inside: for the ends
    take `extreme_eigenvalues`. Eigenvalues closer together than about a `steps`-th of the range
    are not told apart, so the sign of those near zero is uncertain.

        density ≈ mean over probes of  Σₖ τₖ² δ(λ - θₖ)
        θₖ eigenvalues of the Lanczos matrix, τₖ first components of its eigenvectors

    Args:
        matrix: A `Curvature`, or a symmetric tensor.
        probes: Random vectors of signs; more of them lower the noise of the weights.
        steps: Products per vector; more of them resolve more. Exact at as many as rows.
        seed: Of the vectors.

    Raises:
        UsageError: A number is below 1, or the tensor is not symmetric.

    Source: ubaru2017fast; ghorbani2019investigation, section 2.
    Differs: reorthogonalizes fully, so no false copies of eigenvalues come up.
    Checked against: moments and counts of known spectra; integral 1.
    """
    found = as_symmetric("spectral_density", matrix)
    _check("spectral_density", probes=probes, steps=steps)
    generator = torch.Generator().manual_seed(seed)
    points: list[tuple[float, float]] = []
    products = 0
    for _ in range(probes):
        krylov = Krylov(found, _signs(found, generator, 1), generator)
        while krylov.rows < min(steps, found.size):
            krylov.step()
        products += krylov.products
        values, vectors, _ = krylov.ritz()
        weights = vectors[0].square() / probes
        points += zip(values.tolist(), weights.tolist(), strict=True)
    points.sort()
    return SpectralDensity(
        values=tuple(value for value, _ in points),
        weights=tuple(weight for _, weight in points),
        size=found.size,
        products=products,
    )


@final
@dataclass(frozen=True, kw_only=True)
class TraceEstimate:
    """The sum of all eigenvalues.

    Args:
        value: The estimate.
        error: Its standard error; 0 if it is exact, NaN from one vector.
        products: How many were computed.
    """

    value: float
    error: float
    products: int

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {"value": self.value, "error": self.error, "products": self.products}


def estimate_trace(
    matrix: Curvature | Tensor, *, products: int = 48, sketch: int | None = None, seed: int = 0
) -> TraceEstimate:
    """Estimate the sum of all eigenvalues from a number of products.

    One part of the products finds directions in which the matrix is large, where the trace is then
    exact; only the rest is estimated, by random vectors of signs. Far more exact than random
    vectors alone where few eigenvalues are large, as they are in networks. The estimate is
    unbiased.

        Q = orthonormal basis of H S,  S random signs
        trace ≈ tr(Qᵀ H Q) + mean of  gᵀ (1 - Q Qᵀ) H (1 - Q Qᵀ) g,  g random signs

    Args:
        matrix: A `Curvature`, or a symmetric tensor.
        products: How many to compute; exact at as many as rows.
        sketch: Directions to take out, at two products each; None takes a third of `products`.
        seed: Of the random vectors.

    Raises:
        UsageError: A number is out of range, or the tensor is not symmetric.

    Source: meyer2021hutch, algorithm 1; hutchinson1989stochastic.
    Reduces to: Hutchinson's estimate at `sketch=0`.
    Checked against: matrices of known trace; the mean over all sign vectors.
    """
    found = as_symmetric("estimate_trace", matrix)
    _check("estimate_trace", products=products)
    if products >= found.size:
        unit = torch.eye(found.size, dtype=found.like.dtype, device=found.like.device)
        value = sum(float(found.product(row) @ row) for row in unit)
        return TraceEstimate(value=value, error=0.0, products=found.size)
    taken = products // 3 if sketch is None else sketch
    if not 0 <= 2 * taken < products:
        raise UsageError(
            f"estimate_trace: `sketch` must be 0 or more and below half of `products`; got {taken}"
            f" of {products}."
        )
    generator = torch.Generator().manual_seed(seed)
    exact, basis = 0.0, found.like.new_empty(found.size, 0)
    if taken:
        images = [found.product(row) for row in _signs(found, generator, taken)]
        basis = torch.linalg.qr(torch.stack(images, dim=1))[0]
        exact = sum(float(found.product(column) @ column) for column in basis.T)
    samples = []
    for row in _signs(found, generator, products - 2 * taken):
        outside = row - basis @ (basis.T @ row)
        samples.append(float(found.product(outside) @ outside))
    values = torch.tensor(samples, dtype=torch.float64)
    error = float(values.std()) / math.sqrt(len(samples)) if len(samples) > 1 else math.nan
    return TraceEstimate(value=exact + float(values.mean()), error=error, products=products)


def _signs(matrix: Symmetric, generator: torch.Generator, count: int) -> Tensor:
    bits = torch.randint(2, (count, matrix.size), generator=generator)
    return (2 * bits - 1).to(matrix.like)


def _check(owner: str, **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"{owner}: `{name}` must be at least 1; got {value}.")
