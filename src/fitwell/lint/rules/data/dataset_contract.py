"""A data set without the methods that a loader needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import loaders
from ..._data._sources import Source
from ..._model._file import File
from ..._model._project import Definition
from ..._model._tree import argument
from ..._rule import Found, Rule

_DATASET = "torch.utils.data.Dataset"
_ITERABLE = "torch.utils.data.IterableDataset"
_KNOWN = {_DATASET, _ITERABLE, "object", "Generic", "typing.Generic", "ABC", "abc.ABC", ""}
_MEANT = {
    "getitem": "__getitem__", "getitems": "__getitem__", "get_item": "__getitem__",
    "len": "__len__", "length": "__len__", "lenght": "__len__", "size": "__len__",
    "iter": "__iter__",
}  # fmt: skip
_HOOKS = ("__getattr__", "__getattribute__", "__getitems__")


def check(file: File) -> Iterator[Found]:
    """Look for data sets of the project that are made, and lack what their use needs.

    Args:
        file: The file.
    """
    for node in file.datasets:
        if not _all_known(file, node):
            continue
        methods = file.methods(node)
        iterable = file.derives(node, frozenset({_ITERABLE}))
        wanted = ["__iter__"] if iterable else ["__getitem__", "__len__"]
        if any(name in methods for name in _HOOKS):
            continue
        yield from _misspelt(node, wanted, set(methods))
        used = _used(file, node)
        for name in wanted:
            if name in methods:
                owner, method = methods[name]
                if owner is file and used and _gives_nothing(file, method):
                    yield Found(
                        method,
                        f"`{node.name}.{name}` returns nothing.",
                        "Return the example." if name == "__getitem__" else "Return the length.",
                    )
            elif used and not _has_similar(set(methods), name):
                yield Found(
                    node,
                    f"`{node.name}` has no `{name}`, which {used} needs.",
                    f"Define `{name}`.",
                )
        for loader in loaders(file):
            if iterable and loader.option("shuffle") is True and _reads(loader.data, file, node):
                yield Found(
                    loader.where("shuffle"),
                    f"`DataLoader` raises: it cannot shuffle `{node.name}`, which is iterable.",
                    "Shuffle in `__iter__`, and leave `shuffle` out.",
                )


def _all_known(file: File, node: ast.ClassDef) -> bool:
    """Say whether all methods that a class inherits are known."""
    for base in node.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        name = file.dotted(plain)
        found = file.find(name)
        if found is not None and isinstance(found.node, ast.ClassDef) and found.node is not node:
            if not _all_known(found.file, found.node):
                return False
        elif name not in _KNOWN:
            return False
    return True


def _misspelt(node: ast.ClassDef, wanted: list[str], methods: set[str]) -> Iterator[Found]:
    for method in node.body:
        if not isinstance(method, ast.FunctionDef) or method.name in wanted:
            continue
        meant = _MEANT.get(method.name.strip("_").lower(), "")
        if meant in wanted and meant not in methods and _looks_special(method.name):
            yield Found(
                method,
                f"`{node.name}.{method.name}` is never called: the method is named `{meant}`.",
                f"Rename it to `{meant}`.",
            )


def _looks_special(name: str) -> bool:
    return name.startswith("__") or (name.startswith("_") and name.endswith("_"))


def _has_similar(methods: set[str], name: str) -> bool:
    """Say whether a misspelt method was reported instead."""
    return any(
        _MEANT.get(one.strip("_").lower()) == name and _looks_special(one) for one in methods
    )


def _gives_nothing(file: File, method: ast.FunctionDef) -> bool:
    nodes = list(file.tree.own(method))
    if any(isinstance(one, (ast.Yield, ast.YieldFrom, ast.Raise)) for one in nodes):
        return False
    if any(isinstance(one, ast.Return) and one.value is not None for one in nodes):
        return False
    last = method.body[-1]
    text = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant)
    return not (text or isinstance(last, ast.Pass))


def _used(file: File, node: ast.ClassDef) -> str:
    """Give what reads the data: a loader, or a split; nothing if they are not read."""
    for one in file.project.files:
        for loader in loaders(one):
            plain = loader.is_given("sampler") is False
            if plain and loader.is_given("batch_sampler") is False:
                if _reads(loader.data, file, node):
                    return "the loader"
        for call in one.calls("torch.utils.data.random_split"):
            values = one.values.of(argument(call, "dataset", 0))
            if any(value.definition == Definition(file, node) for value in values):
                return "`random_split`"
    return ""


def _reads(data: Source | None, file: File, node: ast.ClassDef) -> bool:
    if data is None:
        return False
    values = data.file.values.of(data.node)
    return bool(values) and all(value.definition == Definition(file, node) for value in values)


RULE = Rule(
    name="dataset-contract",
    severity="error",
    title="A data set lacks a method that the loader calls",
    why=(
        "A loader asks a data set for `len(data)` and `data[index]`, an iterable one for"
        " `iter(data)`. `Dataset` itself has no `__len__`, and its `__getitem__` raises"
        " NotImplementedError; a method with a misspelt name is never found. The error comes"
        " when the first batch is asked for, or in a worker process."
    ),
    fix="Define `__getitem__(self, index)` and `__len__(self)`, or `__iter__(self)` alone.",
    bad="""\
from torch.utils.data import DataLoader, Dataset

class Pairs(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]

def make_loader(x, y):
    return DataLoader(Pairs(x, y), batch_size=32, shuffle=True)
""",
    good="""\
from torch.utils.data import DataLoader, Dataset

class Pairs(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]

def make_loader(x, y):
    return DataLoader(Pairs(x, y), batch_size=32, shuffle=True)
""",
    source="PyTorch docs, torch.utils.data.Dataset; Hung-yi Lee 2021, PyTorch tutorial.",
    check=check,
)
