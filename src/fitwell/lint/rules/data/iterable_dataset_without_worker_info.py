"""An iterable data set that every worker reads from the start."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._data._loaders import UNKNOWN, loaders
from ..._model._file import File
from ..._model._project import Definition
from ..._rule import Found, Rule

_ITERABLE = frozenset({"torch.utils.data.IterableDataset"})
_SHARES = re.compile(
    r"worker|shard|rank|islice|rand|shuffle|while True|queue|stream|datasets\.|wds"
)
"""Signs of a class that gives each worker a part of its own, or data without an end."""


def check(file: File) -> Iterator[Found]:
    """Look for such data in loaders with workers, where nothing tells the workers apart.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        number, data = loader.option("num_workers"), loader.data
        if data is None or number in (None, 0) or loader.is_given("worker_init_fn") is not False:
            continue
        values = data.file.values.of(data.node)
        owners = [value.definition for value in values]
        if not owners or not all(one is not None and _repeats(one) for one in owners):
            continue
        yield Found(
            loader.call,
            f"Each worker gives all of `{values[0].short}`: every example comes once per worker.",
            "Give each worker its part in `__iter__`, by `torch.utils.data.get_worker_info()`.",
            certain=number is not UNKNOWN and number != 1,
        )


def _repeats(definition: Definition) -> bool:
    node, file = definition.node, definition.file
    if not isinstance(node, ast.ClassDef) or not file.derives(node, _ITERABLE):
        return False
    if "datasets" in file.text or "webdataset" in file.text:
        return False
    parts = [there.text_of(one) for there, one in file.methods(node).values()]
    text = "\n".join(parts)
    return "__iter__" in file.methods(node) and not _SHARES.search(text)


RULE = Rule(
    name="iterable-dataset-without-worker-info",
    severity="error",
    title="Every worker gives all data of an iterable data set",
    why=(
        "The loader does not split an `IterableDataset`: each worker process runs `__iter__` of"
        " its own copy. With 4 workers every example comes 4 times in an epoch; epochs take"
        " longer, averages and counts are wrong, and the data of one batch repeat in the next."
    ),
    fix=(
        "In `__iter__`, take every n-th example: `info = get_worker_info()` has `id` and"
        " `num_workers`."
    ),
    bad="""\
from torch.utils.data import DataLoader, IterableDataset

class Lines(IterableDataset):
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        with open(self.path) as file:
            for line in file:
                yield float(line)

loader = DataLoader(Lines("numbers.txt"), batch_size=32, num_workers=4)
""",
    good="""\
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

class Lines(IterableDataset):
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        info = get_worker_info()
        with open(self.path) as file:
            for number, line in enumerate(file):
                if info is None or number % info.num_workers == info.id:
                    yield float(line)

loader = DataLoader(Lines("numbers.txt"), batch_size=32, num_workers=4)
""",
    source="PyTorch docs, torch.utils.data.IterableDataset: duplicates with several workers.",
    check=check,
)
