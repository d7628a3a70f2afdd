"""Lion: the sign of a mean."""

from __future__ import annotations

from typing import Any, final

from torch.optim.optimizer import ParamsT

from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Chain, Decay, Scale, SignOfMean, Transform


@final
class Lion(Chunked):
    """Move every weight by the same amount, in the direction that its gradients agree on.

    Keeps one moment instead of Adam's two. Wants large batches, a rate 3 to 10 times smaller than
    AdamW's and a decay as many times larger.

        c = β₁ m + (1 - β₁) g,  m = β₂ m + (1 - β₂) g
        θ = θ - lr · (sign(c) + weight_decay · θ)

    Args:
        params: Parameters or groups of them.
        lr: Step size, the same for every weight.
        betas: Share of the mean in the direction, and share of it that is kept per step.
        weight_decay: Share of each weight taken away per step, in units of `lr`.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: chen2023symbolic, algorithm 2.
    Reduces to: descent along the sign of the gradient at `betas=(0, 0)`.
    Checked against: the formula written out, 200 steps.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        check_settings("Lion", settings)
        super().__init__(params, settings)

    def _rule(self, group: dict[str, Any]) -> Transform:
        decay = (Decay(rate=group["weight_decay"]),) if group["weight_decay"] else ()
        return Chain(parts=(SignOfMean(betas=group["betas"]), *decay, Scale(lr=group["lr"])))
