"""Two settings of cuDNN that contradict each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule

_BENCHMARK = "torch.backends.cudnn.benchmark"
_DETERMINISTIC = "torch.backends.cudnn.deterministic"


def check(file: File) -> Iterator[Found]:
    """Look for ``benchmark = True`` beside ``deterministic = True``.

    Args:
        file: The file.
    """
    fix = "Set `torch.backends.cudnn.benchmark = False` where runs are to be repeatable."
    message = (
        "`benchmark` lets cuDNN choose its algorithms by their time, differently from run to run,"
        " though the run is said to be deterministic."
    )
    fast = [node for node in _set(file, _BENCHMARK) if constant(node.value) is True]
    if fast and not any(constant(node.value) is False for node in _set(file, _BENCHMARK)):
        same = [node for node in _set(file, _DETERMINISTIC) if constant(node.value) is True]
        asked = [
            call
            for call in file.calls("torch.use_deterministic_algorithms")
            if constant(argument(call, "mode", 0)) is True
        ]
        for node in fast:
            if any(_together(file, node, other) for other in (*same, *asked)):
                yield Found(node, message, fix)
    for call in file.calls("lightning.Trainer", "lightning.pytorch.Trainer"):
        both = [constant(argument(call, name)) for name in ("benchmark", "deterministic")]
        if both == [True, True]:
            yield Found(call, message, "Leave `benchmark` out.")


def _set(file: File, name: str) -> list[ast.Assign]:
    return [
        node
        for node in file.tree.each(ast.Assign)
        if any(file.dotted(target) == name for target in node.targets)
    ]


def _together(file: File, one: ast.AST, other: ast.AST) -> bool:
    """Say whether two places run one after the other: neither is in a branch without the other."""
    if file.tree.scope(one) is not file.tree.scope(other):
        return False
    block = file.values.bindings.block
    return block(file.tree.statement(one)) == block(file.tree.statement(other))


RULE = Rule(
    name="cudnn-benchmark-with-deterministic",
    severity="warning",
    title="cudnn.benchmark and cudnn.deterministic are both on",
    why=(
        "`deterministic = True` allows only algorithms that give the same bits again; `benchmark ="
        " True` picks among them the one that was fastest in a trial, and that may be another one"
        " in the next run. The runs then differ in the last digits, and after some epochs in more."
    ),
    fix="Set `benchmark = False` for repeatable runs, or leave `deterministic` off for fast ones.",
    bad="""\
import torch

def prepare(seed):
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = True
""",
    good="""\
import torch

def prepare(seed):
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
""",
    source="PyTorch docs, reproducibility: CUDA convolution benchmarking.",
    check=check,
)
