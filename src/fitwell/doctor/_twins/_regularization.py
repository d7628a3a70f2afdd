"""Is there too much regularization, or too little? Twins without any, and with more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, Literal, final

from ...core.errors import UsageError
from .._sandbox import sandbox
from ._compare import (
    Gain,
    TwinResult,
    capped,
    draw_losses,
    gain,
    ignorant_loss,
    mean_loss,
    parts_of,
    results_of,
    start_losses,
)
from ._surgery import drops, with_dropout, without_dropout
from ._twin import Build, Grown, OnEpoch, Stacking, Twin, grow, sample_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Amount = Literal["too much", "too little", "fine", "unknown"]
Changes = dict[str, Callable[[Any], Any]]

MORE_DROPOUT: Final = 0.3
MORE_DECAY: Final = 0.01
"""Weight decay of the twin with more: ten times as much, and at least this."""

_FINE: Final = {
    ("without", "with more"): "Neither none nor more regularization is better",
    ("without",): "No regularization is not better",
    ("with more",): "More regularization is not better",
}

_LEAST: Final = 0.01
"""Of the loss of the best constant outputs: what a difference on held-out data has to exceed."""


@final
@dataclass(frozen=True, kw_only=True)
class Regularization(TwinResult):
    """Losses of a training, of the same without regularization, and with more.

    Args:
        value: How much lower the held-out loss of the twin is that `amount` rests on.
        interval: 95% interval of `value`, paired by seed.
        control: Held-out loss as it is.
        found: Whether there is too much or too little; None if the evidence does not say.
        conclusion: One sentence.
        losses: Loss on the training examples by twin, one for each seed, without augmentation and
            label smoothing; infinite if the training was lost.
        parameters: Trainable numbers by twin.
        curves: Loss of each epoch of the first seed by twin, while training.
        not_tried: Twins that could not be made, and why.
        amount: ``too much`` if the training without does better on both parts, ``too little`` if
            the one with more does better on held-out data while training is far ahead of it,
            ``fine`` if neither does better.
        valid_losses: Loss on held-out examples by twin, one for each seed.
        switched_off: What the twin without has not.
    """

    amount: Amount
    valid_losses: Mapping[str, tuple[float, ...]]
    switched_off: tuple[str, ...]

    def _draw(self, axes: Axes) -> None:
        rows = {}
        for name, losses in self.losses.items():
            rows[f"{name}: training"] = losses
            rows[f"{name}: held out"] = self.valid_losses[name]
        draw_losses(axes, rows, "loss")


def regularization(
    build: Build,
    *,
    seeds: int = 3,
    margin: float = 0.05,
    watch: OnEpoch | None = None,
    seed: int = 0,
    stack: Stacking = "auto",
) -> Regularization:
    """Train without regularization, and with more, and compare on training and held-out data.

    When the training loss stays large although `overfit_one_batch` succeeds: dropout, weight decay,
    augmentation or label smoothing may be too strong. Or when the gap to the held-out loss is real
    (ask `modes` first): more of them may help. Off means dropout 0, weight decay 0, no augmentation
    and no label smoothing, as far as the model has it or `build` asks the twin for it. More means
    dropout of 0.3 before the last layer and ten times the weight decay, at least 0.01.

    A difference counts if its 95% interval over the seeds, together with those of the others,
    excludes 0, and if it is at least `margin` of the held-out loss as it is and a hundredth of the
    loss of the best outputs that are the same for all. A loss beyond twice the latter, and beyond
    that before training, counts as that. Where a loader augments, all are measured on what the
    loader of the first gives: without augmentation, if `build` asks the twin for that.

    Args:
        build: Gives the training of a twin from a seed, with ``valid``; see `Twin`.
        seeds: Trainings of each twin; with fewer than three, intervals are too wide to say much.
        margin: Smallest share of the loss that is a difference.
        watch: Called after each epoch of all.
        seed: The first of the seeds.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: There is no seed, no held-out data, or nothing that could be changed.

    Source: krogh1991simple, for weight decay; srivastava2014dropout.
    Checked against: trainings with far too much dropout or weight decay; memorized noise; healthy
        ones.
    """
    off, more, not_tried = _twins(build, seed)
    ignorant = ignorant_loss(build, seed)
    start = start_losses(build, seeds=seeds, seed=seed)
    # The first one's objective measures all, and is to have no label smoothing.
    twins = [*([off] if off else []), Twin(), *([more] if more else [])]
    grown = grow("regularization", build, twins, seeds=seeds, seed=seed, watch=watch, stack=stack)
    return _concluded(grown, not_tried, off, (ignorant, start), margin)


def _twins(build: Build, seed: int) -> tuple[Twin | None, Twin | None, dict[str, str]]:
    """Give the twins that can be made, and why the others cannot."""
    with sandbox():
        parts, member = parts_of(build, seed)
    if member.valid is None:
        raise UsageError(
            "regularization: `build` must give held-out data; got a training without. Set `valid`."
        )
    not_tried: dict[str, str] = {}
    less: Changes = {}
    more: Changes = {}
    model = parts.get("model")
    if model is not None and drops(model):
        less["model"] = without_dropout
    if parts.get("weight_decay"):
        less["weight_decay"] = lambda _: 0.0
    if parts.get("augment") is not None:
        less["augment"] = lambda _: None
    if _smooths(parts.get("loss")):
        less["loss"] = _plain
    if "weight_decay" in parts:
        more["weight_decay"] = lambda decay: max(10 * decay, MORE_DECAY)
    if model is not None:
        sample = sample_of("regularization", build, seed)
        try:
            with sandbox(seed=seed):
                with_dropout(model, sample, MORE_DROPOUT)
        except UsageError as err:
            not_tried["dropout"] = str(err)
        else:
            more["model"] = lambda m: with_dropout(m, sample, MORE_DROPOUT)
    if not less and not more:
        raise UsageError(
            "regularization: `build` must ask the twin for its model or its weight decay; got"
            " neither. Write twin.model(...) and twin.weight_decay(...) around them."
        )
    if not less:
        not_tried["without"] = "there is no regularization that could be switched off"
    if not more:
        not_tried.setdefault("with more", "`build` asks neither for model nor for weight decay")
    return (
        Twin(name="without", changes=less) if less else None,
        Twin(name="with more", changes=more) if more else None,
        not_tried,
    )


def _smooths(loss: Any) -> bool:
    amount = getattr(loss, "label_smoothing", 0)
    return isinstance(amount, (int, float)) and amount != 0


def _plain(loss: Any) -> Any:
    """Give the same loss without label smoothing, of this package or of torch."""
    if is_dataclass(loss) and not isinstance(loss, type):
        return replace(loss, label_smoothing=0.0)
    made = copy.copy(loss)
    made.label_smoothing = 0.0
    return made


def _concluded(
    grown: Mapping[str, Grown],
    not_tried: Mapping[str, str],
    off: Twin | None,
    known: tuple[float, Sequence[float]],
    margin: float,
) -> Regularization:
    ignorant, start = known
    train = {name: capped(one.train, ignorant, start) for name, one in grown.items()}
    valid = {name: capped(one.valid_loss, ignorant, start) for name, one in grown.items()}
    least = max(margin * abs(fmean(valid["as it is"])), _LEAST * ignorant)
    amount, basis, words = _judged(train, valid, least)
    order = [name for name in ("without", "as it is", "with more") if name in grown]
    numbers = ", ".join(
        f"{name} {mean_loss(grown[name].train)} and {mean_loss(grown[name].valid_loss)}"
        for name in order
    )
    missing = f"; not tried: {', '.join(not_tried)}" if not_tried else ""
    return Regularization(
        value=basis.mean,
        interval=basis.interval,
        control=fmean(grown["as it is"].valid_loss),
        found={"fine": False, "unknown": None}.get(amount, True),
        conclusion=(
            f"{words} (difference on held-out data {basis}; training and held-out loss"
            f" {numbers}{missing})."
        ),
        **results_of({name: grown[name] for name in order}, not_tried),
        amount=amount,
        valid_losses={name: grown[name].valid_loss for name in order},
        switched_off=tuple(_worded(part) for part in off.changes) if off else (),
    )


def _judged(
    train: Mapping[str, tuple[float, ...]], valid: Mapping[str, tuple[float, ...]], least: float
) -> tuple[Amount, Gain, str]:
    """Give how much there is, the difference that says so, and the words for it."""
    gains = {
        name: gain(valid["as it is"], losses, least, among=len(valid) - 1)
        for name, losses in valid.items()
        if name != "as it is"
    }
    best = max(gains.values(), key=lambda g: g.mean)
    too_much = too_little = None
    if "without" in gains:
        too_much = gains["without"].counts
        if too_much:
            too_much = gain(train["as it is"], train["without"], least).counts
    if "with more" in gains:
        too_little = gains["with more"].counts
        if too_little:
            too_little = gain(valid["as it is"], train["as it is"], least).counts
    if too_much:
        start = "There is too much regularization: without, training and held-out data fare better"
        return "too much", gains["without"], start
    if too_little:
        start = "There is too little regularization: with more, held-out data fare better"
        return "too little", gains["with more"], start
    told = [
        verdict
        for name, verdict in (("without", too_much), ("with more", too_little))
        if name in gains
    ]
    if all(verdict is False for verdict in told):
        return "fine", best, _FINE[tuple(gains)]
    start = "Insufficient evidence whether there is too much or too little regularization"
    return "unknown", best, start


def _worded(part: str) -> str:
    words = {"model": "dropout", "augment": "augmentation", "loss": "label smoothing"}
    return words.get(part, part.replace("_", " "))
