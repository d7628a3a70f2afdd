"""What probes that train twins share: which twins can be made, whether one is better, a picture."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ...data import Batches
from ...train import Member, Supervised, autocast, evaluate
from .._measure import best_constant, mean_interval
from .._result import Interval, ProbeResult
from .._sandbox import sandbox
from ._twin import Build, Grown, Twin, built, contrast, without_augmentation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Surgery = Callable[[nn.Module], nn.Module]

_PARTS = ("model", "loss", "examples", "augment", "batch_size", "lr", "weight_decay", "epochs")
_MOST: Final = 2048  # examples that say what the best constant outputs are
_NUMBERS: Final = 2**24  # that the outputs for them may have

LONGER: Final = "longer"
"""Name of the twin with twice the epochs."""

STILL_FALLING: Final = "The loss is still falling: train longer, or ask `learning_rate`"

_SLOWING: Final = 0.5
"""Of the fall so far: a second training as long that falls by less goes towards its end."""


@final
@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much lower one loss is than another, paired by seed.

    Args:
        mean: Over the seeds.
        interval: 95% interval of the mean; that of all together among which one is chosen.
        most: What the mean of this one alone does not exceed, at 97.5%; a seed that loses more than
            the margin counts as one that loses as much, for trainings go wrong by any amount.
        margin: What counts as a difference.
    """

    mean: float
    interval: Interval
    most: float
    margin: float

    @property
    def counts(self) -> bool | None:
        """Whether it is lower; None if the seeds do not say.

        That one of several is lower needs an interval that holds for all of them; that none is
        needs that of each.
        """
        if self.interval[0] > 0 and self.mean >= self.margin:
            return True
        return False if self.most < self.margin else None

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.mean:.3g}, 95% interval {low:.3g} to {high:.3g}"


@dataclass(frozen=True, kw_only=True)
class TwinResult(ProbeResult):
    """What twins came to; the base of the results of probes that train several.

    Args:
        value: The difference that the conclusion rests on.
        interval: 95% interval of `value`, paired by seed.
        control: Of the training as it is.
        found: What the probe looks for.
        conclusion: One sentence.
        losses: Loss on the training examples by twin, one for each seed.
        parameters: Trainable numbers by twin.
        curves: Loss of each epoch of the first seed by twin, while training.
        not_tried: Twins that could not be made, and why.
    """

    losses: Mapping[str, tuple[float, ...]]
    parameters: Mapping[str, int]
    curves: Mapping[str, tuple[float, ...]]
    not_tried: Mapping[str, str]

    def _draw(self, axes: Axes) -> None:
        names = {name: f"{name}\n{self.parameters[name]:,} parameters" for name in self.losses}
        rows = {names[name]: losses for name, losses in self.losses.items()}
        draw_losses(axes, rows, "loss on the training examples")


def draw_losses(axes: Axes, rows: Mapping[str, Sequence[float]], label: str) -> None:
    """Draw losses by name: each seed, their mean and its interval; by decades if there are some.

    Args:
        axes: Where.
        rows: Losses of the seeds by name.
        label: What the losses are.
    """
    finite = [loss for losses in rows.values() for loss in losses if math.isfinite(loss)]
    lowest, highest = min(finite, default=0.1), max(finite, default=1.0)
    decades = lowest > 0 and highest / lowest > 30
    for place, losses in enumerate(reversed(list(rows.values()))):
        shown = [loss for loss in losses if math.isfinite(loss)]
        mean, (low, high) = mean_interval(losses)
        if math.isfinite(low):
            low, high = max(low, lowest / 3 if decades else low), min(high, 3 * highest)
            axes.plot([low, high], [place, place], color="tab:blue", linewidth=2)
        axes.plot(shown, [place] * len(shown), "|", color="black", markersize=7)
        if math.isfinite(mean):
            axes.plot([mean], [place], "o", color="tab:blue")
        else:
            axes.annotate("lost", (highest, place), va="center", ha="right")
    if decades:
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows) - 1, -1, -1), list(rows))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(label)


def parts_of(build: Build, seed: int) -> tuple[dict[str, Any], Member]:
    """Build a training; give the parts that it asks for as they are, and the training.

    Args:
        build: Gives the training.
        seed: Of the training.
    """
    parts: dict[str, Any] = {}

    def note(part: str, value: Any) -> Any:
        parts[part] = value
        return value

    member = build(Twin(changes={part: partial(note, part) for part in _PARTS}), seed)
    return parts, member


def model_of(owner: str, build: Build, seed: int) -> nn.Module:
    """Give the model of a training that is not begun.

    Args:
        owner: Who asks, for errors.
        build: Gives the training.
        seed: Of the training.

    Raises:
        UsageError: `build` does not ask the twin for its model.
    """
    found: list[nn.Module] = []

    def note(model: nn.Module) -> nn.Module:
        found.append(model)
        return model

    with sandbox():
        built(owner, build, Twin(name="another model", changes={"model": note}), seed)
    return found[0]


def model_twins(
    owner: str, model: nn.Module, changes: Mapping[str, Surgery], seed: int
) -> tuple[list[Twin], dict[str, str]]:
    """Give a twin for each change of a model that can be made, and why the others cannot.

    Args:
        owner: Who asks, for errors.
        model: Stays as it is.
        changes: By name.
        seed: Of the new weights while it is tried.

    Raises:
        UsageError: No change can be made.
    """
    twins, not_tried = [], {}
    for name, change in changes.items():
        try:
            with sandbox(seed=seed):
                change(model)
        except UsageError as err:
            not_tried[name] = str(err)
        else:
            twins.append(Twin(name=name, changes={"model": change}))
    if not twins:
        raise UsageError(
            f"{owner}: `build` must give a model of which a twin can be made; got"
            f" {type(model).__name__}. {' '.join(not_tried.values())} Ask `learning_rate`, which"
            " needs none."
        )
    return twins, not_tried


def not_begun(build: Build, *, seeds: int, seed: int) -> Iterator[tuple[Member, float]]:
    """Give the training of each seed before it begins, and its loss as `grow` measures it after.

    Args:
        build: Gives the trainings.
        seeds: How many.
        seed: The first of them.
    """
    with sandbox():
        for number in range(seed, seed + seeds):
            member = build(Twin(), number)
            with autocast(member.precision, member.device):
                batches = without_augmentation(member.train)
                found = evaluate(member.objective, member.model, batches)
            yield member, found["loss"]


def start_losses(build: Build, *, seeds: int, seed: int) -> tuple[float, ...]:
    """Give the training loss of each seed before training.

    Args:
        build: Gives the trainings.
        seeds: How many.
        seed: The first of them.
    """
    return tuple(loss for _, loss in not_begun(build, seeds=seeds, seed=seed))


def longer_twin(build: Build, seed: int) -> tuple[list[Twin], dict[str, str]]:
    """Give the twin that trains for twice as many epochs, or why there is none.

    Args:
        build: Gives the training.
        seed: Of the training.
    """
    with sandbox():
        parts, _ = parts_of(build, seed)
    if "epochs" not in parts:
        return [], {LONGER: "`build` does not ask for the epochs. Write twin.epochs(...)."}
    return [Twin(name=LONGER, changes={"epochs": lambda epochs: 2 * epochs})], {}


def unfinished(
    losses: Mapping[str, tuple[float, ...]],
    start: Sequence[float],
    least: float,
    best: str | None = None,
) -> bool:
    """Say whether what tells twins apart may be how far they have come, not where they end.

    A larger or better conditioned network falls faster per step, and is ahead in each training that
    is cut short. So it is if the longer twin gains, and as much as the best of the others, or still
    falls nearly as fast as the training did so far.

    Args:
        losses: By twin, capped.
        start: Before training.
        least: Difference that counts.
        best: A twin that gains; None if only others are told apart.
    """
    own, longer = losses["as it is"], losses.get(LONGER)
    if longer is None:
        return False
    further, fall = gain(own, longer, least).counts, fmean(own) - fmean(longer)
    if further and fall >= _SLOWING * (fmean(start) - fmean(own)):
        return True
    if further is False or best is None:
        return False
    if further:
        return gain(longer, losses[best], least).counts is not True
    return fall >= _SLOWING * (fmean(own) - fmean(losses[best]))


def ignorant_loss(build: Build, seed: int) -> float:
    """Give the training loss of the best outputs that are the same for all; 0 if it is not known.

    It is known for supervised objectives whose outputs and targets are tensors. Examples are drawn
    by the seed from `Batches` and from lists; loaders of other kinds are read in their order.

    Args:
        build: Gives the training.
        seed: Of the training.
    """
    with sandbox(seed=seed):
        member = build(Twin(), seed)
        if not isinstance(member.objective, Supervised):
            return 0.0
        try:
            found = _of_constant(member, member.objective, seed)
        except (RuntimeError, TypeError, ValueError, LookupError):
            return 0.0  # a loss that takes no outputs but the model's
    return abs(found) if math.isfinite(found) else 0.0


def _of_constant(member: Member, objective: Supervised, seed: int) -> float:
    member.model.eval()
    answer: Tensor | None = None
    targets: list[Tensor] = []
    most = _MOST
    for inputs, wanted in _drawn(member.train, seed):
        if answer is None:
            with torch.no_grad(), autocast(member.precision, member.device):
                answer = member.model(inputs)
            if not (isinstance(answer, Tensor) and isinstance(wanted, Tensor)):
                return 0.0
            most = max(1, min(_MOST, _NUMBERS // max(1, answer[0].numel())))
        if not targets or wanted.shape[1:] == targets[0].shape[1:]:
            targets.append(wanted)
        if sum(map(len, targets)) >= most:
            break
    if answer is None:
        return 0.0
    known = torch.cat(targets)[:most]
    same = answer[:1].float().expand(len(known), *answer.shape[1:])
    return best_constant(objective.loss, same, known)


def _drawn(batches: Iterable[Any], seed: int) -> Iterable[Any]:
    if isinstance(batches, Batches):
        size, device = batches.batch_size, batches.device
        return Batches(batches.examples, size, shuffle=True, seed=seed, device=device)
    if isinstance(batches, (list, tuple)):
        return random.Random(seed).sample(batches, len(batches))
    return batches


def capped(
    losses: Sequence[float], ignorant: float, start: Sequence[float] = ()
) -> tuple[float, ...]:
    """Give losses, those far worse than knowing nothing as twice that; lost trainings are so.

    No loss below that of a model before training is changed.

    Args:
        losses: Of the seeds.
        ignorant: What `ignorant_loss` gave; if that is 0, the worst possible is ten million.
        start: Losses before training.
    """
    begun = [loss for loss in start if math.isfinite(loss)]
    most = max(2 * ignorant, *begun, 0.0) if ignorant else 1e7
    return tuple(min(loss, most) if not math.isnan(loss) else most for loss in losses)


def gain(before: Sequence[float], after: Sequence[float], margin: float, *, among: int = 1) -> Gain:
    """Give how much lower `after` is than `before`.

    Args:
        before: Losses of the seeds, without such as are not finite.
        after: The same of a twin.
        margin: Difference that counts, in the units of the loss.
        among: How many are compared, of which the best is chosen.
    """
    mean, interval = contrast(before, after, among=among)
    lowest = margin if margin > 0 else math.inf
    bounded = [min(late, early + lowest) for early, late in zip(before, after, strict=True)]
    return Gain(mean=mean, interval=interval, most=contrast(before, bounded)[1][1], margin=margin)


def results_of(grown: Mapping[str, Grown], not_tried: Mapping[str, str]) -> dict[str, Any]:
    """Give the arguments that all results of twins share.

    Args:
        grown: What the twins came to.
        not_tried: Twins that could not be made.
    """
    return {
        "losses": {name: one.train for name, one in grown.items()},
        "parameters": {name: one.parameters for name, one in grown.items()},
        "curves": {name: one.curves[0] for name, one in grown.items()},
        "not_tried": dict(not_tried),
    }


def mean_loss(losses: Sequence[float]) -> str:
    """Write the mean of losses.

    Args:
        losses: Of the seeds.
    """
    return f"{fmean(losses):.3g}"
