"""A validation part of data whose transform is random."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import loaders, role_of_target
from ..._data._sources import sources
from ..._data._transforms import data_sets
from ..._model._file import File
from ..._model._once import once
from ..._model._project import Project
from ..._model._roles import held_out, role_of_name
from ..._model._tree import argument, key
from ..._rule import Found, Rule

_FIX = "Make the data set twice, with and without the random parts, and split both alike."


def check(file: File) -> Iterator[Found]:
    """Look for `random_split`, `Subset` and samplers that take a held-out part of such data.

    Args:
        file: The file.
    """
    random = _random_sets(file.project)
    if not random or _changes_transform(file):
        return
    for call in file.calls("torch.utils.data.random_split", "torch.utils.data.Subset"):
        names = _names_in(file, argument(call, "dataset", 0), random)
        if names and _holds_out(file, call):
            yield Found(call, _message(names), _FIX)
    for loader in loaders(file):
        data = loader.data
        if data is None or not held_out(loader.named) or not loader.is_given("sampler"):
            continue
        names = _names_in(data.file, data.node, random)
        if names:
            yield Found(loader.call, _message(names), _FIX)


@once
def _random_sets(project: Project) -> dict[ast.Call, list[str]]:
    """Give the data sets of the project with random parts, those held out left aside."""
    found: dict[ast.Call, list[str]] = {}
    for one in project.files:
        for data in data_sets(one):
            if not held_out(data.roles) and data.parts.random:
                found[data.call] = data.parts.random
    return found


def _names_in(
    file: File, node: ast.expr | None, random: dict[ast.Call, list[str]]
) -> list[str] | None:
    one = sources(file, node).only if node is not None else None
    return random.get(one.node) if one is not None and isinstance(one.node, ast.Call) else None


def _holds_out(file: File, call: ast.Call) -> bool:
    """Say whether a part of what a call gives is named as held out."""
    parent = file.tree.parent(call)
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], (ast.Tuple, ast.List)):
        names = [key(one).rpartition(".")[2] for one in parent.targets[0].elts]
        return any(held_out(role_of_name(name)) for name in names)
    return held_out(role_of_target(file, call))


def _changes_transform(file: File) -> bool:
    for node in file.tree.each(ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and target.attr.startswith("transform"):
                if key(target.value) != "self":
                    return True
    return False


def _message(names: list[str]) -> str:
    some = " and ".join(f"`{name}`" for name in list(dict.fromkeys(names))[:2])
    return f"The validation part has the random transform of the training part: {some}."


RULE = Rule(
    name="augmentation-on-validation-split",
    severity="warning",
    title="A validation part is split from data with a random transform",
    why=(
        "`random_split` and `Subset` pick examples, but the transform belongs to the data set"
        " under them: both parts get it. The validation score is that of images changed at"
        " random: lower than it should be, and different each time."
    ),
    fix=(
        "Make the data set twice, with the training and with the plain transform; split the"
        " indices."
    ),
    bad="""\
import torch
from torch.utils.data import random_split
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, RandomResizedCrop, ToTensor

augment = Compose([RandomResizedCrop(128), ToTensor()])
photos = ImageFolder("photos", transform=augment)
generator = torch.Generator().manual_seed(0)
train_set, val_set = random_split(photos, [0.9, 0.1], generator=generator)
""",
    good="""\
import torch
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, RandomResizedCrop, Resize, ToTensor

augment = Compose([RandomResizedCrop(128), ToTensor()])
plain = Compose([Resize(144), CenterCrop(128), ToTensor()])
photos = ImageFolder("photos", transform=augment)
order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).tolist()
cut = len(order) // 10
train_set = Subset(photos, order[cut:])
val_set = Subset(ImageFolder("photos", transform=plain), order[:cut])
""",
    source="PyTorch docs, torch.utils.data.Subset: it reads from the data set that it is given.",
    check=check,
)
