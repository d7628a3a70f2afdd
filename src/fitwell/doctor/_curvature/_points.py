"""Points in the space of weights: where they lie, whether they fit, and the losses there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._loss_over import LossOver, Weights

Progress = Callable[[int, int], None]
"""Called with the points that are done, and all of them."""


def moved(origin: Weights, *steps: tuple[float, Weights]) -> dict[str, Tensor]:
    """Give the weights some steps away from others; what is not a float stays.

    Args:
        origin: Where to begin.
        steps: Lengths and directions.
    """
    found = dict(origin)
    for length, direction in steps:
        for name, part in direction.items():
            if part.is_floating_point():
                found[name] = found[name] + length * part
    return found


def losses_at(
    over: LossOver,
    origin: Weights,
    steps: Sequence[Weights],
    places: Sequence[tuple[float, ...]],
    progress: Progress | None = None,
) -> list[float]:
    """Give the loss at each place.

    One after the other: several in one pass (`torch.func.vmap`) were slower for convolutions, and
    for small dense networks took about as long to set up as all points together.

    Args:
        over: The loss.
        origin: Weights at the place of zeros.
        steps: Directions, one for each number of a place.
        places: Lengths along the directions.
        progress: Called after each.
    """
    found = []
    with over.quiet(), torch.no_grad():
        for place in places:
            found.append(over.value(moved(origin, *zip(place, steps, strict=True))))
            if progress is not None:
                progress(len(found), len(places))
    return found


def losses_on(
    over: LossOver,
    origin: Weights,
    steps: Sequence[Weights],
    sides: tuple[Sequence[float], Sequence[float]],
    progress: Progress | None = None,
) -> tuple[tuple[float, ...], ...]:
    """Give the losses on a plane, a row for each position along the second direction.

    Args:
        over: The loss.
        origin: Weights at the place of zeros.
        steps: Both directions.
        sides: Positions along each.
        progress: Called after each.
    """
    x, y = sides
    losses = losses_at(over, origin, steps, [(column, row) for row in y for column in x], progress)
    return tuple(tuple(losses[k : k + len(x)]) for k in range(0, len(losses), len(x)))


def between(owner: str, low: float, high: float, points: int) -> tuple[float, ...]:
    """Give positions at equal distances, both ends among them.

    Args:
        owner: Who asks, for messages.
        low: The first.
        high: The last.
        points: How many.

    Raises:
        UsageError: The ends are not finite and ascending, or there are fewer than two points.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{owner}: the ends must be finite and ascending; got {low} and {high}.")
    if points < 2:
        raise UsageError(f"{owner}: `points` must be at least 2; got {points}.")
    return tuple(((points - 1 - k) * low + k * high) / (points - 1) for k in range(points))


def check_margin(owner: str, margin: float) -> None:
    """Refuse a margin that cuts off what shall be seen.

    Args:
        owner: Who asks, for messages.
        margin: As a share of a width.

    Raises:
        UsageError: It is negative.
    """
    if not margin >= 0:
        raise UsageError(f"{owner}: `margin` must be 0 or more; got {margin}.")


def around(
    owner: str, spots: Sequence[tuple[float, float]], margin: float, points: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give positions along both axes of a plane that has all of some spots on it.

    Args:
        owner: Who asks, for messages.
        spots: What shall be on it.
        margin: How far it reaches beyond them, as a share of their width.
        points: Along each axis.

    Raises:
        UsageError: There are fewer than two points.
    """
    ends = [(min(side), max(side)) for side in zip(*spots, strict=True)]
    widest = max(high - low for low, high in ends)
    x, y = (
        between(owner, low - extra, high + extra, points)
        for low, high in ends
        for extra in (max(margin * (high - low), 0.05 * widest),)
    )
    return x, y


def fitting(owner: str, argument: str, given: Weights, weights: Weights) -> dict[str, Tensor]:
    """Take what belongs to the trainable weights, and check its shapes.

    Args:
        owner: Who asks, for messages.
        argument: What was given, for messages.
        given: By name.
        weights: The trainable ones.

    Raises:
        UsageError: There is nothing, or a shape differs.
    """
    found = {name: given[name].detach() for name in weights if name in given}
    wrong = {n: tuple(t.shape) for n, t in found.items() if t.shape != weights[n].shape}
    if not found or wrong:
        what = f"the shapes {wrong}" if wrong else f"the names {sorted(given)[:5]}"
        raise UsageError(
            f"{owner}: `{argument}` must fit the trainable weights of the model; got {what}."
        )
    return {name: tensor.to(weights[name]) for name, tensor in found.items()}


def weights_of(owner: str, argument: str, given: Weights, over: LossOver) -> dict[str, Tensor]:
    """Take the trainable weights of a state dict that has all of them.

    Args:
        owner: Who asks, for messages.
        argument: What was given, for messages.
        given: By name.
        over: Knows the model.

    Raises:
        UsageError: One is missing, or a shape differs.
    """
    missing = sorted(set(over.weights) - set(given))
    if missing:
        raise UsageError(
            f"{owner}: `{argument}` must have all trainable weights; got none for {missing[:5]}."
        )
    return fitting(owner, argument, given, over.weights)


def state_of(owner: str, argument: str, given: Weights, over: LossOver) -> dict[str, Tensor]:
    """Take all that has numbers of a state dict: weights, frozen ones, moving averages.

    Args:
        owner: Who asks, for messages.
        argument: What was given, for messages.
        given: By name.
        over: Knows the model.

    Raises:
        UsageError: A trainable weight is missing, or a shape differs.
    """
    found = weights_of(owner, argument, given, over)
    rest = {n: t for n, t in {**over.fixed, **over.buffers}.items() if t.is_floating_point()}
    both = {name: like for name, like in rest.items() if name in given}
    found.update({name: given[name].detach().to(like) for name, like in both.items()})
    return found


def away(start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the step from one set of weights to another, of what both have.

    Args:
        start: By name.
        end: By name.
    """
    return {name: end[name] - start[name] for name in start if name in end}


def as_row(weights: Weights, over: LossOver) -> Tensor:
    """Give the trainable weights as one row of float64.

    Args:
        weights: By name.
        over: Knows which are trainable, and their order.
    """
    return torch.cat([weights[name].flatten().double() for name in over.weights])


def from_row(row: Tensor, over: LossOver) -> dict[str, Tensor]:
    """Give a row as trainable weights, the other way round than `as_row`.

    Args:
        row: From all of them.
        over: Knows their names, shapes and types.
    """
    parts = torch.split(row, [weight.numel() for weight in over.weights.values()])
    named = zip(over.weights.items(), parts, strict=True)
    return {name: part.view_as(weight).to(weight) for (name, weight), part in named}
