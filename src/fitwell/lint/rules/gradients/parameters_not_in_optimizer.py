"""A module takes part in the loss, and no optimizer has its parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._once import once
from ..._model._project import Project
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._optimizers import NO_PARAMETERS, Made, base, optimizers
from ..._training._reached import trained_calls

_HARMLESS = frozenset(
    {"to", "cuda", "cpu", "train", "zero_grad", "state_dict", "float", "double", "forward"}
)
_ON_PURPOSE = re.compile(
    r"target|teacher|ema|frozen|fixed|ref|prior|old|vgg|lpips|percept|proj_mat|random|pretrain|stop",
    re.IGNORECASE,
)
_DEPTH = 3


def check(file: File) -> Iterator[Found]:
    """Look for modules that are made beside others, used in the loss, and never optimized.

    Args:
        file: The file.
    """
    made = [one for one in optimizers(file) if one.owners]
    if not made:
        return
    yield from _parts_only(file, made)
    candidates = list(_candidates(file, made))
    trained = trained_calls(file) if candidates else set()
    for name, assign, home in candidates:
        calls: list[ast.Call] = []
        if _is_only_used(file, name, home, assign, calls, 0) and trained & set(calls):
            yield Found(
                assign,
                f"`{name}` takes part in the loss, but no optimizer has its parameters: it stays as"
                " it was drawn.",
                f"Give the optimizer `{name}.parameters()` too, or freeze `{name}` if that is"
                " meant.",
            )


def _candidates(file: File, made: list[Made]) -> Iterator[tuple[str, ast.Assign, ast.AST]]:
    """Give the modules that are made in the same function or class as an optimizer."""
    scopes = {file.tree.scope(one.call) for one in made}
    homes = {file.tree.inside(one.call, ast.ClassDef) for one in made} - {None}
    for assign in file.tree.each(ast.Assign):
        target = assign.targets[0]
        name = key(target)
        if len(assign.targets) > 1 or not name or _ON_PURPOSE.search(name):
            continue
        home: ast.AST | None = None
        if isinstance(target, ast.Name) and file.tree.scope(assign) in scopes:
            home = file.tree.scope(assign)
        elif name.startswith("self.") and name.count(".") == 1:
            inside = file.tree.inside(assign, ast.ClassDef)
            home = inside if inside in homes and _has_no_whole(file, inside) else None
        if home is None or any(key(base(owner)) == name for one in made for owner in one.owners):
            continue
        if _is_fresh(file, assign.value):
            yield name, assign, home


def _is_fresh(file: File, value: ast.expr) -> bool:
    """Say whether a value is a module with new parameters, not one that was trained before."""
    found = file.made(value, "module")
    if found is None or not isinstance(value, ast.Call):
        return False
    if any(keyword.arg in ("weights", "pretrained") for keyword in found.call.keywords):
        return False
    if found.definition is None:
        known = found.name.startswith("torch.nn.") and found.short not in NO_PARAMETERS
        return known and file.dotted(value.func) != "copy.deepcopy"
    return _ON_PURPOSE.search(found.short) is None and _owns_layers(
        found.definition.file, found.short
    )


def _owns_layers(file: File, name: str) -> bool:
    """Say whether a class of the project makes layers."""
    node = next((one for one in file.classes if one.name == name), None)
    text = file.text_of(node) if node is not None else ""
    words = ("Linear(", "Conv", "Embedding(", "Parameter(", "LSTM(", "GRU(", "RNN(")
    return any(word in text for word in words) and "requires_grad" not in text


def _has_no_whole(file: File, home: ast.AST | None) -> bool:
    """Say whether a class never hands itself, or all its parameters, to anyone."""
    if not isinstance(home, ast.ClassDef):
        return False
    for use in file.uses("self"):
        if file.tree.inside(use, ast.ClassDef) is not home:
            continue
        part = file.tree.parent(use)
        if isinstance(part, ast.Call) and part.func is use:
            continue
        if not isinstance(part, ast.Attribute):
            return False
        if part.attr.endswith("parameters") or part.attr in ("modules", "children", "__dict__"):
            return False
    return not any(file.calls("getattr", "vars", "setattr"))


def _is_only_used(
    file: File, name: str, home: ast.AST, made: ast.AST, calls: list[ast.Call], depth: int
) -> bool:
    """Say whether a module is called and moved, and nothing else; and collect the calls."""
    tree = file.tree
    modes = set()
    for use in file.uses(name):
        if not tree.holds(home, use):
            continue
        if isinstance(home, ast.ClassDef) and tree.inside(use, ast.ClassDef) is not home:
            continue
        if not isinstance(getattr(use, "ctx", None), ast.Load):
            statement = tree.statement(use)
            if statement is not made and not _is_itself(file, statement, name):
                return False
            continue
        part = tree.parent(use)
        above = tree.parent(part) if isinstance(part, ast.Attribute) else None
        if isinstance(part, ast.Call) and part.func is use:
            calls.append(part)
        elif isinstance(part, ast.Attribute) and isinstance(above, ast.Call) and above.func is part:
            modes.add(part.attr)
            if part.attr == "forward":
                calls.append(above)
            if part.attr not in _HARMLESS and part.attr != "eval":
                return False
        elif not isinstance(tree.statement(use), ast.Return) and not _is_given(
            file, use, calls, depth
        ):
            return False
    elsewhere = name.startswith("self.") and name[5:] in _from_outside(file.project)
    return not elsewhere and ("eval" not in modes or "train" in modes)


def _is_itself(file: File, statement: ast.AST, name: str) -> bool:
    value = statement.value if isinstance(statement, ast.Assign) else None
    func = value.func if isinstance(value, ast.Call) else None
    return isinstance(func, ast.Attribute) and key(func.value) == name and func.attr in _HARMLESS


def _is_given(file: File, use: ast.expr, calls: list[ast.Call], depth: int) -> bool:
    """Follow a module into a function of the project that it is given to."""
    above = file.tree.parent(use)
    word = above.arg if isinstance(above, ast.keyword) else None
    call = file.tree.parent(above) if isinstance(above, ast.keyword) else above
    if not isinstance(call, ast.Call) or call.func is use or depth > _DEPTH:
        return False
    found = file.called(call)
    if found is None or not isinstance(found.node, ast.FunctionDef) or found.file is not file:
        return False
    if isinstance(file.tree.parent(found.node), ast.ClassDef):
        return False
    names = [one.arg for one in found.node.args.args]
    if word is None:
        place = call.args.index(use)
        starred = any(isinstance(one, ast.Starred) for one in call.args)
        word = names[place] if place < len(names) and not starred else None
    if word is None or word not in names:
        return False
    return _is_only_used(file, word, found.node, found.node, calls, depth + 1)


@once
def _from_outside(project: Project) -> frozenset[str]:
    """Give the attributes that are used of anything but ``self``."""
    return frozenset(
        node.attr
        for one in project.files
        for node in one.tree.each(ast.Attribute)
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    )


def _parts_only(file: File, made: list[Made]) -> Iterator[Found]:
    """Look for optimizers of a head whose backbone is neither frozen nor kept out of the graph."""
    if any(node.attr.startswith("requires_grad") for node in file.tree.each(ast.Attribute)):
        return
    if any(word in file.text for word in ("no_grad", "detach", "freeze")) or len(made) > 1:
        return
    for owner in made[0].owners if len(made[0].owners) == 1 else ():
        root = base(owner)
        if key(root) == key(owner) or not file.values.is_a(root, "module"):
            continue
        yield Found(
            made[0].call,
            f"The optimizer has only the parameters of `{key(owner)}`, while gradients of all of"
            f" `{key(root)}` are computed and its batch norms go on adapting.",
            f"Freeze the rest of `{key(root)}` with `requires_grad_(False)`.",
            certain=False,
        )


RULE = Rule(
    name="parameters-not-in-optimizer",
    severity="error",
    title="A module takes part in the loss, but no optimizer has its parameters",
    why=(
        "An optimizer changes only the parameters that it was given. A second network that was"
        " forgotten gets gradients and keeps its random values; the others learn around it, the"
        " loss falls all the same, only not as far as it could."
    ),
    fix="Give the optimizer the parameters of all modules that are to learn, or freeze the others.",
    bad="""\
import torch
from torch import nn

def train(loader):
    encoder = nn.Linear(20, 8)
    decoder = nn.Linear(8, 20)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    for x, _ in loader:
        optimizer.zero_grad()
        loss = loss_fn(decoder(encoder(x).relu()), x)
        loss.backward()
        optimizer.step()
    return encoder, decoder
""",
    good="""\
import torch
from torch import nn

def train(loader):
    encoder = nn.Linear(20, 8)
    decoder = nn.Linear(8, 20)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for x, _ in loader:
        optimizer.zero_grad()
        loss = loss_fn(decoder(encoder(x).relu()), x)
        loss.backward()
        optimizer.step()
    return encoder, decoder
""",
    source="PyTorch docs, torch.optim: constructing an optimizer.",
    check=check,
)
