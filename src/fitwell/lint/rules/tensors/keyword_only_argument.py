"""A positional argument that reaches another parameter than the one that is meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument
from ..._rule import Edit, Found, Rule, span
from ..._tensors._call_slots import SIZED, SLOTS, Slot, kinds_of


def check(file: File) -> Iterator[Found]:
    """Look for calls of torch such as ``F.dropout(x, self.training)``.

    Args:
        file: The file.
    """
    for name, slots in SLOTS.items():
        for call in file.calls(name):
            for slot in slots:
                found = _wrong(file, call, slot)
                if found is not None:
                    yield found
                    break
    for call in file.calls(*SIZED):
        yield from _sized(file, call)


def _wrong(file: File, call: ast.Call, slot: Slot) -> Found | None:
    args = call.args
    if slot.place >= len(args) or any(isinstance(one, ast.Starred) for one in args):
        return None
    if slot.last and slot.place < len(args) - 1:
        return None
    value = args[slot.place]
    if not kinds_of(file, value) & slot.kinds:
        return None
    meant = slot.meant.split("` or `")
    if slot.meant != slot.name and any(argument(call, one) is not None for one in meant):
        return None
    text, func = ast.unparse(value), ast.unparse(call.func)
    start = span(file, value)[0]
    if not slot.name:
        kinds = kinds_of(file, value)
        name = "device" if kinds & {"device", "str"} else "dtype"
        certain = bool(kinds & {"device", "dtype"})
        return Found(
            call,
            f"`{func}` takes no argument at this place: `{text}` must be named, or TypeError is"
            " raised.",
            f"Write `{name}={text}`." if certain else "Name the argument.",
            edits=(Edit(start, start, f"{name}="),) if certain else (),
        )
    follows = slot.place == len(args) - 1 and len(meant) == 1 and slot.meant != slot.name
    return Found(
        call,
        f"`{text}` reaches the parameter `{slot.name}` of `{func}`, which {slot.effect};"
        f" `{slot.meant}` must be named.",
        f"Write `{meant[0]}={text}`."
        if follows
        else f"Name the argument, such as `{meant[0]}=...`.",
        edits=(Edit(start, start, f"{meant[0]}="),) if follows else (),
    )


def _sized(file: File, call: ast.Call) -> Iterator[Found]:
    """Look for ``torch.zeros(2, 3, torch.long)``."""
    for place, value in enumerate(call.args):
        kinds = kinds_of(file, value)
        flag = kinds & {"bool"} and 0 < place == len(call.args) - 1
        if not (kinds & {"dtype", "device", "str"} or flag):
            continue
        name = "dtype" if "dtype" in kinds else "requires_grad" if flag else "device"
        text = ast.unparse(value)
        start = span(file, value)[0]
        effect = (
            "is taken for one more size" if flag else "is taken for a size and raises TypeError"
        )
        yield Found(
            call,
            f"`{text}` {effect} in `{ast.unparse(call.func)}`: `{name}` must be named.",
            f"Write `{name}={text}`.",
            edits=(Edit(start, start, f"{name}="),) if place == len(call.args) - 1 else (),
        )
        return


RULE = Rule(
    name="keyword-only-argument",
    severity="error",
    title="An argument that must be named",
    why=(
        "Arguments without a name are given to the parameters in their order."
        " `F.dropout(x, self.training)` sets `p`, the share that is dropped: everything while"
        " training. `nn.MSELoss('sum')` sets `size_average`, and the loss stays a mean."
        " `nn.LSTM(8, 16, True)` sets `num_layers`. Parameters after a `*` take no positional"
        " argument at all: `torch.tensor(x, torch.long)` raises TypeError."
    ),
    fix="Name the argument: `F.dropout(x, training=self.training)`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    criterion = nn.MSELoss("sum")
    model.train()
    for x, y in loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    criterion = nn.MSELoss(reduction="sum")
    model.train()
    for x, y in loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    source="Hung-yi Lee 2021, PyTorch tutorial: how to read the docs; signatures of PyTorch 2.13.",
    check=check,
)
