"""A model of half precision is trained by a plain optimizer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._once import once
from ..._model._project import Project
from ..._model._tree import argument, key, method, owner
from ..._rule import Found, Rule
from ..._training._optimizers import Made, optimizers, steps_after

_SCALED = re.compile(r"GradScaler|autocast|apex|deepspeed|loss_scale|static_loss_scale|master_")
_HALF = ("torch.half", "torch.float16")


def check(file: File) -> Iterator[Found]:
    """Look for ``model.half()`` where ``model.parameters()`` are then stepped as they are.

    Args:
        file: The file.
    """
    halves = [call for call in file.method_calls("half", "to") if _is_half(file, call)]
    if not halves or _scales(file.project):
        return
    for made in optimizers(file):
        for half in halves if made.name else ():
            name = _name(file, half)
            if not any(key(given) == name for given in made.owners):
                continue
            found = _trained(file, made, half, name)
            if found is not None:
                yield found


@once
def _scales(project: Project) -> bool:
    """Say whether losses are scaled, or weights kept in float32, anywhere."""
    return any(_SCALED.search(one.text) for one in project.files)


def _is_half(file: File, call: ast.Call) -> bool:
    if method(call) == "half":
        return not call.args
    given = [*call.args, argument(call, "dtype")]
    return any(file.dotted(one) in _HALF for one in given if one is not None)


def _name(file: File, call: ast.Call) -> str:
    """Give the name of the model that is made half: it is called on it, or assigned to it."""
    on = owner(call)
    if on is not None and key(on):
        return key(on)
    statement = file.tree.statement(call)
    is_model = file.values.is_a(call, "module")
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and is_model:
        return key(statement.targets[0])
    return ""


def _trained(file: File, made: Made, half: ast.Call, name: str) -> Found | None:
    scope = file.tree.scope
    is_own = name.startswith("self.") or scope(half) is scope(made.call)
    later = max((half, made.call), key=file.tree.place)
    if not is_own or steps_after(file, made, later) is None:
        return None
    if any(key(owner(call)) == name for call in file.method_calls("float")):
        return None
    kind = f"`{made.name}` ({made.kind})"
    return Found(
        half,
        f"{kind} updates `{name}` in half precision: small steps are rounded away and squares of"
        " small gradients underflow.",
        f"Leave `{name}` in float32 and use `torch.autocast` with a `GradScaler`, or"
        f" `torch.bfloat16`.",
        certain=not file.tree.conditional(half, scope(half)),
    )


RULE = Rule(
    name="half-with-plain-optimizer",
    severity="warning",
    title="A float16 model is trained by a plain optimizer",
    why=(
        "In float16 the steps of 1e-4 near a weight of 1 are rounded away: numbers there are 0.0005"
        " to 0.001 apart. Small gradients underflow to zero, and the `eps=1e-8` of Adam is zero"
        " too, so a parameter whose gradient is zero becomes NaN in the first step. For inference"
        " `half()` is fine."
    ),
    fix="Keep the weights in float32: `torch.autocast` and `torch.amp.GradScaler`, or bfloat16.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    model.half()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x.half()), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
""",
    source="Micikevicius et al. 2018, Mixed precision training; PyTorch docs, torch.amp.",
    check=check,
)
