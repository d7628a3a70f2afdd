"""Does the signal get lost? Twins with normalization, with ways around, with ReLU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

from torch import nn

from ...train import autocast
from .._sandbox import sandbox
from ._compare import (
    LONGER,
    STILL_FALLING,
    TwinResult,
    capped,
    gain,
    mean_loss,
    results_of,
    unfinished,
)
from ._reshaped import reshaped
from ._surgery import normalized, with_relu, with_skips
from ._trace import is_layer
from ._twin import Build, Grown, OnEpoch, Stacking, Twin


@final
@dataclass(frozen=True, kw_only=True)
class SignalPath(TwinResult):
    """Training losses of a network and of its twins with a better way for the signal.

    Args:
        value: How much lower the training loss of the best twin is.
        interval: 95% interval of `value`, paired by seed.
        control: Training loss as it is.
        found: Whether the signal path limits the training loss; None if the evidence does not say.
        conclusion: One sentence.
        losses: Loss on the training examples by twin, one for each seed; infinite if the training
            was lost.
        parameters: Trainable numbers by twin.
        curves: Loss of each epoch of the first seed by twin, while training.
        not_tried: Twins that could not be made, and why.
        gradient_ratios: Norm of the gradient of the first matrix of weights over that of the last,
            in the order in which they are used, before training, by twin; the geometric mean over
            the seeds. Far below 1, the gradient vanishes on its way; far above, it explodes. NaN if
            the last has none, or there is one alone.
        best: The twin that `value` is of.
    """

    gradient_ratios: Mapping[str, float]
    best: str


def signal_path(
    build: Build,
    *,
    seeds: int = 3,
    margin: float = 0.1,
    watch: OnEpoch | None = None,
    seed: int = 0,
    stack: Stacking = "auto",
) -> SignalPath:
    """Train the same network with normalization, with ways around its layers, and with ReLU.

    When `capacity` says that optimization limits, or when a network does not leave its first loss.
    If one of these twins trains better at the same settings, what limits is the way of the signal
    through the network: its first weights, its depth, activations that saturate or are dead. If
    none does, look at the learning rate and at the data. A twin that needs what the network has
    already, or cannot be made, is named with the reason. ReLU takes the place of sigmoid and tanh
    only where these are modules.

    Normalization lets most networks learn somewhat faster, so the margin is wider than that of
    `capacity`. In a training that is too short, or at a rate that is too low, what learns faster is
    ahead for that alone: another twin is as it is and trains for twice the epochs. If that gains as
    much as the best, or falls on nearly as fast as before, nothing is said about the signal. That
    twin needs a `build` that asks for the epochs.

    A difference counts if its 95% interval over the seeds, together with those of the others,
    excludes 0, and if it is at least `margin` of the larger of two: the training loss as it is, and
    that of the best outputs that are the same for all. A loss beyond twice the latter, and beyond
    that before training, counts as that.

    Args:
        build: Gives the training of a twin from a seed; see `Twin`. It must ask for the model, and
            should for the epochs.
        seeds: Trainings of each twin; with fewer than three, intervals are too wide to say much.
        margin: Smallest share of the loss that is a difference.
        watch: Called after each epoch of all.
        seed: The first of the seeds.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: There is no seed, `build` does not ask for the model, or no twin can be made.

    Source: ioffe2015batch; he2016deep, for the ways around.
    Checked against: deep sigmoid networks, weights drawn too large or too small, dead units;
        trainings cut short, and at a hundredth of their rate; healthy networks.
    """
    ways = {"normalized": normalized, "with skips": with_skips, "with ReLU": with_relu}
    some = reshaped("signal_path", build, ways, seeds=seeds, seed=seed, watch=watch, stack=stack)
    shaped = [twin for twin in some.twins if twin.name != LONGER]
    ratios = {twin.name: _gradient_ratio(build, twin, seeds, seed) for twin in shaped}
    return _concluded(some.grown, some.not_tried, ratios, some.ignorant, some.start, margin)


def _gradient_ratio(build: Build, twin: Twin, seeds: int, seed: int) -> tuple[float, str]:
    """Give the ratio of the first norm to the last, a mean over the seeds; or NaN, and why."""
    logs = []
    for number in range(seed, seed + seeds):
        norms = _gradient_norms(build, twin, number)
        if len(norms) < 2:
            return math.nan, "with one matrix of weights alone"
        if not all(map(math.isfinite, norms)):
            return math.nan, "with a gradient that is not finite"
        if norms[-1] == 0:
            return math.nan, "without a gradient at the last layer"
        logs.append(math.log(norms[0] / norms[-1]) if norms[0] > 0 else -math.inf)
    return math.exp(fmean(logs)), ""


def _gradient_norms(build: Build, twin: Twin, seed: int) -> list[float]:
    """Give the gradient norms of matrices of weights in the order in which they are used."""
    used: dict[nn.Parameter, None] = {}

    def note(module: nn.Module, _: Any) -> None:
        used.update((p, None) for p in module.parameters() if p.ndim > 1 and p.requires_grad)

    with sandbox():
        member = build(twin, seed)
        member.model.train()
        for module in member.model.modules():
            if is_layer(module) or not any(True for _ in module.children()):
                module.register_forward_pre_hook(note)
        batch = next(iter(member.train))
        with autocast(member.precision, member.device):
            loss, _ = member.objective(member.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return [0.0 if p.grad is None else float(p.grad.double().norm()) for p in used]


def _concluded(
    grown: Mapping[str, Grown],
    not_tried: Mapping[str, str],
    ratios: Mapping[str, tuple[float, str]],
    ignorant: float,
    start: Sequence[float],
    margin: float,
) -> SignalPath:
    losses = {name: capped(one.train, ignorant, start) for name, one in grown.items()}
    own = losses["as it is"]
    least = margin * max(ignorant, abs(fmean(own)))
    others = {name: some for name, some in losses.items() if name not in ("as it is", LONGER)}
    gains = {name: gain(own, some, least, among=len(others)) for name, some in others.items()}
    best = max(gains, key=lambda name: (gains[name].counts is True, gains[name].mean))
    basis = gains[best]
    limits: bool | None = None
    words = "Insufficient evidence whether the signal path limits the training loss"
    if gains[best].counts and unfinished(losses, start, least, best):
        basis, words = gain(own, losses[LONGER], least), STILL_FALLING
    elif gains[best].counts:
        limits, words = True, _found(best, ratios["as it is"][0], ratios[best][0])
    elif all(g.counts is False for g in gains.values()):
        limits, words = False, "The signal path does not limit the training loss"
    numbers = ", ".join(
        f"{name} {mean_loss(one.train)}{_worded(*ratios.get(name, (math.nan, '')))}"
        for name, one in grown.items()
    )
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return SignalPath(
        value=basis.mean,
        interval=basis.interval,
        control=fmean(grown["as it is"].train),
        found=limits,
        conclusion=f"{words} (difference {basis}; training loss {numbers}{missing}).",
        **results_of(grown, not_tried),
        gradient_ratios={name: ratio for name, (ratio, _) in ratios.items()},
        best=best,
    )


def _found(best: str, before: float, after: float) -> str:
    """Give the verdict, and whether the gradients before training agree with it."""
    agrees = ""
    if after > 0:
        even = not before > 0 or abs(math.log(after)) < abs(math.log(before))
        agrees = ", and its gradient is more even" if even else ", but its gradient is no more even"
    name = "with normalization" if best == "normalized" else best
    return f"The signal path limits: the network {name} trains better{agrees}"


def _worded(ratio: float, reason: str) -> str:
    known = f"with gradient ratio {ratio:.2g}" if not math.isnan(ratio) else reason
    return f" {known}" if known else ""
