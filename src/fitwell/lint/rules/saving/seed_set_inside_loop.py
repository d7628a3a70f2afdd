"""The same seed is set again for every batch or epoch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._loops import unwrapped
from ..._model._tree import constant, key
from ..._rule import Found, Rule
from ..._training._seeds import makes_module

_REPEATS = re.compile(r"seed|fold|run|trial|repeat|rep$|split", re.IGNORECASE)
_LOOPS = (ast.For, ast.While)
_SEEDS = (
    "torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed_all",
    "torch.cuda.manual_seed", "lightning.seed_everything", "transformers.set_seed",
    "accelerate.utils.set_seed",
)  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.manual_seed(0)`` in a loop that goes on training the same model.

    Args:
        file: The file.
    """
    for call in file.calls(*_SEEDS):
        loop = file.tree.inside(call, *_LOOPS)
        if loop is None or file.tree.scope(loop) is not file.tree.scope(call):
            continue
        if file.tree.conditional(call, loop) or _is_forked(file, call):
            continue
        if not call.args or not _is_same(file, call.args[0], loop):
            continue
        trains = any(event.what == "backward" for event in file.events(loop))
        if not trains or not _goes_on(file, loop) or makes_module(file, loop):
            continue
        text = file.text_of(call)
        yield Found(
            call,
            f"`{text}` runs in every turn of the loop: dropout, noise and the order of batches are"
            " the same each time.",
            "Set the seed once, before the loop.",
        )


def _goes_on(file: File, loop: ast.AST) -> bool:
    """Say whether a loop is over batches, epochs or steps: others may begin anew in each turn."""
    if any(file.values.is_a(call, "optimizer") for call in file.tree.own_calls(loop)):
        return False
    if isinstance(loop, ast.While) or any(one.node is loop for one in file.loops):
        return True
    if not isinstance(loop, ast.For) or _REPEATS.search(key(loop.target)):
        return False
    inner = unwrapped(file, loop.iter)
    name = file.dotted(inner.func) if isinstance(inner, ast.Call) else ""
    return name.rpartition(".")[2] in ("range", "trange", "count")


def _is_same(file: File, node: ast.expr, loop: ast.AST) -> bool:
    """Say whether a seed is the same in each turn."""
    if isinstance(constant(node), int):
        return True
    if not isinstance(node, (ast.Name, ast.Attribute)) or not key(node):
        return False
    bindings = file.values.bindings.reaching(node).bindings
    return not any(file.tree.holds(loop, binding.statement) for binding in bindings)


def _is_forked(file: File, call: ast.Call) -> bool:
    """Say whether the state of the generator is put back afterwards."""
    return any(file.calls("torch.random.fork_rng", "torch.set_rng_state")) or any(
        file.calls("torch.get_rng_state", "torch.random.set_rng_state")
    )


RULE = Rule(
    name="seed-set-inside-loop",
    severity="error",
    title="The same seed is set in every step",
    why=(
        "After `manual_seed(0)` the generator gives the same numbers again. In a loop over batches"
        " every batch has the same dropout mask and the same noise, in a loop over epochs every"
        " epoch the same order too: they are no longer random, and regularize less or not at all."
    ),
    fix="Set the seed once, before the model is made.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        torch.manual_seed(0)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
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
    torch.manual_seed(0)
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, reproducibility and `torch.manual_seed`.",
    check=check,
)
