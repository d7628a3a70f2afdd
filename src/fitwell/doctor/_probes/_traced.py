"""Gradients on their way back: at the output of each layer, and at each step of a recurrence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from .._measure import Loss
from ._plain import make_plain
from ._unrolled import GATES, State, unrolled

DEPTH: Final = "depth"
"""Name of the path through the layers."""

_LOOP: Final = 3
"""Calls of a layer, each fed by the one before, from which on they are steps of a recurrence."""

_NODES: Final = 100_000  # of a graph, that are searched at most


@final
@dataclass(frozen=True)
class Path:
    """Norms of the gradient along one way from the first layer or step to the last.

    Args:
        name: ``depth``, or the name of what is recurrent.
        places: Names of layers, or numbers of steps.
        norms: Of the gradient at the output of each; None where none came.
        carried: Of the part of it that the recurrence carries back from the last step that gets
            any; along depth, all of it.
    """

    name: str
    places: tuple[str, ...]
    norms: tuple[float | None, ...]
    carried: tuple[float | None, ...]


@final
@dataclass(eq=False)
class _Tap:
    """A tensor, and the squared norm of the gradient that comes to it, as it is now.

    Operations in place may make the same tensor the output of another layer.
    """

    tensor: Tensor
    square: float | None = None


@final
@dataclass(eq=False)
class _Call:
    name: str
    nodes: list[Any]
    taps: list[_Tap]
    inside: bool = False  # a layer with weights was called within


@final
@dataclass
class _Trace:
    """What one forward and backward pass leaves."""

    calls: list[_Call] = field(default_factory=list)
    stack: list[_Call] = field(default_factory=list)
    series: dict[tuple[str, str], list[list[list[_Tap]]]] = field(default_factory=dict)
    open: bool = True  # recomputation during the backward pass is not another call
    heard: bool = True  # gradients that come later are asked for
    loss: Tensor | None = None

    def tap(self, tensors: Iterable[Tensor]) -> list[_Tap]:
        """Have the squared norms of the gradients of tensors kept."""
        taps = [_Tap(tensor) for tensor in tensors if tensor.requires_grad]
        for tap in taps:
            tap.tensor.register_hook(self._hook(tap))  # type: ignore[no-untyped-call]
        return taps

    def _hook(self, tap: _Tap) -> Callable[[Tensor], None]:
        def arrives(gradient: Tensor) -> None:
            if self.heard:
                tap.square = float(gradient.detach().double().square().sum())

        return arrives


def _norm_at(taps: Iterable[_Tap]) -> float | None:
    """Give the norm of the gradients of all these tensors; None if none came."""
    known = [tap.square for tap in taps if tap.square is not None]
    return math.sqrt(sum(known)) if known else None


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    """Give the modules that have a matrix of weights of their own, by name.

    Args:
        model: The model.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if any(p.ndim > 1 for p in module.parameters(recurse=False))
    }


def trace(model: nn.Module, loss: Loss, inputs: Any, targets: Any) -> list[Path]:
    """Run a batch forward and backward, and give the gradients along depth and along time.

    Args:
        model: A copy, whose recurrent layers are turned into loops and weights made plain.
        loss: ``loss(outputs, targets)``.
        inputs: Of the model.
        targets: Of the loss.
    """
    found = _Trace()
    make_plain(model)
    layers = weighted(model)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase) and module.mode in GATES:
            module.forward = unrolled(module, _steps_of(found, name))
        if name and any(p.ndim > 1 for p in module.parameters()):
            handles.append(module.register_forward_pre_hook(_enter(found, name)))
            handles.append(module.register_forward_hook(_leave(found, name in layers)))
    try:
        value = loss(model(inputs), targets)
    finally:
        found.open = False
        for handle in handles:
            handle.remove()
    if value.requires_grad:
        found.loss = value
        value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        found.heard = False
    return _paths(found, set(layers))


def _steps_of(found: _Trace, name: str) -> Any:
    def seen(part: str, number: int, state: State) -> None:
        if found.open:
            calls = found.series.setdefault((name, part), [])
            if number == 0:
                calls.append([])
            calls[-1].append(found.tap(state))

    return seen


def _enter(found: _Trace, name: str) -> Any:
    def hook(*_: Any) -> None:
        if found.open:
            found.stack.append(_Call(name, [], []))

    return hook


def _leave(found: _Trace, own: bool) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        if not found.open:
            return
        call = found.stack.pop()
        call.taps = found.tap(_floats(output))
        call.nodes = [tap.tensor.grad_fn for tap in call.taps]
        if found.stack and (own or call.inside):
            found.stack[-1].inside = True
        found.calls.append(call)

    return hook


def _floats(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(items, Iterable):
        return []
    return [tensor for item in items if item is not None for tensor in _floats(item)]


def _paths(found: _Trace, layers: set[str]) -> list[Path]:
    by_name: dict[str, list[_Call]] = {}
    for call in found.calls:
        by_name.setdefault(call.name, []).append(call)
    loops: list[str] = []
    for name in sorted(by_name, key=len):  # the outermost first
        within = any(name.startswith(f"{outer}.") for outer in loops)
        if len(by_name[name]) >= _LOOP and not within and _chained(by_name[name]):
            loops.append(name)
    paths = [_depth(found.calls, by_name, layers, loops)]
    for name in loops:
        if all(name != owner for owner, _ in found.series):
            paths.append(_in_time(found.loss, name, [call.taps for call in by_name[name]]))
    for (name, part), calls in found.series.items():
        if any(name.startswith(f"{outer}.") for outer in loops):
            continue
        # Called step by step it goes on; called for several inputs, the last one is shown.
        steps = [state for call in (calls if name in loops else calls[-1:]) for state in call]
        paths.append(_in_time(found.loss, f"{name}{part}", steps))
    return [path for path in paths if sum(norm is not None for norm in path.norms) > 1]


def _in_time(loss: Tensor | None, name: str, states: Sequence[list[_Tap]]) -> Path:
    places = tuple(str(number + 1) for number in range(len(states)))
    norms = tuple(map(_norm_at, states))
    live = [number for number, norm in enumerate(norms) if norm]
    if not live or loss is None or not all(n is None or math.isfinite(n) for n in norms):
        return Path(name, places, norms, norms)
    last = [tap.tensor for tap in states[live[-1]]]
    before = states[: live[-1] + 1]
    seeds = _direct(last, _gradients([loss], last, [None]))
    back = iter(_gradients(last, [tap.tensor for state in before for tap in state], seeds))
    carried = [_norm([next(back) for _ in state]) for state in before]
    return Path(name, places, norms, (*carried, *(None,) * (len(states) - len(before))))


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor | None]
) -> list[Tensor | None]:
    return list(torch.autograd.grad(outputs, inputs, seeds, retain_graph=True, allow_unused=True))


def _direct(last: Sequence[Tensor], whole: Sequence[Tensor | None]) -> list[Tensor]:
    """Give the gradients of the parts of a state without what reaches one through another.

    Of an LSTM the hidden state is made of the cell: the gradient of the cell has that way in it.
    """
    totals = [torch.zeros_like(t) if g is None else g for t, g in zip(last, whole, strict=True)]
    seeds = totals
    for _ in last[1:]:
        through = [torch.zeros_like(part) for part in last]
        for number, (part, seed) in enumerate(zip(last, seeds, strict=True)):
            found = _gradients([part], last, [seed])
            for other, gradient in enumerate(found):
                if other != number and gradient is not None:
                    through[other] = through[other] + gradient
        seeds = [total - way for total, way in zip(totals, through, strict=True)]
    return seeds


def _norm(gradients: Iterable[Tensor | None]) -> float | None:
    known = [float(g.double().square().sum()) for g in gradients if g is not None]
    return math.sqrt(sum(known)) if known else None


def _depth(
    ran: Sequence[_Call],
    by_name: dict[str, list[_Call]],
    layers: set[str],
    loops: Sequence[str],
) -> Path:
    """Give the layers in the order in which they ran.

    Calls of one layer that follow from each other are layers of their own; others, as of parts of
    an input, are one.
    """
    places: list[str] = []
    norms: list[float | None] = []
    done: set[str] = set()
    for call in ran:
        name, calls = call.name, by_name[call.name]
        looped = any(name == loop or name.startswith(f"{loop}.") for loop in loops)
        if name not in layers or call.inside or looped or name in done:
            continue
        chained = len(calls) > 1 and _chained(calls)
        places.append(f"{name} ({calls.index(call) + 1})" if chained and call != calls[0] else name)
        norms.append(_norm_at([t for c in ([call] if chained else calls) for t in c.taps]))
        if not chained:
            done.add(name)
    return Path(DEPTH, tuple(places), tuple(norms), tuple(norms))


def _chained(calls: Sequence[_Call]) -> bool:
    """Say whether the second call was fed by the first."""
    wanted, waiting = set(calls[0].nodes), list(calls[1].nodes)
    seen: set[Any] = {None}
    while waiting and len(seen) < _NODES:
        node = waiting.pop()
        if node in wanted:
            return True
        if node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return False


def remake(model: nn.Module, paths: Sequence[Path], inputs: Any) -> None:
    """Give a model orthogonal weights: what its architecture can do.

    Layers are scaled so that their outputs have a spread of 1, one after the other. Recurrent ones
    keep the norm of their state, and their gates hold it for as many steps as there are.

    Args:
        model: A copy, in whose place it is done.
        paths: Of the model as it was.
        inputs: What the spread is measured with.
    """
    loops = [path.name for path in paths if path.name != DEPTH]
    steps = max((len(path.norms) for path in paths if path.name != DEPTH), default=1)
    make_plain(model)
    handles = []
    scaled: set[int] = set()
    with torch.no_grad():
        for name, module in weighted(model).items():
            if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
                _remake_recurrent(module, steps)
                continue
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                continue
            for kind, p in module.named_parameters(recurse=False):
                if p.ndim > 1 and p.is_floating_point():
                    _orthogonal(p)
                elif kind == "bias":
                    p.zero_()
            if not any(name == loop or name.startswith(f"{loop}.") for loop in loops):
                handles.append(module.register_forward_hook(_scaling(scaled)))
        try:
            model(inputs)
        finally:
            for handle in handles:
                handle.remove()


def _remake_recurrent(layer: nn.Module, steps: int) -> None:
    hidden: Any = layer.hidden_size
    for name, p in layer.named_parameters(recurse=False):
        if name.startswith("weight_") and p.shape[0] % hidden == 0:
            rectified = name.startswith("weight_hh") and _rectified(layer)
            for block in torch.split(p, hidden):  # one per gate
                (nn.init.eye_ if rectified else _orthogonal)(block)
        elif name.startswith("bias"):
            p.zero_()
            gates = torch.split(p, hidden)
            if name.startswith("bias_hh") and len(gates) > 1:  # forget or update gate
                gates[1].fill_(math.log(max(steps, 2)))


def _rectified(layer: nn.Module) -> bool:
    return getattr(layer, "nonlinearity", "tanh") == "relu"


def _orthogonal(p: Tensor) -> None:
    """Fill with orthogonal numbers, computed in single precision at least."""
    kind = torch.promote_types(p.dtype, torch.float32)
    p.copy_(nn.init.orthogonal_(torch.empty(p.shape, dtype=kind, device=p.device)))


def _scaling(done: set[int]) -> Any:
    """Give a hook that scales a layer, but one whose weights are those of another only once."""

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        own = list(module.parameters(recurse=False))
        if not isinstance(output, Tensor) or any(id(p) in done for p in own):
            return output
        spread = float(output.float().std())
        if not (math.isfinite(spread) and spread > 0):
            return output
        done.update(map(id, own))
        for p in own:
            p.div_(spread)
        return output / spread

    return hook
