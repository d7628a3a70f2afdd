"""Held-out data run through a model while gradients are recorded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._modes import gradients_off
from ..._training._passes import ModelCall, in_framework, needs_gradients, passes


def check(file: File) -> Iterator[Found]:
    """Look for held-out loops without `no_grad` in them, around them, or around their callers.

    Args:
        file: The file.
    """
    if in_framework(file):
        return
    seen: set[ast.AST] = set()
    for item in passes(file):
        if not item.held_out or needs_gradients(item):
            continue
        for call in item.calls:
            if call.site in seen or _frozen(file, call):
                continue
            seen.add(call.site)
            state = gradients_off(call.path)
            if state == "covered":
                continue
            lonely = state == "uncalled" and not any(map(_switches, file.project.files))
            yield Found(
                call.site,
                f"`{key(call.model)}` runs on held-out data with gradients recorded: its"
                " activations are kept for a backward pass that never comes.",
                "Put the loop under `with torch.no_grad():`.",
                certain=state == "open" or lonely,
            )


def _switches(file: File) -> bool:
    return any(name in file.text for name in ("no_grad", "inference_mode", "set_grad_enabled"))


def _frozen(file: File, call: ModelCall) -> bool:
    """Say whether no parameter of the model needs a gradient."""
    name = re.escape(key(call.model).rpartition(".")[2])
    if re.search(rf"\b{name}\.requires_grad_\(\s*False", file.text):
        return True
    loop = rf"in (\w+\.)*{name}\.parameters\(\):\s+\w+\.requires_grad(_\(| = )False"
    return re.search(loop, file.text) is not None


RULE = Rule(
    name="missing-no-grad",
    severity="warning",
    title="Held-out data are measured with gradients recorded",
    why=(
        "Without `torch.no_grad()` each forward pass records a graph and keeps the activations of"
        " all layers. Evaluation needs several times the memory and more time; where outputs or"
        " losses are collected, the graphs of all batches stay, until the device is out of"
        " memory. `model.eval()` does not change that."
    ),
    fix="Put the evaluation under `with torch.no_grad():` or `with torch.inference_mode():`.",
    bad="""\
import torch
from torch import nn

def evaluate(model, loader):
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total = 0.0
    model.eval()
    for x, y in loader:
        total += loss_fn(model(x), y).item()
    return total / len(loader.dataset)
""",
    good="""\
import torch
from torch import nn

def evaluate(model, loader):
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total = 0.0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            total += loss_fn(model(x), y).item()
    return total / len(loader.dataset)
""",
    source="Course tutorial (Hung-yi Lee 2021): validation loop. PyTorch docs, torch.no_grad.",
    check=check,
)
