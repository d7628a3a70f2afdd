"""Gradients as they arrive, before they are clipped: of the parts of a step, and in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ._parameters import norms_of, total_norm


@final
@dataclass(slots=True)
class _Arrived:
    """What came for one parameter; norms.

    Args:
        carried: Of what was there before, if anything was.
        total: Of all together, where it is not `last`.
        last: Of the last part.
        squares: Of the parts before it, added up.
        count: Parts.
    """

    carried: Tensor | None = None
    total: Tensor | None = None
    last: Tensor | None = None
    squares: Tensor | None = None
    count: int = 0

    def take(self, norm: Tensor) -> None:
        if self.last is not None:
            square = self.last.square()
            self.squares = square if self.squares is None else self.squares + square
        self.last = norm
        self.count += 1


@final
class Arrivals:
    """The gradients of one step, in memory that does not grow with its parts.

    Args:
        scaler: What scales losses, if anything does.
    """

    def __init__(self, scaler: Any) -> None:
        self.stepped: set[str] = set()  # parameters whose gradient was used; what follows is new
        self._scaler = scaler
        self._scale: Tensor | None = None
        self._arrived: dict[str, _Arrived] = {}

    def hook(self, name: str, parameter: Tensor) -> Callable[[Tensor], None]:
        """Give what a parameter calls with a gradient before that is added.

        Args:
            name: Of the parameter.
            parameter: The parameter.
        """

        def arrives(gradient: Tensor) -> None:
            if name in self.stepped:
                return
            if parameter.grad is None:  # what came before was thrown away
                self._arrived[name] = _Arrived()
            elif name not in self._arrived:
                self._arrived[name] = _Arrived(carried=norms_of([parameter.grad])[0])
            self._arrived[name].take(norms_of([gradient])[0])
            if self._scale is None and self._scaler is not None:  # it changes after the step
                self._scale = self._scaler.scale(torch.ones((), device=gradient.device))

        return arrives

    def added(self, name: str, parameter: Tensor) -> None:
        """Take in that a gradient was added.

        Args:
            name: Of the parameter.
            parameter: With its gradient.
        """
        seen = self._arrived.get(name)
        if seen is None or name in self.stepped or parameter.grad is None:
            return
        if seen.count > 1 or seen.carried is not None:
            seen.total = norms_of([parameter.grad])[0]

    def totals(self) -> dict[str, Tensor | float]:
        """Give norms over all parameters, as large as the loss and not as the scaled one."""
        found: dict[str, Tensor | float] = {}
        seen = list(self._arrived.values())
        unscale: Tensor | float = 1.0 if self._scale is None else 1 / self._scale
        whole, micro, carried = [], [], []
        for one in seen:
            if one.last is None:
                continue
            whole.append((one.last if one.total is None else one.total) * unscale)
            squares = one.last.square()
            squares = squares if one.squares is None else squares + one.squares
            micro.append((squares / one.count).sqrt() * unscale)
            if one.carried is not None:
                carried.append(one.carried * unscale)
        for field, norms in (("gradient_norm_unclipped", whole), ("micro_norm", micro)):
            total = total_norm(norms)
            if total is not None:
                found[field] = total
        left = total_norm(carried)
        found["carried_norm"] = 0.0 if left is None else left
        found["passes"] = float(max((one.count for one in seen), default=0))
        enabled = getattr(self._scaler, "is_enabled", None)
        if enabled is not None and enabled() and "gradient_norm_unclipped" in found:
            reached = torch.as_tensor(found["gradient_norm_unclipped"])
            found["skipped"] = 1 - reached.isfinite().float()  # the scaler takes no such step
        return found
