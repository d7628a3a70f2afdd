"""Is the network too small, or can it not be trained? Twins of other sizes, and a longer one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal, final

from ._compare import (
    LONGER,
    STILL_FALLING,
    Gain,
    TwinResult,
    capped,
    gain,
    mean_loss,
    results_of,
    unfinished,
)
from ._reshaped import reshaped
from ._surgery import deeper, shallower, wider
from ._twin import Build, Grown, OnEpoch, Stacking

_NOTHING: Final = (
    "No twin learns anything: ask `signal_path`, and `learning_rate` before, whatever the size"
)

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
            if a longer training gains as much, or if no twin is better than the best outputs that
            are the same for all.
    """

    limit: Limit


def capacity(
    build: Build,
    *,
    seeds: int = 3,
    margin: float = 0.05,
    watch: OnEpoch | None = None,
    seed: int = 0,
    stack: Stacking = "auto",
) -> Capacity:
    """Train a shallower, a deeper and a wider twin, and compare losses on the *training* data.

    When the training loss stays large: is the network too small for the data, or is it not found
    what it could do? If the deeper or the wider one trains better, the network is too small: model
    bias. What a shallower network can do a deeper one could do as well, so if the shallower one
    trains better, or else the deeper one worse than that, optimization limits, not overfitting and
    not size. If a smaller and a larger one are both better, the evidence does not say.

    All train as `build` says, for as long, from the same seeds. Since a larger network falls faster
    per step, another twin is as large as it is and trains for twice the epochs: if that gains as
    much, or falls on nearly as fast as before, the training was too short or the rate is too low,
    and nothing is said about size. That twin needs a `build` that asks for the epochs.

    It takes six times one training for each seed; ask `overfit_one_batch` before. When the training
    loss is small and the validation loss is not, ask `regularization` and `learning_curve` instead.

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
        UsageError: There is no seed, `build` does not ask for the model, or no twin of another size
            can be made.

    Source: he2016deep, figure 1, for the deeper plain network that trains worse; geman1992neural,
        for model bias.
    Checked against: lines fitted to bent targets; deep plain networks with and without ways around
        their layers; trainings cut short, and at a hundredth of their rate; healthy networks.
    """
    sizes = {"shallower": shallower, "deeper": deeper, "wider": wider}
    some = reshaped("capacity", build, sizes, seeds=seeds, seed=seed, watch=watch, stack=stack)
    return _concluded(some.grown, some.not_tried, some.ignorant, some.start, margin)


def _concluded(
    grown: Mapping[str, Grown],
    not_tried: Mapping[str, str],
    ignorant: float,
    start: Sequence[float],
    margin: float,
) -> Capacity:
    losses = {name: capped(one.train, ignorant, start) for name, one in grown.items()}
    own = fmean(losses["as it is"])
    least = margin * max(ignorant, abs(own))
    limit, basis, words = _judged(losses, start, least, large=abs(own) > least)
    if limit == "neither" and min(min(some) for some in losses.values()) > ignorant - least > 0:
        limit, words = "unknown", _NOTHING
    numbers = ", ".join(f"{name} {mean_loss(one.train)}" for name, one in grown.items())
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return Capacity(
        value=basis.mean,
        interval=basis.interval,
        control=fmean(grown["as it is"].train),
        found={"neither": False, "unknown": None}.get(limit, True),
        conclusion=f"{words} (difference {basis}; training loss {numbers}{missing}).",
        **results_of(grown, not_tried),
        limit=limit,
    )


def _judged(
    losses: Mapping[str, tuple[float, ...]], start: Sequence[float], least: float, *, large: bool
) -> tuple[Limit, Gain, str]:
    """Give what limits, the difference that says so, and the words for it."""
    own = losses["as it is"]
    sizes = {name: some for name, some in losses.items() if name not in ("as it is", LONGER)}
    gains = {name: gain(own, some, least, among=len(sizes)) for name, some in sizes.items()}
    more = [(gains[name], name) for name in ("deeper", "wider") if name in gains]
    none = (gain(own, own, least), "")
    best, which = max(more, key=lambda one: (one[0].counts is True, one[0].mean), default=none)
    less = gains.get("shallower")
    better = [name for name in ("shallower", which) if name in gains and gains[name].counts]
    if any(unfinished(losses, start, least, name) for name in better):
        return "unknown", gain(own, losses[LONGER], least), STILL_FALLING
    if len(better) == 2:
        words = f"Insufficient evidence: the shallower and the {which} network both train better"
        return "unknown", best, words
    if best.counts:
        return "bias", best, f"Model bias limits: the {which} network trains better"
    if less is not None and less.counts:
        return "optimization", less, "Optimization limits: a shallower network trains better"
    depth = None
    if less is not None and "deeper" in gains and large:
        depth = gain(losses["deeper"], losses["shallower"], least)
        if depth.counts and unfinished(losses, start, least):
            return "unknown", gain(own, losses[LONGER], least), STILL_FALLING
        if depth.counts:
            words = "Optimization limits: the deeper network trains worse than the shallower one"
            return "optimization", depth, words
    if more and all(g.counts is False for g in (*gains.values(), depth or best)):
        small = "" if large else "The training loss is small, and "
        words = "size does not limit the training loss" if large else "size does not limit it"
        return "neither", best, small + (words if small else words.capitalize())
    return "unknown", best, "Insufficient evidence whether size limits the training loss"
