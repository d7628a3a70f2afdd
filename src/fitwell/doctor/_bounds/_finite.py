"""A finite set of hypotheses whose losses on all data are known: the theory, where it can be seen.

H hypotheses, S training sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UsageError
from .._measure import mean_interval
from .._result import Interval, ProbeResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The best hypothesis on all data beside the one that a training set chooses.

    Arrays of the shape of the losses without their last axis.

    Args:
        h_all: Number of the best hypothesis on all data; the first of several.
        h_train: Number of the best on the training set.
        ideal: Loss of `h_all` on all data.
        reached: Loss of `h_train` on all data.
        ideal_on_train: Loss of `h_all` on the training set.
        reached_on_train: Loss of `h_train` on the training set.
        deviation: Largest difference between the two losses of a hypothesis.
    """

    h_all: NDArray[np.int64]
    h_train: NDArray[np.int64]
    ideal: Numbers
    reached: Numbers
    ideal_on_train: Numbers
    reached_on_train: Numbers
    deviation: Numbers

    @property
    def excess(self) -> Numbers:
        """What the choice on a training set costs: never more than twice the deviation."""
        return self.reached - self.ideal

    def is_good(self, delta: float) -> NDArray[np.bool_]:
        """Say for which training sets the excess cannot be above `delta`.

        Args:
            delta: Twice the deviation that is allowed.
        """
        good: NDArray[np.bool_] = self.deviation <= delta / 2
        return good


def choose_hypothesis(all_losses: ArrayLike, train_losses: ArrayLike) -> Chosen:
    """Choose the hypothesis with the least loss on a training set, and see what that costs.

    For theory and teaching, where all data are known; `generalization_gap` estimates the same for
    one trained model. A low loss on the training set is no surprise: it is never above that of the
    best hypothesis there. If no hypothesis is off by more than δ/2, the one chosen is within δ of
    the best:

        L(h_train, all) ≤ L(h_train, train) + δ/2 ≤ L(h_all, train) + δ/2 ≤ L(h_all, all) + δ

    Args:
        all_losses: (..., H). Loss of each hypothesis on all data.
        train_losses: (..., H). The same on training sets, as many as there are; axes before the
            last are broadcast.

    Raises:
        UsageError: There is no hypothesis, the numbers of hypotheses differ, or a loss is NaN.

    Source: abumostafa2012learning, section 1.3.
    Checked against: brute force; a hundred thousand random sets of hypotheses.
    """
    everything, sample = _losses("choose_hypothesis", all_losses, train_losses)
    everything, sample = np.broadcast_arrays(everything, sample)
    h_all, h_train = everything.argmin(axis=-1), sample.argmin(axis=-1)

    def of(losses: Numbers, which: NDArray[np.int64]) -> Numbers:
        taken: Numbers = np.take_along_axis(losses, which[..., None], axis=-1)[..., 0]
        return taken

    return Chosen(
        h_all=h_all,
        h_train=h_train,
        ideal=of(everything, h_all),
        reached=of(everything, h_train),
        ideal_on_train=of(sample, h_all),
        reached_on_train=of(sample, h_train),
        deviation=np.abs(everything - sample).max(axis=-1),
    )


@final
@dataclass(frozen=True, kw_only=True)
class ComplexityCurve(ProbeResult):
    """What a larger set of hypotheses gains and what it costs.

    Args:
        value: Loss on all data of what is chosen from the largest set, minus that of the best of
            the smaller sets; 0 for a single set.
        interval: 95% interval of `value`, from differences on the same training sets: those of
            odd number, since the best smaller set is told from those of even number.
        control: The same difference for the best hypotheses on all data, which a larger set never
            makes worse.
        found: Whether the largest set is worse than a smaller one; None if the evidence does not
            say.
        conclusion: One sentence.
        best: Size of the best set; of equals, the smallest.
        rival: Size of the best of the smaller sets, with which the largest is compared.
        sizes: Hypotheses of each set.
        ideal: Loss on all data of the best hypothesis of each set.
        train: Mean loss on its training set of the hypothesis that is chosen there.
        reached: Mean loss on all data of that hypothesis.
        reached_intervals: 95% intervals of `reached`.
    """

    best: int
    rival: int
    sizes: tuple[int, ...]
    ideal: tuple[float, ...]
    train: tuple[float, ...]
    reached: tuple[float, ...]
    reached_intervals: tuple[Interval, ...]

    @property
    def gap(self) -> tuple[float, ...]:
        """Mean difference of the losses of what is chosen, on all data and on its training set."""
        return tuple(a - b for a, b in zip(self.reached, self.train, strict=True))

    def _draw(self, axes: Axes) -> None:
        low, high = zip(*self.reached_intervals, strict=True)
        axes.fill_between(self.sizes, low, high, color="tab:orange", alpha=0.2, linewidth=0)
        curves = (
            ("chosen, all data", self.reached, "tab:orange"),
            ("best, all data", self.ideal, "tab:gray"),
            ("chosen, training set", self.train, "tab:blue"),
        )
        for label, losses, color in curves:
            axes.plot(self.sizes, losses, "o-", color=color, markersize=4, label=label)
        axes.set_xscale("log")
        axes.set_xlabel("hypotheses")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)


def complexity_curve(
    all_losses: ArrayLike, train_losses: ArrayLike, sizes: Sequence[int]
) -> ComplexityCurve:
    """Let growing sets of hypotheses choose on many training sets, and measure on all data.

    For theory and teaching, where losses on all data are known, and for grids of simple models.
    A small set has a small gap because there is little to choose, and nothing good in it; a large
    one has good hypotheses that a small training set does not find. The loss of what is chosen
    falls, then rises.

    Args:
        all_losses: (H,). Loss of each hypothesis on all data, the simple ones first.
        train_losses: (S, H). The same on each training set; at least four of them.
        sizes: Of the nested sets, growing: each is made of so many first hypotheses.

    Raises:
        UsageError: A size is out of range, or losses are not of these shapes.

    Source: abumostafa2012learning, section 2.3.
    Checked against: votes within bins; a closed form for two hypotheses.
    """
    everything, samples = _losses("complexity_curve", all_losses, train_losses)
    if everything.ndim != 1 or samples.ndim != 2 or len(samples) < 4:
        raise UsageError(
            "complexity_curve: `train_losses` must be four rows or more of as many losses as"
            f" there are hypotheses; got {samples.shape} and {everything.shape}. Draw more training"
            " sets."
        )
    sizes = tuple(int(size) for size in sizes)
    if (
        list(sizes) != sorted({*sizes})
        or not sizes
        or not 1 <= sizes[0] <= sizes[-1] <= len(everything)
    ):
        raise UsageError(
            f"complexity_curve: `sizes` must grow from 1 or more to at most {len(everything)}, the"
            f" number of hypotheses; got {sizes}. Leave out repeated and larger ones."
        )
    choices = [choose_hypothesis(everything[:size], samples[:, :size]) for size in sizes]
    reached = [mean_interval(choice.reached.tolist()) for choice in choices]
    means = [float(choice.reached[::2].mean()) for choice in choices]
    best = int(np.argmin(means))
    rival = int(np.argmin(means[:-1] or means))  # of a single set, itself
    value, interval = mean_interval((choices[-1].reached - choices[rival].reached)[1::2].tolist())
    if len(sizes) == 1:
        interval = (-math.inf, math.inf)
    worse: bool | None = None
    if interval[1] <= 0:
        worse = False
    elif interval[0] > 0:
        worse = True
    ideal = [float(choice.ideal[0]) for choice in choices]
    starts = {
        True: f"{sizes[-1]} hypotheses are too many for these training sets",
        False: "The largest set of hypotheses is not too large",
        None: "Insufficient evidence whether fewer hypotheses would be better",
    }
    return ComplexityCurve(
        value=value,
        interval=interval,
        control=ideal[-1] - ideal[rival],
        found=worse,
        best=sizes[best],
        rival=sizes[rival],
        conclusion=(
            f"{starts[worse]} (loss on all data {reached[-1][0]:.3g} with {sizes[-1]} and"
            f" {reached[rival][0]:.3g} with {sizes[rival]} of them; difference {value:.3g}, 95%"
            f" interval {interval[0]:.3g} to {interval[1]:.3g}; of the best hypotheses"
            f" {ideal[-1] - ideal[rival]:.2g})."
        ),
        sizes=sizes,
        ideal=tuple(ideal),
        train=tuple(float(choice.reached_on_train.mean()) for choice in choices),
        reached=tuple(mean for mean, _ in reached),
        reached_intervals=tuple(interval for _, interval in reached),
    )


def _losses(owner: str, all_losses: ArrayLike, train_losses: ArrayLike) -> tuple[Numbers, Numbers]:
    everything = np.asarray(all_losses, dtype=np.float64)
    sample = np.asarray(train_losses, dtype=np.float64)
    if not everything.ndim or not sample.ndim or everything.shape[-1:] != sample.shape[-1:]:
        raise UsageError(
            f"{owner}: `train_losses` must have a loss for each hypothesis along the last"
            f" axis, as `all_losses`; got {sample.shape} and {everything.shape}. Put hypotheses"
            " last."
        )
    if not everything.shape[-1] or np.isnan(everything).any() or np.isnan(sample).any():
        raise UsageError(
            f"{owner}: `all_losses` and `train_losses` must be numbers, at least one; got"
            " none or NaN. Leave out what was not measured."
        )
    return everything, sample
