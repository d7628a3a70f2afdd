"""The experiment of twins whose networks have another shape, and of one that trains longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from ._compare import ignorant_loss, longer_twin, model_of, model_twins, start_losses
from ._twin import Build, Grown, OnEpoch, Stacking, Twin, grow, sample_of

Reshape = Callable[[nn.Module, Any], nn.Module]


@final
@dataclass(frozen=True, kw_only=True)
class Reshaped:
    """What twins of other shapes came to.

    Args:
        twins: Those that were trained: as it is, the others, a longer one if it could be had.
        grown: What they came to, by name.
        not_tried: Twins that could not be made, and why.
        ignorant: Training loss of the best outputs that are the same for all; 0 if not known.
        start: Losses before training, by seed.
    """

    twins: tuple[Twin, ...]
    grown: Mapping[str, Grown]
    not_tried: Mapping[str, str]
    ignorant: float
    start: tuple[float, ...]


def reshaped(
    owner: str,
    build: Build,
    changes: Mapping[str, Reshape],
    *,
    seeds: int,
    seed: int,
    watch: OnEpoch | None,
    stack: Stacking,
) -> Reshaped:
    """Train a network as it is, changed in each of some ways, and as it is for longer.

    Args:
        owner: Who asks, for messages.
        build: Gives the trainings.
        changes: What becomes of a model, given inputs of a batch, by name of the twin.
        seeds: Trainings of each.
        seed: The first of the seeds.
        watch: Called after each epoch of all.
        stack: Trainings that become one program.

    Raises:
        UsageError: No twin can be made, there is no seed, or `build` does not ask for the model.
    """
    sample = sample_of(owner, build, seed)
    surgeries = {
        name: lambda model, change=change: change(model, sample) for name, change in changes.items()
    }
    some, not_tried = model_twins(owner, model_of(owner, build, seed), surgeries, seed)
    longer, why_not = longer_twin(build, seed)
    ignorant = ignorant_loss(build, seed)
    start = start_losses(build, seeds=seeds, seed=seed)
    twins = (Twin(), *some, *longer)
    grown = grow(owner, build, twins, seeds=seeds, seed=seed, watch=watch, stack=stack)
    return Reshaped(
        twins=twins,
        grown=grown,
        not_tried={**not_tried, **why_not},
        ignorant=ignorant,
        start=start,
    )
