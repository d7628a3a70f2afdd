"""The optimizer is made before the model is moved."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant, key
from ..._rule import Found, Rule
from ..._training._optimizers import Made, follows, optimizers, steps_after

_MOVES = ("to", "cuda", "xpu", "half", "double", "bfloat16", "to_empty")


def check(file: File) -> Iterator[Found]:
    """Look for ``model.to(device)`` between the optimizer and its first step.

    Args:
        file: The file.
    """
    for made in optimizers(file):
        for owner in made.owners if made.name else ():
            for use in file.uses(key(owner)):
                move = _move(file, use)
                if move is None or not follows(file, made.call, move):
                    continue
                if steps_after(file, made, move) is None or _stepped_before(file, made, move):
                    continue
                yield _found(file, made, move)


def _found(file: File, made: Made, move: ast.Call) -> Found:
    text = file.text_of(move) or "the move"
    to_device = not any(word in text for word in ("half", "double", "float", "dtype"))
    certain = to_device and (made.kind == "Adagrad" or _loaded_between(file, made, move))
    message = (
        f"`{made.name}` keeps its state where the model was before `{text}`: `step()` fails if the"
        " device is another one."
        if certain
        else f"`{made.name}` is made before `{text}`: that works only as long as the parameters"
        " stay the same objects and there is no state yet."
    )
    fix = "Move the model first, then make the optimizer and load its state."
    return Found(move, message, fix, certain=certain)


def _move(file: File, use: ast.expr) -> ast.Call | None:
    part = file.tree.parent(use)
    call = file.tree.parent(part) if isinstance(part, ast.Attribute) else None
    if not (isinstance(part, ast.Attribute) and part.attr in _MOVES):
        return None
    if not isinstance(call, ast.Call) or call.func is not part:
        return None
    return None if call.args and constant(call.args[0]) == "cpu" else call


def _between(file: File, made: Made, move: ast.AST) -> Iterator[str]:
    """Give the methods of an optimizer that are called before the model is moved."""
    place = file.tree.place
    for use in file.uses(made.name):
        part = file.tree.parent(use)
        if place(made.call) < place(use) < place(move) and isinstance(part, ast.Attribute):
            if file.tree.scope(use) is file.tree.scope(move):
                yield part.attr


def _loaded_between(file: File, made: Made, move: ast.AST) -> bool:
    return "load_state_dict" in _between(file, made, move)


def _stepped_before(file: File, made: Made, move: ast.AST) -> bool:
    return "step" in _between(file, made, move)


RULE = Rule(
    name="optimizer-before-to",
    severity="error",
    title="The optimizer is made before the model is moved",
    why=(
        "Today `model.to(device)` changes parameters in place between CPU and CUDA, so an optimizer"
        " made before keeps them: what is often said, that it then trains a copy, is not true"
        " there. But state does not move along: Adagrad's sums, made with it, or a state that was"
        " loaded before, stay behind, and `step()` raises an error about two devices. On backends"
        " whose tensors are of another type (XLA) and with"
        " `torch.__future__.set_swap_module_params_on_conversion` or its sibling, parameters may be"
        " replaced."
    ),
    fix="Move the model, then make the optimizer, then load its state.",
    bad="""\
import torch
from torch import nn

def train(model, loader, device):
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
    model.to(device)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, device):
    model.to(device)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
""",
    source=(
        "PyTorch docs, torch.optim and `torch.__future__`; source of `Module._apply` and `Adagrad`."
    ),
    check=check,
)
