"""The loss of every step in bounded memory, without waiting for the device."""

from __future__ import annotations

import math
from typing import Any, Final, final

import torch
from torch import Tensor

_MOST: Final = 1024
"""Losses that wait for the device at most."""

Loss = float | Tensor | None


@final
class Losses:
    """A curve that halves its resolution when it is full: points become means of more steps.

    Steps without a loss count as steps, and are left out of the means.

    Args:
        capacity: Points at most; even.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self.width = 1  # steps per point
        self.first_nonfinite: int | None = None
        self._points: list[tuple[float, int]] = []  # sum, and of how many
        self._sum, self._known = 0.0, 0  # of the point to come
        self._length = 0  # steps of the point to come
        self._steps = 0  # up to which the points go
        self._heard = 0  # steps that were brought over
        self._waiting: list[Loss] = []  # those after them
        self._held = 0  # of these on a device

    def put_aside(self, loss: Any) -> bool:
        """Keep the loss of a step for later in as little time as it takes, if that can be done.

        Args:
            loss: None or a finite number, which may be a tensor on the CPU; anything else is
                refused.
        """
        if isinstance(loss, Tensor):
            if not loss.is_cpu or loss.numel() != 1:
                return False
            loss = loss.item()
        elif loss is None:
            self._waiting.append(None)
            return True
        elif not isinstance(loss, (float, int)):
            return False
        if loss - loss != 0:  # infinite or NaN
            return False
        self._waiting.append(loss)
        return True

    def add(self, loss: Any) -> bool:
        """Take in the loss of a step, and say whether it is known to be the first ill one.

        Args:
            loss: A number, a tensor with one, or None where it is not known. What is on a device is
                read by `flush`, and what comes after it too.
        """
        if isinstance(loss, Tensor) and not loss.is_cpu:
            self._waiting.append(loss.detach().clone().reshape(()))  # it may be written into
            self._held += 1
        elif isinstance(loss, Tensor):
            self._waiting.append(loss.item())
        else:
            self._waiting.append(loss if loss is None else float(loss))
        return False if self._held else self.flush()

    @property
    def full(self) -> bool:
        """Whether it is time to wait for the device."""
        return len(self._waiting) >= _MOST

    def add_mean(self, loss: float, step: int) -> None:
        """Take in the mean loss of all steps since the last one known.

        Args:
            loss: The mean.
            step: The last of them.
        """
        self.flush()
        while self._steps < step:
            self._take(loss, self._steps + 1)

    def flush(self) -> bool:
        """Bring what waits over, in one transfer per device; say whether the first ill one came."""
        waiting, self._waiting, held, self._held = self._waiting, [], self._held, 0
        first, ill = self._heard + 1, False
        self._heard += len(waiting)
        for step, loss in enumerate(_fetched(waiting) if held else waiting, start=first):
            if loss is not None and self._take(loss, step):  # type: ignore[arg-type]
                ill = True
        return ill

    def _take(self, loss: float, step: int) -> bool:
        ill = not math.isfinite(loss) and self.first_nonfinite is None
        if ill:
            self.first_nonfinite = step
        while self._steps < step - 1:
            self._advance()
        if self._steps < step:
            self._sum += loss
            self._known += 1
            self._advance()
        return ill

    def _advance(self) -> None:
        """Go on by a step, and end the point if it is the last one of it."""
        self._steps += 1
        self._length += 1
        if self._length < self.width:
            return
        points = self._points
        points.append((self._sum, self._known))
        self._sum, self._known, self._length = 0.0, 0, 0
        if len(points) == self.capacity:
            pairs = zip(points[::2], points[1::2], strict=True)
            self._points = [(a + b, n + m) for (a, n), (b, m) in pairs]
            self.width *= 2

    def curve(self) -> dict[str, Any]:
        """Give the points, with the last step of each; an unfinished point is given too."""
        self.flush()
        ends = [self.width * (i + 1) for i in range(len(self._points))]
        points = [*zip(ends, self._points, strict=True), (self._steps, (self._sum, self._known))]
        seen = [(step, total / count) for step, (total, count) in points if count]
        return {
            "step": [step for step, _ in seen],
            "loss": [loss for _, loss in seen],
            "width": self.width,
        }


def _fetched(waiting: list[Loss]) -> list[Loss]:
    """Give numbers in place of tensors, in one transfer for each device and type."""
    numbers: list[Loss] = list(waiting)
    apart: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, loss in enumerate(waiting):
        if isinstance(loss, Tensor):
            apart.setdefault((loss.device, loss.dtype), []).append(place)
    for places in apart.values():
        stacked = torch.stack([waiting[place] for place in places])  # type: ignore[misc]
        for place, number in zip(places, stacked.tolist(), strict=True):
            numbers[place] = number
    return numbers
