"""The forward pass of a training step stands where gradients are switched off."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._graph import Graph
from ..._training._roots import roots


def check(file: File) -> Iterator[Found]:
    """Look for `backward` of what was computed under ``no_grad`` or ``inference_mode``.

    Args:
        file: The file.
    """
    for call, root in roots(file):
        found = Graph(file).of(root, root=True)
        cuts = [cut for cut in found.cuts if cut.how == "no_grad"]
        if found.state != "cut" or len(cuts) < len(found.cuts):
            continue  # `loss-cut-from-graph` speaks of the other ones
        here = next((cut.node for cut in cuts if cut.file is file), call)
        name = f"`{key(root)}`" if key(root) else "What `backward()` is called on"
        yield Found(
            here,
            f"{name} is computed where gradients are switched off, so `backward()` has no graph to"
            f" follow.",
            "Take the forward pass and the loss of a training step out of `no_grad`.",
            certain=all(cut.certain for cut in cuts),
        )


RULE = Rule(
    name="forward-under-no-grad",
    severity="error",
    title="The forward pass of a training step runs under no_grad",
    why=(
        "Under `torch.no_grad()` and `torch.inference_mode()` no graph is recorded, in functions"
        ' with these as decorators too. `backward()` raises "element 0 of tensors does not require'
        ' grad"; if `requires_grad` is set on the loss to silence that, no parameter ever gets a'
        " gradient."
    ),
    fix="Use `no_grad` around what only measures; compute a loss that is trained on outside of it.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.no_grad():
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
    source="PyTorch docs, `torch.no_grad` and autograd mechanics.",
    check=check,
)
