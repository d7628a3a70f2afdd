"""A training loop that looks at the clock between its parts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from ...train._passes import take_step

LossOf = Callable[[nn.Module, Any], Tensor]
"""``loss_of(model, batch)``."""

_WARM: Final = 5
_PIECE: Final = 5  # steps
_PIECES: Final = 4


@final
@dataclass(frozen=True)
class Timed:
    """Seconds of each phase of each step, and bytes of the process after it.

    `whole` are seconds of a step, where its parts may overlap.
    """

    phases: tuple[tuple[float, ...], ...]
    resident: tuple[int | None, ...]
    whole: tuple[float, ...]

    @property
    def steps(self) -> list[float]:
        return [sum(parts) for parts in self.phases]

    @property
    def waits(self) -> list[float]:
        return [parts[0] for parts in self.phases]

    @property
    def work(self) -> list[float]:
        return [sum(parts[1:]) for parts in self.phases]


@final
class Loop:
    """A training loop that looks at the clock between its parts.

    Args:
        model: A copy.
        loss_of: Gives the loss of a batch.
        optimizer: A copy.
        clock: Gives seconds.
    """

    def __init__(
        self, model: nn.Module, loss_of: LossOf, optimizer: Optimizer, clock: Callable[[], float]
    ) -> None:
        self.model, self.loss_of, self.optimizer, self.clock = model, loss_of, optimizer, clock
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.optimizer.zero_grad()

    def forward(self, batch: Any) -> Tensor:
        return self.loss_of(self.model, self._moved(batch))

    def finish(self, batch: Any, value: Tensor) -> None:
        value.backward()  # type: ignore[no-untyped-call]
        self._update(self._moved(batch))

    def timed(self, batches: Iterator[Any], count: int) -> Timed:
        phases, resident = [], []
        for number in range(_WARM + count):
            marks = [self._now()]
            batch = next(batches)
            marks.append(self._now())
            batch = self._moved(batch)
            marks.append(self._now())
            value = self.loss_of(self.model, batch)
            marks.append(self._now())
            value.backward()  # type: ignore[no-untyped-call]
            marks.append(self._now())
            self._update(batch)
            marks.append(self._now())
            if number >= _WARM:
                phases.append(tuple(b - a for a, b in itertools.pairwise(marks)))
                resident.append(_resident())
        whole = tuple(map(sum, phases))
        if self.device.type == "cuda":
            whole = self.overlapping(batches, count)
        return Timed(tuple(phases), tuple(resident), whole)

    def overlapping(self, batches: Iterator[Any], count: int) -> tuple[float, ...]:
        """Give seconds of a step in each of some pieces, between whose steps nothing is waited for.

        Args:
            batches: Without an end.
            count: Steps at least.
        """
        found = []
        for piece in range(1 + max(-(-count // _PIECE), _PIECES)):
            begin = self._now()
            for _ in range(_PIECE):
                batch = self._moved(next(batches))
                self.finish(batch, self.loss_of(self.model, batch))
            if piece:  # the first one warms up
                found.append((self._now() - begin) / _PIECE)
        return tuple(found)

    def _update(self, batch: Any) -> None:
        def again() -> Tensor:
            value = self.loss_of(self.model, batch)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        take_step(self.optimizer, again)
        self.optimizer.zero_grad()

    def _moved(self, batch: Any) -> Any:
        return tree_map(lambda x: x.to(self.device) if isinstance(x, Tensor) else x, batch)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()


def _resident() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
