"""A loss that is made with the tensors as its options."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._origins import origin, says_labels, says_output
from ..._model._file import File
from ..._model._tree import constant, has_stars
from ..._rule import Found, Rule, replaced
from ..._training._losses import CLASSES, shown

_NAMES = tuple(f"torch.nn.{name}" for name in CLASSES)


def check(file: File) -> Iterator[Found]:
    """Look for losses that are made with two arguments, of which one is an output or a batch.

    Args:
        file: The file.
    """
    for call in file.calls(*_NAMES):
        if len(call.args) != 2 or has_stars(call):
            continue
        first, second = call.args
        if any(isinstance(constant(one), (bool, float, str)) for one in call.args):
            continue
        output = "output" in (origin(file, first), origin(file, second))
        named = (says_output(first) and says_labels(second)) or (
            says_labels(first) and says_output(second)
        )
        if not output and not named:
            continue
        name = file.text_of(call.func)
        inner = ", ".join(file.text_of(one) for one in call.args)
        edits = () if call.keywords else (replaced(file, call, f"{name}()({inner})"),)
        yield Found(
            call,
            f"`{name}` is made here, and takes {shown(first)} and {shown(second)} for its options.",
            f"Make the loss first and call it with the tensors: `{name}()(...)`.",
            edits=edits,
        )


RULE = Rule(
    name="loss-made-with-arguments",
    severity="error",
    title="A loss is made with the tensors instead of called with them",
    why=(
        "`nn.CrossEntropyLoss(outputs, labels)` makes a loss and takes the tensors for its "
        'options `weight` and `size_average`. It raises "Boolean value of Tensor with more than '
        'one value is ambiguous"; with a single sample it gives an object, which has no '
        "`backward`."
    ),
    fix=(
        "Make the loss once, `loss_fn = nn.CrossEntropyLoss()`, and call it: `loss_fn(outputs, "
        "labels)`."
    ),
    bad="""\
import torch
from torch import nn

def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        outputs = model(x)
        loss = nn.CrossEntropyLoss(outputs, y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        outputs = model(x)
        loss = nn.CrossEntropyLoss()(outputs, y)
        loss.backward()
        optimizer.step()
""",
    source=(
        "PyTorch docs, CrossEntropyLoss: the parameters of the class are options, those of the "
        "call are tensors."
    ),
    check=check,
)
