"""A schedule in epochs that is stepped with each batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._events import LOOPS
from ..._model._file import File
from ..._model._loops import Step
from ..._model._tree import argument, key
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._training._schedules import decay_length, is_epoch_loop, number, scheduler_of, unit_of

_LENGTHS = {
    "CosineAnnealingLR": "T_max", "StepLR": "step_size", "LinearLR": "total_iters",
    "PolynomialLR": "total_iters", "ConstantLR": "total_iters",
}  # fmt: skip
_PLACES = {"T_max": 1, "step_size": 1, "total_iters": 3}
_FEW, _MANY = 1000, 5000
"""Batches until nothing is left of the rate: surely a fault, perhaps one."""


def check(file: File) -> Iterator[Found]:
    """Look for schedulers that are stepped in the loop over batches, but count epochs.

    Args:
        file: The file.
    """
    batches = {loop.node for loop in file.loops}
    for step in file.steps:
        for event in step.of("schedule"):
            if event.loop is not step.node or event.sometimes or is_epoch_loop(step.node):
                continue
            if step.node not in batches and not _in_epochs(step):
                continue
            value = scheduler_of(event)
            certain, reason = _counts_epochs(value, step) if value is not None else (None, "")
            if certain is None or value is None:
                continue
            yield Found(
                event.node_in(file),
                f"`{event.on}.step()` runs after each batch, but {value.short} counts epochs here:"
                f" {reason}.",
                f"Call `{event.on}.step()` once per epoch, after the loop over batches.",
                certain=certain,
            )


def _in_epochs(step: Step) -> bool:
    return any(is_epoch_loop(one) for one in step.file.tree.above(step.node))


def _counts_epochs(value: Value, step: Step) -> tuple[bool | None, str]:
    """Say whether a scheduler counts epochs: surely, perhaps, or not (None); and how that shows."""
    file, call, short = value.file, value.call, value.short
    name = _LENGTHS.get(short, "")
    length = argument(call, name, _PLACES.get(name)) if name else None
    if length is not None:
        if unit_of(file, length) == "epochs":
            return True, f"`{name}={ast.unparse(length)}`"
        if name != "step_size":
            same = _epochs_of(step) is not None and number(file, length) == _epochs_of(step)
            return (True if same else None), f"`{name}` is the number of epochs"
    if short == "StepLR":
        return _decays(number(file, length), number(file, argument(call, "gamma", 2)), 0.1)
    if short == "ExponentialLR":
        return _decays(1, number(file, argument(call, "gamma", 1)), None)
    if short == "MultiStepLR":
        return _milestones(argument(call, "milestones", 1))
    if short == "ReduceLROnPlateau":
        given = argument(call, "patience", 3)
        patience = 10 if given is None else number(file, given)
        if patience is not None and patience <= 100:
            return patience <= 20, f"after {patience:g} batches without a better loss it decays"
    return None, ""


def _decays(
    every: float | None, factor: float | None, default: float | None
) -> tuple[bool | None, str]:
    factor = default if factor is None else factor
    if every is None or factor is None:
        return None, ""
    length = decay_length(every, factor)
    if length > _MANY:
        return None, ""
    return length <= _FEW, f"after {round(length)} batches the rate is a millionth of the first"


def _milestones(node: ast.expr | None) -> tuple[bool | None, str]:
    if not isinstance(node, (ast.List, ast.Tuple)) or not node.elts:
        return None, ""
    values = [one.value for one in node.elts if isinstance(one, ast.Constant)]
    numbers = [one for one in values if isinstance(one, int)]
    if len(numbers) < len(node.elts) or max(numbers) > _FEW:
        return None, ""
    return max(numbers) <= 300, f"its last milestone is batch {max(numbers)} of the first epochs"


def _epochs_of(step: Step) -> float | None:
    """Give the number of epochs of the loop around, where it is a plain number."""
    for one in step.file.tree.above(step.node):
        if isinstance(one, LOOPS) and isinstance(one, ast.For) and is_epoch_loop(one):
            if isinstance(one.iter, ast.Call) and key(one.iter.func) == "range" and one.iter.args:
                return number(step.file, one.iter.args[-1])
    return None


RULE = Rule(
    name="scheduler-every-batch",
    severity="error",
    title="A schedule in epochs is stepped with each batch",
    why=(
        "A scheduler counts its own `step()` calls and knows nothing of epochs. Stepped per batch,"
        " `StepLR(step_size=10)` divides the rate by ten every ten batches: after a few hundred"
        " batches it is zero, and the training stands still. `CosineAnnealingLR(T_max=epochs)`"
        " goes down and up again many times within one epoch."
    ),
    fix=(
        "Step it once per epoch, or give its settings in batches, as in `T_max=epochs *"
        " len(loader)`."
    ),
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
""",
    source="PyTorch docs, torch.optim.lr_scheduler: each scheduler and where its step is called.",
    check=check,
)
