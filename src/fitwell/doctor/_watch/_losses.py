"""The loss of every step in bounded memory, without waiting for the device."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

_PENDING = 128


@final
class Losses:
    """A curve that halves its resolution when it is full: points become means of more steps.

    Args:
        capacity: Points at most; even.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self.width = 1  # steps per point
        self.first_nonfinite: int | None = None
        self._points: list[float] = []
        self._sum, self._count = 0.0, 0  # of the point to come
        self._pending: list[Tensor] = []
        self._aside: list[float] = []
        self._steps = 0

    def put_aside(self, loss: Any) -> bool:
        """Keep the loss of a step for later in as little time as it takes, if that can be done.

        Args:
            loss: A finite number in a tensor on the CPU; anything else is refused.
        """
        if not isinstance(loss, Tensor) or not loss.is_cpu or loss.numel() != 1:
            return False
        value = loss.item()
        if value - value != 0:  # infinite or NaN
            return False
        self._aside.append(value)
        return True

    def add(self, loss: Any) -> bool:
        """Take in the loss of a step, and say whether it is known to be the first ill one.

        Args:
            loss: A number, or a tensor with one, which is read later unless it is on the CPU.
        """
        if self._aside:
            self._take_aside()
        self._steps += 1
        if isinstance(loss, Tensor):
            if not loss.is_cpu:
                self._pending.append(loss.detach().reshape(()))
                if len(self._pending) >= _PENDING * 8:
                    self.flush()
                return False
            loss = loss.item()
        if self._pending:
            self.flush()
        return self._take(loss, self._steps)

    def add_mean(self, loss: float, step: int) -> None:
        """Take in the mean loss of all steps since the last one known.

        Args:
            loss: The mean.
            step: The last of them.
        """
        self.flush()
        while self._steps < step:
            self._steps += 1
            self._take(loss, self._steps)

    def flush(self) -> None:
        """Bring what is pending over in one transfer."""
        self._take_aside()
        pending, self._pending = self._pending, []
        if pending:
            first = self._steps - len(pending) + 1
            for step, loss in enumerate(torch.stack(pending).tolist(), start=first):
                self._take(loss, step)

    def _take_aside(self) -> None:
        aside, self._aside = self._aside, []
        for loss in aside:
            self._steps += 1
            self._take(loss, self._steps)

    def _take(self, loss: float, step: int) -> bool:
        ill = not math.isfinite(loss) and self.first_nonfinite is None
        if ill:
            self.first_nonfinite = step
        self._sum += loss
        self._count += 1
        if self._count == self.width:
            self._points.append(self._sum / self.width)
            self._sum, self._count = 0.0, 0
            if len(self._points) == self.capacity:
                pairs = zip(self._points[::2], self._points[1::2], strict=True)
                self._points = [(one + other) / 2 for one, other in pairs]
                self.width *= 2
        return ill

    def curve(self) -> dict[str, Any]:
        """Give the points, with the last step of each; an unfinished point is given too."""
        self.flush()
        points, steps = list(self._points), [self.width * (i + 1) for i in range(len(self._points))]
        if self._count:
            points.append(self._sum / self._count)
            steps.append(self.width * len(self._points) + self._count)
        return {"step": steps, "loss": points, "width": self.width}
