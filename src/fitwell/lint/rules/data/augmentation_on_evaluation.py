"""A random transform on data that are only measured."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._sources import sources
from ..._data._transforms import Parts, data_sets, named_transforms
from ..._model._file import File
from ..._model._roles import held_out, role_of_name, words_of
from ..._rule import Found, Rule

_ON_PURPOSE = {"tta", "aug", "augmented", "robust", "corrupted", "noisy", "views", "adapt"}


def check(file: File) -> Iterator[Found]:
    """Look for held-out data sets, and transforms named so, with random parts.

    Args:
        file: The file.
    """
    seen: set[ast.AST] = set()
    for data in data_sets(file):
        if data.transform is None or not held_out(data.roles) or _on_purpose(file, data.call):
            continue
        random = data.parts.random
        if random:
            seen |= {one.node for one in sources(data.transform.file, data.transform.node).found}
            yield Found(
                data.transform.node if data.transform.file is file else data.call,
                f"Data that are only measured go through a random transform: {_listed(random)}.",
                "Give them a transform of their own, without the random parts.",
            )
    for name, call in named_transforms(file):
        if call in seen or not held_out(role_of_name(name)) or _ON_PURPOSE & set(words_of(name)):
            continue
        parts = Parts()
        parts.add(file, call)
        if parts.random:
            yield Found(
                call,
                f"`{name}` is for data that are only measured, but has {_listed(parts.random)}.",
                "Leave the random parts out of it; resize or crop the centre instead.",
            )


def _on_purpose(file: File, call: ast.Call) -> bool:
    """Say whether the name of a data set tells that the change is what is measured."""
    statement = file.tree.statement(call)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    words = {word for target in targets for word in words_of(ast.unparse(target))}
    return bool(words & _ON_PURPOSE)


def _listed(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in list(dict.fromkeys(names))[:2])


RULE = Rule(
    name="augmentation-on-evaluation",
    severity="warning",
    title="Validation or test data go through a random transform",
    why=(
        "The score is that of cropped, flipped or recoloured images, which are harder than the"
        " images themselves; it differs from one evaluation to the next, so that models and"
        " epochs cannot be compared. Nothing in the training shows it."
    ),
    fix="Make two transforms: one with the random parts for training, one without for the rest.",
    bad="""\
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import Compose, RandomCrop, RandomHorizontalFlip, ToTensor

transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor()])
train_set = datasets.CIFAR10("data", train=True, transform=transform)
test_set = datasets.CIFAR10("data", train=False, transform=transform)
train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    good="""\
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import Compose, RandomCrop, RandomHorizontalFlip, ToTensor

transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor()])
train_set = datasets.CIFAR10("data", train=True, transform=transform)
test_set = datasets.CIFAR10("data", train=False, transform=ToTensor())
train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    source="Hung-yi Lee 2021 to 2022, homework 3: train_tfm has augmentation, test_tfm has none.",
    check=check,
)
