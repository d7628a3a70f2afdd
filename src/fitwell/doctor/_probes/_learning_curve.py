"""Would more data help? Trainings on growing subsets, and what they promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import torch

from ...core.errors import TrainingError, UsageError
from ...data import Examples
from ...train import Member, Population
from ._power_law import PowerLaw, fit_power_law
from ._result import ProbeResult
from ._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Build = Callable[[Examples, int], Member]
"""``build(examples, seed)`` gives a training on these examples, with its held-out data."""


@final
@dataclass(frozen=True, kw_only=True)
class LearningCurve(ProbeResult):
    """How the loss falls with the number of examples.

    Args:
        value: Loss that the fitted curve promises for `ahead` examples.
        interval: 95% interval of the loss of one training on so many.
        control: Mean loss with all examples there are.
        found: Whether more data would help; None if the evidence does not say.
        conclusion: One sentence.
        ahead: The number of examples that `value` is for.
        law: The fitted curve, with all sizes and losses.
    """

    ahead: int
    law: PowerLaw

    def _draw(self, axes: Axes) -> None:
        law = self.law
        sizes = np.geomspace(min(law.sizes), self.ahead, 40)
        bounds = [law.interval(float(size)) for size in sizes[::3]]
        axes.fill_between(
            sizes[::3],
            [low for low, _ in bounds],
            [high for _, high in bounds],
            color="tab:blue",
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(sizes, [law.at(float(size)) for size in sizes], color="tab:blue")
        axes.plot(law.sizes, law.losses, "o", color="black", markersize=3)
        axes.set_xscale("log")
        axes.set_xlabel("examples")
        axes.set_ylabel("loss on held-out data")


def learning_curve(
    build: Build,
    train: Examples,
    *,
    shares: Sequence[float] = (0.125, 0.25, 0.5, 0.75, 1.0),
    seeds: int = 3,
    ahead: float = 2.0,
    stack: int | Literal["auto"] = "auto",
    seed: int = 0,
) -> LearningCurve:
    """Train on growing parts of the data, and say what more data would bring.

    When the validation loss is much larger than the training loss, and collecting more data costs.
    All trainings run as one `Population`, so that many small ones take little longer than one. The
    promise is that of a power law, and worth as much as its interval; it holds for this model
    and these settings, and for data like these.

        def build(examples, seed):
            torch.manual_seed(seed)
            model = MLP(in_features=64, out_features=10)
            return Member(
                model=model,
                objective=Supervised(CrossEntropy()),
                optimizer=AdamW(model.parameters()),
                train=Batches(examples, 32, shuffle=True, seed=seed),
                valid=Batches(valid, 256),
                epochs=20,
                seed=seed,
            )

        found = learning_curve(build, train)

    Args:
        build: Gives a training on some examples from a seed, with ``valid`` set.
        train: All examples there are to train on.
        shares: Parts of them; at least three, those of one seed within each other.
        seeds: Trainings for each part, with subsets and initial weights of their own.
        ahead: How many times as many examples the curve is continued to.
        stack: As for `Population`.
        seed: Of the first of the seeds.

    Raises:
        UsageError: A share is out of range, or a training measures no held-out data.
        TrainingError: A training gave a loss that is not finite.

    Source: hestness2017deep.
    Checked against: problems whose curve is known.
    """
    if not all(0 < share <= 1 for share in shares) or len(set(shares)) < 3 or seeds < 1:
        raise UsageError(
            "learning_curve: `shares` must be at least three parts in (0, 1], with one seed or"
            f" more; got {tuple(shares)} and {seeds}."
        )
    if ahead <= 1:
        raise UsageError(f"learning_curve: `ahead` must be above 1; got {ahead}. Use 2.")
    sizes: list[float] = []
    members: list[Member] = []
    with sandbox():
        for number in range(seed, seed + seeds):
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(number))
            for share in shares:
                count = max(1, round(share * len(train)))
                members.append(build(train.select(order[:count]), number))
                sizes.append(count)
        if any(member.valid is None for member in members):
            raise UsageError("learning_curve: `build` must set `valid`; got a training without it.")
        histories = Population(members, stack=stack).fit()
    losses = [float(history.epochs[-1]["valid"].get("loss", np.nan)) for history in histories]
    if not np.isfinite(losses).all():
        raise TrainingError(
            f"learning_curve: every training must end with a finite loss; got {losses}. Lower the"
            " learning rate."
        )
    return _concluded(sizes, losses, round(ahead * len(train)))


def _concluded(sizes: list[float], losses: list[float], ahead: int) -> LearningCurve:
    law = fit_power_law(sizes, losses)
    value, interval = law.at(ahead), law.interval(ahead)
    largest = max(sizes)
    now = fmean(loss for size, loss in zip(sizes, losses, strict=True) if size == largest)
    helps: bool | None = None
    if interval[1] < now:
        helps = True
    elif value > 0.95 * now and interval[0] > 0.8 * now:
        helps = False
    numbers = (
        f"{now:.3g} with {largest:.0f} examples, {value:.3g} expected with {ahead}, 95% interval"
        f" {interval[0]:.3g} to {interval[1]:.3g}; {law.a:.3g} + {law.b:.3g} n^-{law.c:.2g}"
    )
    starts = {
        True: "More data would help",
        False: "More data would hardly help",
        None: "Insufficient evidence whether more data would help",
    }
    return LearningCurve(
        value=value,
        interval=interval,
        control=now,
        found=helps,
        conclusion=f"{starts[helps]} (held-out loss {numbers}).",
        ahead=ahead,
        law=law,
    )
