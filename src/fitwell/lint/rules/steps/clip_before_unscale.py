"""Scaled gradients that are clipped as if they were not scaled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..._model._events import Event, by_scaler
from ..._model._file import File
from ..._model._loops import Step
from ..._rule import Found, Rule
from ..._training._stepping import before, is_scaled, is_switched_off


def check(file: File) -> Iterator[Found]:
    """Look for clipping between the `backward` of a scaled loss and `scaler.step`.

    Args:
        file: The file.
    """
    for step in file.steps:
        clips = step.of("clip")
        if not clips or re.search(r"get_scale|inv_scale|_scale\b(?=\s*[*/])", step.source):
            continue
        for clip in clips:
            name = clip.file.dotted(clip.call.func)
            ours = name.startswith("torch.nn.utils.") or name.startswith("clip_grad")
            update = _scaled_update(step, clip)
            if not ours or update is None or is_switched_off(update):
                continue
            first = next(before(step, clip, "backward", "unscale", "step"), None)
            if first is None or first.what != "backward" or not is_scaled(first):
                continue
            optimizer = update.about or "optimizer"
            yield Found(
                clip.node_in(file),
                f"The gradients still have the factor of `{update.on}` when they are clipped: the"
                " limit is thousands of times too small.",
                f"Call `{update.on}.unscale_({optimizer})` before the clipping.",
            )


def _scaled_update(step: Step, clip: Event) -> Event | None:
    """Give the step of a scaler that follows a clipping."""
    place = step.events.index(clip)
    for one in step.events[place + 1 :]:
        if one.what == "step" and not one.excludes(clip):
            return one if by_scaler(one.file, one.call) else None
    return None


RULE = Rule(
    name="clip-before-unscale",
    severity="error",
    title="Gradients are clipped before they are unscaled",
    why=(
        "`scaler.scale(loss).backward()` leaves gradients times a factor of about 65536. Clipped"
        " to a norm of 1 and unscaled afterwards by `scaler.step`, their norm is 1/65536: the"
        " training hardly moves, and nothing is reported."
    ),
    fix="Call `scaler.unscale_(optimizer)` between `backward()` and the clipping.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()
""",
    source="PyTorch docs, Automatic Mixed Precision examples: gradient clipping.",
    check=check,
)
