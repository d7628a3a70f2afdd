"""A softmax without its dimension."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, has_stars
from ..._rule import Found, Rule

_FUNCTIONS = ("softmax", "log_softmax", "softmin")
_LAYERS = ("Softmax", "LogSoftmax", "Softmin")


def check(file: File) -> Iterator[Found]:
    """Look for softmax functions and layers that are given no dimension.

    Args:
        file: The file.
    """
    for name in _FUNCTIONS:
        for call in file.calls(f"torch.nn.functional.{name}"):
            yield from _judged(file, call, 1)
    for name in _LAYERS:
        for call in file.calls(f"torch.nn.{name}"):
            yield from _judged(file, call, 0)


def _judged(file: File, call: ast.Call, place: int) -> Iterator[Found]:
    dim = argument(call, "dim", place)
    if has_stars(call) or not (
        dim is None or (isinstance(dim, ast.Constant) and dim.value is None)
    ):
        return
    yield Found(
        call,
        f"`{file.text_of(call.func)}` has no `dim`: which one it takes depends on the number of"
        " dimensions.",
        "Name the dimension, such as `dim=-1` for the last one.",
    )


RULE = Rule(
    name="softmax-without-dim",
    severity="warning",
    title="A softmax that guesses its dimension",
    why=(
        "Without `dim` a softmax takes dimension 0 if the tensor has 1 or 3 dimensions (or none), "
        "and dimension 1 otherwise. A batch of sequences has three dimensions: the softmax then "
        "goes over the samples of the batch. Only a warning about an implicit dimension tells."
    ),
    fix="Name the dimension: `dim=-1` for that of the classes or keys.",
    bad="""\
import torch
from torch import nn
import torch.nn.functional as F

class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.key = nn.Linear(size, size)

    def forward(self, query, memory):
        scores = query @ self.key(memory).transpose(1, 2)
        return F.softmax(scores) @ memory
""",
    good="""\
import torch
from torch import nn
import torch.nn.functional as F

class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.key = nn.Linear(size, size)

    def forward(self, query, memory):
        scores = query @ self.key(memory).transpose(1, 2)
        return F.softmax(scores, dim=-1) @ memory
""",
    source=(
        "PyTorch docs and source, torch.nn.functional.softmax: the implicit dimension is "
        "deprecated."
    ),
    check=check,
)
