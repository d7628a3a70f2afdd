"""What probes of a model measure with: losses of parts of batches, scores, means with intervals.

B batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from statistics import fmean, stdev
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.intervals import t_quantile
from ._result import Interval

Loss = Callable[[Tensor, Tensor], Tensor]
Pairs = Iterable[Any]
"""Batches whose first two parts are inputs and targets, again and again the same kind."""

_PARTS: Final = 4


def pairs_of(owner: str, batches: Pairs, most: int) -> list[tuple[Tensor, Tensor]]:
    """Give the first batches.

    Args:
        owner: Who asks, for errors.
        batches: Pairs of inputs and targets.
        most: How many at most.
    """
    found = [(batch[0], batch[1]) for batch in islice(iter(batches), most)]
    if not found or found[0][1] is None:
        raise UsageError(
            f"{owner}: `batches` must give at least one pair of inputs and targets;"
            f" got {'none' if not found else 'no targets'}. Give a list of pairs or a loader."
        )
    return found


def part_losses(loss: Loss, outputs: Tensor, targets: Tensor) -> list[float]:
    """Give the losses of a few parts of a batch, whose spread says how sure their mean is.

    Args:
        loss: ``loss(outputs, targets)``.
        outputs: (B, ...).
        targets: (B, ...).
    """
    parts = min(_PARTS, len(outputs))
    cut = zip(outputs.chunk(parts), targets.chunk(parts), strict=True)
    return [float(loss(some, wanted).detach()) for some, wanted in cut]


def mean_interval(values: Sequence[float]) -> tuple[float, Interval]:
    """Give the mean and its 95% interval; without bounds for a single value.

    Args:
        values: Measured alike and one by one.
    """
    mean = fmean(values)
    if len(values) < 2 or not math.isfinite(mean):
        return mean, (-math.inf, math.inf)
    half = t_quantile(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, (mean - half, mean + half)


def best_constant(loss: Loss, outputs: Tensor, targets: Tensor) -> float:
    """Give the loss of the best outputs that are the same for every example.

    Of balanced classes and cross-entropy it is ln K, of numbers and squared errors the variance.

    Args:
        loss: ``loss(outputs, targets)``.
        outputs: (B, ...), whose shape is taken.
        targets: (B, ...).
    """
    same = torch.zeros(outputs.shape[1:], device=outputs.device, requires_grad=True)
    if not targets.is_floating_point() or outputs.shape != targets.shape:
        lowest = float(loss(same.detach().expand(outputs.shape), targets))
    else:
        with torch.no_grad():
            same.copy_(targets.mean(dim=0))
        lowest = float(loss(same.detach().expand(outputs.shape), targets))
    optimizer = torch.optim.LBFGS([same], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(same.expand(outputs.shape), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    try:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        reached = float(loss(same.detach().expand(outputs.shape), targets))
    except RuntimeError:  # a loss that does not depend on its outputs
        return lowest
    return min(lowest, reached) if math.isfinite(reached) else lowest


def is_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Say whether outputs are scores of classes and targets their indices.

    Args:
        outputs: (B, ...).
        targets: (B, ...).
    """
    return not targets.is_floating_point() and outputs.ndim == targets.ndim + 1


def without_noise(model: nn.Module) -> None:
    """Turn dropout and its kin off, whatever the mode of the model is.

    Args:
        model: A copy.
    """
    for module in model.modules():
        name = type(module).__name__.lower()
        if "drop" in name or "stochastic" in name:
            module.eval()
        if isinstance(getattr(module, "dropout", None), float):  # recurrent layers, attention
            module.dropout = 0.0  # type: ignore[assignment]
