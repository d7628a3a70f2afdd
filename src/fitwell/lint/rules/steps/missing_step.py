"""Gradients that are computed batch by batch, and no update."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._events import Event
from ..._model._file import File
from ..._model._loops import Step
from ..._model._tree import key, method
from ..._rule import Found, Rule
from ..._training._stepping import (
    given_away,
    has_other_ways,
    names_without_call,
    optimizer_of,
    reads_gradients,
    steps_around,
)

_UPDATES = re.compile(
    r"(^|_)(step|steps|optimi[sz]e|apply|update_(param|weight|model)\w*|train|learn|fit)(_|$)"
)


def check(file: File) -> Iterator[Found]:
    """Look for loops with `zero_grad` of an optimizer and `backward`, but no `step` anywhere.

    Args:
        file: The file.
    """
    for step in file.steps:
        if not step.in_loop or step.of("step") or reads_gradients(step) or has_other_ways(step):
            continue
        zeros = [event for event in step.of("zero") if _is_optimizer(event)]
        if not zeros or _updates_otherwise(step) or steps_around(step):
            continue
        if names_without_call(step, "step"):
            continue
        name = zeros[0].about
        if not name or given_away(file, step.node, frozenset({name})):
            continue
        yield Found(
            step.of("backward")[-1].node_in(file),
            f"Gradients are computed for each batch, but `{name}.step()` is never called: the"
            " weights do not change.",
            f"Call `{name}.step()` after `backward()`.",
        )


def _is_optimizer(event: Event) -> bool:
    name = event.about.rpartition(".")[2].lower()
    return optimizer_of(event) is not None or "optim" in name or name == "opt"


def _updates_otherwise(step: Step) -> bool:
    """Say whether something in the step may make the update that is not followed."""
    known = {event.call for event in step.events}
    sites = {event.site for event in step.events}
    for call in step.file.tree.own_calls(step.node):
        name = method(call) or (key(call.func) if isinstance(call.func, ast.Name) else "")
        if call in known or call in sites:
            continue
        called = step.file.called(call)
        if called is not None and not _is_empty(called.node):
            continue
        if _UPDATES.search(name):
            return True
    return False


def _is_empty(node: ast.AST) -> bool:
    """Say whether a function has no body of its own: another class says what it does."""
    body = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    words = (ast.Pass, ast.Raise)
    return bool(body) and all(
        isinstance(one, words)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in body
    )


RULE = Rule(
    name="missing-step",
    severity="error",
    title="The optimizer never makes a step",
    why=(
        "`backward()` only computes gradients. Without `optimizer.step()` the weights stay as"
        " they were initialized: each epoch costs its full time, and the loss only wanders with"
        " the batches."
    ),
    fix="Call `optimizer.step()` after `backward()`.",
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
    source=(
        "PyTorch docs, torch.optim: taking an optimization step. Course tutorial (Hung-yi Lee"
        " 2021)."
    ),
    check=check,
)
