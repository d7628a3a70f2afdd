"""Predictions that are written by position, from a loader that shuffles."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._loaders import loaders
from ..._data._orders import written_in_order
from ..._model._file import File
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for a shuffled loader whose loop keeps results only, and a file that they go to.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        if loader.option("shuffle") is not True or "train" in loader.roles or loader.trains:
            continue
        loop = written_in_order(loader)
        if loop is None:
            continue
        name = f"`{loader.target}`" if loader.target else "the loader"
        yield Found(
            loader.where("shuffle"),
            f"Predictions are written in the order in which {name} gives data, and it shuffles.",
            "Set `shuffle=False`, or write the name of each example with its prediction.",
        )


RULE = Rule(
    name="predictions-shuffled",
    severity="error",
    title="Predictions are written in the order of a shuffled loader",
    why=(
        "The n-th prediction belongs to whatever example came n-th in this pass, not to row n"
        " of the data. The file has the right length and values that look right; its score is"
        " that of guessing."
    ),
    fix="Predict from a loader that does not shuffle, or keep the name of each example.",
    bad="""\
import torch
import pandas as pd
from torch.utils.data import DataLoader

def predict(model, test_set, path):
    test_loader = DataLoader(test_set, batch_size=256, shuffle=True)
    model.eval()
    predictions = []
    with torch.no_grad():
        for x in test_loader:
            predictions.extend(model(x).argmax(dim=1).tolist())
    pd.DataFrame({"label": predictions}).to_csv(path, index_label="id")
""",
    good="""\
import torch
import pandas as pd
from torch.utils.data import DataLoader

def predict(model, test_set, path):
    test_loader = DataLoader(test_set, batch_size=256)
    model.eval()
    predictions = []
    with torch.no_grad():
        for x in test_loader:
            predictions.extend(model(x).argmax(dim=1).tolist())
    pd.DataFrame({"label": predictions}).to_csv(path, index_label="id")
""",
    source=(
        "Hung-yi Lee 2021, homework 1 and 2: predictions are saved by row. PyTorch docs,"
        " DataLoader."
    ),
    check=check,
)
