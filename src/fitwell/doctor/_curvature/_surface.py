"""Look at the error surface around some weights, and on the line between two sets of them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from ...core.errors import UsageError
from .._sandbox import uncompiled
from ._loss_over import Loss, LossOver, Mode, Weights
from ._pictures import LossLine, LossPlane
from ._points import Progress, away, between, fitting, losses_at, losses_on, state_of

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
    for name, weight in uncompiled(model).named_parameters():
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
    progress: Progress | None = None,
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
        progress: Called with the points that are done, and all of them.

    Raises:
        UsageError: A number is out of range, or `direction` does not fit the weights.

    Source: li2018visualizing, section 3; goodfellow2015qualitatively.
    Checked against: brute force over each point.
    """
    over = LossOver("loss_line", model, loss, batches, mode, seed)
    given = random_direction(model, seed=seed) if direction is None else direction
    step = fitting("loss_line", "direction", given, over.weights)
    places = between("loss_line", low, high, points)
    losses = losses_at(over, over.weights, [step], [(p,) for p in places], progress)
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
    progress: Progress | None = None,
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
        progress: Called with the points that are done, and all of them.

    Raises:
        UsageError: A number is out of range, or a direction does not fit the weights.

    Source: li2018visualizing, section 4.
    Checked against: brute force over each point of a linear model.
    """
    over = LossOver("loss_plane", model, loss, batches, mode, seed)
    drawn = (random_direction(model, seed=seed + number) for number in (0, 1_000_003))
    steps = [
        fitting("loss_plane", name, given if given is not None else other, over.weights)
        for name, given, other in zip(("first", "second"), (first, second), drawn, strict=True)
    ]
    places = between("loss_plane", -span, span, points)
    losses = losses_on(over, over.weights, steps, (places, places), progress)
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
    seed: int = 0,
    progress: Progress | None = None,
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
        seed: Of the dropout noise.
        progress: Called with the points that are done, and all of them.

    Raises:
        UsageError: A number is out of range, or a state dict does not fit the model.

    Source: goodfellow2015qualitatively, section 2; frankle2020linear, for the barrier.
    Checked against: brute force over each point; networks with permuted units.
    """
    over = LossOver("interpolation", model, loss, batches, mode, seed)
    begin, stop = (
        state_of("interpolation", name, state, over)
        for name, state in (("start", start), ("end", end))
    )
    places = between("interpolation", low, high, points)
    places = tuple(sorted({*places, *(p for p in (0.0, 1.0) if low <= p <= high)}))
    losses = losses_at(over, begin, [away(begin, stop)], [(p,) for p in places], progress)
    return LossLine(positions=places, losses=tuple(losses), label="position between the two")
