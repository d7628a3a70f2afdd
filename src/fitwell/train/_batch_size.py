"""The largest batch that fits into memory, found by trying; and what to do when it is too small."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..core.errors import UsageError
from ..core.text import aligned
from ._kept import Kept
from ._memory import LiveBytes, PeakResident, available_memory, is_out_of_memory
from ._objective import Objective, batch_length
from ._passes import Precision, autocast, backward, take_step
from ._recompute import can_recompute

# Tensors are not all that a process needs: scratch memory of kernels, fragments, other processes.
MEMORY_SHARE = 0.8


@final
@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A batch size that was tried.

    Args:
        batch_size: Examples per batch.
        fits: Whether it fits.
        bytes: Memory that a step takes at its peak beside the weights; expected where it was not
            tried because it would not fit; None if memory ran out.
        examples_per_second: Speed of a step; None if it was not measured.
    """

    batch_size: int
    fits: bool
    bytes: int | None = None
    examples_per_second: float | None = None


@final
@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """The largest batch size that fits, within one doubling.

    Args:
        batch_size: Fits; 0 if not even one example does.
        limited_by: What keeps it from being larger: the data, the memory, or the time to try.
        attempts: What was tried, in this order.
        advice: What to do for the batch size that was wanted, best first; empty if it fits.
    """

    batch_size: int
    limited_by: Literal["data", "memory", "time"]
    attempts: tuple[Attempt, ...]
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            (
                attempt.batch_size,
                "yes" if attempt.fits else "no",
                None if attempt.bytes is None else f"{attempt.bytes / 2**20:,.1f}",
                _rounded(attempt.examples_per_second),
            )
            for attempt in self.attempts
        ]
        header = ("batch size", "fits", "MiB", "examples/s")
        found = f"batch size {self.batch_size}, limited by the {self.limited_by}"
        advice = [f"{number}. {text}" for number, text in enumerate(self.advice, start=1)]
        return "\n".join([found, aligned(header, rows, right="batch MiB examples/s"), *advice])


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def find_batch_size(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batch_of: Callable[[int], Any],
    *,
    limit: int,
    wanted: int | None = None,
    start: int = 4,
    precision: Precision = "float32",
    memory: int | None = None,
    max_seconds: float = 60.0,
) -> BatchSize:
    """Find the largest batch size that fits into memory, within one doubling, by real steps.

    Sizes are doubled until memory runs out. On a GPU, and under a limit of the address space, that
    is an error which is caught. On a CPU the system would end the process instead, so there
    the memory of each step is measured, and a size is not tried if its expected memory is more than
    four fifths of what is left. Weights, buffers, gradients, the optimizer and the global random
    generators are left as they were.

        found = find_batch_size(model, objective, optimizer,
                                lambda n: (x[:n], y[:n]), limit=len(x), wanted=512)

    Args:
        model: On the device that it trains on.
        objective: ``objective(model, batch) -> (loss, logged)``.
        optimizer: Over the parameters of `model`.
        batch_of: Gives a batch of so many examples, on the device of the model.
        limit: Largest size to try, such as the number of examples.
        wanted: Size that would be liked; if it does not fit, there is advice.
        start: Size to begin with; must be safe to try.
        precision: Of forward passes.
        memory: Bytes that a step may take beside the weights. None takes four fifths of what is
            left on a CPU, and all there is on a GPU.
        max_seconds: No size is tried that is expected to exceed this time in all.

    Raises:
        UsageError: A size is below 1, or `batch_of` gives another number of examples.

    Source: paszke2019pytorch, for the errors that memory raises.
    Checked against: brute force over all sizes; a process with little memory.
    """
    for name, value in (("limit", limit), ("start", start), ("wanted", wanted)):
        if value is not None and value < 1:
            raise UsageError(f"find_batch_size: `{name}` must be at least 1; got {value}.")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if memory is None and device.type == "cpu":
        left = available_memory()
        memory = None if left is None else int(left * MEMORY_SHARE)
    kept = Kept(model, optimizer)
    try:
        probe = _Probe(model, objective, optimizer, batch_of, precision, device)
        size, limited_by, attempts = _search(probe, min(start, limit), limit, memory, max_seconds)
    finally:
        kept.restore()
    advice: tuple[str, ...] = ()
    if size == 0 or (wanted is not None and size < wanted and limited_by == "memory"):
        advice = memory_advice(
            wanted or 1, fits=size, precision=precision, can_recompute=can_recompute(model)
        )
    return BatchSize(
        batch_size=size, limited_by=limited_by, attempts=tuple(attempts), advice=advice
    )


def memory_advice(
    batch_size: int,
    *,
    fits: int | None = None,
    precision: Precision = "float32",
    can_recompute: bool = True,
) -> tuple[str, ...]:
    """Say what to do when a batch does not fit into memory, the best first and batches of 1 last.

    Args:
        batch_size: What does not fit.
        fits: What does; None if it is not known, 0 if nothing does.
        precision: Of forward passes.
        can_recompute: Whether the model has blocks whose activations are kept so far.
    """
    advice = []
    smaller = batch_size // 2 if fits is None else fits
    if smaller > 1:
        parts = math.ceil(batch_size / smaller)
        advice.append(
            f"--batch-size {smaller} --accumulate {parts}: an update from {parts} batches; the same"
            " gradient, but batch norm sees the smaller ones."
        )
    if can_recompute:
        advice.append(
            "--recompute: keep only the inputs of the model's blocks and compute the rest again, at"
            " the price of a second forward pass."
        )
    if precision == "float32":
        advice.append("--precision bf16: activations take about half the memory.")
    if batch_size > 1 and fits != 0:
        advice.append(
            f"--batch-size 1 --accumulate {batch_size}: only if nothing else helps; slow, and"
            " batch norm cannot work with it."
        )
    else:
        advice.append("A smaller model, or smaller inputs.")
    return tuple(advice)


def _search(
    probe: _Probe, start: int, limit: int, memory: int | None, max_seconds: float
) -> tuple[int, Literal["data", "memory", "time"], list[Attempt]]:
    attempts: list[Attempt] = []
    began, size, fitting = time.monotonic(), start, 0
    while True:
        expected = _expected(attempts, size)
        if fitting > 1 and memory is not None and expected > memory and len(attempts) == 1:
            # One size does not tell what grows with it from what does not; half of it is safe.
            attempts.append(probe.attempt(fitting // 2))
            expected = _expected(attempts, size)
        if fitting and memory is not None and expected > memory:
            attempts.append(Attempt(batch_size=size, fits=False, bytes=expected))
            return fitting, "memory", attempts
        before = time.monotonic()
        attempt = probe.attempt(size)
        if memory is not None and attempt.bytes is not None and attempt.bytes > memory:
            attempt = Attempt(batch_size=size, fits=False, bytes=attempt.bytes)
        attempts.append(attempt)
        seconds = time.monotonic() - before
        if not attempt.fits:
            if fitting or size == 1:
                return fitting, "memory", attempts
            size //= 2
            continue
        fitting = size
        if len(attempts) > 1 and not attempts[-2].fits:
            return fitting, "memory", attempts
        if size == limit:
            return fitting, "data", attempts
        if time.monotonic() - began + 2 * seconds > max_seconds:
            return fitting, "time", attempts
        size = min(2 * size, limit)


def _expected(attempts: list[Attempt], size: int) -> int:
    """Expect the memory of a size on the line through the last two, or in proportion to one."""
    known = sorted((a.batch_size, a.bytes) for a in attempts if a.fits and a.bytes is not None)
    if not known:
        return 0
    (before, less), (last, most) = known[-2:] if len(known) > 1 else ((0, 0), known[0])
    return round(most + max(most - less, 0) * (size - last) / (last - before))


@final
class _Probe:
    """Takes steps with batches of a size."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        batch_of: Callable[[int], Any],
        precision: Precision,
        device: torch.device,
    ) -> None:
        self._model = model
        self._objective = objective
        self._optimizer = optimizer
        self._batch_of = batch_of
        self._precision = precision
        self._device = device
        self._live = LiveBytes()
        self._first = True
        self._before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0

    def attempt(self, size: int) -> Attempt:
        """Take two steps: one to measure memory, one to measure time."""
        try:
            taken = self._measure_memory(size)
            started = time.perf_counter()
            self._step(size)
            self._wait()
            seconds = time.perf_counter() - started
        except (RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
        except ValueError:  # batch norm of single numbers
            if size > 1:
                raise
        else:
            speed = size / max(seconds, 1e-9)
            return Attempt(batch_size=size, fits=True, bytes=taken, examples_per_second=speed)
        self._optimizer.zero_grad()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return Attempt(batch_size=size, fits=False)

    def _measure_memory(self, size: int) -> int:
        if self._device.type == "cuda":
            self._make_state(size)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._step(size)
            return torch.cuda.max_memory_allocated(self._device) - self._before
        with self._live:
            self._make_state(size)
            resident, self._live.peak = PeakResident(), self._live.now
            self._step(size)
        return max(self._live.peak, resident.growth())

    def _make_state(self, size: int) -> None:
        """Take the first step of all, after which the optimizer has the state that it keeps."""
        if self._first:
            self._step(size)
            self._first = False

    def _step(self, size: int) -> None:
        batch = self._batch_of(size)
        if batch_length(batch) != size:
            raise UsageError(
                f"find_batch_size: `batch_of` must give as many examples as asked, {size}; got"
                f" {batch_length(batch)}. Lower `limit` to the number of examples there are."
            )

        def gradients() -> Tensor:
            with autocast(self._precision, self._device):
                loss, _ = self._objective(self._model, batch)
            backward(loss)
            return loss

        gradients()
        take_step(self._optimizer, gradients)
        self._optimizer.zero_grad()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
