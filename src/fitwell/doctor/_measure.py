"""What probes of a model measure with: losses of parts of batches, scores, means with intervals.

B batch, N examples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, stdev
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..core.errors import UsageError
from ..core.intervals import t_quantile, wilson_interval
from ..data import Batches
from ._result import Interval
from ._sandbox import sandbox

Loss = Callable[[Tensor, Tensor], Tensor]
Pairs = Iterable[Any]
"""Batches whose first two parts are inputs and targets, again and again the same kind."""

Answers = list[tuple[Tensor, Tensor]]
"""Outputs and targets, by batch."""

_PARTS: Final = 4


def pairs_of(
    owner: str, batches: Pairs, most: int, *, on: nn.Module | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Give the first batches.

    Args:
        owner: Who asks, for errors.
        batches: Pairs of inputs and targets.
        most: How many at most.
        on: Model to whose device they go; None leaves them where they are.
    """
    own = None if on is None else next(on.parameters(), None)
    found = [
        _moved(pair_of(owner, batch), None if own is None else own.device)
        for batch in islice(iter(batches), most)
    ]
    if not found or found[0][1] is None:
        raise UsageError(
            f"{owner}: `batches` must give at least one pair of inputs and targets;"
            f" got {'none' if not found else 'no targets'}. Give a list of pairs or a loader."
        )
    return found


def pair_of(owner: str, batch: Any) -> tuple[Any, Any]:
    """Give inputs and targets of a batch.

    Args:
        owner: Who asks, for errors.
        batch: A tuple or list that begins with them, or an object that names them.
    """
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], batch[1]
    if hasattr(batch, "inputs") and hasattr(batch, "targets"):
        return batch.inputs, batch.targets
    raise UsageError(
        f"{owner}: `batches` must give pairs of inputs and targets; got a {type(batch).__name__}."
        " Map other batches to such pairs."
    )


def _moved(pair: tuple[Any, Any], device: torch.device | None) -> tuple[Any, Any]:
    if device is None:
        return pair
    moved: tuple[Any, Any] = tree_map(lambda x: x.to(device) if hasattr(x, "to") else x, pair)
    return moved


def one_tensor(owner: str, outputs: Any) -> Tensor:
    """Give outputs that are one tensor; parts of a batch cannot be cut out of others.

    Args:
        owner: Who asks, for errors.
        outputs: What a model gives.
    """
    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"{owner}: `model` must give one tensor for a batch; got a {type(outputs).__name__}."
            " Wrap it in a module that gives the part that the loss looks at."
        )
    return outputs


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
    Measured in the type of the outputs, or in single precision where that is coarser.

    Args:
        loss: ``loss(outputs, targets)``.
        outputs: (B, ...), whose shape is taken.
        targets: (B, ...).
    """
    kind = torch.promote_types(outputs.dtype, torch.float32)
    same = torch.zeros(outputs.shape[1:], dtype=kind, device=outputs.device, requires_grad=True)
    if targets.is_floating_point():
        targets = targets.to(kind)
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


def answers_of(owner: str, model: nn.Module, batches: Pairs, most: int) -> Answers:
    """Give outputs in evaluation mode and targets of the first batches, with a copy of the model.

    Args:
        owner: Who asks, for errors.
        model: As it is.
        batches: Pairs of inputs and targets; `Batches` are drawn anew, without augmentation.
        most: How many batches at most.
    """
    with sandbox(model, batches) as (made, source), torch.no_grad():
        if isinstance(source, Batches):
            source = Batches(
                source.examples, source.batch_size, shuffle=True, seed=0, device=source.device
            )
        made.eval()
        pairs = pairs_of(owner, source, most, on=made)
        return [(one_tensor(owner, made(inputs)), targets) for inputs, targets in pairs]


def class_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Give the share of wrong classes of each example: its pixels or tokens are no further ones.

    Args:
        outputs: (B, K, ...), as cross-entropy takes them, or (B, ..., K).
        targets: (B, ...); those below 0 are left out.
    """
    first = outputs.shape[:1] + outputs.shape[2:] == targets.shape
    return shares_of(outputs.argmax(dim=1 if first else -1).ne(targets), targets)


def shares_of(marks: Tensor, targets: Tensor) -> Tensor:
    """Give the share of marks of each example; examples without a target are left out.

    Args:
        marks: (B, ...), 0 or 1.
        targets: (B, ...); those below 0 do not count.
    """
    known = (targets >= 0).reshape(len(targets), -1)
    count = known.sum(dim=1)
    hits = (marks.reshape(known.shape) & known).sum(dim=1)
    return (hits.double() / count)[count > 0]


@final
@dataclass(frozen=True, kw_only=True)
class AccuracyGap:
    """The share of right classes on both parts.

    Of examples with many targets, as pixels or tokens, the mean of the examples' shares: what lies
    in one picture is no independent evidence.

    Args:
        value: Accuracy on training examples minus accuracy on held-out examples.
        interval: 95% interval of `value`, after Newcombe.
        train: On training examples.
        train_interval: 95% interval of `train`, after Wilson; of shares, that of their mean.
        valid: On held-out examples.
        valid_interval: The same of `valid`.
        chance: Share of the most frequent class among the held-out examples.
    """

    value: float
    interval: Interval
    train: float
    train_interval: Interval
    valid: float
    valid_interval: Interval
    chance: float


def accuracy_gap(
    train: Sequence[Tensor], valid: Sequence[Tensor], *, chance: float = math.nan
) -> AccuracyGap:
    """Compare the shares of right answers of two parts.

    Args:
        train: Whether each training example is right, or the share of it that is, by batch.
        valid: The same of held-out examples.
        chance: Share of the most frequent class among the held-out examples.
    """
    (share, (low, high)), (held_share, (held_low, held_high)) = map(_share, (train, valid))
    value = share - held_share
    return AccuracyGap(
        value=value,
        interval=(
            value - math.hypot(share - low, held_high - held_share),
            value + math.hypot(high - share, held_share - held_low),
        ),
        train=share,
        train_interval=(low, high),
        valid=held_share,
        valid_interval=(held_low, held_high),
        chance=chance,
    )


def _share(right: Sequence[Tensor]) -> tuple[float, Interval]:
    """Give the mean share and its 95% interval."""
    shares = torch.cat([some.double().cpu() for some in right])
    if bool(((shares == 0) | (shares == 1)).all()):
        hits = int(shares.sum())
        return hits / len(shares), wilson_interval(hits, len(shares))
    mean, (low, high) = mean_interval(shares.tolist())
    return mean, (max(0.0, low), min(1.0, high))


def without_noise(model: nn.Module) -> None:
    """Turn dropout and its kin off, whatever the mode of the model is.

    Args:
        model: A copy.
    """
    for module in model.modules():
        name = type(module).__name__.lower()
        if "drop" in name or "stochastic" in name:
            module.training = False  # its own alone: a whole network may be called so
        for key, value in list(vars(module).items()):  # recurrent layers, attention, own blocks
            is_rate = isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_rate and "drop" in key.lower() and 0 < value <= 1:
                setattr(module, key, type(value)(0))
