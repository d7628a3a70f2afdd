"""Gradients of several batches that are summed where their mean is meant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._events import Event, loss_of
from ..._model._file import File
from ..._model._loops import Step
from ..._model._tree import constant, key, owner
from ..._rule import Found, Rule
from ..._training._stepping import is_loss_call, is_scaled, loss_bindings, reads_gradients, updates


def check(file: File) -> Iterator[Found]:
    """Look for `backward` in each batch, `step` in every n-th, and no division of the loss.

    Args:
        file: The file.
    """
    for step in file.steps:
        done = step.of("step")
        if not step.in_loop or len(updates(step)) != 1 or reads_gradients(step):
            continue
        if any(not event.guards for event in step.of("zero")):
            continue
        counts = {_every(step, event) for event in done}
        backwards = step.of("backward")
        count = counts.pop() if len(counts) == 1 else None
        if count is None or len(backwards) != 1 or backwards[0].loop is not step.node:
            continue
        backward = backwards[0]
        if backward.guards or _is_scaled_down(step, backward, count):
            continue
        yield Found(
            backward.node_in(file),
            f"The update uses the sum of the gradients of `{count}` batches, not their mean: the"
            " loss is not divided by their number.",
            f"Compute the gradients of `{backward.about or 'loss'} / {count}`.",
        )


def _every(step: Step, update: Event) -> str | None:
    """Give after how many batches an update comes, as text: what ``%`` divides by."""
    if update.file is not step.file or update.loop is not step.node:
        return None
    for around in step.file.tree.above(update.call):
        if around is step.node:
            break
        if isinstance(around, ast.If):
            for part in ast.walk(around.test):
                if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod):
                    text = ast.unparse(part.right)
                    return None if constant(part.right) == 1 else text
    return None


def _is_scaled_down(step: Step, backward: Event, count: str) -> bool:
    """Say whether the loss, the rate or the gradients may be scaled, or the loss is not a mean."""
    file, loss = backward.file, loss_of(backward.call)
    on = key(owner(backward.call)).lower()
    if re.search("accelerat|engine", on):
        return True  # divides by itself
    if any(_divides(one, count) for one in {step.file, backward.file}):
        return True
    if loss is None:
        return True
    if not key(loss):
        return not is_loss_call(file, loss)
    reaching = loss_bindings(backward)
    if reaching is None or reaching.rest != "nothing" or not reaching.bindings:
        return True
    values = [one.value for one in reaching.bindings]
    if is_scaled(backward):
        values = [_inner(value) for value in values]
    return not all(_is_mean(file, value) for value in values)


def _divides(file: File, count: str) -> bool:
    """Say whether anything but a number of batches is divided by a number."""
    for node in file.tree.each(ast.BinOp):
        if isinstance(node.op, ast.Div) and ast.unparse(node.right) == count:
            if "len(" not in ast.unparse(node.left):
                return True
    for change in file.tree.each(ast.AugAssign):
        if isinstance(change.op, ast.Div) and ast.unparse(change.value) == count:
            return True
    return any(
        count in (ast.unparse(one) for one in call.args)
        for call in file.method_calls("div", "div_", "true_divide", "mul", "mul_")
    )


def _inner(value: ast.expr | None) -> ast.expr | None:
    scaled = isinstance(value, ast.Call) and ast.unparse(value.func).endswith(".scale")
    return value.args[0] if scaled and isinstance(value, ast.Call) and value.args else value


def _is_mean(file: File, value: ast.expr | None) -> bool:
    """Say whether an expression is surely the mean over one batch."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return _is_mean(file, value.left) or _is_mean(file, value.right)
    if isinstance(value, ast.Name):
        bindings = file.values.bindings.reaching(value).bindings
        return len(bindings) == 1 and _is_mean(file, bindings[0].value)
    return is_loss_call(file, value)


RULE = Rule(
    name="gradient-accumulation-not-divided",
    severity="warning",
    title="Accumulated gradients are summed, not averaged",
    why=(
        "`backward()` adds to `.grad`. After n batches it holds the sum of n mean gradients:"
        " with SGD the step is n times as long as that of one large batch, so a rate that was"
        " right for the large batch diverges. Adam divides most of that factor out, but clipping"
        " and L2 terms still see it."
    ),
    fix="Divide the loss by the number of batches before `backward()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, accumulate=4):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        loss = loss_fn(model(x), y)
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, accumulate=4):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        loss = loss_fn(model(x), y) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    source="PyTorch docs, AMP examples: gradient accumulation divides the loss. Goyal et al. 2017.",
    check=check,
)
