"""What the classes of a project are: modules, data sets, Lightning modules."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._file import File

MODULES: Final = frozenset(
    {
        "torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict",
        "lightning.LightningModule", "transformers.PreTrainedModel", "torch.jit.ScriptModule",
    }
)  # fmt: skip
LIGHTNING: Final = frozenset({"lightning.LightningModule"})
DATASETS: Final = frozenset(
    {
        "torch.utils.data.Dataset", "torch.utils.data.IterableDataset",
        "torch.utils.data.TensorDataset", "torchvision.datasets.VisionDataset",
        "torchvision.datasets.ImageFolder",
    }
)  # fmt: skip
_DEPTH = 12


def bases(file: File, node: ast.ClassDef, depth: int = 0) -> set[str]:
    """Give the full names of all classes, known or not, that a class derives from.

    Args:
        file: Where the class is defined.
        node: The class.
        depth: How many classes were followed.
    """
    found: set[str] = set()
    for base in node.bases:
        name = file.names.dotted(_plain(base))
        found.add(name)
        definition = file.find(name) if depth < _DEPTH else None
        if definition is not None and isinstance(definition.node, ast.ClassDef):
            if definition.node is not node:
                found |= bases(definition.file, definition.node, depth + 1)
    return found


def methods(
    file: File, node: ast.ClassDef, depth: int = 0
) -> dict[str, tuple[File, ast.FunctionDef]]:
    """Give the methods of a class, those of its bases in the project included.

    Args:
        file: Where the class is defined.
        node: The class.
        depth: How many classes were followed.
    """
    found: dict[str, tuple[File, ast.FunctionDef]] = {}
    for base in reversed(node.bases):
        definition = file.find(file.names.dotted(_plain(base))) if depth < _DEPTH else None
        if definition is not None and isinstance(definition.node, ast.ClassDef):
            if definition.node is not node:
                found |= methods(definition.file, definition.node, depth + 1)
    found |= {one.name: (file, one) for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def _plain(base: ast.expr) -> ast.expr:
    """Give ``Dataset`` for ``Dataset[int]``."""
    return base.value if isinstance(base, ast.Subscript) else base
