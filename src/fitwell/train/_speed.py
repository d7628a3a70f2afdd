"""The fastest way to take the same steps, found by taking a few each way."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from ..core.errors import UsageError
from ..core.text import aligned
from ._objective import Objective
from ._passes import Precision, autocast, backward, take_step
from ._state import random_state, restore_random

# A way is taken in place of a simpler one if it is this many times as fast: less is noise, and not
# worth other last digits.
LEAST_GAIN = 1.10
# bf16 keeps 8 significant bits, 0.4 % per number; if the loss differs by more than this, the model
# is not fit for it.
LARGEST_LOSS_DIFFERENCE = 0.02
# Measuring may take this share of the planned run, or these seconds if they are more.
SHARE_OF_RUN, LEAST_SECONDS = 0.02, 3.0
ROUNDS, LEAST_ROUNDS = 9, 5
_SAMPLE_SECONDS, _MOST_REPEATS = 0.02, 50
_WARM_UP = 2  # steps of a way that are not timed: kernels are chosen, optimizers make their state
_COMPILE_SECONDS = 60.0

Name = Literal["precision", "channels_last", "compiled", "threads"]


@final
@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to take steps.

    Args:
        precision: Of forward passes.
        channels_last: Whether filters are stored channels last.
        compiled: Whether the model is compiled.
        threads: Of the CPU; None leaves as many as there are.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    compiled: bool = False
    threads: int | None = None

    def __str__(self) -> str:
        words: list[str] = [self.precision]
        words += ["channels last"] if self.channels_last else []
        words += ["compiled"] if self.compiled else []
        if self.threads is not None:
            words.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join(words)


@final
@dataclass(frozen=True, kw_only=True)
class Timed:
    """What was measured of a way.

    Args:
        way: The way.
        seconds: Median of a step; None if it was not measured.
        ratio: How many times as fast as the first way, by the median over rounds.
        note: Why it was left out; empty if it was not.
    """

    way: Way
    seconds: float | None = None
    ratio: float | None = None
    note: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Speed:
    """The way that was chosen, why, and what was measured.

    Args:
        way: The choice.
        reason: Why, in one sentence.
        rows: What was measured, the first way first.
        seconds: Time the measuring took.
    """

    way: Way
    reason: str
    rows: tuple[Timed, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.way}: {self.reason} ({self.seconds:.1f} s of measuring)"
        if len(self.rows) < 2:
            return head
        rows = [
            (
                str(row.way),
                None if row.seconds is None else f"{1000 * row.seconds:.3g}",
                None if row.ratio is None else f"{row.ratio:.2f}",
                row.note,
            )
            for row in self.rows
        ]
        return f"{head}\n{aligned(('way', 'ms/step', 'ratio', ''), rows, right='ms/step ratio')}"


def measure_speed(
    model: nn.Module,
    objective: Objective,
    make_optimizer: Callable[[nn.Module], Optimizer],
    batch: Any,
    *,
    planned_steps: int,
    base: Way | None = None,
    keep: Collection[Name] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Take a few real steps each way and give the fastest, or the plain one if none clearly wins.

    Ways are bf16, channels last (for convolutions on images), both; then one thread on a CPU, or
    ``torch.compile`` on a GPU if the run is long enough for it. They take turns, and are
    compared within each turn. Steps are taken by copies: model, batch, random generators and the
    number of threads are left as they were. It takes a few seconds, or 2 % of a long run.

    fp16 is never proposed, and bf16 only where the loss of the batch stays within 2 %.

    Args:
        model: On the device that it trains on; is copied.
        objective: ``objective(model, batch) -> (loss, logged)``.
        make_optimizer: Makes the optimizer of a copy.
        batch: As in training.
        planned_steps: Steps of the training that the choice is for.
        base: The way to compare with; float32 on all threads if left out.
        keep: What shall stay as in `base`.
        clock: Gives seconds.

    Raises:
        UsageError: `planned_steps` is below 1.

    Source: micikevicius2018mixed; paszke2019pytorch, memory formats.
    Checked against: a clock that is told what each way costs.
    """
    if planned_steps < 1:
        raise UsageError(f"measure_speed: `planned_steps` must be at least 1; got {planned_steps}.")
    random, threads = random_state(), torch.get_num_threads()
    race = _Race(model, objective, make_optimizer, batch, clock)
    try:
        return race.run(base or Way(), keep, planned_steps)
    finally:
        torch.set_num_threads(threads)
        restore_random(random)


@final
class _Runner:
    """Takes steps one way, with a copy of the model."""

    def __init__(self, race: _Race, way: Way) -> None:
        self._race = race
        self._way = way
        model = copy.deepcopy(race.model).train()
        if way.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._plain = model
        self._optimizer = race.make_optimizer(model)
        self._model: nn.Module = torch.compile(model) if way.compiled else model  # type: ignore[assignment]

    def warm_up(self) -> float:
        """Give the loss before the first step, after the steps that are not timed."""
        torch.set_num_threads(self._way.threads or self._race.threads)
        restore_random(self._race.random)
        loss = self._comparable_loss()
        for _ in range(_WARM_UP):
            self._step()
        return loss

    def _comparable_loss(self) -> float:
        """Give the loss without dropout, whose draws depend on the layout; batch norm trains on."""
        self._plain.eval()
        for part in self._plain.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.train()
        with torch.no_grad(), autocast(self._way.precision, self._race.device):
            loss = float(self._race.objective(self._plain, self._race.batch)[0])
        self._plain.train()
        return loss

    def _gradients(self) -> Tensor:
        with autocast(self._way.precision, self._race.device):
            loss, _ = self._race.objective(self._model, self._race.batch)
        backward(loss)
        return loss

    def _step(self) -> None:
        self._gradients()
        take_step(self._optimizer, self._gradients)
        self._optimizer.zero_grad()

    def seconds(self, repeats: int) -> float:
        """Give the time of a step, over some steps."""
        torch.set_num_threads(self._way.threads or self._race.threads)
        self._race.wait()
        started = self._race.clock()
        for _ in range(repeats):
            self._step()
        self._race.wait()
        return (self._race.clock() - started) / repeats


@final
class _Race:
    """What all ways share, and the rules."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        make_optimizer: Callable[[nn.Module], Optimizer],
        batch: Any,
        clock: Callable[[], float],
    ) -> None:
        self.model = model
        self.objective = objective
        self.make_optimizer = make_optimizer
        self.batch = batch
        self.clock = clock
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.random = random_state()
        self.threads = torch.get_num_threads()
        self._rows: dict[Way, Timed] = {}
        self._loss = math.nan
        self._step_seconds = 0.0

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def run(self, base: Way, keep: Collection[Name], planned_steps: int) -> Speed:
        """Choose among precisions and layouts, then threads or compilation.

        Args:
            base: The way to compare with.
            keep: What shall stay as it is.
            planned_steps: Of the training.
        """
        began = self.clock()
        first = _Runner(self, base)
        self._loss = first.warm_up()
        self._step_seconds = max(first.seconds(1), 1e-9)
        self._rows[base] = Timed(way=base, seconds=self._step_seconds, ratio=1.0)
        planned = planned_steps * self._step_seconds
        deadline = began + max(SHARE_OF_RUN * planned, LEAST_SECONDS)
        del first
        choice, measured = base, False
        stages = (_precisions_and_layouts, _threads, _compilation)
        for stage in stages:
            others = [
                way
                for way in stage(self, choice, SHARE_OF_RUN * planned)
                if not any(getattr(way, name) != getattr(base, name) for name in keep)
            ]
            others = others[: self._affordable(deadline)]
            if others:
                choice, measured = self._stage(choice, others, deadline), True
        return Speed(
            way=choice,
            reason=self._reason(base, choice, measured),
            rows=tuple(self._rows.values()),
            seconds=self.clock() - began,
        )

    def _reason(self, base: Way, choice: Way, measured: bool) -> str:
        if choice != base:
            return f"{self._rows[choice].ratio:.2f} times as fast as {base}"
        if measured:
            return f"nothing else was clearly faster, that is {LEAST_GAIN} times as fast"
        return "the run is too short for measuring to pay, or there is nothing to choose"

    def _affordable(self, deadline: float) -> int:
        """Give how many ways beside the choice can be warmed up and timed before a deadline."""
        each = (1 + _WARM_UP + LEAST_ROUNDS) * self._step_seconds
        return max(int((deadline - self.clock()) / each) - 1, 0)

    def _stage(self, choice: Way, others: Sequence[Way], deadline: float) -> Way:
        """Let ways take turns, and give the simplest that no other clearly beats."""
        runners = {way: self._runner(way) for way in (choice, *others)}
        racing = {way: runner for way, runner in runners.items() if runner is not None}
        times: dict[Way, list[float]] = {way: [] for way in racing}
        wanted = math.ceil(_SAMPLE_SECONDS / self._step_seconds)
        repeats, round_seconds = min(wanted, _MOST_REPEATS), 0.0
        for number in range(ROUNDS):
            before = self.clock()
            if number >= LEAST_ROUNDS and before + round_seconds > deadline:
                break
            for way, runner in racing.items():
                times[way].append(runner.seconds(repeats))
            round_seconds = self.clock() - before
        start = self._rows[choice].ratio or 1.0
        for way in racing:
            ratio = start * statistics.median(_ratios(times[choice], times[way]))
            row = Timed(way=way, seconds=statistics.median(times[way]), ratio=ratio)
            self._rows[way] = row
        for way in racing:
            if _clearly_faster(_ratios(times[choice], times[way])):
                choice = way
        return choice

    def _runner(self, way: Way) -> _Runner | None:
        """Warm a way up; None, and a note of the reason, if it does not work."""
        try:
            runner = _Runner(self, way)
            loss = runner.warm_up()
        except RuntimeError as err:
            if way in self._rows:
                raise
            words = str(err).strip().splitlines() or [type(err).__name__]
            self._rows[way] = Timed(way=way, note=f"fails: {words[0][:60]}")
            return None
        if way.precision == "float32" or abs(loss - self._loss) <= LARGEST_LOSS_DIFFERENCE * abs(
            self._loss
        ):
            return runner
        self._rows[way] = Timed(way=way, note=f"the loss is {loss:.4g}, not {self._loss:.4g}")
        return None


def _ratios(base: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / max(b, 1e-12) for a, b in zip(base, other, strict=True)]


def _clearly_faster(ratios: Sequence[float]) -> bool:
    """Say whether a way wins by enough, and in all rounds, or all but one of nine."""
    lost = sum(ratio <= 1 for ratio in ratios)
    return statistics.median(ratios) >= LEAST_GAIN and lost <= len(ratios) // 9


def _precisions_and_layouts(race: _Race, choice: Way, spare: float) -> list[Way]:
    layouts, precisions = [choice.channels_last], [choice.precision]
    if not choice.channels_last and _has_images(race.model, race.batch):
        layouts.append(True)
    if choice.precision == "float32" and _has_bf16(race.device):
        precisions.append("bf16")
    ways = [
        replace(choice, precision=precision, channels_last=layout)
        for precision in precisions
        for layout in layouts
    ]
    return ways[1:]


def _threads(race: _Race, choice: Way, spare: float) -> list[Way]:
    several = race.device.type == "cpu" and (choice.threads or race.threads) > 1
    return [replace(choice, threads=1)] if several else []


def _compilation(race: _Race, choice: Way, spare: float) -> list[Way]:
    """Propose to compile for a GPU; it does not pay on a CPU."""
    pays = race.device.type == "cuda" and spare >= _COMPILE_SECONDS and not choice.compiled
    return [replace(choice, compiled=True)] if pays else []


def _has_images(model: nn.Module, batch: Any) -> bool:
    convolves = any(isinstance(part, nn.Conv2d) for part in model.modules())
    return convolves and any(isinstance(x, Tensor) and x.ndim == 4 for x in tree_leaves(batch))


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu"
