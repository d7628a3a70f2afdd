"""A loss that is back-propagated a second time."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._bindings import Reaching
from ..._model._events import LOOPS, condition, loss_of
from ..._model._file import File
from ..._model._loops import is_backward
from ..._model._tree import argument, key
from ..._rule import Found, Rule
from ..._training._stepping import is_loss_call

_MESSAGE = "raises a RuntimeError: the first one has freed the graph."


def check(file: File) -> Iterator[Found]:
    """Look for two `backward` of the same loss, and for one in a loop that its loss is older than.

    Args:
        file: The file.
    """
    seen: list[tuple[ast.Call, Reaching]] = []
    for call in file.method_calls("backward", "manual_backward"):
        loss = loss_of(call)
        if loss is None or not key(loss) or not is_backward(call) or _keeps(call):
            continue
        reaching = file.values.bindings.reaching(loss)
        if reaching.rest != "nothing" or not reaching.bindings or _expects(file, call):
            continue
        values = [one.value for one in reaching.bindings]
        known = all(is_loss_call(file, value) for value in values)
        if not known:
            continue
        name = key(loss)
        for earlier, other in seen:
            if (
                reaching == other
                and key(loss_of(earlier)) == name
                and _follows(file, earlier, call)
            ):
                yield Found(
                    call,
                    f"`{name}.backward()` is called a second time for the same loss, which"
                    f" {_MESSAGE}",
                    "Delete one of the calls, or add the losses and call `backward()` once.",
                )
        loop = file.tree.inside(call, *LOOPS, ast.FunctionDef, ast.Lambda)
        if isinstance(loop, LOOPS) and _is_older(file, loop, reaching):
            yield Found(
                call,
                f"`{name}` is computed before the loop, so that the second `{name}.backward()`"
                f" {_MESSAGE}",
                f"Compute `{name}` in the loop, from a new forward pass.",
            )
        seen.append((call, reaching))


def _keeps(call: ast.Call) -> bool:
    return argument(call, "retain_graph") is not None or argument(call, "create_graph") is not None


def _expects(file: File, call: ast.Call) -> bool:
    """Say whether an error is expected at a place, as in a test or a demonstration."""
    return any(
        isinstance(one, ast.Try)
        or (isinstance(one, ast.With) and "raises" in ast.unparse(one.items[0]).lower())
        for one in file.tree.above(call)
    )


def _follows(file: File, one: ast.Call, other: ast.Call) -> bool:
    """Say whether the second call runs after the first in the same pass."""
    tree = file.tree
    if tree.scope(one) is not tree.scope(other):
        return False
    first = {node for node in tree.above(one) if isinstance(node, LOOPS)}
    if first != {node for node in tree.above(other) if isinstance(node, LOOPS)}:
        return False
    tests = {condition(*pair) for pair in _tests(file, one)}
    against = {(text, not truth) for text, truth in (condition(*p) for p in _tests(file, other))}
    left = tree.inside(one, ast.If)
    leaves = left is not None and isinstance(left.body[-1], (ast.Continue, ast.Return, ast.Break))
    return not tests & against and not leaves


def _tests(file: File, call: ast.Call) -> Iterator[tuple[ast.expr, bool]]:
    child: ast.AST = call
    for parent in file.tree.above(call):
        if isinstance(parent, ast.If) and child is not parent.test:
            yield parent.test, child in parent.body
        child = parent


def _is_older(file: File, loop: ast.AST, reaching: Reaching) -> bool:
    """Say whether a name surely keeps the value that it had before a loop."""
    tree = file.tree
    body = getattr(loop, "body", [None])
    if isinstance(body[-1], (ast.Break, ast.Return)):
        return False
    return not any(
        tree.holds(loop, one.statement) or tree.scope(one.statement) is not tree.scope(loop)
        for one in reaching.bindings
    )


RULE = Rule(
    name="backward-twice",
    severity="error",
    title="The same loss is back-propagated twice",
    why=(
        "`backward()` frees the tensors that the graph has saved. A second call for the same"
        ' loss raises "Trying to backward through the graph a second time". So does a loop whose'
        " loss is computed before it: the forward pass has to be in the loop."
    ),
    fix="Compute the loss anew in each pass, and call `backward()` once.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.Tensor.backward: retain_graph, and the error that it raises.",
    check=check,
)
