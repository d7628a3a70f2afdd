"""A divergence whose input is not in the log-space, or whose target is."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant
from ..._rule import Found, Rule
from ..._training._losses import LossCall, is_last, line_of, shown

_LAYERS = ("linear", "norm", "model", "relu")


def check(file: File) -> Iterator[Found]:
    """Look for divergences of probabilities or logits, and for their reduction.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind != "kl_div":
            continue
        yield from _sides(file, loss)
        reduction = loss.option("reduction")
        if (
            len(loss.call.args) == 2
            and loss.options_seen
            and (reduction is None or constant(reduction) == "mean")
        ):
            yield Found(
                loss.call,
                f"`{loss.name}` divides by the number of all elements, not of the samples.",
                'Use `reduction="batchmean"`, the divergence of the definition.',
                certain=False,
            )


def _sides(file: File, loss: LossCall) -> Iterator[Found]:
    done = is_last(file, loss.input, "softmax", "sigmoid", *_LAYERS)
    if done is not None:
        what = "logits" if done.kind in _LAYERS else "probabilities"
        yield Found(
            loss.call,
            f"`{loss.name}` takes log-probabilities first, but {shown(loss.input)} holds"
            f" {what}{line_of(file, done, loss.call)}.",
            "Give it the `log_softmax` of the logits first, and the probabilities second.",
        )
        return
    log_target = loss.option("log_target")
    if not loss.options_seen or (log_target is not None and constant(log_target) is not False):
        return
    done = is_last(file, loss.target, "log_softmax", *_LAYERS)
    if done is not None:
        what = "logits" if done.kind in _LAYERS else "log-probabilities"
        yield Found(
            loss.call,
            f"`{loss.name}` takes probabilities second, but {shown(loss.target)} holds"
            f" {what}{line_of(file, done, loss.call)}.",
            "Give it the `softmax` second, or log-probabilities with `log_target=True`.",
        )


RULE = Rule(
    name="kl-div-arguments",
    severity="error",
    title="A divergence of values that are not what it takes",
    why=(
        "`kl_div(input, target)` takes log-probabilities first and probabilities second (log- "
        "probabilities too with `log_target=True`), and checks neither. Given probabilities first "
        "it computes another number, often negative, and nothing is reported. Its `mean` divides "
        "by all elements; the divergence of the definition, averaged over samples, is "
        "`batchmean`."
    ),
    fix='Give it `log_softmax` first, `softmax` second, and `reduction="batchmean"`.',
    bad="""\
import torch
import torch.nn.functional as F

def distill(student, teacher, loader, optimizer):
    teacher.eval()
    student.train()
    for x, _ in loader:
        with torch.no_grad():
            wanted = F.softmax(teacher(x), dim=1)
        optimizer.zero_grad()
        given = F.softmax(student(x), dim=1)
        loss = F.kl_div(given, wanted, reduction="batchmean")
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
import torch.nn.functional as F

def distill(student, teacher, loader, optimizer):
    teacher.eval()
    student.train()
    for x, _ in loader:
        with torch.no_grad():
            wanted = F.softmax(teacher(x), dim=1)
        optimizer.zero_grad()
        given = F.log_softmax(student(x), dim=1)
        loss = F.kl_div(given, wanted, reduction="batchmean")
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, KLDivLoss: the input in the log-space, and a note on `batchmean`.",
    check=check,
)
