"""Is the network too small, or can it not be trained? Shallower, deeper and wider twins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, final

from ._compare import (
    Gain,
    TwinResult,
    capped,
    gain,
    ignorant_loss,
    mean_loss,
    model_of,
    model_twins,
    results_of,
)
from ._surgery import deeper, shallower, wider
from ._twin import Build, Grown, Twin, Watch, grow, sample_of

Limit = Literal["bias", "optimization", "neither", "unknown"]


@final
@dataclass(frozen=True, kw_only=True)
class Capacity(TwinResult):
    """Training losses of a network and of its twins of other sizes.

    Args:
        value: The difference in training loss that `limit` rests on: how much more the deeper twin
            loses than the shallower one, or the training as it is than its best twin.
        interval: 95% interval of `value`, paired by seed.
        control: Training loss as it is.
        found: Whether size or depth limits the training loss; None if the evidence does not say.
        conclusion: One sentence.
        losses: Loss on the training examples by twin, one for each seed; infinite if the training
            was lost.
        parameters: Trainable numbers by twin.
        curves: Loss of each epoch of the first seed by twin, while training.
        not_tried: Twins that could not be made, and why.
        limit: ``bias`` if the network is too small, ``optimization`` if a smaller one trains
            better, ``neither`` if sizes change nothing, ``unknown`` if the evidence does not say,
            or if no twin is better than the best outputs that are the same for all.
    """

    limit: Limit


def capacity(
    build: Build,
    *,
    seeds: int = 3,
    margin: float = 0.05,
    watch: Watch | None = None,
    seed: int = 0,
) -> Capacity:
    """Train a shallower, a deeper and a wider twin, and compare losses on the *training* data.

    When the training loss stays large: is the network too small for the data, or is it not found
    what it could do? What a shallower network can do a deeper one could do as well, so if the
    deeper one trains worse, optimization limits, not overfitting and not size. If the deeper or
    the wider one trains better, the network is too small: model bias. All train as `build` says,
    for as long, from the same seeds. It takes four trainings for each seed; ask
    `overfit_one_batch` before. When the training loss is small and the validation loss is not,
    ask `regularization` and `learning_curve` instead.

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
        UsageError: There is no seed, or `build` does not ask for the model.

    Source: he2016deep, figure 1, for the deeper plain network that trains worse; geman1992neural,
        for model bias.
    Checked against: lines fitted to bent targets; deep plain networks with and without ways around
        their layers; healthy networks.
    """
    sample = sample_of("capacity", build, seed)
    model = model_of("capacity", build, seed)
    changes = {
        "shallower": lambda m: shallower(m, sample),
        "deeper": lambda m: deeper(m, sample),
        "wider": lambda m: wider(m, sample),
    }
    twins, not_tried = model_twins(model, changes, seed)
    grown = grow("capacity", build, [Twin(), *twins], seeds=seeds, seed=seed, watch=watch)
    return _concluded(grown, not_tried, ignorant_loss(build, seed), margin)


def _concluded(
    grown: Mapping[str, Grown], not_tried: Mapping[str, str], ignorant: float, margin: float
) -> Capacity:
    losses = {name: capped(one.train, ignorant) for name, one in grown.items()}
    own = fmean(losses["as it is"])
    least = margin * max(ignorant, abs(own))
    limit, basis, start = _judged(losses, least, large=abs(own) > least)
    if limit == "neither" and min(min(some) for some in losses.values()) > ignorant - least > 0:
        limit, start = "unknown", "No twin learns anything: ask `signal_path`, whatever the size"
    numbers = ", ".join(f"{name} {mean_loss(one.train)}" for name, one in grown.items())
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return Capacity(
        value=basis.mean,
        interval=basis.interval,
        control=fmean(grown["as it is"].train),
        found={"neither": False, "unknown": None}.get(limit, True),
        conclusion=f"{start} (difference {basis}; training loss {numbers}{missing}).",
        **results_of(grown, not_tried),
        limit=limit,
    )


def _judged(
    losses: Mapping[str, tuple[float, ...]], least: float, *, large: bool
) -> tuple[Limit, Gain, str]:
    """Give what limits, the difference that says so, and the words for it."""
    own = losses["as it is"]
    gains = {name: gain(own, some, least) for name, some in losses.items() if some is not own}
    more = [(gains[name], name) for name in ("deeper", "wider") if name in gains]
    best, which = max(more, key=lambda item: item[0].mean, default=(gain(own, own, least), ""))
    less = gains.get("shallower")
    if less is not None and less.counts:
        return "optimization", less, "Optimization limits: a shallower network trains better"
    depth = None
    if less is not None and "deeper" in gains and large:
        depth = gain(losses["deeper"], losses["shallower"], least)
        if depth.counts:
            start = "Optimization limits: the deeper network trains worse than the shallower one"
            return "optimization", depth, start
    if best.counts:
        return "bias", best, f"Model bias limits: the {which} network trains better"
    if more and all(g.counts is False for g in (*gains.values(), depth or best)):
        small = "" if large else "The training loss is small, and "
        words = "size does not limit the training loss" if large else "size does not limit it"
        return "neither", best, small + (words if small else words.capitalize())
    return "unknown", best, "Insufficient evidence whether size limits the training loss"
