"""What probes that train twins share: which twins can be made, whether one is better, a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ...train import Member, Supervised
from .._measure import best_constant, mean_interval
from .._result import Interval, ProbeResult
from .._sandbox import sandbox
from ._twin import Build, Grown, Twin, built, contrast, without_augmentation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Surgery = Callable[[nn.Module], nn.Module]

_PARTS = ("model", "loss", "examples", "augment", "batch_size", "lr", "weight_decay", "epochs")
_MOST = 2048


@final
@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much lower one loss is than another, paired by seed.

    Args:
        mean: Over the seeds.
        interval: 95% interval of the mean.
        margin: What counts as a difference.
    """

    mean: float
    interval: Interval
    margin: float

    @property
    def counts(self) -> bool | None:
        """Whether it is lower; None if the seeds do not say."""
        if self.interval[0] > 0 and self.mean >= self.margin:
            return True
        return False if self.interval[1] < self.margin else None

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
    model: nn.Module, changes: Mapping[str, Surgery], seed: int
) -> tuple[list[Twin], dict[str, str]]:
    """Give a twin for each change of a model that can be made, and why the others cannot.

    Args:
        model: Stays as it is.
        changes: By name.
        seed: Of the new weights while it is tried.
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
    return twins, not_tried


def ignorant_loss(build: Build, seed: int) -> float:
    """Give the training loss of the best outputs that are the same for all; 0 if it is not known.

    It is known for supervised objectives whose outputs and targets are tensors.

    Args:
        build: Gives the training.
        seed: Of the training.
    """
    with sandbox():
        member = build(Twin(), seed)
        if not isinstance(member.objective, Supervised):
            return 0.0
        member.model.eval()
        outputs: list[Tensor] = []
        targets: list[Tensor] = []
        for batch in without_augmentation(member.train):
            inputs, wanted = batch
            with torch.no_grad():
                answer = member.model(inputs)
            if not (isinstance(answer, Tensor) and isinstance(wanted, Tensor)):
                return 0.0
            outputs.append(answer)
            targets.append(wanted)
            if sum(map(len, targets)) >= _MOST:
                break
        found = best_constant(member.objective.loss, torch.cat(outputs), torch.cat(targets))
    return abs(found) if math.isfinite(found) else 0.0


def capped(losses: Sequence[float], ignorant: float) -> tuple[float, ...]:
    """Give losses, those far worse than knowing nothing as twice that; lost trainings are so.

    Args:
        losses: Of the seeds.
        ignorant: What `ignorant_loss` gave; if that is 0, the worst possible is ten million.
    """
    most = 2 * ignorant if ignorant else 1e7
    return tuple(min(loss, most) if not math.isnan(loss) else most for loss in losses)


def gain(before: Sequence[float], after: Sequence[float], margin: float) -> Gain:
    """Give how much lower `after` is than `before`.

    Args:
        before: Losses of the seeds, capped.
        after: The same of a twin.
        margin: Difference that counts, in the units of the loss.
    """
    mean, interval = contrast(before, after)
    return Gain(mean=mean, interval=interval, margin=margin)


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
