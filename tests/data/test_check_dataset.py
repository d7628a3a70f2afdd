"""The contract of map-style datasets: valid ones pass, each planted fault is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.data import check_dataset, from_dataset


class Squares(Dataset):
    """A valid dataset; faults are planted through its arguments."""

    def __init__(self, item: Callable[[int], Any] | None = None, count: Any = 6) -> None:
        self.item = item or (lambda i: (torch.full((2,), float(i)), i % 2))
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


class NoLength(Dataset):
    def __getitem__(self, index: int) -> Any:
        return torch.zeros(2), 0


class NoItem(Dataset):
    def __len__(self) -> int:
        return 3


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield torch.zeros(2), 0


class Plain:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return np.zeros(2, np.float32), np.int64(index % 2)


def fails(index: int) -> Any:
    raise KeyError("file_7")


@pytest.mark.parametrize(
    "dataset",
    [
        Squares(),
        Squares(count=1),
        Plain(),
        TensorDataset(torch.zeros(4, 2), torch.arange(4)),
        torch.utils.data.Subset(Squares(), [0, 2]),
        [(torch.zeros(2), 1), (torch.ones(2), 0)],
    ],
)
def test_valid_datasets_pass(dataset: Any) -> None:
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (NoLength(), "`__len__` must be defined; got no such method"),
        (NoItem(), "`__getitem__` must be defined; got no such method"),
        (Stream(), r"`__getitem__` must be defined; got only `__iter__` \(an iterable"),
        (3, "`__getitem__` must be defined"),
        (Squares(count=0), "`__len__` must give at least 1; got 0"),
        (Squares(count=-1), "`__len__` must give a number of examples; got ValueError"),
        (Squares(count="six"), "`__len__` must give a number of examples; got TypeError"),
        (Squares(fails), r"`__getitem__\(0\)` must give an .* pair; got KeyError: 'file_7'"),
        (Squares(lambda i: torch.zeros(2)), "must give an .* pair; got a Tensor"),
        (Squares(lambda i: (1, 2, 3)), "must give an .* pair; got a tuple of 3 entries"),
        (Squares(lambda i: ("a", 1)), r"`__getitem__\(0\)`\[0\] must be a tensor .* got a str"),
        (Squares(lambda i: (torch.zeros(1), "a")), r"\[1\] must be a tensor of one target; got"),
        (Squares(lambda i: (torch.zeros(i), 1)), r"`__getitem__\(3\)` must give the input in the"),
        (
            Squares(lambda i: (torch.zeros(1), i if i < 5 else 0.5)),
            r"`__getitem__\(5\)` must give the target in .* got \(\) torch\.float32",
        ),
    ],
)
def test_the_missing_or_wrong_method_is_named(dataset: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"check_dataset: .*{message}"):
        check_dataset(dataset)


def test_a_dataset_is_stacked_once() -> None:
    examples = from_dataset(Squares(), class_names=["even", "odd"])
    assert torch.equal(examples.inputs, torch.arange(6.0).unsqueeze(1).expand(6, 2))
    assert examples.targets.tolist() == [0, 1] * 3
    assert examples.schema.kind == "table"
    assert examples.schema.class_names == ("even", "odd")


def test_bytes_are_images_and_floats_are_numbers() -> None:
    pixels = torch.randint(256, (6, 3, 4, 5), dtype=torch.uint8)
    examples = from_dataset(Squares(lambda i: (pixels[i], i / 2)))
    assert (examples.schema.kind, examples.schema.target_kind) == ("images", "number")
    assert torch.equal(examples.inputs, pixels)
    assert examples.targets.tolist() == [i / 2 for i in range(6)]


def test_an_item_that_breaks_the_contract_is_found_wherever_it_is() -> None:
    dataset = Squares(lambda i: (torch.zeros(3 if i == 2 else 2), 0))
    check_dataset(dataset)
    with pytest.raises(UsageError, match=r"`__getitem__\(2\)` must give the input in the shape"):
        from_dataset(dataset)
