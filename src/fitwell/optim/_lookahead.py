"""Lookahead, and the interpolation that it has in common with Reptile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..core.errors import UsageError
from ._wrapper import Wrapper


@final
class Lookahead(Wrapper):
    """Let an optimizer go `k` steps ahead, then go back part of the way: k forward, one back.

    Makes a fast optimizer steadier and more tolerant of its rate, for one copy of the weights.
    Measure the model after a multiple of `k` steps, when it has the slow weights; between, it
    has the fast ones.

        θ = inner steps from φ                  k times
        φ = φ + alpha · (θ - φ),  θ = φ         the state of the inner optimizer is kept

    Args:
        optimizer: The inner one, which is stepped; its groups and state are shared.
        k: Inner steps between two moves of the slow weights.
        alpha: Share of the way that the slow weights go.

    Raises:
        UsageError: A value is out of range, or `optimizer` is none.

    Source: zhang2019lookahead, algorithm 1; nichol2018first for the link to Reptile.
    Differs: the slow weights begin as they are at the first step, not at construction, so that
        weights may be loaded between.
    Reduces to: the inner optimizer at `k=1, alpha=1`; the outer update of Reptile on one task.
    Checked against: a literal reference, bit for bit; Reptile written out.

    Example:
        optimizer = Lookahead(AdamW(model.parameters(), lr=1e-3), k=5)
    """

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        if k < 1:
            raise UsageError(f"Lookahead: `k` must be at least 1; got {k}. The usual is 5.")
        if not 0 <= alpha <= 1:
            raise UsageError(
                f"Lookahead: `alpha` must lie between 0 and 1; got {alpha}. The usual is 0.5."
            )
        super().__init__(optimizer)
        self.k = k
        self.alpha = alpha

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one inner step, and every `k` steps move the slow weights.

        Args:
            closure: Evaluates the model again and gives the loss; goes to the inner optimizer.
        """
        parameters = self.parameters()
        own = self.state.get("Lookahead")
        if own is None:
            own = self.state["Lookahead"] = {"steps": 0, "slow": []}
        slow: list[Tensor] = own["slow"]
        slow += [p.detach().clone() for p in parameters[len(slow) :]]  # all, or those that joined
        loss = self.optimizer.step(closure)
        own["steps"] += 1
        if own["steps"] % self.k == 0:
            interpolate(slow, parameters, self.alpha)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state of both back.

        Args:
            state_dict: What `state_dict` gave; that of the inner optimizer alone begins anew.
        """
        super().load_state_dict(state_dict)
        own = self.state.get("Lookahead")
        if own is not None:  # torch passes it on as it is, on its old device and not copied
            slow = [
                torch.empty_like(p).copy_(saved)
                for p, saved in zip(self.parameters(), own["slow"], strict=False)
            ]
            self.state["Lookahead"] = {"steps": own["steps"], "slow": slow}


@torch.no_grad()
def interpolate(slow: Sequence[Tensor], fast: Sequence[Tensor], alpha: float) -> None:
    """Move slow weights toward fast ones, and put the fast ones back on them, all in place.

    The outer update of Lookahead, and of Reptile, where `slow` is the initialization and `fast`
    what training on one task has made of it.

        slow = slow + alpha · (fast - slow),  fast = slow

    Args:
        slow: Weights that are moved.
        fast: Weights that say where to, in the same order.
        alpha: Share of the way; 0 forgets `fast`, 1 takes it over.

    Source: zhang2019lookahead, algorithm 1; nichol2018first, algorithm 1.
    """
    for old, new in zip(slow, fast, strict=True):
        new.copy_(old.lerp_(new, alpha))
