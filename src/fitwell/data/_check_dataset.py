"""Map-style datasets of PyTorch: check the contract, and stack one into tensors once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..core.errors import UsageError
from ._arrays import as_examples
from ._examples import Examples

_OWNER = "check_dataset"


def check_dataset(dataset: Any) -> None:
    """Accept a valid map-style dataset; otherwise name the missing or wrong method.

    The contract: ``__len__`` gives a positive number, ``__getitem__`` takes integers from 0 to
    that and gives an (input, target) pair in which all inputs, and all targets, have one shape and
    one dtype. The first, the middle and the last item are looked at; `from_dataset` looks at all.

    Args:
        dataset: The dataset to check.

    Raises:
        UsageError: A method is missing or breaks the contract; the message names it.

    Source: paszke2019pytorch, map-style datasets of `torch.utils.data`.
    Checked against: datasets with each fault planted, and `TensorDataset`.
    """
    if not _defines(dataset, "__getitem__"):
        if _defines(dataset, "__iter__"):
            raise _wrong("`__getitem__`", "be defined", "only `__iter__` (an iterable dataset)")
        raise _wrong("`__getitem__`", "be defined", "no such method")
    if not _defines(dataset, "__len__"):
        raise _wrong("`__len__`", "be defined", "no such method")
    try:
        count = len(dataset)
    except Exception as err:
        raise _wrong("`__len__`", "give a number of examples", f"{_named(err)}") from err
    if count == 0:
        raise _wrong("`__len__`", "give at least 1", "0", "Check where the data is read from.")
    first = _item(dataset, 0)
    for index in sorted({count // 2, count - 1}):
        _same(first, _item(dataset, index), index)


def from_dataset(
    dataset: Any,
    *,
    class_names: Sequence[str] | None = None,
    target_kind: Literal["auto", "class", "number"] = "auto",
) -> Examples:
    """Stack a map-style dataset into tensors once, so that batches need no Python per example.

    Random transforms inside the dataset are frozen by this; give them to `Batches` as `augment`.
    Not for data larger than memory.

    Args:
        dataset: A map-style dataset of (input, target) pairs; uint8 inputs (C, H, W) or (H, W) are
            images.
        class_names: Names of classes 0, 1, ..., for targets that are such indices.
        target_kind: What the targets are; ``auto`` takes integers for classes.

    Raises:
        UsageError: The dataset breaks the contract of `check_dataset`, at any of its items.
        DataError: A value is not finite, or a label is unknown.
    """
    check_dataset(dataset)
    first = _item(dataset, 0)
    inputs = torch.empty((len(dataset), *first[0].shape), dtype=first[0].dtype)
    targets = torch.empty((len(dataset), *first[1].shape), dtype=first[1].dtype)
    for index in range(len(dataset)):
        item = _item(dataset, index)
        _same(first, item, index)
        inputs[index], targets[index] = item
    return as_examples(
        inputs, targets, class_names=class_names, target_kind=target_kind, owner="from_dataset"
    )


def _defines(dataset: Any, method: str) -> bool:
    """Whether a class brings a method itself; `Dataset.__getitem__` only raises."""
    found = getattr(type(dataset), method, None)
    return found is not None and found is not getattr(Dataset, method, None)


def _item(dataset: Any, index: int) -> tuple[Tensor, Tensor]:
    call = f"`__getitem__({index})`"
    try:
        item = dataset[index]
    except Exception as err:
        raise _wrong(call, "give an (input, target) pair", _named(err)) from err
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        size = f" of {len(item)} entries" if isinstance(item, (tuple, list)) else ""
        got = f"a {type(item).__name__}{size}"
        raise _wrong(call, "give an (input, target) pair", got)
    return _tensor(item[0], f"{call}[0]", "input"), _tensor(item[1], f"{call}[1]", "target")


def _tensor(value: Any, where: str, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, (np.ndarray, np.number, np.bool_)) and value.dtype.kind in "buif":
        return torch.as_tensor(np.asarray(value))
    if what == "target" and isinstance(value, (bool, int, float)):
        return torch.tensor(value)
    remedy = f"Convert the {what} to a tensor in `__getitem__`."
    raise _wrong(where, f"be a tensor of one {what}", f"a {type(value).__name__}", remedy)


def _same(first: tuple[Tensor, Tensor], item: tuple[Tensor, Tensor], index: int) -> None:
    for place, what in enumerate(("input", "target")):
        wanted, got = first[place], item[place]
        if wanted.shape != got.shape or wanted.dtype != got.dtype:
            raise _wrong(
                f"`__getitem__({index})`",
                f"give the {what} in the shape and dtype of item 0,"
                f" {tuple(wanted.shape)} {wanted.dtype}",
                f"{tuple(got.shape)} {got.dtype}",
                "Resize or pad the examples to one shape.",
            )


def _named(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"


def _wrong(method: str, must: str, got: str, remedy: str = "") -> UsageError:
    remedy = remedy or "Write it as in the PyTorch tutorial on datasets."
    return UsageError(f"{_OWNER}: {method} must {must}; got {got}. {remedy}")
