"""The first batch of a loader, asked for again in every step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._data._orders import is_full_batch
from ..._data._sources import sources
from ..._model._file import File
from ..._model._loops import LOOPS
from ..._model._roles import held_out, role
from ..._model._tree import key
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``next(iter(loader))`` in a loop that trains on what it gives.

    Args:
        file: The file.
    """
    for call in file.calls("next"):
        inner = call.args[0] if call.args else None
        if not (isinstance(inner, ast.Call) and key(inner.func) == "iter" and len(inner.args) == 1):
            continue
        loop = file.tree.inside(call, *LOOPS)
        if loop is None or not _trains_on_it(file, loop):
            continue
        loader = inner.args[0]
        known = _loader(file, loader)
        if known is not None and is_full_batch(known):
            continue
        if held_out(role(file, loader)):
            continue
        fixed = known is not None and _never_shuffles(known)
        text = ast.unparse(loader)
        yield Found(
            call,
            f"Every step trains on the first batch of `{text}`: the other batches are never used."
            if fixed
            else f"Every step starts `{text}` again for one batch: an epoch is never gone through.",
            f"Loop over `{text}`, or keep one `iter({text})` before the loop.",
            certain=fixed,
        )


def _trains_on_it(file: File, loop: ast.AST) -> bool:
    """Say whether a loop computes gradients itself, and not in a loop over batches inside."""
    events = [event for event in file.events(loop) if event.what == "backward"]
    return any(file.tree.inside(event.site, *LOOPS) is loop for event in events)


def _loader(file: File, node: ast.expr) -> Loader | None:
    calls = set(sources(file, node).calls())
    found = [one for there in file.project.files for one in loaders(there) if one.call in calls]
    return found[0] if len(found) == 1 else None


def _never_shuffles(loader: Loader) -> bool:
    if any(loader.is_given(name) is not False for name in ("sampler", "batch_sampler")):
        return False
    return loader.option("shuffle") in (None, False)


RULE = Rule(
    name="next-iter-loader-in-loop",
    severity="warning",
    title="`next(iter(loader))` in a training loop",
    why=(
        "`iter(loader)` starts a new pass. Without shuffling its first batch is always the same"
        " one, and the model learns that batch alone: the loss goes to zero, the test score"
        " stays at chance. With shuffling examples are drawn with repetition, and all workers"
        " are started for each step."
    ),
    fix="Loop over the loader.",
    bad="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, numbers, steps):
    loader = DataLoader(numbers, batch_size=64)
    model.train()
    for step in range(steps):
        x, y = next(iter(loader))
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, numbers, epochs):
    loader = DataLoader(numbers, batch_size=64, shuffle=True)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source="PyTorch docs, torch.utils.data: each iter() of a loader begins a new pass.",
    check=check,
)
