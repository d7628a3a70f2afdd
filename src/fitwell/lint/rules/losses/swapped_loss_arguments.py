"""The target first and the output second."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._origins import origin, says_labels, says_output
from ..._model._file import File
from ..._model._tree import has_stars
from ..._rule import Edit, Found, Rule, replaced
from ..._training._losses import LossCall, shown

_KINDS = frozenset({"cross_entropy", "nll", "bce", "bce_logits", "multilabel", "multi_margin"})


def check(file: File) -> Iterator[Found]:
    """Look for losses that are given the batch first and the model's output second.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in _KINDS or loss.input is None or loss.target is None:
            continue
        certain = is_swapped(loss)
        if not certain:
            unknown = not origin(file, loss.input) and not origin(file, loss.target)
            named = says_labels(loss.input) and says_output(loss.target)
            if not (unknown and named and not says_output(loss.input)):
                continue
        yield Found(
            loss.call,
            f"`{loss.name}` is given the target {shown(loss.input)} first and the output"
            f" {shown(loss.target)} second.",
            "Swap them: the output comes first, then the target.",
            edits=_edits(file, loss) if certain else (),
            certain=certain,
        )


def is_swapped(loss: LossCall) -> bool:
    """Say whether a loss is certainly given the target first.

    Args:
        loss: The call.
    """
    if origin(loss.file, loss.target) != "output":
        return False
    first = origin(loss.file, loss.input)
    return first in ("batch", "made") or (not first and says_labels(loss.input))


def _edits(file: File, loss: LossCall) -> tuple[Edit, ...]:
    call = loss.call
    if has_stars(call) or call.args[:2] != [loss.input, loss.target]:
        return ()
    first, second = call.args[:2]
    return (
        replaced(file, first, file.text_of(second)),
        replaced(file, second, file.text_of(first)),
    )


RULE = Rule(
    name="swapped-loss-arguments",
    severity="error",
    title="The target is given to the loss first, and the output second",
    why=(
        "A loss of torch takes the output of the model first and the target second; scikit-learn "
        "has it the other way round. Swapped, a binary cross entropy computes another number "
        "without a word: it takes the labels for the logits. Cross entropy raises an error about "
        "types or shapes, unless the labels are probabilities."
    ),
    fix="Give the output first, then the target.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(labels, outputs)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.nn: losses are called as `loss(input, target)`.",
    check=check,
)
