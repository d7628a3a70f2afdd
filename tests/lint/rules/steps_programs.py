"""Programs for the tests of the rules on training steps."""

from __future__ import annotations

import textwrap

TOP = """\
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim import lr_scheduler
"""


def loop(body: str, setup: str = "", after: str = "", parameters: str = "") -> str:
    """Give a function that trains: `setup`, then the `body` per batch and `after` per epoch."""
    lines = [
        TOP,
        f"def train(model, train_loader, epochs{parameters}):",
        "    criterion = nn.CrossEntropyLoss()",
        "    optimizer = optim.SGD(model.parameters(), lr=0.1)",
        textwrap.indent(textwrap.dedent(setup).strip("\n"), " " * 4),
        "    model.train()",
        "    for epoch in range(epochs):",
        "        for i, (x, y) in enumerate(train_loader):",
        textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 12),
        textwrap.indent(textwrap.dedent(after).strip("\n"), " " * 8),
    ]
    return "\n".join(lines) + "\n"


def plain(after: str = "", setup: str = "", last: str = "") -> str:
    """Give a loop without a fault, with more lines: after each epoch, before, in each batch."""
    body = """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """
    return loop(textwrap.dedent(body) + textwrap.dedent(last), setup, after)
