"""What gradients are computed of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .._model._events import is_backward
from .._model._tree import key, method, owner

if TYPE_CHECKING:
    from .._model._file import File

_GIVEN: Final = re.compile(r"accelerator|fabric|engine|optim|^opt$|strategy|^model$|^self$")
"""What `backward` may be called on with the loss as its argument."""


def roots(file: File) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Give the calls that compute gradients, each with what its gradients are of.

    Args:
        file: The file.
    """
    for call in file.method_calls("backward", "manual_backward"):
        on = owner(call)
        if not is_backward(call) or on is None:
            continue
        word = key(on).rpartition(".")[2].lower()
        root = on
        if method(call) == "manual_backward" or (call.args and _GIVEN.search(word)):
            if not call.args:
                continue
            root = call.args[0]
        if method(root) == "scale" and isinstance(root, ast.Call) and root.args:
            root = root.args[0]
        yield call, root
