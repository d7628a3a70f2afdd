"""A model that is measured while it is in training mode."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._roles import held_out, role_of_name
from ..._model._tree import key, owner
from ..._rule import Found, Rule
from ..._training._modes import in_eval_mode
from ..._training._passes import (
    ModelCall,
    in_framework,
    innermost,
    measures,
    model_of,
    passes,
    speaks_of_doubt,
)
from ..._training._switches import depends_on_mode


def check(file: File) -> Iterator[Found]:
    """Look for models that predict on held-out data with dropout and batch norm in training mode.

    Args:
        file: The file.
    """
    if in_framework(file):
        return
    seen: set[ast.AST] = set()
    for item in passes(file):
        if item.held_out and not speaks_of_doubt(file, item.node):
            for call in item.calls:
                if call.site not in seen:
                    seen.add(call.site)
                    yield from _asked(file, call)
    for call in _without_loop(file):
        if call.site not in seen and not speaks_of_doubt(file, call.call):
            yield from _asked(file, call)


def _asked(file: File, call: ModelCall) -> Iterator[Found]:
    needs = depends_on_mode(call.file, call.model)
    state = in_eval_mode(call) if needs != "no" else "covered"
    if state == "covered":
        return
    name = key(call.model)
    anywhere = state == "uncalled" and any(".eval(" in one.text for one in file.project.files)
    fragment = state == "uncalled" and not anywhere and not call.file.values.of(call.model)
    certain = (state == "open" and needs == "yes") or fragment
    certain = certain or (state == "uncalled" and needs == "yes" and not anywhere)
    yield Found(
        call.site,
        f"`{name}` runs on held-out data in training mode: no `{name}.eval()` comes before, so"
        " dropout and batch norm act as in training.",
        f"Call `{name}.eval()` before this, and `{name}.train()` before training goes on.",
        certain=certain,
    )


def _without_loop(file: File) -> Iterator[ModelCall]:
    """Find calls on all held-out data at once, and of models whose weights were just loaded."""
    loaded = {key(owner(load)) for load in file.method_calls("load_state_dict")}
    for node in file.tree.each(ast.Call):
        named = any(_is_held_out(one) for one in node.args[:2])
        if named or (loaded and key(node.func) in loaded and _loaded_before(file, node)):
            model = model_of(file, node)
            if model is not None and key(model) != "self":
                yield ModelCall(node, file, model, ((file, node),))


def _is_held_out(node: ast.expr) -> bool:
    name = key(node).rpartition(".")[2]
    return bool(name) and held_out(role_of_name(name))


def _loaded_before(file: File, call: ast.Call) -> bool:
    """Say whether weights are loaded before a call in a body that trains nothing."""
    name = key(call.func)
    if not name:
        return False
    function = file.tree.function(call)
    scope: ast.AST = function if function is not None else file.tree.root
    if any(event.what in ("backward", "step", "train") for event in file.events(scope)):
        return False
    loop = innermost(file, call)
    if loop is not None and not measures(file, call):
        return False  # what the data are is asked of loops
    return any(
        file.tree.scope(load) is file.tree.scope(call)
        and file.tree.place(load) < file.tree.place(call)
        and isinstance(load.func, ast.Attribute)
        and key(load.func.value) == name
        for load in file.method_calls("load_state_dict")
    )


RULE = Rule(
    name="missing-eval",
    severity="error",
    title="A model is measured in training mode",
    why=(
        "A model starts in training mode and stays there until `eval()` is called. Dropout then"
        " drops units while you measure, and batch norm uses the statistics of the batch at hand"
        " and changes its running ones with held-out data. The metric is too low, differs from"
        " run to run, and depends on the batch size and the order of the data. `torch.no_grad()`"
        " does not change that."
    ),
    fix="Call `model.eval()` before the held-out data, and `model.train()` before the next epoch.",
    bad="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(64, 3)

    def forward(self, x):
        return self.out(self.drop(self.hidden(x).relu()))

def evaluate(model, loader):
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)

def report(weights, loader):
    model = Net()
    model.load_state_dict(weights)
    print(evaluate(model, loader))
""",
    good="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(64, 3)

    def forward(self, x):
        return self.out(self.drop(self.hidden(x).relu()))

def evaluate(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)

def report(weights, loader):
    model = Net()
    model.load_state_dict(weights)
    print(evaluate(model, loader))
""",
    source="Course tutorial (Hung-yi Lee 2021): validation loop. PyTorch docs, nn.Module.eval.",
    check=check,
)
