"""How sharp is the place in the error surface where a training has ended?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from .._curvature._lanczos import extreme_eigenvalues
from .._curvature._loss_over import LossOver, Mode
from .._curvature._operator import Curvature
from .._measure import Loss, Pairs, mean_interval, one_tensor, pairs_of, part_losses
from .._result import Interval, ProbeResult, draw_rows
from .._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER: Final = "sharpness"
_HALVINGS: Final = 6
Climb = Callable[[Tensor], Tensor]
"""From a point of the box, whose sides are from -1 to 1, to weights."""


@final
@dataclass(frozen=True, kw_only=True)
class Sharpness(ProbeResult):
    """How much the loss rises around a solution, by several measures.

    Args:
        value: Rise at the worst point of a box around the weights, in percent of 1 + |`loss`|.
        interval: 95% interval of `value`, from differences on the same examples.
        control: The same of the other solution; if none was given, the mean over random corners.
        found: Whether this solution is sharper than the other by all measures; None if there is no
            other, or if the measures do not agree.
        conclusion: One sentence.
        loss: At the weights as they are.
        random: Mean rise at random corners of the same box, in the same percent.
        random_interval: 95% interval of `random`, over the draws.
        subspace: As `value`, at the worst point of a random subspace; NaN if it was left out.
        sam: Rise of a batch's loss after one step of length rho along its gradient, a mean over the
            batches, as SAM takes it; as in training only in mode ``train``.
        adaptive_sam: The same with lengths relative to each weight, which does not change when
            layers are rescaled against each other.
        eigenvalue: Largest eigenvalue of the Hessian.
        other: All these of the other solution, by name.
    """

    loss: float
    random: float
    random_interval: Interval
    subspace: float
    sam: float
    adaptive_sam: float
    eigenvalue: float
    other: dict[str, float] | None

    def _draw(self, axes: Axes) -> None:
        rows: list[tuple[str, float, Interval | None]] = [
            ("worst point of the box", self.value, self.interval),
            ("random corners", self.random, self.random_interval),
            ("worst of a subspace", self.subspace, None),
        ]
        if self.other is not None:
            rows.append(("other: worst point", self.other["value"], None))
            rows.append(("other: random corners", self.other["random"], None))
            rows.append(("other: subspace", self.other["subspace"], None))
        rows = [row for row in rows if math.isfinite(row[1])]
        draw_rows(axes, rows, "rise of the loss, % of 1 + |loss|")


def sharpness(
    model: nn.Module,
    loss: Loss,
    batches: Pairs,
    *,
    other: nn.Module | None = None,
    eps: float = 1e-3,
    rho: float = 0.05,
    adaptive_rho: float = 0.5,
    subspace: int = 100,
    steps: int = 10,
    draws: int = 8,
    mode: Mode = "eval",
    most: int = 16,
    seed: int = 0,
) -> Sharpness:
    """Measure how much the loss rises when the weights are moved a little, in the worst direction.

    To compare two solutions of one problem, as of two batch sizes or with and without SAM: a
    flatter one often, not always, generalizes better. One solution alone is never called sharp or
    flat, since every measure but the adaptive one changes when layers are rescaled against each
    other while the function stays the same; for the curvature itself ask `critical_point`.

        value       100 · (max L(w + d) - L(w)) / (1 + |L(w)|),  |dᵢ| ≤ eps (|wᵢ| + 1)
        subspace    the same with d = A y,  |yᵢ| ≤ eps (|(A⁺ w)ᵢ| + 1),  A random
        sam         mean over batches of  L(w + rho g / ‖g‖) - L(w)
        adaptive    mean over batches of  L(w + adaptive_rho w² g / ‖|w| g‖) - L(w)
        eigenvalue  largest of ∇²L(w)

    L and g of `sam` and `adaptive` are those of one batch, the others those of all examples.
    The control is what random corners of the box do, which are as far away as the worst one.

    Args:
        model: After training; measured on a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        batches: Pairs of inputs and targets, of the training part.
        other: Another solution of the same problem, to compare with.
        eps: Size of the box, a share of each weight plus 1.
        rho: Length of the step of SAM.
        adaptive_rho: Length of the adaptive step.
        subspace: Dimensions of the random subspace; all, if there are no more weights. It holds
            that many copies of the weights; 0 leaves it out, for large models.
        steps: Steps uphill at most; each costs a gradient over all batches.
        draws: Random corners.
        mode: ``eval`` normalizes with running statistics, ``train`` with those of each batch.
        most: Batches that are looked at.
        seed: Of corners, subspace, first direction of the eigenvalue, and dropout.

    Raises:
        UsageError: There is no batch or no trainable parameter, or a number is not positive.
        TrainingError: The loss is not finite at the weights as they are.

    Source: keskar2017improving, equations 3 and 4; foret2021sharpness, equation 2;
        kwon2021asam, equation 6.
    Differs: climbs by conditional gradients from the weights, from the worst random corner and
        along the top eigenvector, where the source takes ten iterations of L-BFGS-B.
    Checked against: SciPy's L-BFGS-B; quadratics in closed form; all corners of a small box.
    """
    _check(eps, rho, adaptive_rho, subspace, steps, draws)
    with sandbox(model, other, loss, batches) as (made, rival, loss, source):
        pairs = pairs_of(_OWNER, source, most, on=made)
        found = []
        for one in (made, rival):
            if one is not None:
                hessian = Curvature(one, loss, pairs, mode=mode, seed=seed)
                top = extreme_eigenvalues(hessian, tolerance=1e-2, max_products=100, seed=seed)
                surface = _Surface(LossOver(_OWNER, one, loss, pairs, mode, seed))
                measures, rises, corners = surface.measured(
                    eps, (rho, adaptive_rho), subspace, steps, draws, seed, top.vectors[:, 0]
                )
                measures["eigenvalue"] = top.values[0]
                found.append((measures, rises, corners))
    return _concluded(found)


def _check(
    eps: float, rho: float, adaptive_rho: float, subspace: int, steps: int, draws: int
) -> None:
    given = {"eps": eps, "rho": rho, "adaptive_rho": adaptive_rho}
    given |= {"steps": steps, "draws": draws}
    for name, number in given.items():
        if not 0 < number < math.inf:
            raise UsageError(
                f"{_OWNER}: `{name}` must be positive and finite; got {number}. Leave it out."
            )
    if subspace < 0:
        raise UsageError(
            f"{_OWNER}: `subspace` must be 0 or more; got {subspace}. 0 leaves it out."
        )


@final
class _Surface:
    """The loss over some batches as a function of one long vector of weights.

    Args:
        over: The loss over these batches.
    """

    def __init__(self, over: LossOver) -> None:
        self.over = over
        self.start = torch.cat([w.reshape(-1) for w in over.weights.values()])

    def measured(
        self,
        eps: float,
        lengths: tuple[float, float],
        subspace: int,
        steps: int,
        draws: int,
        seed: int,
        steepest: Tensor,
    ) -> tuple[dict[str, float], list[float], list[float]]:
        """Give the measures by name, the rises at the worst point by part, those of each draw."""
        start, (rho, adaptive_rho) = self.start, lengths
        loss = sum(self.batch(place, start)[0] for place in range(len(self.over.batches)))
        unit = 100 / (1 + abs(loss))
        sides = eps * (start.abs() + 1)

        def in_box(u: Tensor) -> Tensor:
            return start + sides * u

        random = torch.Generator().manual_seed(seed)
        corners = [_signs(len(start), random).to(start) for _ in range(draws)]
        rises = [self.loss_at(in_box(corner)) - loss for corner in corners]
        farthest = corners[max(range(draws), key=rises.__getitem__)]
        bent = [steepest.sign(), -steepest.sign()]
        worst, height = self.climbed(in_box, [torch.zeros_like(start), farthest, *bent], steps)

        plain, adaptive = self.steps_of_sam(rho, adaptive_rho)
        measures = {
            "value": unit * (height - loss),
            "loss": loss,
            "random": unit * fmean(rises),
            "subspace": unit * (self.aside(eps, min(subspace, len(start)), steps, random) - loss),
            "sam": plain,
            "adaptive_sam": adaptive,
        }
        both = zip(self.part_losses(in_box(worst)), self.part_losses(start), strict=True)
        return measures, [unit * (high - low) for high, low in both], [unit * r for r in rises]

    def aside(self, eps: float, dimensions: int, steps: int, random: torch.Generator) -> float:
        """Give the loss at the worst point of a random subspace; NaN if it has no dimension."""
        if not dimensions:
            return math.nan
        start = self.start
        axes = torch.randn(len(start), dimensions, generator=random).to(start)
        axes /= axes.norm(dim=0)
        along: Tensor = torch.linalg.lstsq(axes, start[:, None]).solution[:, 0]
        sides = eps * (along.abs() + 1)

        def in_subspace(u: Tensor) -> Tensor:
            return start + axes @ (sides * u)

        starts = [torch.zeros_like(sides), _signs(dimensions, random).to(start)]
        return self.climbed(in_subspace, starts, steps)[1]

    def climbed(self, weights: Climb, starts: list[Tensor], steps: int) -> tuple[Tensor, float]:
        """Give the highest point of the box that steps uphill reach, and the loss there.

        Each step goes toward the corner where a plane with the slope of the loss is highest, and
        half as far until the loss rises. Where the loss is convex, whole steps always do.
        """
        found = []
        for u in starts:
            height = self.loss_at(weights(u))
            for _ in range(steps if height < math.inf else 0):  # nothing is higher than infinity
                toward = self.slope(weights, u).sign() - u
                if not bool(toward.any()):
                    break  # no corner is higher than this one, as far as a plane can tell
                for halving in range(_HALVINGS):
                    reached = u + 0.5**halving * toward
                    higher = self.loss_at(weights(reached))
                    if higher > height:
                        break
                else:
                    break
                u, height = reached, higher
                if height == math.inf:
                    break
            found.append((height, u))
        height, u = max(found, key=lambda one: one[0])
        return u, height

    def slope(self, weights: Climb, u: Tensor) -> Tensor:
        u = u.clone().requires_grad_()
        moved = weights(u)
        slope: Tensor
        (slope,) = torch.autograd.grad(moved, u, self.slope_at(moved.detach()))
        return slope

    def loss_at(self, vector: Tensor) -> float:
        return _or_infinite(self.over.values([self.named(vector)])[0])

    def steps_of_sam(self, rho: float, adaptive_rho: float) -> tuple[float, float]:
        """Give how much a batch's loss rises along its gradient, plain and adaptive, on average."""
        start, size = self.start, self.start.abs()
        plain = adaptive = 0.0
        for place in range(len(self.over.batches)):
            low, slope = self.batch(place, start)
            step = _along(slope, rho)
            plain += self.height(place, start + step) - low
            step = size * _along(size * slope, adaptive_rho)
            adaptive += self.height(place, start + step) - low
        return plain, adaptive

    def height(self, place: int, vector: Tensor) -> float:
        """Give the loss of a batch times its share of the examples, infinite where it is."""
        with self.over.quiet(), torch.no_grad():
            outputs = self.over.outputs(place, self.named(vector))
            value = float(self.over.loss(outputs, self.over.batches[place][1]))
        return _or_infinite(value) * self.over.shares[place]

    def slope_at(self, vector: Tensor) -> Tensor:
        slope = torch.zeros_like(vector)
        for place in range(len(self.over.batches)):
            slope += self.batch(place, vector)[1]
        return slope

    def batch(self, place: int, vector: Tensor) -> tuple[float, Tensor]:
        """Give the loss of a batch and its gradient, both times its share of the examples."""
        with self.over.quiet():
            leaf = vector.clone().requires_grad_()
            value = self.over.of(self.over.outputs(place, self.named(leaf)), place)
            (slope,) = torch.autograd.grad(value, leaf)
        return float(value.detach()), slope

    def part_losses(self, vector: Tensor) -> list[float]:
        with self.over.quiet(), torch.no_grad():
            return [
                _or_infinite(part)
                for place, (_, targets) in enumerate(self.over.batches)
                for part in part_losses(
                    self.over.loss,
                    one_tensor(_OWNER, self.over.outputs(place, self.named(vector))),
                    targets,
                )
            ]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        sizes = [w.numel() for w in self.over.weights.values()]
        parts = zip(self.over.weights.items(), torch.split(vector, sizes), strict=True)
        return {name: part.view(w.shape) for (name, w), part in parts}


def _or_infinite(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _signs(size: int, random: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, (size,), generator=random) - 1


def _along(slope: Tensor, length: float) -> Tensor:
    norm = slope.norm()
    return slope * (length / norm) if float(norm) > 0 else torch.zeros_like(slope)


Measured = tuple[dict[str, float], list[float], list[float]]


def _concluded(found: list[Measured]) -> Sharpness:
    (measures, rises, corners), *rivals = found
    value = measures["value"]
    low, high = mean_interval(rises)[1]
    interval = (-math.inf, math.inf)
    if math.isfinite(value):
        interval = (value - (high - low) / 2, value + (high - low) / 2)
    random, random_interval = mean_interval(corners)
    other = rivals[0][0] if rivals else None
    control = random if other is None else other["value"]
    numbers = (
        f"the loss {measures['loss']:.3g} rises at worst by {value:.3g} %, 95% interval"
        f" {interval[0]:.3g} to {interval[1]:.3g}, at random corners by {random:.3g} %"
    )
    sharper: bool | None = None
    if other is None:
        start = "Insufficient evidence without another solution to compare with"
    else:
        gaps = [a - b for a, b in zip(rises, rivals[0][1], strict=True)]
        difference, (low, high) = mean_interval(gaps)
        sharper = _verdict(low, high, [measures[name] - other[name] for name in _AGREEING])
        starts = {
            True: "This solution is sharper than the other by all measures",
            False: "This solution is flatter than the other by all measures",
            None: "Insufficient evidence which solution is sharper",
        }
        start = starts[sharper]
        if sharper is None and (low > 0 or high < 0):
            start += ": the measures disagree"
        numbers += (
            f"; the other {control:.3g} %, difference {difference:.3g}, 95% interval {low:.3g} to"
            f" {high:.3g}; top eigenvalue {measures['eigenvalue']:.3g} and"
            f" {other['eigenvalue']:.3g}, after a step of SAM {measures['sam']:.3g} and"
            f" {other['sam']:.3g}"
        )
    return Sharpness(
        interval=interval,
        control=control,
        found=sharper,
        conclusion=f"{start} ({numbers}).",
        random_interval=random_interval,
        other=other,
        **measures,
    )


_AGREEING: Final = ("sam", "adaptive_sam", "eigenvalue")


def _verdict(low: float, high: float, others: list[float]) -> bool | None:
    if low > 0 and all(gap > 0 for gap in others):
        return True
    if high < 0 and all(gap < 0 for gap in others):
        return False
    return None
