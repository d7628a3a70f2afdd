"""A loader of training data that gives the same batches in every epoch."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._loaders import Loader, loaders
from ..._data._orders import breaks_off, is_full_batch, is_map_style, may_be_ordered, mixed_by_hand
from ..._model._file import File
from ..._rule import Found, Rule

_SAMPLERS = ("sampler", "batch_sampler")


def check(file: File) -> Iterator[Found]:
    """Look for loaders without `shuffle` and sampler that a training goes over.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        if loader.option("shuffle") not in (None, False) or is_full_batch(loader):
            continue
        if any(loader.is_given(name) is not False for name in _SAMPLERS):
            continue
        certain = _certainly_trains(loader)
        if not certain and not (loader.roles == {"train"} and _may_be_map_style(loader)):
            continue
        if not certain and (breaks_off(loader) or (loader.loops and not loader.trains)):
            continue
        name = f"`{loader.target}`" if loader.target else "The training loader"
        yield Found(
            loader.call,
            f"{name} gives the same batches in the same order in every epoch: it does not shuffle.",
            "Give it `shuffle=True`.",
            certain=certain,
        )


def _says_no(loader: Loader) -> bool:
    """Say whether ``shuffle=False`` is written in a method that Lightning trains with."""
    function = loader.file.tree.function(loader.call)
    written = loader.given("shuffle") is not None
    return written and function is not None and function.name == "train_dataloader"


def _certainly_trains(loader: Loader) -> bool:
    if _says_no(loader) and loader.roles == {"train"}:
        return not may_be_ordered(loader) and not mixed_by_hand(loader)
    if not loader.trains or not (loader.roles <= {"train"}) or not is_map_style(loader):
        return False
    return not may_be_ordered(loader) and not mixed_by_hand(loader)


def _may_be_map_style(loader: Loader) -> bool:
    data = loader.data
    made = data.file.values.of(data.node) if data is not None else ()
    return is_map_style(loader) or not made


RULE = Rule(
    name="training-loader-not-shuffled",
    severity="warning",
    title="The training data are not shuffled",
    why=(
        "Without `shuffle=True` every epoch sees the same batches in the order of the files."
        " Data are often stored class by class: then each batch holds one class only, the loss"
        " jumps from batch to batch, batch norm sees statistics of single classes, and the model"
        " leans to what came last."
    ),
    fix="Give the training loader `shuffle=True`, or a sampler.",
    bad="""\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

def train(model, optimizer, transform, epochs):
    loader = DataLoader(ImageFolder("flowers/train", transform), batch_size=64)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
""",
    good="""\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

def train(model, optimizer, transform, epochs):
    loader = DataLoader(ImageFolder("flowers/train", transform), batch_size=64, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source="Hung-yi Lee 2021, PyTorch tutorial: shuffle for training. PyTorch docs, DataLoader.",
    check=check,
)
