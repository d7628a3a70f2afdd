"""What a training measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass
class History:
    """What a training measured, in order.

    Args:
        epochs: One record per epoch: epoch, step, train and valid metrics, seconds,
            examples_per_second.
        losses: The loss of every step of this process, before the update.
        seconds: Time spent in `fit`, over all processes of a resumed training.
        stopped: Why training ended before its time, or None.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str | None = None
