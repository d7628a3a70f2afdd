"""Planes that go through given weights: those of a training on its way, those of three trainings.

T weights of a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ._loss_over import Loss, LossOver, Mode, Weights
from ._pictures import LossPlane, PlaneMark
from ._points import (
    Progress,
    around,
    as_row,
    away,
    check_margin,
    from_row,
    losses_on,
    state_of,
    weights_of,
)

_FLAT = 1e-6  # a triangle that is less high than this share of its side is a line

States = Sequence[Weights] | Mapping[str, Weights]


def trajectory_plane(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    trajectory: States,
    *,
    points: int = 21,
    margin: float = 0.2,
    mode: Mode = "eval",
    seed: int = 0,
    progress: Progress | None = None,
) -> LossPlane:
    """Measure the loss on the plane in which a training moved most.

    The plane goes through the last weights, along the two principal directions of the way. Random
    directions would show no movement: a path is nearly orthogonal to them. The path is drawn where
    it falls on the plane; `marks` of the result hold the losses of the weights themselves, which
    lie off the plane by what `explained` lacks. A long path looks like an arc in such a plane, that
    of a random walk too. Buffers are those of the model. What is left as it was: as `loss_line`.

        principal directions of the rows  wₜ - w_last

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        trajectory: State dicts in order, such as those of checkpoints, three or more; by name if
            they have names.
        points: Along each direction.
        margin: How far the plane reaches beyond the path, as a share of the path's width.
        mode: As in `Curvature`.
        seed: Of the dropout noise.
        progress: Called with the points that are done, and all of them.

    Raises:
        UsageError: There are fewer than three, or they do not fit the model.

    Source: li2018visualizing, section 7; antognini2018pca, for the arcs.
    Checked against: numpy's singular values; a path in a plane that is known.
    """
    over = LossOver("trajectory_plane", model, loss, batches, mode, seed)
    if len(trajectory) < 3:
        raise UsageError(
            f"trajectory_plane: `trajectory` must have three or more state dicts; got"
            f" {len(trajectory)}. For two take interpolation."
        )
    check_margin("trajectory_plane", margin)
    named = _named(trajectory)
    states = [weights_of("trajectory_plane", "trajectory", state, over) for _, state in named]
    rows = torch.stack([as_row(state, over) for state in states])
    offsets = rows - rows[-1]
    _, spread, directions = torch.linalg.svd(offsets, full_matrices=False)
    if not float(spread[0]) > 0:
        raise UsageError("trajectory_plane: `trajectory` must move; got equal weights throughout.")
    where = [(float(a), float(b)) for a, b in offsets @ directions[:2].T]
    sides = around("trajectory_plane", where, margin, points)
    steps = [from_row(row, over) for row in directions[:2]]
    shares = spread.square() / spread.square().sum()
    return LossPlane(
        x=sides[0],
        y=sides[1],
        losses=losses_on(over, states[-1], steps, sides, progress),
        path=tuple(where),
        explained=tuple(shares[:2].tolist()),
        marks=_marks(over, [name for name, _ in named], where, states),
    )


def plane_through(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    states: States,
    *,
    points: int = 21,
    margin: float = 0.3,
    mode: Mode = "eval",
    seed: int = 0,
    progress: Progress | None = None,
) -> LossPlane:
    """Measure the loss on the plane through three sets of weights.

    Shows whether three trainings lie in one basin or in valleys of their own, and how the walls
    between them look; for two of them take `interpolation`, whose `barrier` is a number. Distances
    on the plane are those of the weights. Moving averages of batch norm lie on the plane as the
    weights do, and do not fit what is between: there ``mode="train"`` tells more. What is left as
    it was: as `loss_line`.

        w(x, y) = w₁ + x û + y v̂,   u = w₂ - w₁,   v = w₃ - w₁ - ⟨w₃ - w₁, û⟩ û

    Args:
        model: On its device.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        states: Three state dicts; by name if they have names.
        points: Along each direction.
        margin: How far the plane reaches beyond the triangle, as a share of its width.
        mode: As in `Curvature`.
        seed: Of the dropout noise.
        progress: Called with the points that are done, and all of them.

    Raises:
        UsageError: There are not three, they lie on one line, or they do not fit the model.

    Source: garipov2018loss, section 1.
    Checked against: brute force over each point of a linear model.
    Reduces to: `interpolation` along each side of the triangle.
    """
    over = LossOver("plane_through", model, loss, batches, mode, seed)
    if len(states) != 3:
        raise UsageError(
            f"plane_through: `states` must be three state dicts; got {len(states)}. For two take"
            " interpolation, for a whole training trajectory_plane."
        )
    check_margin("plane_through", margin)
    named = _named(states)
    first, second, third = (state_of("plane_through", "states", state, over) for _, state in named)
    side, other = away(first, second), away(first, third)
    u, v = as_row(side, over), as_row(other, over)
    length = float(u.norm())
    along = float(u @ v) / max(length, torch.finfo(torch.float64).tiny)
    height = float((v - along * u / length).norm()) if length > 0 else 0.0
    if not height > _FLAT * float(v.norm()):
        raise UsageError(
            "plane_through: `states` must not lie on one line; these do, or two are equal. Take"
            " interpolation between the outer ones."
        )
    across = {name: part - along / length * side[name] for name, part in _floats(other).items()}
    steps = [_over(_floats(side), length), _over(across, height)]
    corners = [(0.0, 0.0), (length, 0.0), (along, height)]
    sides = around("plane_through", corners, margin, points)
    names = [name for name, _ in named]
    return LossPlane(
        x=sides[0],
        y=sides[1],
        losses=losses_on(over, first, steps, sides, progress),
        marks=_marks(over, names, corners, [first, second, third]),
        labels=(f"distance from {names[0]} toward {names[1]}", f"distance toward {names[2]}"),
    )


def _named(states: States) -> list[tuple[str, Weights]]:
    if isinstance(states, Mapping):
        return list(states.items())
    return [(str(number), state) for number, state in enumerate(states, start=1)]


def _floats(step: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: part for name, part in step.items() if part.is_floating_point()}


def _over(step: Mapping[str, Tensor], length: float) -> dict[str, Tensor]:
    return {name: part / length for name, part in step.items()}


def _marks(
    over: LossOver,
    names: Sequence[str],
    where: Sequence[tuple[float, float]],
    states: Sequence[Weights],
) -> tuple[PlaneMark, ...]:
    losses = over.values(states)
    return tuple(
        PlaneMark(name=name, x=x, y=y, loss=loss)
        for name, (x, y), loss in zip(names, where, losses, strict=True)
    )
