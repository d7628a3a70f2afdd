"""Where does the time of a step go, and does a step leave something behind?"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final, Literal, final

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.errors import UsageError
from ...core.significance import Z95
from .._measure import Loss, Pairs, pair_of
from .._result import Interval, ProbeResult, draw_rows, percent
from .._sandbox import sandbox
from ._kept import Kept, what_is_kept
from ._timed import Loop, LossOf, Timed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Fault = Literal["loader", "graphs", "memory", "slowing"]
_OWNER: Final = "timing"
_PHASES: Final = ("data", "transfer", "forward", "backward", "step")
_CACHED: Final = 8


@final
@dataclass(frozen=True, kw_only=True)
class Timing(ProbeResult):
    """Where the time of a step goes, and what a step leaves behind.

    Args:
        value: Share of a step that waits for data.
        interval: 95% interval of `value`, over steps.
        control: The same with batches that are in memory already.
        found: Whether the loader holds the training up, steps keep graphs or memory, or become
            slower and slower; None if the evidence does not say.
        conclusion: One sentence.
        faults: Which of these.
        seconds: Of a step, a mean.
        phases: Median seconds of each part of a step, with their 95% intervals.
        saved: Share of a step that batches in memory save.
        saved_interval: 95% interval of `saved`.
        growth: By which share of a step steps became slower from the first to the last.
        growth_interval: 95% interval of `growth`.
        graphs: Graphs that a step leaves behind, in graphs of one step, with the interval.
        memory: Bytes of tensors that a step leaves behind, with the interval.
        step_memory: Bytes of tensors that a forward pass makes, what `memory` is compared to.
        resident: Bytes per step by which the process grew while steps were timed, with its 95%
            interval, also from what is not a tensor; None where the system does not say.
    """

    faults: tuple[Fault, ...]
    seconds: float
    phases: dict[str, tuple[float, Interval]]
    saved: float
    saved_interval: Interval
    growth: float
    growth_interval: Interval
    graphs: tuple[float, Interval]
    memory: tuple[float, Interval]
    step_memory: float
    resident: tuple[float, Interval] | None

    def _draw(self, axes: Axes) -> None:
        rows: list[tuple[str, float, Interval | None]] = [
            (name, 1e3 * middle, (1e3 * ends[0], 1e3 * ends[1]))
            for name, (middle, ends) in self.phases.items()
        ]
        rows.append(("whole step, mean", 1e3 * self.seconds, None))
        rows.append(("with batches in memory", 1e3 * self.seconds * (1 - self.saved), None))
        draw_rows(axes, rows, "milliseconds")
        axes.set_xlim(left=0)


def timing(
    model: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    batches: Pairs,
    *,
    loss_of: LossOf | None = None,
    steps: int = 30,
    margin: float = 0.1,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> Timing:
    """Time the parts of some training steps, and look for what they leave behind.

    When a training is slow, becomes slower, or runs out of memory after a while. The same steps run
    with a few batches that stay in memory, before and after those of the loader: what these save is
    what the loader costs, which the wait alone does not say. Nothing to find on a loaded machine:
    then intervals are wide. For one slow operation take torch's profiler instead.

        wait    data / (data + transfer + forward + backward + step),  sums over steps
        saved   1 - mean step with batches in memory / mean step
        growth  slope of the time of a step without its wait, the median over pairs of steps
        graphs  nodes of graphs that live tensors hold, per step, over nodes of the loss

    The usual leak keeps losses in a list, or their sum, with the graphs behind them; give the part
    of your own loop that makes the loss as `loss_of` to have it seen. On a GPU, `phases` are those
    of steps whose parts are waited for one by one; `seconds` and `saved` are those of further
    steps, in which parts overlap as in training.

    Args:
        model: Runs in training mode, as a copy, on its device.
        loss: ``loss(outputs, targets)``.
        optimizer: Over parameters of `model`; copied.
        batches: Pairs of inputs and targets; with `loss_of`, whatever it takes.
        loss_of: ``loss_of(model, batch)`` gives the loss to go down, in place of `loss`, and does
            what your loop does besides. What it writes to itself is not copied.
        steps: Steps that are timed, of either kind; some more warm up and look at memory.
        margin: Shares up to this one are no fault: of a step that the loader costs, by which it
            becomes slower, of a graph or its memory that is left behind.
        clock: Gives seconds.
        seed: Of the noise in the model.

    Raises:
        UsageError: There is no batch, or there are too few steps.

    Source: sen1968estimates, for slopes and their intervals.
    Checked against: a clock that stands still but for what a part is made to take; loops that
        keep losses, sums of losses, outputs, and numbers.
    """
    if steps < 10 or not margin > 0:
        raise UsageError(
            f"{_OWNER}: `steps` must be at least 10 and `margin` positive; got {steps} and"
            f" {margin}. More steps make the intervals narrower."
        )
    with sandbox(model, loss, optimizer, batches, seed=seed) as (made, loss, copied, source):
        made.train()
        loop = Loop(made, loss_of or _plain(loss), copied, clock)
        ready = list(itertools.islice(_endless(source), _CACHED))
        before = loop.timed(itertools.cycle(ready), steps // 2)
        real = loop.timed(_endless(source), steps)
        after = loop.timed(itertools.cycle(ready), steps - steps // 2)
        kept = what_is_kept(loop.forward, loop.finish, itertools.cycle(ready), loop.device)
    return _concluded(real, before, after, kept, margin)


def _plain(loss: Loss) -> LossOf:
    def loss_of(model: nn.Module, batch: Any) -> Tensor:
        inputs, targets = pair_of(_OWNER, batch)
        return loss(model(inputs), targets)

    return loss_of


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        some = False
        for batch in batches:
            some = True
            yield batch
        if not some:
            raise UsageError(
                f"{_OWNER}: `batches` must give at least one; got none. Give a list of pairs or a"
                " loader, no iteration that has ended."
            )


def _middle(values: Sequence[float]) -> tuple[float, Interval]:
    """Give the median and its 95% interval, two of the sorted values, whatever they are like."""
    ordered, n = sorted(values), len(values)
    below, rank = 0.0, 0
    while below + math.comb(n, rank) / 2**n <= 0.025:
        below += math.comb(n, rank) / 2**n
        rank += 1
    place = max(rank - 1, 0)
    return median(ordered), (ordered[place], ordered[n - 1 - place])


def _slope(values: Sequence[float]) -> tuple[float, Interval]:
    """Give the median slope over pairs of values and its 95% interval, which outliers spare."""
    n = len(values)
    slopes = sorted(
        (values[j] - values[i]) / (j - i) for i, j in itertools.combinations(range(n), 2)
    )
    spread = Z95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2) - 1)
    return median(slopes), (slopes[low], slopes[len(slopes) - 1 - low])


def _ratio(
    above: Sequence[float], below: Sequence[float], *, paired: bool
) -> tuple[float, Interval]:
    """Give the ratio of two means and its 95% interval, by bootstrap."""
    one, two = np.asarray(above), np.asarray(below)
    random = np.random.default_rng(0)
    rows = random.integers(len(one), size=(2000, len(one)))
    others = rows if paired else random.integers(len(two), size=(2000, len(two)))
    bottom = np.maximum(two[others].mean(axis=1), 1e-12)
    low, high = np.quantile(one[rows].mean(axis=1) / bottom, (0.025, 0.975))
    return fmean(above) / max(fmean(below), 1e-12), (float(low), float(high))


def _concluded(real: Timed, before: Timed, after: Timed, kept: Kept, margin: float) -> Timing:
    wait, wait_interval = _ratio(real.waits, real.steps, paired=True)
    left, (low, high) = _ratio([*before.whole, *after.whole], real.whole, paired=False)
    saved, saved_interval = 1 - left, (1 - high, 1 - low)
    slope, ends = _slope(real.work)
    scale = (len(real.work) - 1) / max(median(real.work), 1e-12)
    growth, growth_interval = scale * slope, (scale * ends[0], scale * ends[1])
    lasting = _middle(after.work)[1][0] > _middle(before.work)[1][1]
    answers: dict[Fault, bool | None] = {
        "loader": _both(_above(saved_interval, margin), _above(wait_interval, margin)),
        "graphs": _above(kept.graphs[1], margin),
        "memory": _above(kept.memory[1], margin * kept.step_memory),
        "slowing": _both(_above(growth_interval, margin), lasting),
    }
    found: bool | None = False
    if True in answers.values():
        found = True
    elif None in answers.values():
        found = None
    resident = None
    sizes = [size for size in real.resident if size is not None]
    if len(sizes) == len(real.resident):
        resident = _slope(sizes)
    faults = tuple(name for name, there in answers.items() if there)
    middles = {
        name: _middle([parts[place] for parts in real.phases]) for place, name in enumerate(_PHASES)
    }
    cached = sum([*before.steps, *after.steps])
    control = sum([*before.waits, *after.waits]) / max(cached, 1e-12)
    costs = " to ".join(percent(end) for end in wait_interval)
    saves = " to ".join(percent(end) for end in saved_interval)
    rises = " to ".join(percent(end) for end in growth_interval)
    numbers = (
        f"{percent(wait)} of a step of {1e3 * fmean(real.whole):.3g} ms waits for data, 95%"
        f" interval {costs}; with batches in memory {percent(control)}, and they save"
        f" {percent(saved)}, {saves}; left behind per step: {kept.graphs[0]:.2g} graphs,"
        f" {kept.memory[0]:.3g} bytes; steps slower by {percent(growth)}, {rises}"
    )
    return Timing(
        value=wait,
        interval=wait_interval,
        control=control,
        found=found,
        conclusion=f"{_start(found, faults)} ({numbers}).",
        faults=faults,
        seconds=fmean(real.whole),
        phases=middles,
        saved=saved,
        saved_interval=saved_interval,
        growth=growth,
        growth_interval=growth_interval,
        graphs=kept.graphs,
        memory=kept.memory,
        step_memory=kept.step_memory,
        resident=resident,
    )


_SAID: Final[dict[Fault, str]] = {
    "loader": "the training waits for its loader",
    "graphs": "steps keep their graphs: detach what is kept of a loss, or take .item()",
    "memory": "steps keep tensors",
    "slowing": "steps become slower and slower",
}


def _start(found: bool | None, faults: tuple[Fault, ...]) -> str:
    if found is None:
        return "Insufficient evidence whether anything holds the training up"
    if not found:
        return "Neither the loader nor anything left behind holds the training up"
    words = "; ".join(_SAID[fault] for fault in faults)
    return words[0].upper() + words[1:]


def _above(interval: Interval, limit: float) -> bool | None:
    if interval[0] > limit:
        return True
    return False if interval[1] <= limit else None


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return True if one and other else None
