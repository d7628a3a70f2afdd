"""A training step that never clears the gradients."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._loops import Step
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for steps with `backward` and `step`, but without `zero_grad`.

    Args:
        file: The file.
    """
    for step in file.steps:
        updates = [event for event in step.of("step") if event.what == "step"]
        if not updates or step.of("zero") or clears_by_hand(step):
            continue
        backward = step.of("backward")[0]
        yield Found(
            backward.site,
            "Gradients are never set to zero in this step: `backward()` adds to those of all steps before.",
            f"Call `{updates[0].on}.zero_grad()` before `backward()`.",
            certain=step.in_loop,
        )


def clears_by_hand(step: Step) -> bool:
    """Say whether the gradients of the parameters themselves are set to zero or None.

    Args:
        step: The step.
    """
    text = step.file.text_of(step.node)
    return ".grad = None" in text or "grad.zero_" in text or "set_to_none" in text


RULE = Rule(
    name="missing-zero-grad",
    severity="error",
    title="Gradients are never set to zero",
    why=(
        "`backward()` adds to `.grad`. Without `zero_grad()` each update uses the sum of the gradients of"
        " all batches so far: the steps grow, the loss oscillates or diverges, and nothing is reported."
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
    source="Course tutorial (Hung-yi Lee 2021): zero_grad, backward, step. PyTorch docs, torch.optim.",
    check=check,
)
