"""Parts of the kit as an optimizer of their own, and before any other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ..core.spec import Spec
from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Centralize, Chain, Scale, State, Transform, over, split_all, transform
from ._wrapper import Wrapper


@final
class Composed(Chunked):
    """Turn any chain of parts into an optimizer, for trying out what does not exist yet.

        θ = θ - lr · transform(g)

    Args:
        params: Parameters or groups of them.
        transform: A part or chain, or its printed form; without `Scale`, or with one that is
            multiplied by `lr`.
        lr: Step size, which a schedule can move.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: babuschkin2020deepmind, whose optax composes optimizers of such parts.
    Reduces to: gradient descent with an empty chain.
    Checked against: torch's SGD, Adam and RMSprop, built of parts.

    Example:
        Composed(params, Chain(parts=(Clip(value=1.0), Trace(decay=0.9))), lr=0.1)
    """

    def __init__(
        self,
        params: ParamsT,
        transform: Transform | Spec | str = "Trace(decay=0.9)",
        lr: float = 0.1,
    ) -> None:
        check_settings("Composed", {"lr": lr})
        self.transform = _build(transform)
        super().__init__(params, {"lr": lr})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "transform": self.transform}

    def _rule(self, group: dict[str, Any]) -> Transform:
        return Chain(parts=(self.transform, Scale(lr=group["lr"])))


_build = transform


@final
class Prepared(Wrapper):
    """Change gradients before another optimizer sees them: centralize, clip, add noise.

    The gradients are changed in place, as `clip_grad_norm_` does.

        p.grad = parts(p.grad), then the step of the optimizer

    Args:
        optimizer: The one that takes the step; its groups and state are shared.
        parts: What is applied, in turn, as transforms or their printed forms.

    Raises:
        UsageError: `optimizer` is none, or `parts` are no transforms.

    Source: yong2020gradient and neelakantan2015adding, for the parts that it is made for.
    Reduces to: the optimizer without `parts`.
    Checked against: the parts applied by hand before each step.

    Example:
        optimizer = Prepared(AdamW(model.parameters()), parts=(Centralize(), Noise(eta=0.01)))
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[Transform | Spec | str] = (Centralize(),),
    ) -> None:
        if isinstance(parts, Transform | Spec | str):
            raise UsageError(f"Prepared: `parts` must be a tuple of transforms; got {parts}.")
        super().__init__(optimizer)
        self.parts = tuple(_build(part) for part in parts)
        self._chain = Chain(parts=self.parts)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the gradients and take one step.

        Args:
            closure: Evaluates the model again and gives the loss; what it leaves as gradients is
                changed each time.
        """
        if closure is None:
            self._prepare()
            return self.optimizer.step()

        def prepared() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._prepare()
            return loss

        return self.optimizer.step(prepared)

    @torch.no_grad()
    def _prepare(self) -> None:
        own = self.state.get("Prepared")
        if own is None:
            own = self.state["Prepared"] = {"step": 0, "kept": {}}
        own["step"] += 1
        head, rest = split_all(self._chain)
        with_grad = [(i, p) for i, p in enumerate(self.parameters()) if p.grad is not None]
        grads = [_gradient(p) for _, p in with_grad]
        factor = head.factor(grads) if head is not None and grads else None
        for (place, p), g in zip(with_grad, grads, strict=True):
            if factor is not None:
                g.mul_(over(factor.to(g.device), g))
            if place not in own["kept"]:
                own["kept"][place] = rest.init(p.detach(), place)
            direction = rest.apply(g, own["kept"][place], p.detach(), own["step"])
            if direction is not g:
                g.copy_(direction)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state of both back.

        Args:
            state_dict: What `state_dict` gave; that of the inner optimizer alone begins anew.
        """
        super().load_state_dict(state_dict)
        own = self.state.get("Prepared")
        if own is not None:  # torch passes it on as it is, on its old device and not copied
            parameters = self.parameters()
            kept = {i: _moved(state, parameters[i]) for i, state in own["kept"].items()}
            self.state["Prepared"] = {"step": own["step"], "kept": kept}


def _gradient(p: Tensor) -> Tensor:
    g: Any = p.grad
    if g.layout != torch.strided or g.is_complex():
        raise UsageError(
            f"Prepared: gradients must be dense and real; got a {g.dtype} {g.layout} one for a"
            f" parameter of shape {tuple(p.shape)}. Use nn.Embedding(sparse=False)."
        )
    dense: Tensor = g
    return dense


def _moved(state: State, p: Tensor) -> State:
    return {
        name: torch.empty_like(p).copy_(value) if isinstance(value, Tensor) else value
        for name, value in state.items()
    }
