"""A program that asks for a GPU by name and never asks whether there is one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule
from ..._tensors._placements import is_managed

_ASKS = (
    "is_available", "device_count", "hydra", "sys.argv", "set_device", "LOCAL_RANK", "nccl",
    "init_process_group", "os.environ", "triton", "current_device", "get_device_name", "omegaconf",
    "memory_allocated", "cuda.Event(", "CUDAGraph", "get_default_device", "current_accelerator",
    "backends.mps", "fire.Fire", "torch.cuda.is_initialized",
)  # fmt: skip
"""Words of programs that ask, that take the device as an option, or that are about GPUs."""
_OPTION = re.compile(r"""["']--?(no[-_]|use[-_])?(device|gpus?|cuda|accelerator)\b""")
_MAKERS = ("zeros", "ones", "rand", "randn", "empty", "tensor", "full", "arange", "randint", "eye")


def check(file: File) -> Iterator[Found]:
    """Look for the first ``.cuda()``, ``.to("cuda")`` or ``device="cuda"`` of a file.

    Args:
        file: The file.
    """
    if "cuda" not in file.text or is_managed(file):
        return
    places = sorted(_places(file), key=lambda node: (node.lineno, node.col_offset))
    if not places or any(_asks(one) for one in file.project.near(file)):
        return
    first = places[0]
    yield Found(
        first,
        f"`{ast.unparse(first)}` needs a GPU, and the program never asks whether there is one.",
        'Set `device = torch.device("cuda" if torch.cuda.is_available() else "cpu")` once and use'
        " `.to(device)`.",
        certain=bool(file.steps or file.loops or file.modules),
    )


def _asks(file: File) -> bool:
    return bool(_OPTION.search(file.text)) or any(word in file.text for word in _ASKS)


def _places(file: File) -> Iterator[ast.Call]:
    for call in file.method_calls("cuda"):
        if not call.args and not _is_guarded(file, call):
            yield call
    for call in file.method_calls("to"):
        text = constant(argument(call, "device", 0))
        if isinstance(text, str) and text.startswith("cuda") and not _is_guarded(file, call):
            yield call
    for call in file.calls("torch.device"):
        text = constant(argument(call, "type", 0))
        named = isinstance(file.tree.parent(call), ast.Assign)
        if named and isinstance(text, str) and text.startswith("cuda"):
            if not _is_guarded(file, call):
                yield call
    for call in file.calls(*(f"torch.{name}" for name in _MAKERS)):
        text = constant(argument(call, "device"))
        if isinstance(text, str) and text.startswith("cuda") and not _is_guarded(file, call):
            yield call


def _is_guarded(file: File, node: ast.AST) -> bool:
    """Say whether a condition, or a `try`, decides whether a place is reached."""
    function = file.tree.function(node)
    for above in file.tree.above(node):
        if isinstance(above, (ast.If, ast.IfExp)):
            text = ast.unparse(above.test).lower()
            if any(word in text for word in ("cuda", "gpu", "device", "cpu")):
                return True
        if isinstance(above, ast.Try):
            return True
        if above is function and isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [one.arg.lower() for one in [*above.args.args, *above.args.kwonlyargs]]
            return any("device" in name or "cuda" in name or "gpu" in name for name in names)
    return False


RULE = Rule(
    name="cuda-hard-coded",
    severity="warning",
    title="The GPU is hard-coded",
    why=(
        "`.cuda()` raises RuntimeError or AssertionError on a machine without a GPU of this kind:"
        " on a laptop, in a test, on Apple's and AMD's devices with other builds. One variable"
        " `device` costs nothing and lets the same program run everywhere."
    ),
    fix="Choose the device once, by `torch.cuda.is_available()` or an option,"
    " and use `.to(device)`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    criterion = nn.CrossEntropyLoss()
    model.cuda()
    model.train()
    for x, y in loader:
        x, y = x.cuda(), y.cuda()
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.to(device)
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, CUDA semantics: device-agnostic code.",
    check=check,
)
