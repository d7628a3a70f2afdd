"""Gradients that are clipped before they are there, or after they were used."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._events import Event
from ..._model._file import File
from ..._model._loops import Step
from ..._rule import Found, Rule
from ..._training._stepping import before, comes_first, has_other_ways, reads_gradients, updates


def check(file: File) -> Iterator[Found]:
    """Look for clipping that does not stand between `backward` and `step`.

    Args:
        file: The file.
    """
    for step in file.steps:
        clips = step.of("clip")
        if not clips or not step.of("step") or len(updates(step)) != 1:
            continue
        if reads_gradients(step) or has_other_ways(step):
            continue
        for clip in clips:
            last = _last(step, clip)
            if last is None or not _backward_is_next(step, clip):
                continue
            late = last.what == "step" and comes_first(step, last, clip)
            late = late and any(comes_first(step, one, last) for one in step.of("backward"))
            where = "after `step()`" if late else "before `backward()`"
            yield Found(
                clip.node_in(file),
                f"The gradients are clipped {where}: the update uses them unclipped.",
                "Clip between `backward()` and `step()`.",
            )


def _last(step: Step, clip: Event) -> Event | None:
    """Give what has surely taken the gradients away before a clipping: `step` or `zero_grad`."""
    here = step.node if step.in_loop else None
    for one in before(step, clip, "step", "zero", "backward"):
        wrapped = not comes_first(step, one, clip)
        if one.what == "backward" or one.loop is not here or clip.loop is not here:
            return None
        sure = not one.guards if wrapped else one.guards <= clip.guards
        if not sure:
            return None
        return one
    return None


def _backward_is_next(step: Step, clip: Event) -> bool:
    """Say whether new gradients are computed between a clipping and the next update."""
    place = step.events.index(clip)
    for one in [*step.events[place + 1 :], *step.events[:place]]:
        if not one.excludes(clip) and one.what in ("step", "backward"):
            return one.what == "backward"
    return False


RULE = Rule(
    name="misplaced-clipping",
    severity="error",
    title="Gradients are clipped at the wrong place",
    why=(
        "`clip_grad_norm_` scales the gradients that are there. Before `backward()` there are"
        " none of this batch, and after `step()` they have been used: the updates are not"
        " clipped at all, and one bad batch can still make the loss NaN."
    ),
    fix="Clip between `backward()` and `step()`.",
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
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
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
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
""",
    source=(
        "PyTorch docs, torch.nn.utils.clip_grad_norm_. Course lecture on recurrent nets: clipping."
    ),
    check=check,
)
