"""A recurrent layer that takes the batch for the time, or its output read as if it did."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._bindings import Binding
from ..._model._file import File
from ..._model._tree import argument, constant, has_stars, key
from ..._rule import Found, Rule
from ..._tensors._shape_names import Origin, origin, size

_LAYERS = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")
_BATCH = frozenset({"b", "bs", "batch", "batch_size", "bsz", "batchsize", "n_batch", "nbatch"})
_BEFORE = frozenset({"Embedding", "Dropout", "Linear", "LayerNorm"})


def check(file: File) -> Iterator[Found]:
    """Look for ``out[:, -1]`` of a layer without `batch_first`, and ``out[-1]`` of one with it.

    Args:
        file: The file.
    """
    if not any(word in file.text for word in ("LSTM", "GRU", "RNN")):
        return
    for call in file.tree.each(ast.Call):
        first = _batch_first(file, call)
        if first is None or not call.args or _is_packed(file, call.args[0]):
            continue
        wrong = _read_wrong(file, call, batch_first=first)
        layer = ast.unparse(call.func)
        if wrong is not None:
            text = ast.unparse(wrong)
            name = text.partition("[")[0]
            yield Found(
                wrong,
                f"`{text}` is the last example of the batch: `{layer}` has `batch_first=True`."
                if first
                else f"`{text}` is the last example of the batch, not the last step:"
                f" `{layer}` takes (time, batch, feature).",
                f"Write `{name}[:, -1]` for the last step."
                if first
                else f"Make `{layer}` with `batch_first=True` if its input is"
                " (batch, time, feature).",
            )
        elif not first and _is_batch_first_input(file, call):
            yield Found(
                call,
                f"`{layer}` takes (time, batch, feature), and its input has the batch first.",
                f"Make `{layer}` with `batch_first=True`.",
            )


def _batch_first(file: File, call: ast.Call) -> bool | None:
    """Say whether a layer that is called takes the batch first; None for anything else."""
    layers = file.values.of(call.func)
    if not layers or not all(layer.name in _LAYERS for layer in layers):
        return None
    found = set()
    for layer in layers:
        place = 5 if layer.short == "RNN" else 4
        given = argument(layer.call, "batch_first", place)
        value = constant(given) if given is not None else False
        if has_stars(layer.call) or not isinstance(value, bool):
            return None
        found.add(value)
    return found.pop() if len(found) == 1 else None


def _is_packed(file: File, node: ast.expr) -> bool:
    """Say whether an input may be a packed sequence, which needs no `batch_first`."""
    if "pack" in ast.unparse(node).lower():
        return True
    if not key(node):
        return False
    bindings = file.values.bindings.reaching(node).bindings
    return any(one.value is not None and "pack" in ast.unparse(one.value) for one in bindings)


def _output(file: File, call: ast.Call) -> str:
    """Give the name of the output: the first of two, or the whole where ``[0]`` is taken."""
    around = file.tree.parent(call)
    if isinstance(around, ast.Subscript) and constant(around.slice) == 0:
        around = file.tree.parent(around)
        if isinstance(around, ast.Assign):
            return key(around.targets[0])
    if isinstance(around, ast.Assign) and isinstance(around.targets[0], ast.Tuple):
        return key(around.targets[0].elts[0])
    return ""


def _read_wrong(file: File, call: ast.Call, *, batch_first: bool) -> ast.Subscript | None:
    """Give the place where the last step is read from the wrong dimension."""
    name = _output(file, call)
    function = file.tree.function(call)
    statement = file.tree.statement(call)
    if not name or function is None:
        return None
    for node in file.tree.own(function):
        if not (isinstance(node, ast.Subscript) and key(node.value) == name):
            continue
        bindings = file.values.bindings.reaching(node.value).bindings
        if not _is_only(bindings, statement) or not isinstance(node.ctx, ast.Load):
            continue
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if batch_first and constant(parts[0]) == -1:
            return node
        all_first = isinstance(parts[0], ast.Slice) and parts[0].lower is parts[0].upper is None
        if not batch_first and len(parts) > 1 and all_first and constant(parts[1]) == -1:
            return node
    return None


def _is_only(bindings: tuple[Binding, ...], statement: ast.stmt) -> bool:
    return len(bindings) == 1 and bindings[0].statement is statement


def _is_batch_first_input(file: File, call: ast.Call) -> bool:
    """Say whether the names of its dimensions tell that an input has the batch first."""
    given = call.args[0]
    found = _source(file, given)
    function = file.tree.function(call)
    if found is None or function is None:
        return False
    for node in file.tree.own(function):
        if isinstance(node, ast.Name) and node.id.lower() in _BATCH:
            known = size(file, node) if isinstance(node.ctx, ast.Load) else None
            if known is not None and known.of.same(found) and known.index == 0:
                return True
    hidden = call.args[1] if len(call.args) > 1 else None
    parts = hidden.elts if isinstance(hidden, ast.Tuple) else [hidden]
    return any(one is not None and _is_made_for(file, one, found) for one in parts)


def _source(file: File, node: ast.expr) -> Origin | None:
    """Give the tensor that an input comes from, before layers that keep its first dimensions."""
    for _ in range(6):
        if isinstance(node, ast.Call) and node.args:
            layers = file.values.of(node.func)
            if not layers or not {one.short for one in layers} <= _BEFORE:
                return None
            node = node.args[0]
        elif isinstance(node, ast.Name):
            reaching = file.values.bindings.reaching(node)
            value = reaching.bindings[0].value if len(reaching.bindings) == 1 else None
            if reaching.rest != "nothing" or not isinstance(value, ast.Call):
                return origin(file, node)
            node = value
        else:
            return None
    return None


def _is_made_for(file: File, node: ast.expr, found: Origin) -> bool:
    """Say whether a hidden state is made with the first dimension of the input as the batch."""
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 else None
    else:
        value = node
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        if file.dotted(value.func).startswith("torch."):
            break
        value = value.func.value
    if not isinstance(value, ast.Call) or len(value.args) != 3:
        return False
    known = size(file, value.args[1])
    return known is not None and known.of.same(found) and known.index == 0


RULE = Rule(
    name="rnn-batch-first-missing",
    severity="error",
    title="A recurrent layer takes the batch for the time",
    why=(
        "`nn.LSTM`, `nn.GRU` and `nn.RNN` take (time, batch, feature) unless `batch_first=True`."
        " Given (batch, time, feature) they run all the same: the state is carried from one"
        " example to the next, and `out[:, -1]` is the output of the last example. Nothing is"
        " raised, and the model hardly learns."
    ),
    fix="Give the layer `batch_first=True`, and read the last step with `out[:, -1]`.",
    bad="""\
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.embedding = nn.Embedding(words, 64)
        self.lstm = nn.LSTM(64, 128)
        self.out = nn.Linear(128, classes)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.out(states[:, -1])
""",
    good="""\
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.embedding = nn.Embedding(words, 64)
        self.lstm = nn.LSTM(64, 128, batch_first=True)
        self.out = nn.Linear(128, classes)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.out(states[:, -1])
""",
    source="PyTorch docs, torch.nn.LSTM: batch_first; Hung-yi Lee 2021, homework on sequences.",
    check=check,
)
