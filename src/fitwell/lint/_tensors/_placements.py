"""Where models and batches are moved: which device a program asks for, and for what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .._model._tree import argument, constant, key, method, owner

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

MANAGED: Final = (
    "accelerate", "lightning", "pytorch_lightning", "lightning_fabric", "deepspeed", "transformers",
    "ignite", "torch_xla", "horovod", "fastai", "ray", "composer", "catalyst", "skorch", "dgl",
    "torch_geometric", "colossalai",
)  # fmt: skip
"""Libraries that move models and batches by themselves."""
_MANAGED_WORDS: Final = (
    "DataParallel", "set_default_device", "set_default_tensor_type", "fully_shard",
    "pin_memory_device",
    "device_map", "Prefetch", "prefetch_to", "torch.device(\"meta\")", "with device",
    "with torch.device",
    "DeviceDataLoader", "to_device", "move_to", "todevice", "set_device",
)  # fmt: skip


def is_managed(file: File) -> bool:
    """Say whether something else may move models or batches in a file.

    Args:
        file: The file.
    """
    return any(file.names.knows(one) for one in MANAGED) or any(
        word in file.text for word in _MANAGED_WORDS
    )


def device_of(file: File, call: ast.Call) -> str:
    """Give where a call moves something to: `cuda`, `some` device; empty if it moves nothing.

    Args:
        file: The file.
        call: The call.
    """
    name = method(call)
    if name == "cuda":
        return "cuda"
    if name != "to":
        return ""
    given = argument(call, "device", 0)
    text = constant(given)
    if isinstance(given, ast.Call) and file.dotted(given.func) == "torch.device":
        text = constant(argument(given, "type", 0))
    if isinstance(given, ast.IfExp):
        texts = (constant(given.body), constant(given.orelse))
        return "some" if any(str(one).startswith("cuda") for one in texts) else ""
    if isinstance(text, str):
        return "cuda" if text.startswith("cuda") else "" if text == "cpu" else "some"
    words = ("device", "dev", "gpu", "cuda")
    short = key(given).rpartition(".")[2].lower()
    if any(word in short for word in words):
        return "" if _is_cpu(file, given) else "some"
    return ""


def _is_cpu(file: File, node: ast.expr | None) -> bool:
    """Say whether a name certainly holds the CPU."""
    if node is None or not key(node):
        return False
    reaching = file.values.bindings.reaching(node)
    values = [binding.value for binding in reaching.bindings]
    texts = []
    for value in values:
        is_call = isinstance(value, ast.Call) and file.dotted(value.func) == "torch.device"
        inner = argument(value, "type", 0) if is_call and isinstance(value, ast.Call) else value
        texts.append(constant(inner))
    return bool(texts) and all(text == "cpu" for text in texts) and reaching.rest == "nothing"


def moves(file: File) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Give the calls that move something to a device that may be a GPU, and what they move.

    Args:
        file: The file.
    """
    for call in file.method_calls("to", "cuda"):
        on = owner(call)
        if on is not None and device_of(file, call):
            yield call, on


def moved_models(files: list[File]) -> dict[ast.Call, Value]:
    """Give the modules that a project moves to a device, by the calls that make them.

    Args:
        files: Of the project.
    """
    found: dict[ast.Call, Value] = {}
    for file in files:
        for _, on in moves(file):
            known = file.values.of(on)
            found |= {value.call: value for value in known if value.kind == "module"}
    return found
