"""Look at the error surface: losses along lines and on planes through the space of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from ...core.errors import UsageError
from ._loss_over import Loss, LossOver, Mode, Weights
from ._pictures import LossLine, LossPlane

Scale = Literal["filter", "layer", "none"]


def random_direction(
    model: nn.Module, *, scale: Scale = "filter", seed: int = 0
) -> dict[str, Tensor]:
    """Draw a random direction in the space of trainable weights, comparable between networks.

    A filter of a layer may be made larger and the next one smaller without changing the network;
    plain random steps then look large or small. With `filter`, each row of a matrix and each
    filter of a convolution gets the length of the one it is added to. Vectors (biases, and the
    weights of normalization) stay as they are, with `filter` and `layer`.

        d  = random normal
        dᵢ ← dᵢ ‖wᵢ‖ / ‖dᵢ‖    for filter i of each layer

    Args:
        model: Gives names, shapes, and lengths.
        scale: Of the steps: as long as each filter, as each layer, or not changed.
        seed: Of the random numbers.

    Raises:
        UsageError: `scale` is none of these, or nothing can be trained.

    Source: li2018visualizing, section 4.
    Checked against: norms of filters; networks that differ by such scales alone.
    """
    if scale not in ("filter", "layer", "none"):
        raise UsageError(
            f"random_direction: `scale` must be 'filter', 'layer' or 'none'; got {scale!r}."
        )
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        w = weight.detach()
        d = torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w)
        if scale != "none" and w.dim() < 2:
            d = torch.zeros_like(w)
        elif scale != "none":
            axes = tuple(range(1 if scale == "filter" else 0, w.dim()))
            wanted, length = (vector_norm(t, dim=axes, keepdim=True) for t in (w, d))
            d = d * wanted / length.clamp_min(torch.finfo(w.dtype).tiny)
        found[name] = d
    if not found:
        raise UsageError("random_direction: `model` must have a trainable parameter; got none.")
    return found


def loss_line(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    direction: Weights | None = None,
    *,
    low: float = -1.0,
    high: float = 1.0,
    points: int = 41,
    mode: Mode = "eval",
    seed: int = 0,
) -> LossLine:
    """Measure the loss along a line through the present weights.

    Shows how wide the valley is, and how steep the walls. The direction is random and
    filter-normalized unless one is given, such as an eigenvector of `extreme_eigenvalues` by
    ``curvature.named(...)``. The model, its buffers and modes, the position of the batches and
    the global random generators are left as they were.

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        direction: By name of the weight; weights that are not named stay.
        low: First step; 0 is the present weights.
        high: Last step.
        points: How many, at equal distances.
        mode: As in `Curvature`.
        seed: Of the random direction and the dropout noise.

    Raises:
        UsageError: A number is out of range, or `direction` does not fit the weights.

    Source: li2018visualizing, section 3; goodfellow2015qualitatively.
    Checked against: brute force over each point.
    """
    over = LossOver("loss_line", model, loss, batches, mode, seed)
    given = random_direction(model, seed=seed) if direction is None else direction
    step = _fitting("loss_line", "direction", given, over.weights)
    places = _places("loss_line", low, high, points)
    losses = over.values(_moved(over.weights, (p, step)) for p in places)
    return LossLine(positions=places, losses=tuple(losses))


def loss_plane(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    first: Weights | None = None,
    second: Weights | None = None,
    *,
    span: float = 1.0,
    points: int = 21,
    mode: Mode = "eval",
    seed: int = 0,
) -> LossPlane:
    """Measure the loss on a plane through the present weights.

    Costs the square of `points` passes over the batches. Two directions out of thousands: a valley
    that is smooth here may be rough elsewhere, and walls on the plane may have gates beside it;
    where a training went is seen by `trajectory_plane`. What is left as it was: as `loss_line`.

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        first: Direction by name of the weight; None draws a filter-normalized one.
        second: As `first`.
        span: Largest step each way.
        points: Along each direction; an odd number has the present weights among them.
        mode: As in `Curvature`.
        seed: Of the random directions and the dropout noise.

    Raises:
        UsageError: A number is out of range, or a direction does not fit the weights.

    Source: li2018visualizing, section 4.
    Checked against: brute force over each point of a linear model.
    """
    over = LossOver("loss_plane", model, loss, batches, mode, seed)
    drawn = (random_direction(model, seed=seed + number) for number in (0, 1_000_003))
    steps = [
        _fitting("loss_plane", name, given if given is not None else other, over.weights)
        for name, given, other in zip(("first", "second"), (first, second), drawn, strict=True)
    ]
    places = _places("loss_plane", -span, span, points)
    losses = _grid(over, over.weights, steps, places, places)
    return LossPlane(x=places, y=places, losses=losses)


def interpolation(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    start: Weights,
    end: Weights,
    *,
    low: float = -0.5,
    high: float = 1.5,
    points: int = 41,
    mode: Mode = "eval",
) -> LossLine:
    """Measure the loss on the straight line between two sets of weights.

    From first weights to last ones it shows whether there was an obstacle; between two trainings,
    whether they lie in one basin (`barrier` of the result is 0), which is when averaging them
    works. Moving averages of batch norm are interpolated too; where they do not fit what lies
    between, take ``mode="train"``. What is left as it was: as `loss_line`.

        loss of  (1 - p) · start + p · end

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        start: State dict, at position 0.
        end: State dict, at position 1.
        low: First position.
        high: Last position.
        points: How many, at equal distances; 0 and 1 are added if they lie between.
        mode: As in `Curvature`.

    Raises:
        UsageError: A number is out of range, or a state dict does not fit the model.

    Source: goodfellow2015qualitatively, section 2; frankle2020linear, for the barrier.
    Checked against: brute force over each point; networks with permuted units.
    """
    over = LossOver("interpolation", model, loss, batches, mode, seed=0)
    begin, stop = (_state("interpolation", n, s, over) for n, s in (("start", start), ("end", end)))
    places = _places("interpolation", low, high, points)
    places = tuple(sorted({*places, *(p for p in (0.0, 1.0) if low <= p <= high)}))
    difference = {name: stop[name] - begin[name] for name in begin if name in stop}
    losses = over.values(_moved(begin, (p, difference)) for p in places)
    return LossLine(positions=places, losses=tuple(losses), label="position between the two")


def trajectory_plane(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    trajectory: Sequence[Mapping[str, Tensor]],
    *,
    points: int = 21,
    margin: float = 0.2,
    mode: Mode = "eval",
) -> LossPlane:
    """Measure the loss on the plane in which a training moved most.

    The plane goes through the last weights, along the two principal directions of the way. Random
    directions would show no movement: a path is nearly orthogonal to them. Buffers are those of
    the model. What is left as it was: as `loss_line`.

        principal directions of the rows  wₜ - w_last

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        trajectory: State dicts in order, such as those of checkpoints; three or more.
        points: Along each direction.
        margin: How far the plane reaches beyond the path, as a share of the path's width.
        mode: As in `Curvature`.

    Raises:
        UsageError: There are fewer than three, or they do not fit the model.

    Source: li2018visualizing, section 7.
    Checked against: numpy's singular values; a path in a plane that is known.
    """
    over = LossOver("trajectory_plane", model, loss, batches, mode, seed=0)
    if len(trajectory) < 3:
        raise UsageError(
            f"trajectory_plane: `trajectory` must have three or more state dicts; got"
            f" {len(trajectory)}. For two take interpolation."
        )
    if not margin >= 0:
        raise UsageError(f"trajectory_plane: `margin` must be 0 or more; got {margin}.")
    states = [_weights("trajectory_plane", "trajectory", s, over) for s in trajectory]
    rows = torch.stack([torch.cat([s[n].flatten().double() for n in over.weights]) for s in states])
    away = rows - rows[-1]
    _, spread, directions = torch.linalg.svd(away, full_matrices=False)
    if not float(spread[0]) > 0:
        raise UsageError("trajectory_plane: `trajectory` must move; got equal weights throughout.")
    where = away @ directions[:2].T
    shares = spread.square() / spread.square().sum()
    sizes = [weight.numel() for weight in over.weights.values()]
    steps = [
        {
            n: piece.view_as(w).to(w)
            for (n, w), piece in zip(over.weights.items(), torch.split(row, sizes), strict=True)
        }
        for row in directions[:2]
    ]
    widest = float((where.amax(0) - where.amin(0)).max())
    sides = []
    for axis in (0, 1):
        low, high = float(where[:, axis].min()), float(where[:, axis].max())
        extra = max(margin * (high - low), 0.05 * widest)
        sides.append(_places("trajectory_plane", low - extra, high + extra, points))
    return LossPlane(
        x=sides[0],
        y=sides[1],
        losses=_grid(over, states[-1], steps, sides[0], sides[1]),
        path=tuple((float(a), float(b)) for a, b in where),
        explained=tuple(shares[:2].tolist()),
    )


def _grid(
    over: LossOver,
    origin: Weights,
    steps: Sequence[Weights],
    x: Sequence[float],
    y: Sequence[float],
) -> tuple[tuple[float, ...], ...]:
    first, second = steps
    cells = (_moved(origin, (column, first), (row, second)) for row in y for column in x)
    losses = over.values(cells)
    return tuple(tuple(losses[k : k + len(x)]) for k in range(0, len(losses), len(x)))


def _moved(origin: Weights, *steps: tuple[float, Weights]) -> dict[str, Tensor]:
    moved = dict(origin)
    for length, direction in steps:
        for name, part in direction.items():
            if part.is_floating_point():
                moved[name] = moved[name] + length * part
    return moved


def _places(owner: str, low: float, high: float, points: int) -> tuple[float, ...]:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{owner}: the ends must be finite and ascending; got {low} and {high}.")
    if points < 2:
        raise UsageError(f"{owner}: `points` must be at least 2; got {points}.")
    return tuple(((points - 1 - k) * low + k * high) / (points - 1) for k in range(points))


def _fitting(owner: str, argument: str, given: Weights, weights: Weights) -> dict[str, Tensor]:
    """Take what belongs to the trainable weights, and check its shapes."""
    found = {name: given[name].detach() for name in weights if name in given}
    wrong = {n: tuple(t.shape) for n, t in found.items() if t.shape != weights[n].shape}
    if not found or wrong:
        what = f"the shapes {wrong}" if wrong else f"the names {sorted(given)[:5]}"
        raise UsageError(
            f"{owner}: `{argument}` must fit the trainable weights of the model; got {what}."
        )
    return {name: tensor.to(weights[name]) for name, tensor in found.items()}


def _weights(owner: str, argument: str, given: Weights, over: LossOver) -> dict[str, Tensor]:
    """Take the trainable weights of a state dict that has all of them."""
    missing = sorted(set(over.weights) - set(given))
    if missing:
        raise UsageError(
            f"{owner}: `{argument}` must have all trainable weights; got none for {missing[:5]}."
        )
    return _fitting(owner, argument, given, over.weights)


def _state(owner: str, argument: str, given: Weights, over: LossOver) -> dict[str, Tensor]:
    """Take all that has numbers of a state dict: weights, frozen ones, moving averages."""
    found = _weights(owner, argument, given, over)
    rest = {n: t for n, t in {**over.fixed, **over.buffers}.items() if t.is_floating_point()}
    both = {name: like for name, like in rest.items() if name in given}
    found.update({name: given[name].detach().to(like) for name, like in both.items()})
    return found
