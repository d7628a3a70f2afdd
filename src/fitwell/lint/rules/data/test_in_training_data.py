"""Test data among the training data."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._data._sources import sources
from ..._model._file import File
from ..._model._loops import Loop
from ..._model._roles import role, words_of
from ..._model._tree import argument, key
from ..._rule import Found, Rule

_ADAPTS = {
    "adapt", "adaptation", "tta", "ttt", "tent", "meta", "task", "tasks", "episode", "inner",
    "maml", "support", "attack", "finetune", "tune", "target", "unlabeled", "probe",
}  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for joined data sets that a training goes over, and for steps on test batches.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        joined = _joined(loader)
        if joined is None or not (loader.trains or "train" in loader.named):
            continue
        name = _test_among(file, joined)
        if name and _is_measured(loader, name):
            yield Found(
                loader.call,
                f"The training data contain `{name}`, and `{name}` is what the model is tested on.",
                "Train on the training data alone.",
            )
    for loop in file.loops:
        if _steps_on_test(file, loop):
            text = ast.unparse(loop.loader)
            yield Found(
                loop.node,
                f"The model is trained on `{text}`: the optimizer steps in a loop over test data.",
                "Loop over the training data here.",
                certain=any("train" in one.roles for one in loaders(file)),
            )


def _joined(loader: Loader) -> list[ast.expr] | None:
    """Give the data sets that are joined to the one of a loader."""
    data = loader.data
    found = sources(data.file, data.node).only if data is not None else None
    if found is None or found.file is not loader.file:
        return None
    node = found.node
    if isinstance(node, ast.Call) and found.file.dotted(node.func).endswith("ConcatDataset"):
        parts = argument(node, "datasets", 0)
        return parts.elts if isinstance(parts, (ast.List, ast.Tuple)) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [node.left, node.right]
    return None


def _test_among(file: File, parts: list[ast.expr]) -> str:
    tests = [key(part) for part in parts if role(file, part) == {"test"}]
    return tests[0] if len(tests) == 1 and len(parts) > 1 else ""


def _is_measured(loader: Loader, name: str) -> bool:
    """Say whether another loader has the same test data alone."""
    for other in loaders(loader.file):
        data = other.data
        if other is not loader and data is not None and key(data.node) == name:
            return not other.trains
    return False


def _steps_on_test(file: File, loop: Loop) -> bool:
    """Say whether an optimizer steps on batches whose loader says that they are for the test."""
    if role(file, loop.loader) != {"test"} or not loop.trains:
        return False
    function = file.tree.function(loop.node)
    words = set(words_of(ast.unparse(loop.loader)))
    words |= set(words_of(function.name)) if function is not None else set()
    if words & _ADAPTS or "eval" in words:
        return False
    events = file.events(loop.node)
    return any(event.what == "step" and not event.sometimes for event in events)


RULE = Rule(
    name="test-in-training-data",
    severity="error",
    title="The model is trained on the test data",
    why=(
        "What was trained on is remembered. The test score then measures memory: it is near"
        " that of the training data however badly the model does on new ones."
    ),
    fix="Keep the test data out of every loop that steps an optimizer.",
    bad="""\
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.SVHN("data", split="train", transform=to_tensor)
test_set = datasets.SVHN("data", split="test", transform=to_tensor)
all_images = ConcatDataset([train_set, test_set])
train_loader = DataLoader(all_images, batch_size=128, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    good="""\
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, transforms

to_tensor = transforms.ToTensor()
train_set = datasets.SVHN("data", split="train", transform=to_tensor)
extra_set = datasets.SVHN("data", split="extra", transform=to_tensor)
test_set = datasets.SVHN("data", split="test", transform=to_tensor)
all_images = ConcatDataset([train_set, extra_set])
train_loader = DataLoader(all_images, batch_size=128, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
""",
    source="Hung-yi Lee 2021, general guide: the test set is no part of training or selection.",
    check=check,
)
