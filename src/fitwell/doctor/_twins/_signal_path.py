"""Does the signal get lost? Twins with normalization, with ways around, with ReLU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import final

from torch import nn

from ...core.errors import UsageError
from ...train import autocast
from .._sandbox import sandbox
from ._compare import (
    TwinResult,
    capped,
    gain,
    ignorant_loss,
    mean_loss,
    model_of,
    model_twins,
    results_of,
)
from ._surgery import normalized, with_relu, with_skips
from ._twin import Build, Grown, Twin, Watch, grow, sample_of


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
            before training, by twin; the geometric mean over the seeds. Far below 1, the gradient
            vanishes on its way; far above, it explodes. NaN if the last has none.
        best: The twin that `value` is of.
    """

    gradient_ratios: Mapping[str, float]
    best: str


def signal_path(
    build: Build,
    *,
    seeds: int = 3,
    margin: float = 0.1,
    watch: Watch | None = None,
    seed: int = 0,
) -> SignalPath:
    """Train the same network with normalization, with ways around its layers, and with ReLU.

    When `capacity` says that optimization limits, or when a network does not leave its first loss.
    If one of these twins trains better at the same settings, what limits is the way of the signal
    through the network: its first weights, its depth, activations that saturate or are dead. If
    none does, look at the learning rate and at the data. A twin that needs what the network has
    already, or cannot be made, is named with the reason. ReLU takes the place of sigmoid and tanh
    only where these are modules. Normalization lets most networks learn somewhat faster, so the
    margin is wider than that of `capacity`.

    A difference counts if its 95% interval over the seeds excludes 0, and if it is at least
    `margin` of the larger of two: the training loss as it is, and that of the best outputs that are
    the same for all. A loss beyond twice the latter counts as that.

    Args:
        build: Gives the training of a twin from a seed; see `Twin`. It must ask for the model.
        seeds: Trainings of each twin; with fewer than three, intervals are too wide to say much.
        margin: Smallest share of the loss that is a difference.
        watch: Called after each epoch of all.
        seed: The first of the seeds.

    Raises:
        UsageError: There is no seed, `build` does not ask for the model, or no twin can be made.

    Source: ioffe2015batch; he2016deep, for the ways around.
    Checked against: deep sigmoid networks, weights drawn too large or too small, dead units;
        healthy networks.
    """
    sample = sample_of("signal_path", build, seed)
    changes = {
        "normalized": lambda m: normalized(m, sample),
        "with skips": lambda m: with_skips(m, sample),
        "with ReLU": lambda m: with_relu(m, sample),
    }
    model = model_of("signal_path", build, seed)
    some, not_tried = model_twins(model, changes, seed)
    if not some:
        raise UsageError(
            "signal_path: `build` must give a model of which a twin can be made; got"
            f" {type(model).__name__}. {' '.join(not_tried.values())}"
        )
    twins = [Twin(), *some]
    grown = grow("signal_path", build, twins, seeds=seeds, seed=seed, watch=watch)
    ratios = {
        twin.name: _mean_ratio([_gradient_ratio(build, twin, seed + k) for k in range(seeds)])
        for twin in twins
    }
    return _concluded(grown, not_tried, ratios, ignorant_loss(build, seed), margin)


def _gradient_ratio(build: Build, twin: Twin, seed: int) -> float:
    """Give the gradient norm of the first matrix of weights over that of the last."""
    with sandbox():
        member = build(twin, seed)
        member.model.train()
        batch = next(iter(member.train))
        with autocast(member.precision, member.device):
            loss, _ = member.objective(member.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [_norm(p) for p in member.model.parameters() if p.ndim > 1 and p.grad is not None]
    if len(norms) < 2 or not all(map(math.isfinite, norms)) or norms[-1] == 0:
        return math.nan
    return norms[0] / norms[-1]


def _norm(p: nn.Parameter) -> float:
    return 0.0 if p.grad is None else float(p.grad.double().norm())


def _mean_ratio(ratios: list[float]) -> float:
    if any(math.isnan(ratio) for ratio in ratios):
        return math.nan
    return math.exp(fmean(map(math.log, ratios))) if min(ratios) > 0 else 0.0


def _concluded(
    grown: Mapping[str, Grown],
    not_tried: Mapping[str, str],
    ratios: Mapping[str, float],
    ignorant: float,
    margin: float,
) -> SignalPath:
    losses = {name: capped(one.train, ignorant) for name, one in grown.items()}
    own = losses.pop("as it is")
    least = margin * max(ignorant, abs(fmean(own)))
    gains = {name: gain(own, some, least) for name, some in losses.items()}
    best = max(gains, key=lambda name: gains[name].mean)
    limits: bool | None = None
    if any(g.counts for g in gains.values()):
        best = max((n for n in gains if gains[n].counts), key=lambda name: gains[name].mean)
        limits = True
    elif all(g.counts is False for g in gains.values()):
        limits = False
    starts = {
        True: f"The signal path limits: the network {_worded(best)} trains better",
        False: "The signal path does not limit the training loss",
        None: "Insufficient evidence whether the signal path limits the training loss",
    }
    numbers = ", ".join(
        f"{name} {mean_loss(one.train)} with gradient ratio {ratios[name]:.2g}"
        if not math.isnan(ratios[name])
        else f"{name} {mean_loss(one.train)} without a gradient at the last layer"
        for name, one in grown.items()
    )
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return SignalPath(
        value=gains[best].mean,
        interval=gains[best].interval,
        control=fmean(grown["as it is"].train),
        found=limits,
        conclusion=(
            f"{starts[limits]} (difference {gains[best]}; training loss {numbers}{missing})."
        ),
        **results_of(grown, not_tried),
        gradient_ratios=dict(ratios),
        best=best,
    )


def _worded(name: str) -> str:
    return "with normalization" if name == "normalized" else name
