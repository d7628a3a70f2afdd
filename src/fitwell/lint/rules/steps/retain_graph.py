"""A graph that is kept where only one `backward` uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule
from ..._training._stepping import loss_bindings, reads_gradients


def check(file: File) -> Iterator[Found]:
    """Look for ``backward(retain_graph=True)`` in a step with one loss.

    Args:
        file: The file.
    """
    for step in file.steps:
        backwards = step.of("backward")
        if len(backwards) != 1 or not step.in_loop or reads_gradients(step):
            continue
        call = backwards[0].call
        if constant(argument(call, "retain_graph")) is not True:
            continue
        if re.search(r"autograd\.grad|create_graph|\bgrad\(|register_.*hook", step.source):
            continue
        reaching = loss_bindings(backwards[0])
        if reaching is None or any(one.how == "each" for one in reaching.bindings):
            continue  # of a list of losses
        yield Found(
            backwards[0].node_in(file),
            f"`{backwards[0].about}.backward(retain_graph=True)` keeps the graph, but nothing"
            " uses it again in this step.",
            "Leave `retain_graph` out; if PyTorch then asks for it, detach what is carried over"
            " from the step before.",
            certain=False,
        )


RULE = Rule(
    name="retain-graph",
    severity="hint",
    title="The graph is kept for no second `backward`",
    why=(
        "`retain_graph=True` keeps all saved activations until the loss is let go: more memory"
        ' per step. It is often added to silence "Trying to backward through the graph a second'
        ' time", whose cause is a hidden state or a buffer that was not detached: then each'
        " step goes back through all steps before, and becomes slower and slower."
    ),
    fix="Leave it out, and detach what is carried from step to step.",
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
        loss.backward(retain_graph=True)
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
    source="PyTorch docs, torch.Tensor.backward: setting retain_graph is in most cases not needed.",
    check=check,
)
