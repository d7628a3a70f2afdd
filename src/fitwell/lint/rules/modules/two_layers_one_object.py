"""One layer in several places: a list repeats the same object."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from ..._model._file import File
from ..._model._roles import words_of
from ..._model._tree import key, owner
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._tensors._layers import CONTAINERS, has_weights

_SHARED: Final = frozenset(
    {"shared", "share", "sharing", "tied", "tie", "universal", "albert", "recurrent", "recursive"}
    | {"siamese", "unrolled", "weight", "iterative", "loop"}
)


def check(file: File) -> Iterator[Found]:
    """Look for ``[layer] * n``, ``[layer for _ in range(n)]`` and a layer twice in a sequence.

    Args:
        file: The file.
    """
    for times in file.tree.each(ast.BinOp):
        if isinstance(times.op, ast.Mult) and _counts(times) and not _on_purpose(file, times):
            yield from _repeated(file, times)
    for comp in file.tree.each(ast.ListComp, ast.GeneratorExp):
        if _container(file, comp) and not _on_purpose(file, comp):
            yield from _from_outside(file, comp)
    for call in file.method_calls("append"):
        yield from _appended(file, call)
    for call in file.calls("torch.nn.Sequential"):
        yield from _twice(file, call)


def _counts(node: ast.BinOp) -> bool:
    return isinstance(node.left, ast.List) != isinstance(node.right, ast.List)


def _repeated(file: File, node: ast.BinOp) -> Iterator[Found]:
    listed = node.left if isinstance(node.left, ast.List) else node.right
    elements = listed.elts if isinstance(listed, ast.List) else []
    for one in elements:
        made = file.made(one, "module")
        if made is not None and has_weights(made):
            sure = isinstance(one, ast.Call) or _container(file, node)
            yield _found(node, f"`{ast.unparse(node)}` repeats one", made, certain=sure)
            return


def _container(file: File, node: ast.AST) -> bool:
    """Say whether a list is made for an `nn.ModuleList` or an `nn.Sequential`."""
    for above in file.tree.above(node):
        if isinstance(above, ast.stmt):
            return False
        if isinstance(above, ast.Call) and file.dotted(above.func) in CONTAINERS:
            return True
    return False


def _from_outside(file: File, comp: ast.ListComp | ast.GeneratorExp) -> Iterator[Found]:
    element = comp.elt
    if not key(element) or len(comp.generators) != 1 or comp.generators[0].ifs:
        return
    names = {one.id for one in ast.walk(comp.generators[0].target) if isinstance(one, ast.Name)}
    if key(element).partition(".")[0] in names:
        return
    made = file.made(element, "module")
    if made is not None and has_weights(made):
        yield _found(comp, f"`{ast.unparse(comp)}` repeats one", made, certain=True)


def _appended(file: File, call: ast.Call) -> Iterator[Found]:
    """Look for a layer from before a loop that is appended in it."""
    loop = file.tree.inside(call, ast.For)
    if loop is None or len(call.args) != 1 or not key(call.args[0]) or _on_purpose(file, call):
        return
    on = file.made(owner(call), "module")
    if on is None or on.name != "torch.nn.ModuleList" or file.tree.conditional(call, loop):
        return
    reaching = file.values.bindings.reaching(call.args[0])
    if any(file.tree.holds(loop, one.statement) for one in reaching.bindings):
        return
    made = file.made(call.args[0], "module")
    if made is not None and has_weights(made) and _is_range(file, loop):
        yield _found(call, f"`{ast.unparse(call)}` adds in each round the same", made, certain=True)


def _is_range(file: File, loop: ast.For) -> bool:
    return isinstance(loop.iter, ast.Call) and file.dotted(loop.iter.func) == "range"


def _twice(file: File, call: ast.Call) -> Iterator[Found]:
    seen: set[str] = set()
    for one in call.args:
        name = key(one)
        if name and name in seen and not _on_purpose(file, call):
            made = file.made(one, "module")
            if made is not None and has_weights(made):
                norm = made.short.startswith("BatchNorm") and made.name.startswith("torch.nn.")
                text = f"`{name}` stands twice in this sequence: both are one"
                yield _found(one, text, made, certain=norm)
                return
        seen.add(name)


def _on_purpose(file: File, node: ast.AST) -> bool:
    """Say whether names around a place tell that weights are shared."""
    words: set[str] = set()
    statement = file.tree.statement(node)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    for target in targets:
        words |= set(words_of(key(target)))
    for above in file.tree.above(node):
        if isinstance(above, (ast.FunctionDef, ast.ClassDef)):
            words |= set(words_of(above.name))
    return bool(words & _SHARED)


def _found(node: ast.AST, text: str, made: Value, *, certain: bool) -> Found:
    return Found(
        node,
        f"{text} `{made.short}`: all its places share the same weights.",
        "Make a layer for each place: `[nn.Linear(...) for _ in range(n)]`.",
        certain=certain,
    )


RULE = Rule(
    name="two-layers-one-object",
    severity="warning",
    title="One layer stands in several places",
    why=(
        "`[nn.Linear(8, 8)] * 3` is a list with the same layer three times, as is `[layer for"
        " _ in range(3)]` for a layer from outside. The network has the weights of one:"
        " `parameters()` names them once, and their gradient is the sum over the places. It"
        " trains, and fits worse than it should."
    ),
    fix="Make a new layer in each round, or `copy.deepcopy(layer)`; name it so if it is shared.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(8, 8)] * depth)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.out(x)
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.out(x)
""",
    source="Python docs, sequence repetition; PyTorch docs, torch.nn.ModuleList.",
    check=check,
)
