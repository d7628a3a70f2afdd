"""A loss of outputs that were rounded before."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._origins import origin
from ..._model._file import File
from ..._model._tree import key, method, owner
from ..._rule import Found, Rule
from ..._training._losses import LossCall, is_last, line_of, shown

_KINDS = ("round", "floor", "ceil", "sign")


def check(file: File) -> Iterator[Found]:
    """Look for losses that are trained on, of rounded values.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        done = is_last(file, loss.input, *_KINDS)
        if done is None or origin(file, loss.target) == "output" or not _is_trained(loss):
            continue
        yield Found(
            loss.call,
            f"{shown(loss.input)} has been through `{done.kind}`{line_of(file, done, loss.call)}:"
            f" the gradient of `{loss.name}` is 0 there.",
            "Give the loss the outputs of the model themselves.",
        )


def _is_trained(loss: LossCall) -> bool:
    """Say whether ``backward`` is called on the loss in the same function."""
    tree = loss.file.tree
    home = tree.scope(loss.call)
    statement = tree.statement(loss.call)
    if getattr(home, "name", "") == "training_step":
        return True
    names = {key(target) for target in getattr(statement, "targets", [])}
    for call in tree.own_calls(home):
        if method(call) in ("backward", "manual_backward"):
            on = owner(call)
            given = on if not call.args else call.args[0]
            if tree.holds(call, loss.call) or {key(on), key(given)} & (names - {""}):
                return True
    return False


RULE = Rule(
    name="rounding-before-loss",
    severity="error",
    title="A loss of rounded outputs, whose gradient is 0",
    why=(
        "A rounded value does not change when a weight changes a little: the gradient of `round`, "
        "`floor`, `ceil` and `sign` is 0 everywhere. `backward()` and the optimizer run, and the "
        "model does not learn."
    ),
    fix="Give the loss the outputs themselves.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.MSELoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        outputs = model(x)
        loss = loss_fn(torch.round(outputs), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.MSELoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        outputs = model(x)
        loss = loss_fn(outputs, y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, autograd mechanics: gradients for non-differentiable functions.",
    check=check,
)
