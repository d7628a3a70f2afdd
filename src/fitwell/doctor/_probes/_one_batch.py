"""Can the model learn one batch by heart, and does its loss begin where it should?

B batch, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.errors import UsageError
from ...core.intervals import wilson_interval
from ...train._passes import take_step
from .._measure import (
    Loss,
    Pairs,
    best_constant,
    is_classes,
    mean_interval,
    one_tensor,
    pairs_of,
    part_losses,
    without_noise,
)
from .._result import Interval, ProbeResult, draw_rows
from .._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
@dataclass(frozen=True, kw_only=True)
class InitialLoss(ProbeResult):
    """Where the loss begins.

    Args:
        value: Mean loss of the model as it is.
        interval: 95% interval of `value`.
        control: Loss of the best outputs that are the same for every example.
        found: Whether the loss begins far above `control`; None if the evidence does not say.
        conclusion: One sentence.
    """

    def _draw(self, axes: Axes) -> None:
        rows = [("this model", self.value, self.interval), ("same outputs", self.control, None)]
        draw_rows(axes, rows, "loss")


def expected_initial_loss(
    model: nn.Module,
    loss: Loss,
    batches: Pairs,
    *,
    factor: float = 1.5,
    most: int = 8,
) -> InitialLoss:
    """Compare the loss before training with that of a model that knows nothing.

    A minute before a long training: a fresh model should be about as good as the best outputs that
    are the same for every example, ln K for K balanced classes, the variance for numbers. Far above
    it, inputs or initial weights are too large, or the loss is not what it should be.

    Args:
        model: Before training; measured in training mode, on a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        batches: Pairs of inputs and targets.
        factor: A loss more than so many times `control` is too large.
        most: Batches that are looked at.

    Raises:
        UsageError: There is no batch.

    Checked against: ln K; the variance of the targets.
    """
    owner = "expected_initial_loss"
    with sandbox(model, loss, batches) as (model, loss, batches), torch.no_grad():
        model.train()
        pairs = pairs_of(owner, batches, most, on=model)
        answers = [(one_tensor(owner, model(inputs)), targets) for inputs, targets in pairs]
        losses = [value for answer in answers for value in part_losses(loss, *answer)]
        outputs, targets = (torch.cat(some) for some in zip(*answers, strict=True))
        with torch.enable_grad():
            control = best_constant(loss, outputs, targets)
    value, interval = mean_interval(losses)
    too_large: bool | None = None
    if not math.isfinite(value) or interval[0] > factor * control:
        too_large = True
    elif interval[1] <= factor * control:
        too_large = False
    numbers = (
        f"{value:.3g}, 95% interval {interval[0]:.3g} to {interval[1]:.3g};"
        f" same outputs for all {control:.3g}"
    )
    starts = {
        True: "The loss begins too high",
        False: "The loss begins where it should, or below",
        None: "Insufficient evidence where the loss begins",
    }
    return InitialLoss(
        value=value,
        interval=interval,
        control=control,
        found=too_large,
        conclusion=f"{starts[too_large]} ({numbers}).",
    )


@final
@dataclass(frozen=True, kw_only=True)
class OneBatch(ProbeResult):
    """Whether the model can learn one batch by heart.

    Args:
        value: Accuracy on the batch it was trained on, or for other losses the share of the way
            from the best constant outputs down to 0; a mean over the draws.
        interval: 95% interval of `value`.
        control: The same of a small dense network on the same, standardized batches.
        found: Whether the model cannot; None if the evidence does not say.
        conclusion: One sentence.
        own: The same with the user's own optimizer; None if none was given.
        own_interval: 95% interval of `own`.
        curves: Loss by step of the first draw, by name.
    """

    own: float | None
    own_interval: Interval | None
    curves: dict[str, tuple[float, ...]]

    def _draw(self, axes: Axes) -> None:
        for name, losses in self.curves.items():
            axes.plot(range(1, len(losses) + 1), losses, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("loss on the batch")
        axes.legend(frameon=False)


def overfit_one_batch(
    model: nn.Module,
    loss: Loss,
    batches: Pairs,
    *,
    optimizer: Optimizer | None = None,
    size: int = 32,
    steps: int = 300,
    lr: float = 3e-3,
    draws: int = 3,
    seed: int = 0,
) -> OneBatch:
    """Train copies of a model on a few examples until it knows them by heart, or cannot.

    The first question when the training loss stays large. A healthy model learns 32 examples within
    a few hundred steps of Adam, with dropout off. One that cannot is broken on the way from inputs
    to loss, or far too small. One that can has its fault elsewhere: with `optimizer`, the same is
    tried with your own; what fails then is the optimizer. The control is a small dense network; if
    it cannot either, the inputs do not tell these examples apart.

    Args:
        model: As it is; every draw begins with a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        batches: Pairs of inputs and targets; examples are taken from the first ones.
        optimizer: Your own, over parameters of `model`; copied with its state.
        size: Examples of a draw.
        steps: Steps at most; ends earlier when all examples are known.
        lr: Of Adam.
        draws: How many sets of examples are tried.
        seed: Of the noise in the model and of the small network.

    Raises:
        UsageError: There is no batch, or a number is not positive.

    Checked against: healthy and dead networks, label noise, constant inputs.
    """
    if min(size, steps, draws) < 1 or lr <= 0:
        raise UsageError(
            "overfit_one_batch: `size`, `steps`, `draws` and `lr` must be positive; got"
            f" {size}, {steps}, {draws} and {lr}."
        )
    with sandbox(batches) as (source,):
        pairs = pairs_of("overfit_one_batch", source, 64, on=model)
    inputs, targets = (torch.cat(some) for some in zip(*pairs, strict=True))
    count = max(1, min(draws, len(inputs) // size))
    plain: list[_Fit] = []
    small: list[_Fit] = []
    own: list[_Fit] = []
    for draw in range(count):
        some = slice(draw * size, (draw + 1) * size)
        batch = (inputs[some], targets[some])
        with sandbox(model, loss, seed=seed + draw) as (made, criterion):
            made.train()
            without_noise(made)
            adam = torch.optim.Adam([p for p in made.parameters() if p.requires_grad], lr=lr)
            plain.append(_fit(made, criterion, adam, batch, steps))
            reference = _reference(batch[0], made(batch[0]))
            if reference is not None:
                adam = torch.optim.Adam(reference.parameters(), lr=lr)
                small.append(_fit(reference, criterion, adam, batch, steps))
        if optimizer is not None:
            with sandbox(model, loss, optimizer, seed=seed + draw) as (made, criterion, its_own):
                made.train()
                without_noise(made)
                own.append(_fit(made, criterion, its_own, batch, steps))
    return _concluded(plain, small, own)


@final
@dataclass(frozen=True, kw_only=True)
class _Fit:
    score: float
    rows: int
    counted: bool
    losses: tuple[float, ...]


def _fit(
    model: nn.Module, loss: Loss, optimizer: Optimizer, batch: tuple[Tensor, Tensor], steps: int
) -> _Fit:
    """Train on one batch until it is known."""
    inputs, targets = batch
    losses: list[float] = []

    def gradients() -> Tensor:
        value = loss(model(inputs), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    counted = is_classes(one_tensor("overfit_one_batch", model(inputs)), targets)
    for step in range(steps):
        optimizer.zero_grad()
        try:
            losses.append(float(gradients().detach()))
        except RuntimeError:  # nothing of the loss depends on a parameter
            break
        if not math.isfinite(losses[-1]):
            break
        take_step(optimizer, gradients)
        if counted and step % 10 == 9 and _score(model, loss, batch, counted) == 1:
            break
    return _Fit(
        score=_score(model, loss, batch, counted),
        rows=len(inputs),
        counted=counted,
        losses=tuple(losses),
    )


@torch.no_grad()
def _score(model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor], counted: bool) -> float:
    inputs, targets = batch
    outputs = model(inputs)
    if counted:
        right = (outputs.argmax(dim=1) == targets).float()
        # NaN outputs know nothing, whatever argmax makes of them.
        return float((right * outputs.isfinite().all(dim=1)).mean())
    with torch.enable_grad():
        constant = best_constant(loss, outputs, targets)
    reached = float(loss(outputs, targets))
    if not math.isfinite(reached) or constant <= 0:
        return 0.0
    return max(0.0, 1 - max(reached, 0.0) / constant)


def _reference(inputs: Tensor, outputs: Tensor) -> nn.Module | None:
    """Give a small dense network for the same batch; None where inputs are not numbers."""
    if not inputs.is_floating_point() or outputs.ndim != 2:
        return None
    flat = inputs.flatten(1)
    std, mean = torch.std_mean(flat, dim=0, correction=0)
    return nn.Sequential(
        nn.Flatten(),
        _Standardized(mean, std),
        nn.Linear(flat.shape[1], 64, device=inputs.device),
        nn.ReLU(),
        nn.Linear(64, outputs.shape[1], device=inputs.device),
    )


@final
class _Standardized(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, torch.where(std > 0, 1 / std.clamp_min(1e-30), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nan_to_num((x - self.mean) * self.scale)


def _mean(fits: list[_Fit]) -> tuple[float, Interval]:
    if all(fit.counted for fit in fits):
        rows = sum(fit.rows for fit in fits)
        hits = sum(fit.score * fit.rows for fit in fits)
        return hits / rows, wilson_interval(min(round(hits), rows), rows)
    return mean_interval([fit.score for fit in fits])


def _concluded(plain: list[_Fit], small: list[_Fit], own: list[_Fit]) -> OneBatch:
    value, interval = _mean(plain)
    control = fmean(fit.score for fit in small) if small else 1.0
    cannot: bool | None = None
    if interval[1] < min(control, 0.95) or control < 0.5:
        cannot = True
    elif value >= control - 0.05 and value >= 0.9:
        cannot = False
    elif not plain[0].counted:
        cannot = True if value < control - 0.2 else None
    curves: dict[str, tuple[float, ...]] = {"model, Adam": plain[0].losses}
    if small:
        curves["small network, Adam"] = small[0].losses
    own_value, own_interval = _mean(own) if own else (None, None)
    if own:
        curves["model, own optimizer"] = own[0].losses
    numbers = (
        f"{value:.2f}, 95% interval {interval[0]:.2f} to {interval[1]:.2f}; a small network"
        f" {control:.2f}"
    )
    if cannot and control < 0.5:
        start = "Nothing learns these examples by heart: the inputs do not tell them apart"
    elif cannot:
        start = "The model cannot learn one batch by heart: look at model, loss and inputs"
    elif cannot is None:
        start = "Insufficient evidence whether the model can learn one batch by heart"
    else:
        start = "The model learns one batch by heart"
        if own_value is not None and own_value < value - 0.2:
            start += f", but only to {own_value:.2f} with the optimizer as it is set"
    return OneBatch(
        value=value,
        interval=interval,
        control=control,
        found=cannot,
        conclusion=f"{start} ({numbers}).",
        own=own_value,
        own_interval=own_interval,
        curves=curves,
    )
