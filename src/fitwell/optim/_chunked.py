"""The engine of fitwell's own optimizers: any rule of the kit, on pieces that fit the cache.

A step of a hand-written optimizer goes over memory once per operation. Here the gradients of many
small tensors, or a slice of a large one, are gathered into one scratch buffer; the whole rule runs
on it while it is in the cache, and the result is taken off the parameters, which stay where they
are. What a rule keeps lies in flat buffers, of which ``state[p]["exp_avg"]`` and the like are
views, so that the state dict is an ordinary one. On a GPU all parameters of a kind are one piece.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UsageError
from ._kit import State, Transform, split_all, split_end
from ._light import Light, plain
from ._pieces import Piece, Turn, cut

PIECE = 65536
"""Elements of a piece on the CPU: gradient, parameter and two moments take 1 MiB in float32. In
smaller ones calls take longer than arithmetic, larger ones leave a second-level cache."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the parameters of a group that have gradients are cut, until something changes.

    Args:
        params: The parameters.
        strides: Their orders in memory, which flat states follow.
        kind: What the rule keeps and reads.
        first: State of the first parameter, to notice when states are replaced.
        pieces: The pieces, each with the places of its parameters in `params`.
    """

    params: list[Tensor]
    strides: list[tuple[int, ...]]
    kind: tuple[Any, ...]
    first: State
    pieces: list[tuple[Piece, list[int]]]


class Chunked(Light, ABC):
    """An optimizer that applies a rule of the kit; a concrete class says only what the rule is."""

    _found: dict[int, _Layout]

    @abstractmethod
    def _rule(self, group: dict[str, Any]) -> Transform:
        """Give the transform whose direction is taken off the parameters, with the rate in it.

        Args:
            group: Settings of some parameters; asked in every step, since schedules change them.
        """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own.

        Args:
            param_group: ``{"params": ..., "lr": ...}``.
        """
        plain(torch.optim.Optimizer.add_param_group)(self, param_group)
        for p in self.param_groups[-1]["params"]:
            if not p.is_floating_point():
                self.param_groups.pop()
                raise UsageError(
                    f"{type(self).__name__}: `params` must be real floating-point tensors; got"
                    f" {p.dtype} of shape {tuple(p.shape)}."
                    + (" Give torch.view_as_real of it." if p.is_complex() else " Convert it.")
                )

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
        work = []
        for number, group in enumerate(self.param_groups):
            params = group["params"]
            grads = [p.grad for p in params]
            if any(g is None for g in grads):
                params = [p for p in params if p.grad is not None]
                grads = [p.grad for p in params]
            if params:
                work.append((number, params, grads, self._rule(group)))
        head = split_all(work[0][3])[0] if work else None
        factor = head.factor([g for _, _, grads, _ in work for g in grads]) if head else None
        for number, params, grads, rule in work:
            self._take(self._layout(number, params, rule), grads, rule, factor)
        return loss

    # The compiler is to call the step as it is: it is made of pieces that fit the cache already.
    step._torchdynamo_disable = True  # type: ignore[attr-defined]

    def _take(
        self, layout: _Layout, grads: list[Tensor], rule: Transform, factor: Tensor | None
    ) -> None:
        whole = split_all(rule)[1]
        turn = None
        for piece, places in layout.pieces:
            step = piece.states[0]["step"] + 1
            if turn is None or turn.step != step:
                inner, rate, left = split_end(whole, step)
                turn = Turn(inner, step, rate, left, factor)
            piece.take([grads[i] for i in places], turn)
            for state in piece.states:
                state["step"] = step

    def _layout(self, number: int, params: list[Tensor], rule: Transform) -> _Layout:
        """Give the layout of a group, as it was found before or anew."""
        layout, kind = self._found.get(number), (rule.names, rule.reads_x, rule.scope)
        if (
            layout is None
            or len(params) != len(layout.params)
            or not all(map(operator.is_, params, layout.params))
            or layout.strides != [p.stride() for p in params]
            or self.state.get(params[0]) is not layout.first
            or kind != layout.kind
        ):
            layout = self._cut(number, params, rule)
            self._found[number] = layout
        return layout

    def _cut(self, number: int, params: list[Tensor], rule: Transform) -> _Layout:
        before = sum(len(group["params"]) for group in self.param_groups[:number])
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for place, p in enumerate(params):
            if p.grad is None or p.grad.layout != torch.strided:
                raise UsageError(
                    f"{type(self).__name__}: gradients must be dense; got a sparse one for a"
                    f" parameter of shape {tuple(p.shape)}. Use nn.Embedding(sparse=False)."
                )
            state = self.state[p]
            state["step"] = int(state.get("step", 0))
            kinds.setdefault((p.device, p.dtype, state["step"]), []).append(place)
        pieces: list[tuple[Piece, list[int]]] = []
        inner = split_all(rule)[1]
        for (device, _, _), places in kinds.items():
            some = [params[i] for i in places]
            size = PIECE if device.type == "cpu" else 0
            place_of = {id(p): i for i, p in zip(places, some, strict=True)}
            states = [self.state[p] for p in some]
            for piece in cut(some, states, inner, size, [before + i for i in places]):
                pieces.append((piece, [place_of[id(p)] for p in piece.params]))
        kind = (rule.names, rule.reads_x, rule.scope)
        return _Layout(
            list(params), [p.stride() for p in params], kind, self.state[params[0]], pieces
        )
