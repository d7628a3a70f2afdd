"""A twin: a training that differs from another in one thing; and the training of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, Final, Literal, TypeVar, final

from torch import Tensor, nn

from ...core.errors import UsageError
from ...core.intervals import t_quantile
from ...data import Batches, Examples
from ...train import Member, Objective, Population, autocast, evaluate
from .._result import Interval
from .._sandbox import sandbox

T = TypeVar("T")
Change = Callable[[Any], Any]
OnEpoch = Callable[[Population], None]
"""Called after each epoch of all trainings."""

Stacking = int | Literal["auto"]
"""Trainings that become one program; see `Population`."""

_SMALL: Final = 2**20  # bytes of a batch of inputs that is no burden
_EVALUATED: Final = 256  # examples of a batch that is only measured, if they are small


@final
@dataclass(frozen=True)
class BySeed:
    """A change that is another one for each seed.

    Args:
        change: ``change(value, seed)`` gives what becomes of a part.
        seed: Of the training at hand.
    """

    change: Callable[[Any, int], Any]
    seed: int = 0

    def __call__(self, value: Any) -> Any:
        """Give what becomes of a part.

        Args:
            value: As it is.
        """
        return self.change(value, self.seed)


@final
@dataclass(frozen=True, kw_only=True)
class Twin:
    """A training as it is, or with one thing changed; whoever builds it asks for each part.

    A probe hands twins to a function of the user's that builds the training from a seed. It asks
    the twin for each part that a probe may change, and gets it as it is, or changed:

        def build(twin, seed):
            torch.manual_seed(seed)
            model = twin.model(MLP(in_features=64, out_features=10))
            return Member(
                model=model,
                objective=Supervised(twin.loss(CrossEntropy())),
                optimizer=AdamW(
                    model.parameters(), lr=twin.lr(0.001), weight_decay=twin.weight_decay(0.01)
                ),
                train=Batches(twin.examples(train), twin.batch_size(32), shuffle=True, seed=seed),
                valid=Batches(valid, 256),
                epochs=twin.epochs(20),
                seed=seed,
            )

        found = capacity(build)

    A probe says which part is missing if one that it changes is not asked for; the others may be
    left out.

    Args:
        name: What is different.
        changes: What becomes of each part that is different, by name of the method.
    """

    name: str = "as it is"
    changes: Mapping[str, Change] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set, init=False, compare=False)

    def _changed(self, part: str, value: T) -> T:
        self.asked.add(part)
        change = self.changes.get(part)
        changed: T = value if change is None else change(value)
        return changed

    def model(self, model: nn.Module) -> nn.Module:
        """Give the model to train.

        Args:
            model: With its first weights, before an optimizer has its parameters.
        """
        return self._changed("model", model)

    def loss(self, loss: T) -> T:
        """Give the loss to train with.

        Args:
            loss: As it is.
        """
        return self._changed("loss", loss)

    def examples(self, examples: Examples) -> Examples:
        """Give the examples to train on.

        Args:
            examples: All there are.
        """
        return self._changed("examples", examples)

    def augment(self, augment: T) -> T:
        """Give the augmentation of the training examples.

        Args:
            augment: As it is; None is none.
        """
        return self._changed("augment", augment)

    def batch_size(self, batch_size: int) -> int:
        """Give the examples per batch.

        Args:
            batch_size: As it is.
        """
        return self._changed("batch_size", batch_size)

    def lr(self, lr: float) -> float:
        """Give the learning rate.

        Args:
            lr: As it is.
        """
        return self._changed("lr", lr)

    def weight_decay(self, weight_decay: float) -> float:
        """Give the weight decay.

        Args:
            weight_decay: As it is.
        """
        return self._changed("weight_decay", weight_decay)

    def epochs(self, epochs: int) -> int:
        """Give the passes over the training examples.

        Args:
            epochs: As it is.
        """
        return self._changed("epochs", epochs)


Build = Callable[[Twin, int], Member]
"""``build(twin, seed)`` gives a training of its own, made anew from the seed."""


@final
@dataclass(frozen=True, kw_only=True)
class Grown:
    """What the trainings of a twin came to, one for each seed.

    Args:
        name: What was different.
        parameters: Trainable numbers of its model.
        train: Loss on the training examples of the first twin, in evaluation mode and, if these are
            `Batches`, without augmentation; infinite if the training was lost.
        valid: Metrics on held-out examples; empty if there are none.
        curves: Loss of each epoch while training.
        members: The trainings.
    """

    name: str
    parameters: int
    train: tuple[float, ...]
    valid: tuple[Mapping[str, float], ...]
    curves: tuple[tuple[float, ...], ...]
    members: tuple[Member, ...] = field(repr=False)

    @property
    def valid_loss(self) -> tuple[float, ...]:
        """Loss on held-out examples of each seed; NaN where it was not measured."""
        return tuple(float(found.get("loss", math.nan)) for found in self.valid)


def grow(
    owner: str,
    build: Build,
    twins: Sequence[Twin],
    *,
    seeds: int,
    seed: int = 0,
    watch: OnEpoch | None = None,
    held_out: bool = False,
    stack: Stacking = "auto",
) -> dict[str, Grown]:
    """Train twins side by side, each from the same seeds; give what they came to by name.

    All are measured with the objective of the first, on its training examples: of a loader that
    augments, all see what that gives. Random generators are left as they were.

    Args:
        owner: Who asks, for messages.
        build: Gives the trainings.
        twins: What to train, the one that the others are compared to first.
        seeds: Trainings of each.
        seed: The first of the seeds.
        watch: Called after each epoch of all.
        held_out: Whether held-out examples are needed.
        stack: Trainings that become one program; 1 trains one after the other.

    Raises:
        UsageError: There is no seed, `build` does not ask for what a twin changes, or held-out
            examples are needed and missing.
    """
    if seeds < 1:
        raise UsageError(f"{owner}: `seeds` must be at least 1; got {seeds}. Use 3.")
    with sandbox():
        members = {t.name: [built(owner, build, t, seed + k) for k in range(seeds)] for t in twins}
        everyone = [member for some in members.values() for member in some]
        if held_out and any(member.valid is None for member in everyone):
            raise UsageError(
                f"{owner}: `build` must set `valid`; got a training without it. Set it."
            )
        Population(everyone, stack=stack).fit(watch, side_by_side=watch is not None)
        first = members[twins[0].name]
        return {name: _grown(name, some, first) for name, some in members.items()}


def built(owner: str, build: Build, twin: Twin, seed: int) -> Member:
    """Build a training, and make sure that it differs where it should.

    Args:
        owner: Who asks, for messages.
        build: Gives the training.
        twin: What to build.
        seed: Of the training.

    Raises:
        UsageError: `build` does not ask for what the twin changes.
    """
    twin = _of_seed(twin, seed)
    member = build(twin, seed)
    missing = sorted(set(twin.changes) - twin.asked)
    if missing:
        raise UsageError(
            f"{owner}: `build` must ask the twin for its {missing[0].replace('_', ' ')}, or"
            f" {twin.name!r} is no different. Write twin.{missing[0]}(...) around it."
        )
    return member


def _of_seed(twin: Twin, seed: int) -> Twin:
    changes = {
        part: replace(change, seed=seed) if isinstance(change, BySeed) else change
        for part, change in twin.changes.items()
    }
    return replace(twin, changes=changes)


def sample_of(owner: str, build: Build, seed: int = 0) -> Any:
    """Give the inputs of a first batch of a training that is not begun.

    Args:
        owner: Who asks, for messages.
        build: Gives the training.
        seed: Of the training.

    Raises:
        UsageError: There is no batch, or it has no first part.
    """
    with sandbox():
        for batch in without_augmentation(build(Twin(), seed).train):
            if isinstance(batch, Tensor) or hasattr(batch, "inputs"):
                return getattr(batch, "inputs", batch)
            if isinstance(batch, (tuple, list)) and batch:
                return batch[0]
            raise UsageError(
                f"{owner}: `build` must give batches whose first part the model takes; got"
                f" {type(batch).__name__}. Give pairs of inputs and targets."
            )
    raise UsageError(
        f"{owner}: `build` must give batches to train on; got none. Look at what it gives as"
        " `train`."
    )


def contrast(
    one: Sequence[float], other: Sequence[float], *, among: int = 1
) -> tuple[float, Interval]:
    """Give the mean of `one` minus `other` with its 95% interval, paired by seed.

    Args:
        one: A number per seed.
        other: A number per seed.
        among: How many such intervals are to hold together, after Bonferroni.
    """
    differences = [a - b for a, b in zip(one, other, strict=True)]
    mean, count = fmean(differences), len(differences)
    if count < 2 or not math.isfinite(mean):
        return mean, (-math.inf, math.inf)
    half = t_quantile(1 - 0.025 / among, count - 1) * stdev(differences) / math.sqrt(count)
    return mean, (mean - half, mean + half)


def without_augmentation(batches: Iterable[Any]) -> Iterable[Any]:
    """Give the same examples as they are, where that can be had.

    In batches as large as they are, or larger ones of small examples.

    Args:
        batches: Of a training.
    """
    if not isinstance(batches, Batches):
        return batches
    size = batches.batch_size
    if 4 * _EVALUATED * math.prod(batches.examples.schema.input_shape) <= _SMALL:
        size = max(size, _EVALUATED)
    return Batches(batches.examples, size, device=batches.device)


def _grown(name: str, members: Sequence[Member], first: Sequence[Member]) -> Grown:
    train, valid = [], []
    for member, measuring in zip(members, first, strict=True):
        goal, examples = measuring.objective, without_augmentation(measuring.train)
        found = _measured(member, goal, examples).get("loss", math.nan)
        train.append(found if math.isfinite(found) else math.inf)
        valid.append({} if member.valid is None else _measured(member, goal, member.valid))
    return Grown(
        name=name,
        parameters=sum(p.numel() for p in members[0].model.parameters() if p.requires_grad),
        train=tuple(train),
        valid=tuple(valid),
        curves=tuple(
            tuple(float(epoch["train"]["loss"]) for epoch in member.history.epochs)
            for member in members
        ),
        members=tuple(members),
    )


def _measured(member: Member, goal: Objective, batches: Iterable[Any]) -> dict[str, float]:
    with autocast(member.precision, member.device):
        return evaluate(goal, member.model, batches)
