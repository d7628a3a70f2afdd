"""A hidden state goes from batch to batch with the graphs of all batches before."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, method
from ..._rule import Found, Rule
from ..._training._gradmode import may_switch

_LOOPS = (ast.For, ast.While)
_RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


def check(file: File) -> Iterator[Found]:
    """Look for ``out, h = model(x, h)`` in a loop with `backward`, where ``h`` is never detached.

    Args:
        file: The file.
    """
    if not any(file.method_calls("backward")):
        return
    for node in file.tree.each(ast.Assign):
        call, target = node.value, node.targets[0]
        if not (isinstance(call, ast.Call) and isinstance(target, ast.Tuple)) or may_switch(
            file, call
        ):
            continue
        if len(target.elts) != 2 or not isinstance(target.elts[1], ast.Name):
            continue
        name = target.elts[1].id
        if not any(_is_state(argument, name) for argument in call.args):
            continue
        loop = _backward_loop(file, node)
        if loop is not None and _is_carried(file, node, name, loop):
            yield Found(
                node,
                f"`{name}` carries the graph of the batch before into the next one, where"
                " `backward()` goes through it again and raises.",
                f"Detach `{name}` at the beginning of each step.",
                certain=_is_known(file, call) and not _is_retained(file, loop),
            )


def _is_state(argument: ast.expr, name: str) -> bool:
    parts = argument.elts if isinstance(argument, ast.Tuple) else [argument]
    return any(key(part) == name for part in parts)


def _backward_loop(file: File, node: ast.AST) -> ast.AST | None:
    """Give the innermost loop around a place that computes gradients in its own body."""
    for loop in file.tree.above(node):
        if isinstance(loop, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            return None
        if isinstance(loop, _LOOPS):
            for call in file.tree.own_calls(loop):
                own = file.tree.inside(call, *_LOOPS) is loop
                if own and method(call) == "backward" and not file.tree.conditional(call, loop):
                    return loop
    return None


def _is_carried(file: File, node: ast.Assign, name: str, loop: ast.AST) -> bool:
    """Say whether a state comes from the iteration before, and nothing else is done to it."""
    tree = file.tree
    bindings = file.values.bindings.everywhere(tree.scope(node), name)
    inside = [one for one in bindings if tree.holds(loop, one.statement)]
    if any(one.statement is not node for one in inside) or len(bindings) == len(inside):
        return False
    for use in file.uses(name):
        if not tree.holds(loop, use) or tree.holds(node, use):
            continue
        part = tree.parent(use)
        if isinstance(part, ast.Attribute) or not isinstance(part, (ast.Compare, ast.BinOp)):
            return False
    return True


def _is_known(file: File, call: ast.Call) -> bool:
    """Say whether what gives the state is known not to detach it."""
    for value in file.values.of(call.func):
        owner = value.definition
        if owner is None:
            return value.short in _RECURRENT
        return "detach" not in owner.file.text and ".data" not in owner.file.text
    return False


def _is_retained(file: File, loop: ast.AST) -> bool:
    return any(
        keyword.arg == "retain_graph"
        for call in file.tree.own_calls(loop)
        if method(call) == "backward"
        for keyword in call.keywords
    )


RULE = Rule(
    name="hidden-state-not-detached",
    severity="error",
    title="The hidden state keeps the graph of all batches before",
    why=(
        "The state that a recurrent net returns has a graph. Given to the next batch, `backward()`"
        ' goes back into the batch before, whose graph is freed: "Trying to backward through the'
        ' graph a second time". With `retain_graph=True` it raises nothing, and each step takes'
        " longer and more memory than the last."
    ),
    fix="Carry the values only: `h = h.detach()`, of an LSTM for both parts of the state.",
    bad="""\
import torch
from torch import nn

def train(vocabulary, head, loader):
    rnn = nn.GRU(vocabulary, 64)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
    rnn.train()
    state = torch.zeros(1, 32, 64)
    for x, y in loader:
        optimizer.zero_grad()
        out, state = rnn(x, state)
        loss = loss_fn(head(out).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(vocabulary, head, loader):
    rnn = nn.GRU(vocabulary, 64)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
    rnn.train()
    state = torch.zeros(1, 32, 64)
    for x, y in loader:
        optimizer.zero_grad()
        out, state = rnn(x, state.detach())
        loss = loss_fn(head(out).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
""",
    source="PyTorch examples, word language model: `repackage_hidden`; docs, autograd mechanics.",
    check=check,
)
