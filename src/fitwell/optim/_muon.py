"""Muon for the matrices of a network and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim._muon import muon
from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ._checks import check_settings
from ._light import Light, plain

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # jordan2024muon; torch's own default


@final
class Muon(Light):
    """Step matrices along the orthogonal matrix next to their momentum; the rest takes `AdamW`.

    For hidden layers of transformers and of networks of filters, where it needs fewer steps than
    `AdamW`, at the price of some products of matrices per step. Embeddings and the output layer
    are better left to AdamW: `muon_groups` sees to that, or ``"matrix": False`` in a group.

        b = momentum · b + (1 - momentum) · g,  c = (1 - momentum) · g + momentum · b
        θ = θ · (1 - lr · weight_decay) - lr · s · O        O ≈ U Vᵀ, where c = U S Vᵀ
        s = 0.2 · √max(rows, columns)                       "match_rms_adamw"
        s = √max(1, rows / columns)                         "original"

    The work is done by torch's own Muon: five rounds of Newton-Schulz in bfloat16, after which the
    singular values of O lie between about 0.7 and 1.2 and not at 1. Filters are taken as
    matrices with a row per output channel. Each group that is given becomes up to two: its
    matrices, then the rest.

    Args:
        params: Parameters or groups of them; what has fewer than two axes is no matrix.
        lr: Step size of both, made comparable by `adjust`.
        momentum: Decay of the running mean of gradients of matrices.
        weight_decay: Share of each weight taken away per step, in units of `lr`; of both.
        adjust: How the step of a matrix depends on its shape. With "match_rms_adamw" rates are
            those of AdamW; with "original" a usual `lr` is 0.02, and `adamw_lr` should be set.
        adamw_lr: Step size of the rest, where a group has none of its own; None takes `lr`.
        betas: Decay of the two running means of the rest.
        eps: Added to the root, for the rest.
        filters: False gives filters to AdamW.

    Raises:
        UsageError: A value is out of range, or a gradient is sparse or complex.

    Source: jordan2024muon; liu2025muon for "match_rms_adamw".
    Differs: none from `torch.optim.Muon`, which takes matrices only.
    Reduces to: `AdamW` where there are only vectors.
    Checked against: `torch.optim.Muon` and `AdamW`, bit for bit; the singular value decomposition.

    Example:
        Muon(muon_groups(model, weight_decay=0.1), lr=1e-3)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        adjust: Literal["original", "match_rms_adamw"] = "match_rms_adamw",
        adamw_lr: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        filters: bool = True,
    ) -> None:
        if adjust not in ("original", "match_rms_adamw"):
            raise UsageError(
                f"Muon: `adjust` must be 'original' or 'match_rms_adamw'; got {adjust!r}."
            )
        settings = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "adjust": adjust,
            "betas": betas,
            "eps": eps,
        }
        check_settings("Muon", {**settings, "adamw_lr": adamw_lr})
        self._adamw_lr = adamw_lr
        self._filters = filters
        super().__init__(params, settings)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_adamw_lr": self._adamw_lr, "_filters": self._filters}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of matrices and a group of the rest.

        Args:
            param_group: Parameters under ``params``, and their settings; ``"matrix": False`` says
                that none is a matrix.
        """
        params = param_group["params"]
        given = [params] if isinstance(params, Tensor) else list(params)
        matrices: list[Any] = []
        rest: list[Any] = []
        for item in given:
            p = item[1] if isinstance(item, tuple) else item  # with its name, or without
            last = torch.inf if self._filters else 2
            is_matrix = param_group.get("matrix", True) and 2 <= p.ndim <= last
            (matrices if is_matrix else rest).append(item)
        add = plain(Optimizer.add_param_group)
        if matrices:
            add(self, {**param_group, "params": matrices, "matrix": True})
        if rest:
            own = {} if self._adamw_lr is None else {"lr": self._adamw_lr}
            add(self, {**own, **param_group, "params": rest, "matrix": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.layout != torch.strided or p.is_complex():
                        raise UsageError(
                            "Muon: gradients must be dense and real; got a sparse or complex one"
                            f" for a parameter of shape {tuple(p.shape)}. Use sparse=False."
                        )
                    (self._muon if group["matrix"] else self._adamw)(p, group)
        return loss

    def _muon(self, p: Tensor, group: dict[str, Any]) -> None:
        gradient: Any = p.grad
        matrix, rows = p.detach().flatten(1), gradient.flatten(1)
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(rows)
        muon(
            [matrix],
            [rows],
            [state["momentum_buffer"]],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            nesterov=True,
            ns_coefficients=_COEFFICIENTS,
            ns_steps=5,
            eps=1e-7,
            adjust_lr_fn=group["adjust"],
            has_complex=False,
        )
        if matrix.data_ptr() != p.data_ptr():  # filters in another order, such as channels_last
            p.copy_(matrix.view_as(p))

    def _adamw(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        torch._fused_adamw_(
            [p],
            [p.grad],  # type: ignore[list-item]
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


def muon_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into hidden matrices, which are for `Muon`, other matrices, and vectors.

    The others are embeddings and the output layer, which is the last module with a matrix.

    Args:
        model: Whose parameters.
        weight_decay: Of matrices and filters; vectors do not decay.

    Source: jordan2024muon.
    Checked against: a transformer's parts, by hand.
    """
    outer: set[Tensor] = set()
    last: list[Tensor] = []
    for module in model.modules():
        own: list[Tensor] = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            outer.update(own)
        last = own or last
    outer.update(last)
    trainable = [p for p in model.parameters() if p.requires_grad]
    hidden = [p for p in trainable if p.ndim > 1 and p not in outer]
    other = [p for p in trainable if p.ndim > 1 and p in outer]
    groups = [
        {"params": hidden, "weight_decay": weight_decay, "matrix": True},
        {"params": other, "weight_decay": weight_decay, "matrix": False},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0, "matrix": False},
    ]
    return [group for group in groups if group["params"]]
