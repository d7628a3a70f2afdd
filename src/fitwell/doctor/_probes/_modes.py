"""Does evaluation mode cost anything that training mode does not, and what do inputs say?

B batch, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from .._measure import Loss, Pairs, mean_interval, one_tensor, pairs_of, part_losses
from .._result import ProbeResult, draw_rows
from .._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Batch = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True, kw_only=True)
class Modes(ProbeResult):
    """Losses of both parts in both modes.

    Args:
        value: By how much the loss of a part is higher in evaluation than in training mode; of the
            part where it is most.
        interval: 95% interval of `value`, from differences between the same examples.
        control: The same of the other part.
        found: Whether evaluation mode makes the model worse; None if the evidence does not say.
        conclusion: One sentence.
        part: The part that `value` is of.
        train_as_trained: Loss of the training part in training mode.
        train_evaluated: Loss of the training part in evaluation mode.
        valid_as_trained: Loss of the held-out part in training mode.
        valid_evaluated: Loss of the held-out part in evaluation mode.
    """

    part: str
    train_as_trained: float
    train_evaluated: float
    valid_as_trained: float
    valid_evaluated: float

    def _draw(self, axes: Axes) -> None:
        rows = [
            ("train, training mode", self.train_as_trained, None),
            ("train, evaluation mode", self.train_evaluated, None),
            ("valid, training mode", self.valid_as_trained, None),
            ("valid, evaluation mode", self.valid_evaluated, None),
        ]
        draw_rows(axes, rows, "loss")


def modes(
    model: nn.Module,
    loss: Loss,
    train: Pairs,
    valid: Pairs,
    *,
    margin: float = 0.1,
    most: int = 16,
    seed: int = 0,
) -> Modes:
    """Measure training and held-out data in training and in evaluation mode.

    Before a gap between training and validation is called overfitting. Evaluation mode should not
    be worse than training mode: dropout is off. If it is worse on the training data, running
    statistics are wrong (too few steps, too small batches, a mode set wrongly). If it is worse on
    the held-out data alone, these have other statistics than what was trained on, as when they
    were not preprocessed alike; batch statistics then hide it. If neither, the gap is real.

    Args:
        model: After training; measured on copies, so running statistics stay as they are.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        train: Batches of the training part, of the size that was trained with.
        valid: Batches of held-out examples, as large.
        margin: A loss higher by at most this share of the larger one in training mode is no
            difference.
        most: Batches of each part that are looked at.
        seed: Of dropout.

    Raises:
        UsageError: There is no batch.

    Checked against: batch norm with wrong statistics, shifted inputs, dropout.
    """
    found = {}
    for name, batches in (("train", train), ("valid", valid)):
        with sandbox(batches) as (source,):
            pairs = pairs_of("modes", source, most, on=model)
        found[name] = [_losses(model, loss, pairs, mode, seed) for mode in (True, False)]
    excess = {name: [b - a for a, b in zip(*both, strict=True)] for name, both in found.items()}
    worst = max(excess, key=lambda name: fmean(excess[name]))
    other = "train" if worst == "valid" else "valid"
    value, interval = mean_interval(excess[worst])
    limit = margin * max(abs(fmean(both[0])) for both in found.values())
    worse: bool | None = None
    if interval[0] > 0 and value > limit:
        worse = True
    elif interval[1] <= max(limit, 1e-3):
        worse = False
    numbers = (
        f"train {fmean(found['train'][0]):.3g} in training and {fmean(found['train'][1]):.3g} in"
        f" evaluation mode, valid {fmean(found['valid'][0]):.3g} and"
        f" {fmean(found['valid'][1]):.3g}; difference on {worst} {value:.3g}, 95% interval"
        f" {interval[0]:.3g} to {interval[1]:.3g}"
    )
    if worse is None:
        start = "Insufficient evidence whether evaluation mode is worse"
    elif not worse:
        start = "Evaluation mode is not worse than training mode"
    elif fmean(excess["train"]) > limit:
        start = "Evaluation mode is worse on what was trained on: running statistics are wrong"
    else:
        start = "Evaluation mode is worse on held-out data alone: their statistics differ"
    return Modes(
        value=value,
        interval=interval,
        control=fmean(excess[other]),
        found=worse,
        conclusion=f"{start} ({numbers}).",
        part=worst,
        train_as_trained=fmean(found["train"][0]),
        train_evaluated=fmean(found["train"][1]),
        valid_as_trained=fmean(found["valid"][0]),
        valid_evaluated=fmean(found["valid"][1]),
    )


def _losses(
    model: nn.Module, loss: Loss, pairs: list[Batch], training: bool, seed: int
) -> list[float]:
    with sandbox(model, loss, seed=seed) as (made, loss), torch.no_grad():
        made.train(training)
        answers = [(one_tensor("modes", made(inputs)), targets) for inputs, targets in pairs]
        return [value for answer in answers for value in part_losses(loss, *answer)]


@final
@dataclass(frozen=True, kw_only=True)
class InputAblation(ProbeResult):
    """What a model makes of its inputs.

    Args:
        value: Rise of the loss when inputs are dealt to other examples.
        interval: 95% interval of `value`, from differences between the same examples.
        control: Change of the loss when inputs and targets are dealt together; 0 where each
            example is answered for itself.
        found: Whether outputs do not depend on the inputs, or on those of other examples; None if
            inputs matter for the outputs but, so far, not for the loss.
        conclusion: One sentence.
        loss: With all inputs in their place.
        blank: Rise of the loss with the mean input for every example.
        response: Spread of the outputs over examples, over their size.
        crosstalk: Largest change of an output, over the spread of the outputs, when all other
            examples of the batch are replaced.
        columns: Rise of the loss when one column of a table is shuffled, the largest first.
    """

    loss: float
    blank: float
    response: float
    crosstalk: float
    columns: tuple[tuple[int, float], ...]

    def _draw(self, axes: Axes) -> None:
        rows = [
            ("inputs shuffled", self.value, self.interval),
            ("shuffled with targets", self.control, None),
            ("mean input for all", self.blank, None),
        ]
        rows += [(f"column {n} shuffled", rise, None) for n, rise in self.columns[:5]]
        draw_rows(axes, rows, "rise of the loss")


def input_ablation(
    model: nn.Module, loss: Loss, batches: Pairs, *, most: int = 8, seed: int = 0
) -> InputAblation:
    """Take the inputs away in several ways, and see what the model makes of it.

    When a model does no better than chance, or much too well. Outputs that are the same for all
    examples say that the inputs are lost on the way, or were never there. Outputs that change when
    *other* examples of the batch do say that rows are mixed, as by a wrong reshape. In evaluation
    mode both are faults of code. Columns that matter most are where to look for a leak.

    Args:
        model: Measured in evaluation mode, on a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        batches: Pairs of inputs and targets, of at least two examples.
        most: Batches that are looked at.
        seed: Of the shuffling.

    Raises:
        UsageError: There is no batch of two examples.

    Source: breiman2001random, section 10, for the columns.
    Checked against: models that ignore inputs, mix rows, or use one column.
    """
    with sandbox(model, loss, batches, seed=seed) as (made, loss, source), torch.no_grad():
        pairs = pairs_of("input_ablation", source, most, on=made)
        pairs = [pair for pair in pairs if len(pair[0]) > 1]
        if not pairs:
            raise UsageError("input_ablation: `batches` must have two examples; got one in each.")
        made.eval()
        random = torch.Generator().manual_seed(seed)
        orders = [_derangement(len(inputs), random).to(inputs.device) for inputs, _ in pairs]
        own = [one_tensor("input_ablation", made(inputs)) for inputs, _ in pairs]
        plain = _parts(loss, own, pairs)

        def rises(change: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
            changed = [
                made(change(inputs, order))
                for (inputs, _), order in zip(pairs, orders, strict=True)
            ]
            return [b - a for a, b in zip(plain, _parts(loss, changed, pairs), strict=True)]

        value, interval = mean_interval(rises(lambda inputs, order: inputs[order]))
        blank = fmean(rises(lambda inputs, _: _blank(inputs)))
        together = [
            float(loss(made(inputs[order]), targets[order])) - float(loss(outputs, targets))
            for (inputs, targets), order, outputs in zip(pairs, orders, own, strict=True)
        ]
        columns: list[tuple[int, float]] = []
        if pairs[0][0].ndim == 2 and pairs[0][0].shape[1] <= 256:
            for n in range(pairs[0][0].shape[1]):
                columns.append((n, fmean(rises(lambda x, order, n=n: _shuffled(x, order, n)))))  # type: ignore[misc]
        crosstalk = max(
            _crosstalk(made, pair[0], out) for pair, out in zip(pairs, own, strict=True)
        )
    outputs = torch.cat(own).detach().float()
    response = float(outputs.std(dim=0).mean() / outputs.abs().mean().clamp_min(1e-30))
    wrong, start = _judged(response, crosstalk, value, interval)
    numbers = (
        f"the loss {fmean(plain):.3g} rises by {value:.3g}, 95% interval {interval[0]:.3g} to"
        f" {interval[1]:.3g}, when inputs are shuffled; by {fmean(together):.2g} when targets are"
        " shuffled with them"
    )
    return InputAblation(
        value=value,
        interval=interval,
        control=fmean(together),
        found=wrong,
        conclusion=f"{start} ({numbers}).",
        loss=fmean(plain),
        blank=blank,
        response=response,
        crosstalk=crosstalk,
        columns=tuple(sorted(columns, key=lambda column: -column[1])[:10]),
    )


def _derangement(count: int, random: torch.Generator) -> Tensor:
    """Give an order in which nothing stays in its place."""
    order = torch.randperm(count, generator=random)
    moved = torch.empty_like(order)
    moved[order] = order.roll(1)
    return moved


def _parts(loss: Loss, outputs: list[Tensor], pairs: list[Batch]) -> list[float]:
    both = zip(outputs, pairs, strict=True)
    return [value for out, (_, targets) in both for value in part_losses(loss, out, targets)]


def _blank(inputs: Tensor) -> Tensor:
    if not inputs.is_floating_point():
        return inputs[:1].expand_as(inputs)
    return inputs.mean(dim=0, keepdim=True).expand_as(inputs)


def _shuffled(inputs: Tensor, order: Tensor, column: int) -> Tensor:
    changed = inputs.clone()
    changed[:, column] = inputs[order, column]
    return changed


def _crosstalk(model: nn.Module, inputs: Tensor, outputs: Tensor) -> float:
    """Replace all rows but the first, and but the last, by each other; see what these answer."""
    spread = float(outputs.float().std().clamp_min(1e-30))
    changes = []
    for row in (0, len(inputs) - 1):
        changed = inputs.roll(1, dims=0)
        changed[row] = inputs[row]
        changes.append(float((model(changed)[row] - outputs[row]).abs().max()) / spread)
    return max(changes)


def _judged(
    response: float, crosstalk: float, value: float, interval: tuple[float, float]
) -> tuple[bool | None, str]:
    if not math.isfinite(response) or response < 1e-6:
        return True, "The outputs do not depend on the inputs"
    if crosstalk > 1e-2:
        return True, "Outputs depend on other examples of the batch: rows are mixed"
    if interval[0] > 0:
        return False, "The model uses the inputs of each example"
    return None, (
        "Insufficient evidence that the inputs help: they change the outputs, not the loss, as in a"
        " model before training"
    )
