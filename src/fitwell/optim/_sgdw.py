"""SGDW: momentum with weight decay beside it."""

from __future__ import annotations

from typing import Any, final

from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Chain, Decay, Scale, Trace, Transform


@final
class SGDW(Chunked):
    """Descend with momentum; weight decay acts on the weights directly, not through the momentum.

    The best decay then depends less on the rate than with `SGD`, whose penalty it replaces.

        b = momentum · b + g
        θ = θ - lr · (b + weight_decay · θ)          (nesterov: g + momentum · b for b)

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        momentum: Share of the last step that is kept; 0 keeps none.
        weight_decay: Share of each weight taken away per step, in units of `lr`.
        nesterov: Look ahead along the momentum.

    Raises:
        UsageError: A value is out of range, `nesterov` without `momentum`, or parameters are
            complex, sparse or whole numbers.

    Source: loshchilov2019decoupled, algorithm 1.
    Differs: `weight_decay` is in units of `lr`, as with `AdamW`; the source's is `lr` times it.
    Reduces to: `SGD` with the same `weight_decay` at `momentum=0`.
    Checked against: the formula written out, 200 steps; `SGD`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-2,
        nesterov: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        check_settings("SGDW", settings)
        if nesterov and not momentum:
            raise UsageError(
                f"SGDW: `momentum` must be positive where `nesterov` is set; got {momentum}."
                " The usual is 0.9."
            )
        super().__init__(params, {**settings, "nesterov": nesterov})

    def _rule(self, group: dict[str, Any]) -> Transform:
        trace = Trace(decay=group["momentum"], nesterov=group["nesterov"])
        parts: list[Transform] = [trace] if group["momentum"] else []
        if group["weight_decay"]:
            parts.append(Decay(rate=group["weight_decay"]))
        return Chain(parts=(*parts, Scale(lr=group["lr"])))
