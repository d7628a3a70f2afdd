"""A generator in a data set that every worker process gets a copy of."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import UNKNOWN, Loader, loaders
from ..._model._file import File
from ..._model._project import Definition
from ..._model._tree import key, method, owner
from ..._rule import Found, Rule

_GENERATORS = {
    "numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator",
    "random.Random", "torch.Generator",
}  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for generators made once, that ``__getitem__`` draws from in several workers.

    Args:
        file: The file.
    """
    for node in file.datasets:
        uses = _users(file, node)
        if not uses or "get_worker_info" in file.text_of(node):
            continue
        certain = any(_has_workers(loader) is True for loader in uses)
        for name, made in _generators(file, node):
            yield Found(
                made,
                f"Each worker process has a copy of `{name}`, and all give the same numbers.",
                "Draw with `torch.rand` or `np.random` in `__getitem__`: workers seed those apart.",
                certain=certain,
            )


def _users(file: File, node: ast.ClassDef) -> list[Loader]:
    """Give the loaders of the project that read such data in other processes."""
    found = []
    for one in file.project.files:
        for loader in loaders(one):
            data = loader.data
            if data is None or _has_workers(loader) is False:
                continue
            if loader.is_given("worker_init_fn") is not False:
                continue
            values = data.file.values.of(data.node)
            if any(value.definition == Definition(file, node) for value in values):
                found.append(loader)
    return found


def _has_workers(loader: Loader) -> bool | None:
    number = loader.option("num_workers")
    if number is UNKNOWN:
        return None
    return isinstance(number, int) and number > 0


def _generators(file: File, node: ast.ClassDef) -> Iterator[tuple[str, ast.Call]]:
    """Give the generators that reading an example draws from: own ones, and those of the file."""
    found = file.methods(node)
    reads = [found[name][1] for name in ("__getitem__", "__iter__") if name in found]
    drawn = {
        key(owner(call))
        for read in reads
        for call in ast.walk(read)
        if isinstance(call, ast.Call) and owner(call) is not None
    }
    drawn |= {
        key(keyword.value)
        for read in reads
        for keyword in ast.walk(read)
        if isinstance(keyword, ast.keyword) and keyword.arg == "generator"
    }
    local = {
        key(t)
        for read in reads
        for one in ast.walk(read)
        if isinstance(one, ast.Assign)
        for t in one.targets
    }
    for name in sorted(drawn - local - {""}):
        scope = node if name.startswith("self.") else file.tree.root
        bindings = file.values.bindings.everywhere(scope, name)
        value = bindings[0].value if len(bindings) == 1 else None
        if isinstance(value, ast.Call) and _makes(file, value):
            yield name, value


def _makes(file: File, call: ast.Call) -> bool:
    inner = owner(call)
    if method(call) == "manual_seed" and isinstance(inner, ast.Call):
        call = inner
    return file.dotted(call.func) in _GENERATORS


RULE = Rule(
    name="worker-seeding",
    severity="warning",
    title="A generator of random numbers is copied to every worker",
    why=(
        "Workers seed the global generators of torch, Python and NumPy apart, so that"
        " `torch.rand`, `random.random` and `np.random.rand` are right (NumPy was not before"
        " torch 1.9). A generator that is kept in the data set or the file is not one of them:"
        " each worker starts with the same copy, and again in each epoch, so that augmentations"
        " repeat."
    ),
    fix="Use a global generator, or seed the own one by `torch.utils.data.get_worker_info().seed`.",
    bad="""\
import numpy as np
from torch.utils.data import DataLoader, Dataset

class Noisy(Dataset):
    def __init__(self, x):
        self.x = x
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + self.rng.normal()

def make_loader(x):
    return DataLoader(Noisy(x), batch_size=32, shuffle=True, num_workers=4)
""",
    good="""\
import numpy as np
from torch.utils.data import DataLoader, Dataset

class Noisy(Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + np.random.normal()

def make_loader(x):
    return DataLoader(Noisy(x), batch_size=32, shuffle=True, num_workers=4)
""",
    source="PyTorch docs, Randomness in multi-process data loading; shown by running torch 2.13.",
    check=check,
)
