"""A distributed sampler that gives the same order in every epoch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import loaders
from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule

_SAMPLERS = (
    "torch.utils.data.distributed.DistributedSampler",
    "torch.utils.data.DistributedSampler",
)
_CALL_IT = ("accelerate", "lightning", "pytorch_lightning", "ignite", "transformers", "fastai")
"""Libraries that call ``set_epoch`` themselves."""


def check(file: File) -> Iterator[Found]:
    """Look for the sampler of training data in a project that trains for epochs.

    Args:
        file: The file.
    """
    calls = [call for name in _SAMPLERS for call in file.calls(name)]
    if not calls or any(file.names.knows(name) for name in _CALL_IT):
        return
    files = file.project.files
    if any(True for one in files for _ in one.method_calls("set_epoch")):
        return
    epochs = any(_has_epochs(one) for one in files)
    for call in calls:
        if constant(argument(call, "shuffle", 3)) is False or not _trains(file, call):
            continue
        yield Found(
            call,
            "The sampler is never told the epoch: it gives the same order in every one.",
            "Call `set_epoch(epoch)` on it at the start of each epoch.",
            certain=epochs,
        )


def _has_epochs(file: File) -> bool:
    for loop in file.tree.each(ast.For):
        if "epoch" in ast.unparse(loop.target).lower():
            return True
    return False


def _trains(file: File, call: ast.Call) -> bool:
    """Say whether the loader with a sampler is one of training data."""
    for loader in loaders(file):
        given = loader.given("sampler")
        if given is None:
            continue
        same = given.node is call or _reaches(given.file, given.node, call)
        if same:
            return "train" in loader.roles or loader.trains
    return False


def _reaches(file: File, node: ast.expr, call: ast.Call) -> bool:
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return isinstance(node, ast.IfExp) and call in (node.body, node.orelse)
    bindings = file.values.bindings.reaching(node).bindings
    values = [binding.value for binding in bindings]
    return any(
        value is call or (isinstance(value, ast.IfExp) and call in (value.body, value.orelse))
        for value in values
    )


RULE = Rule(
    name="sampler-without-set-epoch",
    severity="warning",
    title="The distributed sampler is never told the epoch",
    why=(
        "`DistributedSampler` draws its order from `seed + epoch`, and the epoch stays 0 unless"
        " `set_epoch` is called. All epochs go through the same batches, as if the data were not"
        " shuffled."
    ),
    fix="Call `sampler.set_epoch(epoch)` at the start of every epoch.",
    bad="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

def train(model, optimizer, train_set, epochs):
    sampler = DistributedSampler(train_set)
    loader = DataLoader(train_set, batch_size=64, sampler=sampler)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    good="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

def train(model, optimizer, train_set, epochs):
    sampler = DistributedSampler(train_set)
    loader = DataLoader(train_set, batch_size=64, sampler=sampler)
    model.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source=(
        "PyTorch docs, torch.utils.data.distributed.DistributedSampler: the warning on set_epoch."
    ),
    check=check,
)
