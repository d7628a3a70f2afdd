"""A loader of test or validation data that leaves out the last batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._loaders import loaders
from ..._model._file import File
from ..._rule import Found, Rule, replaced


def check(file: File) -> Iterator[Found]:
    """Look for ``drop_last=True`` where the data are certainly held out.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        if loader.option("drop_last") is not True or not loader.held_out:
            continue
        name = f"`{loader.target}`" if loader.target else "This loader"
        where = loader.where("drop_last")
        literal = isinstance(where, ast.Constant) and loader.site is None
        yield Found(
            where,
            f"{name} drops the last batch if it is not full: some examples are never measured.",
            "Leave `drop_last` out for data that are only measured.",
            edits=(replaced(file, where, "False"),) if literal else (),
        )


RULE = Rule(
    name="drop-last-on-evaluation",
    severity="warning",
    title="The last batch of the evaluation is left out",
    why=(
        "With `drop_last=True` up to `batch_size - 1` examples are not measured. The score"
        " changes with the batch size, predictions are missing at the end, and a set smaller"
        " than a batch gives no batch at all, so that the average is a division by zero."
    ),
    fix="Use `drop_last=True` for training only.",
    bad="""\
from torch.utils.data import DataLoader

def make_loaders(train_set, val_set, batch_size):
    train_loader = DataLoader(train_set, batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, batch_size, shuffle=False, drop_last=True)
    return train_loader, val_loader
""",
    good="""\
from torch.utils.data import DataLoader

def make_loaders(train_set, val_set, batch_size):
    train_loader = DataLoader(train_set, batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, batch_size, shuffle=False)
    return train_loader, val_loader
""",
    source="PyTorch docs, torch.utils.data.DataLoader: drop_last drops the last incomplete batch.",
    check=check,
)
