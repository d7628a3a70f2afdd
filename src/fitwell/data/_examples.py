"""The form all data takes: `Examples` with a `Schema`, in up to three `Splits`.

Axes: N examples, C channels, H W height width, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, final

import torch
from torch import Tensor

from ..core.errors import UsageError
from ._stream import DiskRows, Inputs, chunks

Kind = Literal["images", "table", "tensor"]
TargetKind = Literal["class", "number"]


@final
@dataclass(frozen=True, kw_only=True)
class Column:
    """One input feature of a table.

    Args:
        name: Header of the column it came from.
        kind: A number (missing values are NaN) or a category code.
        categories: For a category, the names of codes 1, 2, ...; code 0 is missing or unseen.
    """

    name: str
    kind: Literal["number", "category"] = "number"
    categories: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class Schema:
    """What the inputs and targets of a data set are, enough to read more of the same kind.

    Args:
        kind: Where the inputs come from; decides the task.
        input_shape: Shape of one input, (C, H, W) for images, (F,) for a table.
        target_kind: A class index or a number.
        class_names: Names of classes 0, 1, ...; empty for a number.
        columns: Input features of a table in order; empty otherwise.
        id_name: Header of the id column in predictions.
        target_name: Header of the target column in predictions.
        source: How the table or images were read, for reading more of them alike.
    """

    kind: Kind
    input_shape: tuple[int, ...]
    target_kind: TargetKind
    class_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    id_name: str = "id"
    target_name: str = "target"
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 when the target is a number."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """What a model has to put out per example: a logit for each class, or one number."""
        return self.num_classes if self.target_kind == "class" else 1

    def to_dict(self) -> dict[str, Any]:
        """Give the schema as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Schema:
        """Read the schema back from plain data.

        Args:
            value: What `to_dict` gave.
        """
        columns = tuple(
            Column(name=c["name"], kind=c["kind"], categories=tuple(c["categories"]))
            for c in value["columns"]
        )
        return cls(
            **{
                **value,
                "columns": columns,
                "input_shape": tuple(value["input_shape"]),
                "class_names": tuple(value["class_names"]),
            }
        )


@final
@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs and targets as tensors, gathered by index; never changed after they are made.

    Inputs that do not fit in memory are `DiskRows`, of which a part is read at a time.

    Args:
        inputs: (N, ...); uint8 in [0, 255] for images (batches turn them into floats in [0, 1]),
            float32 for tables (category columns hold their codes). May be a memory map, or rows
            on disk.
        targets: (N,) int64 class indices or float32 numbers; None when they are not known.
        schema: What the columns and classes are.
        ids: One name per example, as in the user's file; None numbers them 0, 1, ...

    Raises:
        UsageError: Lengths, shapes or dtypes do not fit together.
    """

    inputs: Inputs
    targets: Tensor | None
    schema: Schema
    ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.inputs)
        shape = tuple(self.inputs.shape[1:])
        if shape != self.schema.input_shape:
            raise UsageError(
                f"Examples: `inputs` must have shape (N, *{self.schema.input_shape});"
                f" got {tuple(self.inputs.shape)}. Make schema and inputs agree."
            )
        if self.ids is not None and len(self.ids) != count:
            raise UsageError(
                f"Examples: `ids` must have one entry per example; got {len(self.ids)} for {count}."
            )
        if self.targets is None:
            return
        if len(self.targets) != count:
            raise UsageError(
                "Examples: `targets` must have one entry per example;"
                f" got {len(self.targets)} for {count} inputs."
            )
        wanted = torch.int64 if self.schema.target_kind == "class" else torch.float32
        if self.targets.dtype != wanted:
            raise UsageError(
                f"Examples: `targets` must be {wanted} for a {self.schema.target_kind};"
                f" got {self.targets.dtype}."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, indices: Tensor | Sequence[int]) -> Examples:
        """Give the examples at some positions, in that order; inputs on disk are not read.

        Args:
            indices: Positions; (M,) int64.
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        places = index.tolist() if self.ids is not None else []
        on_disk = isinstance(self.inputs, DiskRows)
        return replace(
            self,
            inputs=self.inputs.take(index) if on_disk else self.inputs[index],
            targets=None if self.targets is None else self.targets[index],
            ids=None if self.ids is None else tuple(self.ids[i] for i in places),
        )

    def to(self, device: torch.device | str) -> Examples:
        """Give the examples with their tensors on a device; themselves if they are there.

        Inputs on disk stay where they are: `Batches` move them batch by batch.

        Args:
            device: Where to.
        """
        if isinstance(self.inputs, DiskRows) or self.inputs.device == torch.device(device):
            return self
        moved = None if self.targets is None else self.targets.to(device)
        return replace(self, inputs=self.inputs.to(device), targets=moved)

    def named_ids(self) -> tuple[str, ...]:
        """Give the ids, numbering the examples where they have none."""
        return self.ids if self.ids is not None else tuple(str(i) for i in range(len(self)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, dtypes and all values; equal only for equal data."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            if tensor is None:
                digest.update(b"none")
                continue
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            for chunk in chunks(tensor, 65536):
                plain = chunk.cpu().contiguous().reshape(-1)
                digest.update(plain.view(torch.uint8).numpy().data)
        return digest.hexdigest()


@final
@dataclass(frozen=True, kw_only=True)
class Splits:
    """The parts a run learns from, chooses by, and is judged on.

    Args:
        train: What the model learns from.
        valid: What the best epoch is chosen by.
        test: What the final numbers are measured on; None when there is no such part.
        indices: Which rows of the source each part holds, for parts cut from one source.
        how: One line that says how the parts were made.
    """

    train: Examples
    valid: Examples
    test: Examples | None = None
    indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    how: str = ""

    @property
    def schema(self) -> Schema:
        """The schema, the same for all parts."""
        return self.train.schema

    def parts(self) -> dict[str, Examples]:
        """Give the parts that exist, by name."""
        found = {"train": self.train, "valid": self.valid}
        return found if self.test is None else {**found, "test": self.test}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of the parts."""
        digest = hashlib.sha256()
        for name, part in self.parts().items():
            digest.update(f"{name}{part.fingerprint}".encode())
        return digest.hexdigest()
