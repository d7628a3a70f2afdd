"""Whether a project sets seeds at all."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from .._model._once import once
from .._model._project import Project

if TYPE_CHECKING:
    from .._model._file import File

_SEED: Final = re.compile(r"seed|set_deterministic|set_determinism|set_rng_state", re.IGNORECASE)
_DEPTH: Final = 3


@once
def has_seed(project: Project) -> bool:
    """Say whether anything in a project is called, or given, that has to do with seeds.

    Args:
        project: All files.
    """
    for file in project.files:
        if _SEED.search(file.text) is None:
            continue
        for call in file.tree.each(ast.Call):
            name = file.dotted(call.func)
            if not name and isinstance(call.func, ast.Attribute):
                name = call.func.attr
            if _SEED.search(name.rpartition(".")[2]):
                return True
            if any(keyword.arg and _SEED.search(keyword.arg) for keyword in call.keywords):
                return True
    return False


def makes_module(file: File, node: ast.AST, depth: int = 0) -> bool:
    """Say whether a module is made in a loop or function, or in what it calls in the project.

    Args:
        file: The file.
        node: The loop or function.
        depth: How many functions were followed.
    """
    for call in file.tree.own_calls(node):
        if any(one.kind == "module" and one.call is call for one in file.values.of(call)):
            return True
        if file.dotted(call.func) == "copy.deepcopy":
            return True
        found = file.called(call)
        if found is not None and not isinstance(found.node, ast.ClassDef) and depth < _DEPTH:
            if makes_module(found.file, found.node, depth + 1):
                return True
    return False
