"""Would more data help? Trainings on growing subsets, and what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from ...core.errors import TrainingError, UsageError
from ...data import Examples
from .._result import ProbeResult
from ._power_law import PowerLaw, fit_power_law
from ._twin import Build, BySeed, Twin, Watch, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        ticks = sorted({round(size) for size in law.sizes} | {self.ahead})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("examples")
        axes.set_ylabel("loss on held-out data")


def learning_curve(
    build: Build,
    *,
    shares: Sequence[float] = (0.125, 0.25, 0.5, 0.75, 1.0),
    seeds: int = 3,
    ahead: float = 2.0,
    seed: int = 0,
    watch: Watch | None = None,
) -> LearningCurve:
    """Train on growing parts of the data, and say what more data would bring.

    When the validation loss is much larger than the training loss, and collecting more data costs.
    The twins differ in `examples`: random parts of them, those of one seed within each other. The
    promise is that of a power law, and worth as much as its interval; it holds for this model
    and these settings, and for data like these. Few examples make few steps in as many epochs;
    where that matters, let `build` choose the epochs by the number of examples it was given.

        def build(twin, seed):
            torch.manual_seed(seed)
            model = MLP(in_features=64, out_features=10)
            return Member(
                model=model,
                objective=Supervised(CrossEntropy()),
                optimizer=AdamW(model.parameters()),
                train=Batches(twin.examples(train), 32, shuffle=True, seed=seed),
                valid=Batches(valid, 256),
                epochs=20,
                seed=seed,
            )

        found = learning_curve(build)

    Args:
        build: Gives a training, with ``valid`` set; asks the twin for its examples.
        shares: Parts of them; at least three.
        seeds: Trainings for each part, with subsets and initial weights of their own.
        ahead: How many times as many examples the curve is continued to.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.

    Raises:
        UsageError: A share is out of range, a training measures no held-out data, or `build` does
            not ask for the examples.
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
    names = {share: f"{100 * share:g} % of the examples" for share in sorted(set(shares))}
    sizes: dict[tuple[float, int], int] = {}
    whole: dict[int, int] = {}

    def part(share: float) -> BySeed:
        def chosen(examples: Examples, number: int) -> Examples:
            random = torch.Generator().manual_seed(number)
            order = torch.randperm(len(examples), generator=random)
            whole[number] = len(examples)
            sizes[share, number] = max(1, round(share * len(examples)))
            return examples.select(order[: sizes[share, number]])

        return BySeed(chosen)

    twins = [Twin(name=names[share], changes={"examples": part(share)}) for share in names]
    grown = grow("learning_curve", build, twins, seeds=seeds, seed=seed, watch=watch, held_out=True)
    losses = [loss for name in names.values() for loss in grown[name].valid_loss]
    if not np.isfinite(losses).all():
        raise TrainingError(
            f"learning_curve: every training must end with a finite loss; got {losses}. Lower the"
            " learning rate."
        )
    counts = [float(sizes[share, seed + k]) for share in names for k in range(seeds)]
    return _concluded(counts, losses, round(ahead * max(whole.values())))


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
