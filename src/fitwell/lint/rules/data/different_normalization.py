"""Training and test data that are normalized with different constants."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from ..._data._transforms import Parts, data_sets, named_transforms, numbers
from ..._model._file import File
from ..._model._roles import Role, role_of_name, words_of
from ..._model._tree import argument
from ..._rule import Found, Rule

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PLAIN = {
    "ToTensor", "Resize", "CenterCrop", "RandomCrop", "RandomResizedCrop", "RandomHorizontalFlip",
    "RandomVerticalFlip", "RandomRotation", "RandomAffine", "ColorJitter", "Grayscale", "Pad",
    "ToImage", "PILToTensor", "RandomErasing", "RandAugment", "TrivialAugmentWide", "AutoAugment",
}  # fmt: skip
"""Steps that are known not to subtract a mean."""
Constants = tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True, eq=False)
class _Use:
    """Constants in use: empty where nothing is subtracted."""

    group: tuple[object, ...]
    roles: frozenset[Role]
    constants: Constants
    node: ast.AST


def check(file: File) -> Iterator[Found]:
    """Look for pairs of a training and a held-out transform with other constants.

    Args:
        file: The file.
    """
    groups: dict[tuple[object, ...], list[_Use]] = {}
    for use in _uses(file):
        groups.setdefault(use.group, []).append(use)
    seen: set[ast.AST] = set()
    for some in groups.values():
        train = {use.constants for use in some if use.roles == {"train"}}
        if len(train) != 1:
            continue
        (wanted,) = train
        for use in some:
            if "train" in use.roles or use.node in seen or _same(use.constants, wanted):
                continue
            seen.add(use.node)
            yield Found(
                use.node,
                f"{_said(use.constants)} here, but {_said(wanted).lower()} for training.",
                "Use the constants of the training data for all data.",
            )


def _same(one: Constants, other: Constants) -> bool:
    if [len(part) for part in one] != [len(part) for part in other]:
        return False
    pairs = zip(sum(one, ()), sum(other, ()), strict=True)
    return all(abs(a - b) < 1e-6 for a, b in pairs)


def _said(constants: Constants) -> str:
    if not constants:
        return "Inputs are not normalized"
    return "Mean and deviation are " + " and ".join(f"`{_short(part)}`" for part in constants)


def _short(part: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in part) + ")"


def _uses(file: File) -> Iterator[_Use]:
    for data in data_sets(file):
        if not data.roles or data.transform is None:
            continue
        found = _constants(data.parts)
        if found is not None:
            constants, node = found
            scope = file.tree.scope(data.call)
            yield _Use((scope, data.name), data.roles, constants, _here(file, node, data.call))
    for name, call in named_transforms(file):
        roles = role_of_name(name)
        parts = Parts()
        parts.add(file, call)
        found = _constants(parts) if roles else None
        if found is not None:
            rest = tuple(word for word in words_of(name) if not role_of_name(word))
            group = (file.tree.scope(call), file.tree.parent(call).__class__, rest)
            yield _Use(group, roles, found[0], _here(file, found[1], call))


def _here(file: File, found: tuple[File, ast.Call] | None, otherwise: ast.AST) -> ast.AST:
    return found[1] if found is not None and found[0] is file else otherwise


def _constants(parts: Parts) -> tuple[Constants, tuple[File, ast.Call] | None] | None:
    """Give the constants of a transform, and where; nothing at all if they are not known."""
    step = parts.normalize
    if step is None:
        names = [file.dotted(call.func).rpartition(".")[2] for file, call in parts.calls]
        known = parts.complete and bool(names) and all(name in _PLAIN for name in names)
        return ((), None) if known else None
    file, call = step
    mean, deviation = argument(call, "mean", 0), argument(call, "std", 1)
    if mean is None and deviation is None and file.dotted(call.func).startswith("albumentations."):
        return _IMAGENET, step
    values = numbers(file, mean), numbers(file, deviation)
    if values[0] is None or values[1] is None:
        return None
    return (values[0], values[1]), step


RULE = Rule(
    name="different-normalization",
    severity="error",
    title="Training and test inputs are normalized differently",
    why=(
        "The model is measured on inputs that are shifted and scaled against those it was"
        " trained on. The training loss looks right, the test score is lower for no reason that"
        " any curve shows."
    ),
    fix="Keep mean and deviation in one place, and use them in both transforms.",
    bad="""\
from torchvision import datasets, transforms

train_transform = transforms.Compose([
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
    transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
])
test_transform = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
])
train_set = datasets.CIFAR10("data", train=True, transform=train_transform)
test_set = datasets.CIFAR10("data", train=False, transform=test_transform)
""",
    good="""\
from torchvision import datasets, transforms

normalize = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
train_transform = transforms.Compose([
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
    normalize,
])
test_transform = transforms.Compose([transforms.ToTensor(), normalize])
train_set = datasets.CIFAR10("data", train=True, transform=train_transform)
test_set = datasets.CIFAR10("data", train=False, transform=test_transform)
""",
    source=(
        "Hung-yi Lee 2021, homework 1: test data get the mean and deviation of the training data."
    ),
    check=check,
)
