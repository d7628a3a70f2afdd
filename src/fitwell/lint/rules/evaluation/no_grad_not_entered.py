"""`torch.no_grad()` on a line of its own, which changes nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule

_NAMES = (
    "torch.no_grad",
    "torch.inference_mode",
    "torch.enable_grad",
    "torch.autograd.no_grad",
    "torch.autograd.inference_mode",
)


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.no_grad()`` as a statement.

    Args:
        file: The file.
    """
    for call in file.calls(*_NAMES):
        if isinstance(file.tree.parent(call), ast.Expr):
            text = ast.unparse(call)
            mode = "True" if "enable" in text else "False"
            yield Found(
                call,
                f"`{text}` on a line of its own makes a context and throws it away: gradients are"
                " recorded as before.",
                f"Write `with {text}:` around what follows, or `torch.set_grad_enabled({mode})`.",
            )


RULE = Rule(
    name="no-grad-not-entered",
    severity="error",
    title="`torch.no_grad()` stands on a line of its own",
    why=(
        "`torch.no_grad()` only makes a context; it acts when `with` enters it. As a statement it"
        " does nothing: gradients are recorded, the evaluation keeps the activations of all"
        " layers, and code that relies on it, such as an update in place of a parameter, raises."
    ),
    fix="Write `with torch.no_grad():`, or use it as a decorator.",
    bad="""\
import torch

def evaluate(model, loader):
    correct = 0
    model.eval()
    torch.no_grad()
    for x, y in loader:
        correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)
""",
    good="""\
import torch

def evaluate(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)
""",
    source="PyTorch docs, torch.no_grad: a context manager, and a decorator.",
    check=check,
)
