"""A loader that is made anew in every epoch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._model._file import File
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for loaders in a loop over epochs or batches that nothing in the loop changes.

    Args:
        file: The file.
    """
    batches = {loop.node for loop in file.loops}
    for loader in loaders(file):
        loop = file.tree.inside(loader.call, ast.For, ast.While)
        if isinstance(loop, ast.For) and file.tree.holds(loop.iter, loader.call):
            loop = file.tree.inside(loop, ast.For, ast.While)  # for x, y in DataLoader(...)
        if not isinstance(loop, ast.For) or loader.option("num_workers") in (None, 0):
            continue
        if file.tree.function(loop) is not file.tree.function(loader.call):
            continue
        over_epochs = "epoch" in ast.unparse(loop.target).lower()
        if not (over_epochs or loop in batches) or _depends(file, loader, loop):
            continue
        yield Found(
            loader.call,
            "The loader is made anew in every round of the loop, and so are its workers.",
            "Make it once before the loop.",
            certain=False,
        )


def _depends(file: File, loader: Loader, loop: ast.For) -> bool:
    """Say whether the loader has something that is assigned in the loop."""
    made = {
        one.id
        for one in ast.walk(loop)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    asked = [one for one in ast.walk(loader.call) if isinstance(one, (ast.Name, ast.Attribute))]
    names = {one.id for one in asked if isinstance(one, ast.Name)}
    attributes = any(isinstance(one, ast.Attribute) for one in asked if one is not loader.call.func)
    changes = {name for name in names if _is_called_on(loop, name)}
    return bool(made & names) or bool(changes) or (attributes and loader.data is None)


def _is_called_on(loop: ast.For, name: str) -> bool:
    """Say whether a method of something is called in the loop, which may change it."""
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and isinstance(one.func.value, ast.Name)
        and one.func.value.id == name
        and one.func.attr != "DataLoader"
        for one in ast.walk(loop)
    )


RULE = Rule(
    name="loader-made-in-loop",
    severity="hint",
    title="A loader is made anew in every epoch",
    why=(
        "Making a loader is cheap; what it started is not. Worker processes of the last one are"
        " stopped and new ones started, which import the program again, `persistent_workers` has"
        " no effect, and the first batches of each epoch have to be waited for."
    ),
    fix="Make loaders once; a loop over one begins a new epoch by itself.",
    bad="""\
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, train_set, epochs):
    model.train()
    for epoch in range(epochs):
        loader = DataLoader(train_set, batch_size=64, shuffle=True, num_workers=4)
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    good="""\
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, train_set, epochs):
    model.train()
    loader = DataLoader(train_set, batch_size=64, shuffle=True, num_workers=4)
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source="PyTorch docs, torch.utils.data: workers live as long as the iterator of the loader.",
    check=check,
)
