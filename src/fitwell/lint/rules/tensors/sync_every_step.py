"""Calls in each training step that wait for the GPU."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call
from ..._model._file import File
from ..._model._loops import LOOPS, Loop
from ..._model._tree import key, method, owner
from ..._rule import Found, Rule

_MANY = 4
_WAITS = ("torch.cuda.empty_cache", "torch.cuda.synchronize")
_TIMES = ("perf_counter", "time.time", "elapsed_time", "profile")


def check(file: File) -> Iterator[Found]:
    """Look for whole outputs that are copied to the CPU, and for many `item()`, in each step.

    Args:
        file: The file.
    """
    for loop in file.loops:
        if loop.trains:
            yield from _in_step(file, loop)


def _in_step(file: File, loop: Loop) -> Iterator[Found]:
    numbers: list[ast.Call] = []
    for call in file.tree.own_calls(loop.node):
        if file.tree.inside(call, *LOOPS) is not loop.node or file.tree.conditional(
            call, loop.node
        ):
            continue
        name, on = method(call), owner(call)
        if file.dotted(call.func) in _WAITS:
            if not any(word in file.text for word in _TIMES):
                yield _waits(call, ast.unparse(call.func))
        elif name == "item" and not call.args:
            numbers.append(call)
        elif name in ("cpu", "tolist") and on is not None and _is_output(file, on):
            yield Found(
                call,
                f"`{ast.unparse(call)}` copies whole outputs to the CPU in each step, and waits"
                " for them.",
                "Collect them on the device, and copy them once after the epoch.",
                certain=False,
            )
    if len(numbers) >= _MANY:
        yield Found(
            numbers[0],
            f"{len(numbers)} calls of `item()` in each step: every one waits until the GPU is"
            " done.",
            "Add up tensors, detached, and call `item()` once per epoch or every hundred steps.",
            certain=False,
        )


def _waits(call: ast.Call, text: str) -> Found:
    return Found(
        call,
        f"`{text}` in each step makes the program wait for the GPU.",
        "Leave it out of the loop.",
        certain=False,
    )


def _is_output(file: File, node: ast.expr) -> bool:
    """Say whether an expression is what a model gave, whole."""
    while isinstance(node, ast.Call) and method(node) in ("detach", "float", "clone", "softmax"):
        inner = owner(node)
        if inner is None:
            return False
        node = inner
    if isinstance(node, ast.Call):
        return is_model_call(file, node)
    if not isinstance(node, ast.Name) or not key(node):
        return False
    bindings = file.values.bindings.reaching(node).bindings
    value = bindings[0].value if len(bindings) == 1 else None
    return isinstance(value, ast.Call) and is_model_call(file, value)


RULE = Rule(
    name="sync-every-step",
    severity="hint",
    title="Each training step waits for the GPU",
    why=(
        "A GPU works behind the program, which sends it the next kernels ahead of time. `item()`,"
        " `cpu()`, `tolist()` and `synchronize()` wait until all of them are done, and then the GPU"
        " waits for the program. One `item()` per step costs little; copies of whole outputs,"
        " several numbers, or `empty_cache()` in each step show as a GPU that is used at half its"
        " rate."
    ),
    fix="Keep sums as detached tensors on the device; read them once per epoch"
    " or every hundred steps.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.cuda.empty_cache()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.cuda.empty_cache()
""",
    source="PyTorch docs, performance tuning guide: avoid unnecessary CPU-GPU synchronization.",
    check=check,
)
