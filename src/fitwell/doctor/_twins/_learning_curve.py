"""Would more data help? Trainings on growing subsets, and what they promise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from ...core.errors import TrainingError, UsageError
from ...data import Examples
from .._result import ProbeResult
from .._sandbox import sandbox
from ._compare import parts_of
from ._power_law import PowerLaw, fit_power_law
from ._twin import Build, BySeed, OnEpoch, Stacking, Twin, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
@dataclass(frozen=True, kw_only=True)
class LearningCurve(ProbeResult):
    """How the loss falls with the number of examples.

    Args:
        value: Loss that the fitted curve promises for `ahead` examples.
        interval: 95% interval of the loss of one training on so many; for other seeds, with the
            held-out examples at hand.
        control: Mean loss with the largest of the parts.
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
    watch: OnEpoch | None = None,
    stack: Stacking = "auto",
) -> LearningCurve:
    """Train on growing parts of the data, and say what more data would bring.

    When the validation loss is much larger than the training loss, and collecting more data costs.
    The twins differ in `examples`: random parts of them, those of one seed within each other. Few
    examples make few steps in as many epochs, and a training that is cut short for that reason
    would look like one that has too few data. So, where `build` asks the twin for its epochs, a
    share of the examples has 1 / share times as many, and all take about the same steps; else let
    `build` choose the epochs by the number of examples that it was given. The promise is that of a
    power law, and worth as much as its interval; it holds for this model and these settings, and
    for data like these.

        def build(twin, seed):
            torch.manual_seed(seed)
            model = MLP(in_features=64, out_features=10)
            return Member(
                model=model,
                objective=Supervised(CrossEntropy()),
                optimizer=AdamW(model.parameters()),
                train=Batches(twin.examples(train), 32, shuffle=True, seed=seed),
                valid=Batches(valid, 256),
                epochs=twin.epochs(20),
                seed=seed,
            )

        found = learning_curve(build)

    Args:
        build: Gives a training, with ``valid`` set; asks the twin for its examples, and should for
            its epochs.
        shares: Parts of them; at least three, and four trainings in all.
        seeds: Trainings for each part, with subsets and initial weights of their own.
        ahead: How many times as many examples the curve is continued to.
        seed: Of the first of the seeds.
        watch: Called after each epoch of all.
        stack: Trainings that become one program; see `Population`.

    Raises:
        UsageError: A share is out of range, parts are of the same size, a training measures no
            held-out data or a loss below 0, or `build` does not ask for the examples.
        TrainingError: A training gave a loss that is not finite.

    Source: hestness2017deep.
    Checked against: problems whose curve is known.
    """
    if not all(0 < share <= 1 for share in shares) or len(set(shares)) < 3 or seeds < 1:
        raise UsageError(
            "learning_curve: `shares` must be at least three parts in (0, 1], with one seed or"
            f" more; got {tuple(shares)} and {seeds}. Use the defaults."
        )
    if len(set(shares)) * seeds < 4:
        raise UsageError(
            "learning_curve: `seeds` must make at least four trainings with the shares; got"
            f" {seeds} for {tuple(shares)}. Use 2 or more."
        )
    if ahead <= 1:
        raise UsageError(f"learning_curve: `ahead` must be above 1; got {ahead}. Use 2.")
    names = {share: f"{100 * share:g} % of the examples" for share in sorted(set(shares))}
    epochs = _asks_for_epochs(build, names, seed)
    sizes: dict[tuple[float, int], int] = {}
    whole: dict[int, int] = {}

    def part(share: float) -> BySeed:
        def chosen(examples: Examples, number: int) -> Examples:
            random = torch.Generator().manual_seed(number)
            order = torch.randperm(len(examples), generator=random)
            whole[number] = len(examples)
            sizes[share, number] = _size(share, len(examples))
            return examples.select(order[: sizes[share, number]])

        return BySeed(chosen)

    twins = [_twin(name, share, part(share), epochs=epochs) for share, name in names.items()]
    grown = grow(
        "learning_curve",
        build,
        twins,
        seeds=seeds,
        seed=seed,
        watch=watch,
        stack=stack,
        held_out=True,
    )
    losses = [loss for name in names.values() for loss in grown[name].valid_loss]
    if not np.isfinite(losses).all():
        raise TrainingError(
            f"learning_curve: every training must end with a finite loss; got {losses}. Lower the"
            " learning rate."
        )
    counts = [float(sizes[share, seed + k]) for share in names for k in range(seeds)]
    return _concluded(counts, losses, round(ahead * max(whole.values())))


def _size(share: float, count: int) -> int:
    return max(1, round(share * count))


def _asks_for_epochs(build: Build, shares: Iterable[float], seed: int) -> bool:
    """Say so, and make sure before anything is trained that the parts differ in size."""
    with sandbox():
        parts, _ = parts_of(build, seed)
    examples = parts.get("examples")
    if examples is not None and len({_size(share, len(examples)) for share in shares}) < 3:
        raise UsageError(
            "learning_curve: `shares` must be at least three parts of other sizes; got"
            f" {tuple(shares)} of {len(examples)} examples. Give larger shares or more examples."
        )
    return "epochs" in parts


def _twin(name: str, share: float, part: BySeed, *, epochs: bool) -> Twin:
    changes: dict[str, Any] = {"examples": part}
    if epochs:  # as many steps for all
        changes["epochs"] = lambda whole: max(1, round(whole / share))
    return Twin(name=name, changes=changes)


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
