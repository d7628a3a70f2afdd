"""A training step that never clears the gradients."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._events import Event
from ..._model._file import File
from ..._model._loops import Step
from ..._rule import Found, Rule
from ..._training._stepping import (
    clears_by_hand,
    given_away,
    has_other_ways,
    is_of_loop,
    is_per_batch,
    names_without_call,
    optimizer_of,
    outer_zero,
    stops_at_once,
)


def check(file: File) -> Iterator[Found]:
    """Look for steps with `backward` and `step`, but without `zero_grad`.

    Args:
        file: The file.
    """
    for step in file.steps:
        updates, zeros = step.of("step"), step.of("zero")
        backward = step.of("backward")[0]
        if not updates or stops_at_once(step) or clears_by_hand(step):
            continue
        if is_of_loop(step, updates[0]):
            continue
        if names_without_call(step, "zero_grad"):
            continue
        if zeros:
            yield from _forgotten(step, updates, zeros)
            continue
        if _takes_a_closure(step) or _made_inside(step, updates[0]) or outer_zero(step):
            continue
        names = frozenset(event.about for event in updates)
        away = given_away(file, step.node, names - {""})
        named = f"`{updates[0].about}.zero_grad()`" if updates[0].about else "`zero_grad()`"
        yield Found(
            backward.node_in(file),
            "Gradients are never set to zero in this step: `backward()` adds to those of all"
            " steps before.",
            f"Call {named} before `backward()`.",
            certain=is_per_batch(step) and not away,
        )


def _takes_a_closure(step: Step) -> bool:
    """Say whether gradients may be cleared in a function that is not known."""
    lifted = {event.site for event in step.of("backward")}
    return has_other_ways(step) and not any(event.site in lifted for event in step.of("step"))


def _made_inside(step: Step, update: Event) -> bool:
    """Say whether each pass has a new optimizer, so that gradients are new as well."""
    value = optimizer_of(update)
    return (
        value is not None
        and value.file is step.file
        and step.file.tree.holds(step.node, value.call)
    )


def _forgotten(step: Step, updates: list[Event], zeros: list[Event]) -> Iterator[Found]:
    """Look for one of several optimizers that is stepped but never cleared."""
    cleared = {event.about for event in zeros}
    names = {event.about for event in updates}
    if len(names) < 2 or "" in names or not cleared < names:
        return
    for update in updates:
        if update.about not in cleared and update.loop is step.node:
            value = optimizer_of(update)
            if value is None or _made_inside(step, update):
                continue
            yield Found(
                update.node_in(step.file),
                f"`{update.about}` is stepped, but its gradients are never set to zero in this"
                " loop.",
                f"Call `{update.about}.zero_grad()` before the `backward()` whose gradients it"
                " uses.",
                certain=False,
            )


RULE = Rule(
    name="missing-zero-grad",
    severity="error",
    title="Gradients are never set to zero",
    why=(
        "`backward()` adds to `.grad`. Without `zero_grad()` each update uses the sum of the"
        " gradients of all batches so far: the steps grow, the loss oscillates or diverges, and"
        " nothing is reported."
    ),
    fix="Call `optimizer.zero_grad()` once per step, before `backward()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
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
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source=(
        "Course tutorial (Hung-yi Lee 2021): zero_grad, backward, step. PyTorch docs, torch.optim."
    ),
    check=check,
)
