"""One data set for training and for the test."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._data._transforms import DataSet, data_sets
from ..._model._file import File
from ..._model._roles import held_out, role
from ..._model._tree import key
from ..._rule import Found, Rule

_PARTS = ("torch.utils.data.Subset", "torch.utils.data.random_split")


def check(file: File) -> Iterator[Found]:
    """Look for loaders of the same data with different names, and test sets made as training sets.

    Args:
        file: The file.
    """
    made = [loader for loader in loaders(file) if _takes_all(loader)]
    for train in made:
        if train.named != {"train"}:
            continue
        for other in made:
            if held_out(other.named) and not other.trains and _same(file, train, other):
                data = other.data
                text = ast.unparse(data.node) if data is not None else ""
                yield Found(
                    other.call,
                    f"`{text}` is used for training and to measure: this loader has the same data.",
                    "Split the data, or load those that were held out.",
                )
    for one in data_sets(file):
        if one.named == {"test"} and _is_training_part(one) and not _is_split(file, one):
            yield Found(
                one.call,
                f"The test data are the training part of `{one.short}`.",
                "Load the test part, as with `train=False`.",
            )


def _takes_all(loader: Loader) -> bool:
    options = ("sampler", "batch_sampler")
    return loader.site is None and all(loader.is_given(name) is False for name in options)


def _same(file: File, one: Loader, other: Loader) -> bool:
    """Say whether two loaders go over what is certainly the same object."""
    first, second = one.data, other.data
    if first is None or second is None or not key(first.node):
        return False
    if key(first.node) != key(second.node):
        return False
    if file.tree.scope(one.call) is not file.tree.scope(other.call):
        return False
    if role(file, first.node) - {"train"}:
        return False
    there = file.values.bindings
    before, after = there.reaching(first.node), there.reaching(second.node)
    return before.bindings == after.bindings and before.rest == after.rest


def _is_training_part(data: DataSet) -> bool:
    library = data.name.startswith("torchvision.datasets.")
    return library and data.made_for == {"train"}


def _is_split(file: File, data: DataSet) -> bool:
    """Say whether only a part of a data set is used."""
    parent = file.tree.parent(data.call)
    name = key(parent.targets[0]) if isinstance(parent, ast.Assign) else ""
    for call in file.calls(*_PARTS):
        if any(one is data.call or (name and key(one) == name) for one in call.args):
            return True
    return isinstance(parent, ast.Call) and file.dotted(parent.func) in _PARTS


RULE = Rule(
    name="same-data-for-train-and-test",
    severity="error",
    title="Training and test use the same data",
    why=(
        "The score on data that the model was trained on says how well it remembers. It rises"
        " with every epoch, overfitting cannot be seen, and the choice of a model by it is a"
        " choice of the one that overfits most."
    ),
    fix="Measure on data that no training step has seen.",
    bad="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.MNIST("data", train=True, transform=to_tensor)
test_set = datasets.MNIST("data", train=True, transform=to_tensor)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    good="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.MNIST("data", train=True, transform=to_tensor)
test_set = datasets.MNIST("data", train=False, transform=to_tensor)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    source="Hung-yi Lee 2021, general guide: split into training, validation and test data.",
    check=check,
)
