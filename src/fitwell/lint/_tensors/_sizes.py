"""Sizes of layers where they are constants, and whether what one gives is what the next takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from .._model._tree import argument, constant, has_stars, key, method, owner
from ._layers import ACTIVATIONS, DROPOUTS, POOLS

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

_CONVS: Final = {
    f"{stem}{n}d": f"channels{n}" for stem in ("Conv", "ConvTranspose") for n in (1, 2, 3)
}
_NORMS: Final = {f"BatchNorm{n}d": f"channels{n}" for n in (1, 2, 3)}
_RECURRENT: Final = frozenset({"RNN", "LSTM", "GRU"})
_KEEP: Final = (ACTIVATIONS | DROPOUTS | {"Identity", "PReLU"}) - {"Dropout1d"}
_KEEP_FUNCTIONS: Final = frozenset(
    {
        "relu", "relu_", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh",
        "softmax", "log_softmax", "dropout", "hardswish", "softplus", "logsigmoid", "dropout2d",
    }
)  # fmt: skip
_KEEP_METHODS: Final = frozenset(
    {"relu", "relu_", "sigmoid", "tanh", "softmax", "log_softmax", "contiguous", "clone", "to"}
    | {"float", "double", "half", "detach", "cuda", "cpu"}
)
_POOL_FUNCTIONS: Final = frozenset(
    f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)
)
_DEPTH: Final = 24


@final
@dataclass(frozen=True)
class State:
    """What is known of the shape of a tensor.

    Args:
        kind: What is known: `features`, the last dimension; `channels2`, the second of images;
            empty if nothing is.
        size: How large that is.
        giver: What made it so, in words of the program.
        taken: What the layer that gave it takes itself.
        flat: Whether there are two dimensions.
        pooled: Whether all behind the channels has size 1.
    """

    kind: str = ""
    size: int = 0
    giver: str = ""
    taken: int | None = None
    flat: bool = False
    pooled: bool = False


@final
@dataclass(frozen=True)
class Misfit:
    """A layer that is given another size than it takes.

    Args:
        layer: The layer.
        takes: Its size.
        state: What it is given.
        certain: Whether that surely is an error.
        flatten: Whether a `Flatten` is missing in between.
    """

    layer: Value
    takes: int
    state: State
    certain: bool = True
    flatten: bool = False


def number(file: File, node: ast.AST | None, depth: int = 0) -> int | None:
    """Give a whole number that an expression certainly is.

    Args:
        file: The file.
        node: A literal, a name that holds one, a product or a sum.
        depth: How far names were followed.
    """
    if node is None or depth > _DEPTH:
        return None
    value = constant(node)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(node, (ast.Name, ast.Attribute)) and key(node):
        reaching = file.values.bindings.reaching(node)
        found = reaching.bindings
        if len(found) != 1 or reaching.rest != "nothing" or found[0].how != "whole":
            return None
        return number(file, found[0].value, depth + 1)
    if isinstance(node, ast.BinOp):
        left, right = number(file, node.left, depth + 1), number(file, node.right, depth + 1)
        if left is None or right is None:
            return None
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.FloorDiv) and right:
            return left // right
    return None


def layers_of(value: Value) -> Iterator[Value | None]:
    """Give the layers of an `nn.Sequential` in their order; None for what is not known.

    Args:
        value: The container.
    """
    args = list(value.call.args)
    if len(args) == 1 and key(getattr(args[0], "func", None)).endswith("OrderedDict"):
        inner = args[0].args[0] if isinstance(args[0], ast.Call) and args[0].args else None
        pairs = inner.elts if isinstance(inner, (ast.List, ast.Tuple)) else []
        args = [one.elts[1] for one in pairs if isinstance(one, ast.Tuple) and len(one.elts) == 2]
        if len(args) != len(pairs):
            args = []
    for one in args:
        if isinstance(one, ast.Starred):
            yield None
            continue
        found = value.file.values.of(one)
        yield found[0] if len(found) == 1 and found[0].kind == "module" else None


def after(value: Value | None, state: State, misfits: list[Misfit], depth: int = 0) -> State:
    """Give what is known of the shape of what a layer gives.

    Args:
        value: The layer.
        state: What it is given.
        misfits: Takes what does not fit.
        depth: How many layers it is inside of.
    """
    if value is None or depth > _DEPTH:
        return State()
    if value.definition is not None or has_stars(value.call):
        if value.name == "torch.nn.Sequential":
            return _through(value, state, misfits, depth)
        return State()
    if value.name == "torch.nn.Sequential":
        return _through(value, state, misfits, depth)
    if not value.name.startswith("torch.nn."):
        return State()
    short = value.short
    if short in _KEEP:
        return state
    if short in POOLS:
        pooled = short.startswith("Adaptive") and _ones(argument(value.call, "output_size", 0))
        return _pooled(state, int(short[-2]), pooled)
    if short == "Flatten" and not value.call.args and not value.call.keywords:
        return _flat(state)
    if short == "Linear":
        return _linear(value, state, misfits)
    if short in _CONVS:
        return _conv(value, state, misfits)
    if short in _NORMS or short in ("LayerNorm", "GroupNorm"):
        return _norm(value, state, misfits)
    if short == "Embedding":
        size = number(value.file, argument(value.call, "embedding_dim", 1))
        return State("features", size, _text(value)) if size else State()
    return State()


def _through(value: Value, state: State, misfits: list[Misfit], depth: int) -> State:
    for layer in layers_of(value):
        state = after(layer, state, misfits, depth + 1)
    return state if value.call.args and not _grows(value) else State()


def _grows(value: Value) -> bool:
    """Say whether something is put into a container after it was made."""
    file = value.file
    parent = file.tree.parent(value.call)
    names = {key(one) for one in parent.targets} if isinstance(parent, ast.Assign) else set()
    for call in file.method_calls("append", "add_module", "extend", "insert"):
        if key(owner(call)) in names:
            return True
    return False


def _linear(value: Value, state: State, misfits: list[Misfit]) -> State:
    call, file = value.call, value.file
    takes = number(file, argument(call, "in_features", 0))
    gives = number(file, argument(call, "out_features", 1))
    if takes is not None:
        if state.kind == "features" and state.size != takes:
            misfits.append(Misfit(value, takes, state))
        elif state.kind.startswith("channels") and state.pooled and takes != 1:
            misfits.append(Misfit(value, takes, state, flatten=True))
    if gives is None:
        return State(flat=state.flat)
    return State("features", gives, _text(value), takes, state.flat)


def _conv(value: Value, state: State, misfits: list[Misfit]) -> State:
    call, file = value.call, value.file
    takes = number(file, argument(call, "in_channels", 0))
    gives = number(file, argument(call, "out_channels", 1))
    kind = _CONVS[value.short]
    if takes is not None and state.kind == kind and state.size != takes:
        misfits.append(Misfit(value, takes, state))
    return State() if gives is None else State(kind, gives, _text(value), takes)


def _norm(value: Value, state: State, misfits: list[Misfit]) -> State:
    call, file, short = value.call, value.file, value.short
    if short == "LayerNorm":
        takes = number(file, _last(argument(call, "normalized_shape", 0)))
        if takes is not None and state.kind == "features" and state.size != takes:
            misfits.append(Misfit(value, takes, state))
        return state
    name, place = ("num_channels", 1) if short == "GroupNorm" else ("num_features", 0)
    takes = number(file, argument(call, name, place))
    if takes is None or not state.kind or state.size == takes:
        return state
    if state.kind.startswith("channels"):
        if short == "GroupNorm" or state.kind == _NORMS[short]:
            misfits.append(Misfit(value, takes, state))
    elif short == "BatchNorm1d":  # of three dimensions it takes the one in the middle
        misfits.append(Misfit(value, takes, state, certain=state.flat or takes == state.taken))
    return state


def _pooled(state: State, dimensions: int, to_one: bool) -> State:
    if state.kind != f"channels{dimensions}":
        return State()
    return replace(state, pooled=to_one)


def _flat(state: State) -> State:
    if state.kind.startswith("channels") and state.pooled:
        return replace(state, kind="features", pooled=False, flat=True, taken=None)
    return State(flat=True) if not (state.kind == "features" and state.flat) else state


def _ones(node: ast.AST | None) -> bool:
    parts = node.elts if isinstance(node, (ast.Tuple, ast.List)) else [node]
    return bool(parts) and all(constant(one) == 1 for one in parts)


def _last(node: ast.AST | None) -> ast.AST | None:
    return node.elts[-1] if isinstance(node, (ast.List, ast.Tuple)) and node.elts else node


def _text(value: Value) -> str:
    text = ast.unparse(value.call)
    return text if len(text) < 60 else f"{value.short}(...)"


def state_of(file: File, node: ast.AST | None, depth: int = 0) -> State:
    """Give what is known of the shape of an expression, from the layers that made it.

    Args:
        file: The file.
        node: The expression.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return State()
    if isinstance(node, ast.Name):
        reaching = file.values.bindings.reaching(node)
        found = reaching.bindings
        if len(found) != 1 or reaching.rest != "nothing":
            return State()
        if found[0].how == "item" and found[0].index == 0:
            return _recurrent(file, found[0].value)
        return state_of(file, found[0].value, depth + 1) if found[0].how == "whole" else State()
    if isinstance(node, ast.Subscript):
        return _taken(file, node, depth)
    return _called(file, node, depth) if isinstance(node, ast.Call) else State()


def _called(file: File, call: ast.Call, depth: int) -> State:
    values = file.values.of(call.func)
    if values:
        plain = len(values) == 1 and len(call.args) == 1
        return after(values[0], state_of(file, call.args[0], depth + 1), []) if plain else State()
    module, _, short = file.dotted(call.func).rpartition(".")
    if module in ("torch", "torch.nn.functional") and call.args:
        before = state_of(file, call.args[0], depth + 1)
        if short in _KEEP_FUNCTIONS:
            return before
        if short in _POOL_FUNCTIONS and module == "torch.nn.functional":
            to_one = short.startswith("adaptive") and _ones(argument(call, "output_size", 1))
            return _pooled(before, int(short[-2]), to_one)
        if short == "flatten" and constant(argument(call, "start_dim", 1)) == 1:
            return _flat(before)
        return State()
    if not method(call) or module.startswith("torch"):
        return State()
    before = state_of(file, owner(call), depth + 1)
    if short in ("flatten",) and constant(argument(call, "start_dim", 0)) == 1:
        return _flat(before)
    if method(call) in ("view", "reshape"):
        return _viewed(file, call, before)
    return before if method(call) in _KEEP_METHODS else State()


def _viewed(file: File, call: ast.Call, before: State) -> State:
    sizes = list(call.args)
    if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
        sizes = list(sizes[0].elts)
    if len(sizes) != 2 or call.keywords:
        return State()
    size = number(file, sizes[1])
    if size == -1:
        return _flat(before)
    if size is None or size < 1:
        return State(flat=True)
    return State("features", size, ast.unparse(call), flat=True)


def _recurrent(file: File, node: ast.AST | None) -> State:
    """Give the width of what a recurrent layer gives for each step."""
    values = file.values.of(node.func) if isinstance(node, ast.Call) else ()
    if len(values) != 1 or values[0].short not in _RECURRENT or has_stars(values[0].call):
        return State()
    value = values[0]
    if value.definition is not None or argument(value.call, "proj_size") is not None:
        return State()
    size = number(value.file, argument(value.call, "hidden_size", 1))
    both = argument(value.call, "bidirectional", 7)
    if size is None or not (both is None or isinstance(constant(both), bool)):
        return State()
    size *= 2 if both is not None and constant(both) else 1
    return State("features", size, _text(value))


def _taken(file: File, node: ast.Subscript, depth: int) -> State:
    """Follow ``out[:, -1, :]`` and ``out[:, -1]``: one step of a sequence."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
    whole = [isinstance(one, ast.Slice) and ast.unparse(one) == ":" for one in parts]
    if whole not in ([True, False], [True, False, True]) or constant(parts[1]) != -1:
        return State()
    inner = state_of(file, node.value, depth + 1)
    recurrent = inner.giver.rpartition("(")[0] and any(
        f"{name}(" in inner.giver for name in _RECURRENT
    )
    return replace(inner, flat=True) if inner.kind == "features" and recurrent else State()
