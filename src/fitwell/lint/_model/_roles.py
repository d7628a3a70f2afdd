"""Whether data are for training, for validation or for the test, as far as their names tell."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from ._tree import argument, constant, key, method
from ._values import arguments_of

if TYPE_CHECKING:
    from ._file import File

Role = Literal["train", "valid", "test"]

_WORDS: Final[dict[str, Role]] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "va"), "valid"),
    **dict.fromkeys(("dv",), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "te", "tt", "holdout"), "test"),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "evaluating"), "test"),
}
_GLUED: Final = re.compile(
    r"[xy]?(train|trn|val|valid|dev|test|tst|eval)"
    r"(?:[xy]|set|sets|dl|ds|data|dataset|datasets|loader|dataloader|iter|iterator|gen|generator)?"
)
"""Names in one word, such as ``xtrain`` and ``testloader``."""
_WITH_TRAIN: Final = frozenset(
    {"MNIST", "FashionMNIST", "KMNIST", "QMNIST", "CIFAR10", "CIFAR100", "USPS"}
)
"""Data sets of torchvision whose second argument is `train`."""
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PATHS: Final = frozenset({"join", "joinpath", "Path", "str"})
_NONE: Final[frozenset[Role]] = frozenset()


def words_of(name: str) -> list[str]:
    """Give the words of an identifier in small letters.

    Args:
        name: Such as ``val_loader`` or ``TestSet``.
    """
    return [part.lower() for part in _PARTS.findall(name)]


@cache
def role_of_name(name: str) -> frozenset[Role]:
    """Give what an identifier says that data are for.

    Args:
        name: Such as ``val_loader``.
    """
    found: set[Role] = set()
    for word in words_of(name):
        glued = None if word in _WORDS else _GLUED.fullmatch(word)
        if glued or word in _WORDS:
            found.add(_WORDS[glued[1] if glued else word])
    return frozenset(found)


def role_of_path(node: ast.AST | None) -> frozenset[Role]:
    """Give what the path of a folder or file says that its data are for: its last word decides.

    Args:
        node: Such as ``"data/train"`` or ``os.path.join(root, "val")``.
    """
    if isinstance(node, ast.Constant):
        parts = re.split(r"[/\\]", node.value) if isinstance(node.value, str) else []
        return next((role_of_name(part) for part in reversed(parts) if role_of_name(part)), _NONE)
    inner: list[ast.expr] = []
    if isinstance(node, ast.JoinedStr):
        inner = node.values
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
        inner = [node.left, node.right]
    elif isinstance(node, ast.Call) and (method(node) or key(node.func)) in _PATHS:
        inner = node.args
    return next((role_of_path(one) for one in reversed(inner) if role_of_path(one)), _NONE)


def role(file: File, node: ast.AST | None) -> frozenset[Role]:
    """Give what data are for; nothing if that is not known, several if names differ.

    Args:
        file: Where the expression stands.
        node: A loader, a data set, an array.
    """
    if node is None:
        return frozenset()
    known = file.roles
    if node not in known:
        known[node] = frozenset()  # for names that lead back to themselves
        known[node] = _look(file, node)
    return known[node]


def _look(file: File, node: ast.AST) -> frozenset[Role]:
    if isinstance(node, ast.Subscript) and isinstance(constant(node.slice), str):
        return role_of_name(str(constant(node.slice)))
    if isinstance(node, (ast.Name, ast.Attribute)):
        return role_of_name(key(node).rpartition(".")[2]) or _followed(file, node)
    if isinstance(node, ast.Call):
        return _of_call(file, node)
    if isinstance(node, (ast.Subscript, ast.Starred)):
        return role(file, node.value)
    return frozenset()


def _followed(file: File, node: ast.AST) -> frozenset[Role]:
    if not key(node):
        return frozenset()
    reaching = file.values.bindings.reaching(node)
    found: frozenset[Role] = frozenset()
    for binding in reaching.bindings:
        if binding.how == "whole":
            found |= role(file, binding.value)
    if reaching.rest == "parameter":
        for there, value in arguments_of(file, reaching.scope, key(node)):
            found |= role(there, value)
    return found


def _of_call(file: File, call: ast.Call) -> frozenset[Role]:
    for name in ("split", "mode", "subset", "image_set", "partition", "phase", "stage"):
        text = constant(argument(call, name))
        if isinstance(text, str) and role_of_name(text):
            return role_of_name(text)
    dotted = file.dotted(call.func)
    place = 1 if dotted.startswith("torchvision.datasets.") else None
    in_order = dotted.rpartition(".")[2] in _WITH_TRAIN
    train = constant(argument(call, "train", place if in_order else None))
    if isinstance(train, bool):
        return frozenset({"train"}) if train else frozenset({"test"})
    named = role_of_name(key(call.func).rpartition(".")[2])
    if named:
        return named
    value = file.made(call, "loader", "dataset")
    if value is not None or dotted.startswith("torch.utils.data."):
        inner = argument(call, "dataset", 0) or argument(call, "root", 0)
        found = role(file, inner) or role_of_path(inner)
        if found:
            return found
        texts = [constant(one) for one in call.args]
        return frozenset().union(*(role_of_name(one) for one in texts if isinstance(one, str)))
    return frozenset()


def held_out(roles: frozenset[Role]) -> bool:
    """Say whether data are certainly not for training.

    Args:
        roles: From `role`.
    """
    return bool(roles) and "train" not in roles
