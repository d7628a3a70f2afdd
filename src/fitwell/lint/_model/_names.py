"""What the names of a file stand for: imports, followed to the place where a thing is defined."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Final, final

from ._tree import Tree

_MOVED: Final = {
    "torch.nn.modules.loss": "torch.nn",
    "torch.nn.modules.linear": "torch.nn",
    "torch.nn.modules.conv": "torch.nn",
    "torch.nn.modules": "torch.nn",
    "torch.nn.parameter": "torch.nn",
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.utils.data.sampler": "torch.utils.data",
    "torch.optim.optimizer": "torch.optim",
    "torch.cuda.amp.grad_scaler": "torch.cuda.amp",
    "torchvision.transforms.v2": "torchvision.transforms",
    "torchvision.transforms.transforms": "torchvision.transforms",
    "pytorch_lightning": "lightning",
    "lightning.pytorch": "lightning",
}
"""Where a module is found under another name, and the name that rules know."""


@final
class Names:
    """What the names of a file stand for.

    Args:
        tree: The file.
        package: Dotted name of the package that it is in, for relative imports.
    """

    def __init__(self, tree: Tree, package: str = "") -> None:
        self._alias: dict[str, str] = {}
        self.modules: set[str] = set()  # what is imported, or holds what is
        self._package = package
        for node in tree.each(ast.Import, ast.ImportFrom):
            for alias, meant in self._imported(node):
                self._alias.setdefault(alias, meant)
                self.modules.add(meant)
            if isinstance(node, ast.Import):
                self.modules.update(item.name for item in node.names)

    @cached_property
    def _known(self) -> set[str]:
        """All modules that are imported, or from which something is."""
        found: set[str] = set()
        for meant in self._alias.values():
            parts = meant.split(".")
            found.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return found

    def _imported(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            for item in node.names:
                if item.asname:
                    yield item.asname, item.name
                else:
                    first = item.name.partition(".")[0]
                    yield first, first
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = self._package.split(".")[
                    : max(0, len(self._package.split(".")) - node.level + 1)
                ]
                module = ".".join([*base, module]).strip(".")
            for item in node.names:
                yield item.asname or item.name, f"{module}.{item.name}".strip(".")

    def dotted(self, node: ast.AST | None) -> str:
        """Give the full name that an expression stands for; empty if it is no name.

        Args:
            node: Such as ``nn.Linear``, which is ``torch.nn.Linear``.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self._alias.get(node.id, node.id))
        return canonical(".".join(reversed(parts)))

    def imported(self, name: str) -> str:
        """Give the full name of what was imported under a name; empty if nothing was.

        Args:
            name: As it is used in the file.
        """
        return self._alias.get(name, "")

    def knows(self, module: str) -> bool:
        """Say whether the file imports a module or anything from it.

        Args:
            module: Such as ``torch``.
        """
        return module in self._known


@cache
def canonical(name: str) -> str:
    """Give the usual name of a thing.

    Args:
        name: A full name.
    """
    for old, new in _MOVED.items():
        if name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name
