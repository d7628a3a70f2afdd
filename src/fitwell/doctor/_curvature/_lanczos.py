"""Eigenvalues at the ends of the spectrum by Lanczos with full reorthogonalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._operator import Curvature, Symmetric, as_symmetric

_GROWTH = 32  # rows by which the basis grows


@final
class Krylov:
    """An orthonormal basis that grows by products, and what the matrix looks like in it.

    The basis Q has rows. After each step  H Qᵀ = Qᵀ T + (rest in the directions to come).

    Args:
        matrix: Known by its products.
        start: One direction per row; the block has as many.
        generator: Draws new directions when the old ones are exhausted.
    """

    def __init__(self, matrix: Symmetric, start: Tensor, generator: torch.Generator) -> None:
        self._matrix = matrix
        self._generator = generator
        self._basis = start.new_empty(0, matrix.size)
        self._coupling = start.new_zeros(len(start), len(start))
        self._t = torch.zeros(0, 0, dtype=torch.float64)
        self.rows = 0
        self.products = 0
        self.scale = 0.0
        self._fresh = self._orthonormal(start)[0]

    @property
    def basis(self) -> Tensor:
        """The basis so far, one vector per row."""
        return self._basis[: self.rows]

    @property
    def complete(self) -> bool:
        """Whether the basis spans the whole space."""
        return self.rows == self._matrix.size

    def step(self) -> None:
        """Take the next directions into the basis, with one product for each."""
        fresh = self._fresh
        begin, end = self.rows, self.rows + len(fresh)
        if end > len(self._basis):
            grown = fresh.new_empty(min(end + _GROWTH, self._matrix.size), self._matrix.size)
            grown[:begin] = self.basis
            self._basis = grown
        self._basis[begin:end] = fresh
        self.rows = end
        rest = torch.stack([self._matrix.product(row) for row in fresh])
        self.products += len(fresh)
        self.scale = max(self.scale, float(rest.norm(dim=1).max()))
        along = torch.zeros(len(fresh), end, dtype=torch.float64)
        for _ in range(2):  # the second pass removes what rounding has left
            part = rest @ self.basis.T
            rest = rest - part @ self.basis
            along += part.double().cpu()
        grown_t = torch.zeros(end, end, dtype=torch.float64)
        grown_t[:begin, :begin] = self._t
        grown_t[begin:end] = along
        grown_t[:, begin:end] = along.T
        own = grown_t[begin:end, begin:end]
        grown_t[begin:end, begin:end] = (own + own.T) / 2
        self._t = grown_t
        self._fresh, self._coupling = self._orthonormal(rest)

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give eigenvalues in the basis, ascending, their vectors in it, and their residuals."""
        values, vectors = torch.linalg.eigh(self._t)
        count = self._coupling.shape[1]
        last = vectors[self.rows - count :]
        residuals = (self._coupling.double().cpu() @ last).norm(dim=0)
        return values, vectors, residuals

    def _orthonormal(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Make rows orthonormal; exhausted ones are replaced by new directions.

        Gives the rows, and how the given ones are made of them.
        """
        size, count = self._matrix.size, len(rest)
        room = min(count, size - self.rows)
        rows = rest.new_zeros(room, size)
        coupling = rest.new_zeros(room, count)
        tiny = 100 * torch.finfo(rest.dtype).eps * (self.scale if self.rows else 0.0)
        found = 0
        for place in range(count):
            row = rest[place].clone()
            for _ in range(2):
                part = rows[:found] @ row
                row -= part @ rows[:found]
                coupling[:found, place] += part
            norm = row.norm()
            if float(norm) > tiny and found < room:
                rows[found] = self._apart(row / norm, rows[:found])
                coupling[found, place] = norm
                found += 1
        while found < room:
            row = torch.randn(size, generator=self._generator, dtype=rest.dtype).to(rest.device)
            rows[found] = self._apart(row, rows[:found])
            found += 1
        return rows, coupling

    def _apart(self, row: Tensor, others: Tensor) -> Tensor:
        """Make a row orthogonal to the basis and to others, to the last digit, and of length 1.

        A short row that was made longer has made longer what rounding had left in it.
        """
        for _ in range(2):
            row = row - self.basis.T @ (self.basis @ row)
            row = row - others.T @ (others @ row)
            row = row / row.norm()
        return row


@final
@dataclass(frozen=True, kw_only=True)
class Eigenpairs:
    """Eigenvalues at the ends of a spectrum.

    Args:
        values: Descending: the largest, then the smallest.
        vectors: Unit eigenvectors, one per column.
        residuals: Norm of ``H v - value · v``; a true eigenvalue is no farther than this.
        products: How many were computed.
        settled: Whether all residuals are within the tolerance.
    """

    values: tuple[float, ...]
    vectors: Tensor
    residuals: tuple[float, ...]
    products: int
    settled: bool

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the vectors as plain data."""
        return {
            "values": list(self.values),
            "residuals": list(self.residuals),
            "products": self.products,
            "settled": self.settled,
        }


def extreme_eigenvalues(
    matrix: Curvature | Tensor,
    *,
    largest: int = 1,
    smallest: int = 0,
    tolerance: float = 1e-3,
    max_products: int = 200,
    block: int = 1,
    seed: int = 0,
) -> Eigenpairs:
    """Find the largest and smallest eigenvalues and their eigenvectors by Lanczos.

    Each product serves all of them, so that five eigenvalues cost little more than one. Residuals
    are stated: within each lies a true eigenvalue, and the smallest value is never below the true
    smallest, so a negative one proves negative curvature. Keeps one vector per product in
    memory. For the spectrum between the ends take `spectral_density`.

    Args:
        matrix: A `Curvature`, or a symmetric tensor.
        largest: How many from the top.
        smallest: How many from the bottom.
        tolerance: Largest residual, as a share of the largest absolute eigenvalue. The error of
            a value that lies apart is about its square.
        max_products: Ends the search; then the result is not `settled`.
        block: Directions at a time. An eigenvalue that occurs several times is found as often
            only if there are as many.
        seed: Of the first directions.

    Raises:
        UsageError: A number is out of range, or the tensor is not symmetric.

    Source: lanczos1950iteration; golub1977block, for blocks.
    Reduces to: torch.linalg.eigvalsh at `tolerance=0` with as many products as rows.
    Checked against: torch.linalg.eigvalsh of random matrices and of exact Hessians.
    """
    found = as_symmetric("extreme_eigenvalues", matrix)
    _check(largest, smallest, tolerance, max_products, block)
    generator = torch.Generator().manual_seed(seed)
    block = min(block, found.size)
    start = torch.randn(block, found.size, generator=generator, dtype=found.like.dtype)
    krylov = Krylov(found, start.to(found.like.device), generator)
    wanted = min(largest + smallest, found.size)
    while True:
        krylov.step()
        over = krylov.complete or krylov.products >= max_products
        if not over and (krylov.rows < wanted or krylov.rows % 4 >= block):
            continue  # the small problem is not solved after every product
        values, vectors, residuals = krylov.ritz()
        top = range(krylov.rows - 1, krylov.rows - 1 - min(largest, krylov.rows), -1)
        bottom = range(min(smallest, krylov.rows) - 1, -1, -1)
        places = [*top, *(place for place in bottom if place not in top)]
        limit = tolerance * float(values.abs().max())
        rounding = 100 * torch.finfo(found.like.dtype).eps * krylov.scale
        settled = len(places) == wanted and bool((residuals[places] <= max(limit, rounding)).all())
        if over or settled:
            break
    chosen = vectors[:, places].to(krylov.basis)
    return Eigenpairs(
        values=tuple(values[places].tolist()),
        vectors=krylov.basis.T @ chosen,
        residuals=tuple(residuals[places].tolist()),
        products=krylov.products,
        settled=settled or krylov.complete,
    )


def _check(largest: int, smallest: int, tolerance: float, max_products: int, block: int) -> None:
    wrong = None
    if largest < 0 or smallest < 0 or largest + smallest < 1:
        wrong = f"`largest` and `smallest` must be 0 or more, not both 0; got {largest}, {smallest}"
    elif not 0 <= tolerance < 1:
        wrong = f"`tolerance` must lie in [0, 1); got {tolerance}"
    elif max_products < largest + smallest:
        wrong = (
            f"`max_products` must be at least {largest + smallest}, the number of eigenvalues;"
            f" got {max_products}"
        )
    elif block < 1:
        wrong = f"`block` must be at least 1; got {block}"
    if wrong:
        raise UsageError(f"extreme_eigenvalues: {wrong}.")
