"""A loader of test or validation data that shuffles."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._data._orders import breaks_off, written_in_order
from ..._model._file import File
from ..._model._roles import role_of_name
from ..._model._tree import constant
from ..._rule import Found, Rule, replaced

_FIX = "Leave `shuffle` out, or set `shuffle=False`, for data that are only measured."


def check(file: File) -> Iterator[Found]:
    """Look for ``shuffle=True`` where the data are certainly held out.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        if loader.option("shuffle") is not True:
            continue
        if loader.is_given("sampler") is not False or loader.is_given("batch_sampler") is not False:
            continue
        if not loader.held_out:
            if _for_each_split(file, loader):
                yield Found(
                    loader.where("shuffle"),
                    "The validation loader shuffles as well as the training one.",
                    'Say `shuffle=(split == "train")`, with the name of the loop.',
                    certain=False,
                )
            continue
        if breaks_off(loader) or written_in_order(loader):
            continue
        name = f"`{loader.target}`" if loader.target else "This loader"
        where = loader.where("shuffle")
        literal = isinstance(where, ast.Constant) and loader.site is None
        yield Found(
            where,
            f"{name} shuffles, though its data are only measured.",
            _FIX,
            edits=(replaced(file, where, "False"),) if literal else (),
        )


def _for_each_split(file: File, loader: Loader) -> bool:
    """Say whether one line makes the loaders of all splits."""
    comprehension = file.tree.inside(loader.call, ast.DictComp)
    if comprehension is None:
        return False
    names = comprehension.generators[0].iter
    if not isinstance(names, (ast.List, ast.Tuple)):
        return False
    roles = [role_of_name(str(constant(one))) for one in names.elts]
    return any(roles) and any(one and "train" not in one for one in roles)


RULE = Rule(
    name="shuffle-on-test-loader",
    severity="warning",
    title="A loader of test or validation data shuffles",
    why=(
        "An average over all data is the same in any order, but everything that is kept by"
        " position is not: predictions no longer line up with files, labels and the outputs of"
        " other models, the same batch cannot be looked at twice, and each pass draws from the"
        " global random state, so that the training after an evaluation goes differently from"
        " one without."
    ),
    fix="Shuffle the training data only.",
    bad="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.MNIST("data", train=True, transform=to_tensor)
test_set = datasets.MNIST("data", train=False, transform=to_tensor)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=64, shuffle=True)
""",
    good="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.MNIST("data", train=True, transform=to_tensor)
test_set = datasets.MNIST("data", train=False, transform=to_tensor)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=64, shuffle=False)
""",
    source=(
        "Hung-yi Lee 2021, PyTorch tutorial: shuffle for training, not for testing. PyTorch docs."
    ),
    check=check,
)
