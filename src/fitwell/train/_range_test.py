"""The learning-rate range test: one short training in which the rate rises."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, Literal, final

from torch import Tensor, nn
from torch.optim import Optimizer

from ..core.errors import TrainingError, UsageError
from ._kept import Kept
from ._objective import Objective
from ._passes import backward, take_step

_FEWEST_STEPS = 10
_BEGUN = 0.1  # share of the whole fall that counts as its beginning
_CHANCE = 5.0  # deviations of its noise that a fall must exceed
_MARGIN = 10.0  # how far below the rate of the lowest loss a whole training is safe


@final
@dataclass(frozen=True, kw_only=True)
class RateRange:
    """What a learning-rate range test has seen, and the rates to be read off it.

    Args:
        rates: Of the steps that were taken, ascending.
        losses: Before each of these steps, as they came.
        smoothed: The losses as a moving average.
        smoothing: Weight of the newest loss in that average.
        diverged: Whether the test ended early because the loss became too large.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    smoothing: float
    diverged: bool

    @property
    def _lowest(self) -> int:
        """Give the step of the lowest smoothed loss; 0 if it never fell by more than by chance."""
        last = min(range(len(self.smoothed)), key=self.smoothed.__getitem__)
        if last < 2:
            return 0
        y = self.losses
        # Noise of deviation s bends a curve by 1.65 s in the median; a straight fall does not.
        bends = [abs(a - 2 * b + c) for a, b, c in zip(y, y[1:], y[2:], strict=False)]
        width = max(1, min(round(1 / self.smoothing), last // 2))
        before, after = y[:width], y[last - width + 1 : last + 1]
        deviation = median(bends) / 1.65 * math.sqrt(2 / width)
        return last if fmean(before) - fmean(after) > _CHANCE * deviation else 0

    @property
    def steepest(self) -> float | None:
        """Rate at which the smoothed loss falls most per factor of the rate; None if it never does.

        What comes after the lowest loss is not looked at: there, losses fall after they have risen.
        """
        last = self._lowest
        if last == 0:
            return None
        x = [math.log(rate) for rate in self.rates[: last + 1]]
        y = self.smoothed
        slopes = [
            (y[min(k + 1, last)] - y[max(k - 1, 0)]) / (x[min(k + 1, last)] - x[max(k - 1, 0)])
            for k in range(last + 1)
        ]
        return self.rates[slopes.index(min(slopes))]

    @property
    def range(self) -> tuple[float, float] | None:
        """Rates between which the loss falls; None if it never does.

        From where a tenth of the fall of the smoothed loss is done to where it is lowest.
        """
        last = self._lowest
        if last == 0:
            return None
        falling = self.smoothed[: last + 1]
        top, bottom = max(falling), falling[last]
        level = top - _BEGUN * (top - bottom)
        begun = max(k for k, value in enumerate(falling) if value >= level)
        return self.rates[begun], self.rates[last]

    @property
    def suggestion(self) -> float | None:
        """Rate to begin with; None if the loss never fell.

        The steepest place, but at most a tenth of the rate of the lowest loss, which a few steps
        bear and a whole training does not; and never below `range`.
        """
        if self.steepest is None or self.range is None:
            return None
        low, high = self.range
        return max(low, min(self.steepest, high / _MARGIN))

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        found = {"suggestion": self.suggestion, "range": self.range, "steepest": self.steepest}
        return {**asdict(self), **found}

    def __str__(self) -> str:
        tried = f"{len(self.rates)} steps at rates from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if self.range is None:
            remedy = "`low`" if self.diverged else "`high`, or take more `steps`"
            return (
                f"{tried}: the loss never fell by more than by chance."
                f" {'Lower' if self.diverged else 'Raise'} {remedy}; if it does not fall then"
                " either, look at the model and its inputs."
            )
        low, high = self.range
        beyond = "grew without bound" if self.diverged else "did not fall further"
        return "\n".join(
            [
                f"{tried}",
                f"below {low:.2g}  the loss hardly moved",
                f"from {low:.2g} to {high:.2g}  it fell, most steeply at {self.steepest:.2g}",
                f"above {high:.2g}  it {beyond}",
                f"begin with {self.suggestion:.2g}, constant or as the peak of a schedule;"
                f" Triangular(low={low / high:.2g}) at {high:.2g} goes through the range",
            ]
        )


def lr_range_test(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batches: Iterable[Any],
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    grow: Literal["exponential", "linear"] = "exponential",
    smoothing: float = 0.05,
    stop_at: float = 4.0,
) -> RateRange:
    """Find the learning rates that a training bears, by one short training in which the rate rises.

    Costs as much as `steps` steps, and saves a search over rates. It says what the first steps
    bear with this model, optimizer and batch size; a schedule with `WarmUp` bears more, and a long
    training of a deep network may bear less. Weights, buffers, gradients, the optimizer, the
    position of the batches and the global random generators are left as they were.

        rateₖ     = low · (high / low)^(k / (steps - 1)),  or in equal differences
        smoothedₖ = smoothing · lossₖ + (1 - smoothing) · smoothedₖ₋₁

    With several groups of parameters, the rates are those of the first, and the others keep their
    ratio to it.

        found = lr_range_test(model, Supervised(loss), AdamW(model.parameters()), batches)
        optimizer = AdamW(model.parameters(), lr=found.suggestion)

    Args:
        model: On the device that it trains on.
        objective: ``objective(model, batch) -> (loss, logged)``.
        optimizer: Over the parameters of `model`.
        batches: Iterated again when there are fewer than `steps`.
        low: First rate.
        high: Last rate.
        steps: How many rates, with one step at each.
        grow: By equal factors or equal differences.
        smoothing: Weight of the newest loss in the moving average; 1 does not smooth.
        stop_at: The test ends when the smoothed loss is so many times its lowest value.

    Raises:
        UsageError: A value is out of range, or there is no batch.
        TrainingError: The first loss is infinite or NaN.

    Source: smith2017cyclical, section 3.3.
    Differs: watches the loss of the batches, not the accuracy on other data; smooths it.
    Checked against: the algorithm of torch-lr-finder, step by step; quadratics whose largest stable
        rate is known.
    """
    _check(low, high, steps, grow, smoothing, stop_at)
    state_dict = getattr(batches, "state_dict", None)
    position = state_dict() if state_dict else None
    kept = Kept(model, optimizer)
    source = _endless(batches)
    try:
        rates = [_rate(k / (steps - 1), low, high, grow) for k in range(steps)]
        losses = _losses(model, objective, optimizer, source, rates)
        return _watched(rates, losses, smoothing, stop_at)
    finally:
        source.close()
        kept.restore()
        if position is not None:
            batches.load_state_dict(position)  # type: ignore[attr-defined]


def _check(
    low: float, high: float, steps: int, grow: str, smoothing: float, stop_at: float
) -> None:
    wrong = None
    if not 0 < low < high < math.inf:
        wrong = f"`low` and `high` must be 0 < low < high; got {low} and {high}"
    elif steps < _FEWEST_STEPS:
        wrong = f"`steps` must be at least {_FEWEST_STEPS}, better 100; got {steps}"
    elif grow not in ("exponential", "linear"):
        wrong = f"`grow` must be 'exponential' or 'linear'; got {grow!r}"
    elif not 0 < smoothing <= 1:
        wrong = f"`smoothing` must lie above 0 and at most at 1; got {smoothing}"
    elif not stop_at > 1:
        wrong = f"`stop_at` must be above 1; got {stop_at}"
    if wrong:
        raise UsageError(f"lr_range_test: {wrong}.")


def _rate(share: float, low: float, high: float, grow: str) -> float:
    return low + (high - low) * share if grow == "linear" else low * (high / low) ** share


def _endless(batches: Iterable[Any]) -> Generator[Any, None, None]:
    """Give the batches again and again, and close what gives them when it is closed."""
    began = False
    while True:
        iterator, empty = iter(batches), True
        try:
            for batch in iterator:
                empty = False
                yield batch
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
        if empty:
            once = " They can be iterated only once; give a list or a loader." if began else ""
            raise UsageError(f"lr_range_test: `batches` must give at least one; got none.{once}")
        began = True


def _losses(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    source: Iterator[Any],
    rates: list[float],
) -> Iterator[float]:
    """Train with one step at each rate and give the loss before it."""
    groups = optimizer.param_groups
    first = float(groups[0]["lr"])
    ratios = [float(group["lr"]) / first if first > 0 else 1.0 for group in groups]
    for rate in rates:
        for group, ratio in zip(groups, ratios, strict=True):
            group["lr"] = rate * ratio
        batch = next(source)

        def gradients(batch: Any = batch) -> Tensor:
            loss, _ = objective(model, batch)
            backward(loss)
            return loss

        loss = gradients()
        take_step(optimizer, gradients)
        optimizer.zero_grad()
        yield loss.item()


def _watched(
    rates: list[float], losses: Iterable[float], smoothing: float, stop_at: float
) -> RateRange:
    """Smooth the losses as they come, and stop taking them when they have grown too large."""
    raw: list[float] = []
    smoothed: list[float] = []
    diverged, best = False, math.inf
    for loss in losses:
        if not math.isfinite(loss):
            if not raw:
                raise TrainingError(
                    f"lr_range_test: the loss of the first batch is {loss}, before any step. Look"
                    " at its inputs: first_nonfinite of fitwell.train names the layer where it"
                    " begins."
                )
            diverged = True
            break
        raw.append(loss)
        average = smoothing * loss + (1 - smoothing) * smoothed[-1] if smoothed else loss
        smoothed.append(average)
        best = min(best, average)
        if 0 < stop_at * best < average:
            diverged = True
            break
    return RateRange(
        rates=tuple(rates[: len(raw)]),
        losses=tuple(raw),
        smoothed=tuple(smoothed),
        smoothing=smoothing,
        diverged=diverged,
    )
