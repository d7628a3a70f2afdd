"""`with torch.no_grad:` without parentheses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule, replaced

NAMES = frozenset(
    {
        "torch.no_grad",
        "torch.inference_mode",
        "torch.enable_grad",
        "torch.autograd.no_grad",
        "torch.autograd.inference_mode",
    }
)


def check(file: File) -> Iterator[Found]:
    """Look for ``with torch.no_grad:``.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.With, ast.AsyncWith):
        for item in node.items:
            context = item.context_expr
            if isinstance(context, (ast.Name, ast.Attribute)) and file.dotted(context) in NAMES:
                text = ast.unparse(context)
                yield Found(
                    context,
                    f"`with {text}:` raises a TypeError: `{text}` is a class, not a context.",
                    f"Write `with {text}():`.",
                    edits=(replaced(file, context, f"{file.text_of(context)}()"),),
                )


RULE = Rule(
    name="no-grad-not-called",
    severity="error",
    title="`torch.no_grad` stands after `with` without parentheses",
    why=(
        "`with torch.no_grad:` raises \"'type' object does not support the context manager"
        ' protocol". The evaluation often runs for the first time after an epoch of training, or'
        " after all of them. As a decorator, `@torch.no_grad` works with and without parentheses."
    ),
    fix="Write `with torch.no_grad():`.",
    bad="""\
import torch

def evaluate(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad:
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
