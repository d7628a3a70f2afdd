"""What is said about an error: its kind, its cause, where it happened, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from torch import Tensor

from ...core.errors import DataError, FitwellError, RunError, TrainingError, UsageError

if TYPE_CHECKING:
    from ._scene import Scene

Kind = Literal[
    "call",
    "device",
    "dtype",
    "gradient-missing",
    "graph-freed",
    "index-range",
    "in-place",
    "input-shape",
    "label-dtype",
    "label-range",
    "lengths",
    "loss-range",
    "loss-shape",
    "matmul-shape",
    "memory",
    "missing-file",
    "module-code",
    "not-a-tensor",
    "not-finite",
    "one-value",
    "shape",
    "weights",
    "worker",
]
"""Kinds of errors that are explained."""

_RAISED: dict[str, type[FitwellError]] = {
    "memory": TrainingError,
    "not-finite": TrainingError,
    "weights": RunError,
    "missing-file": DataError,
}
"""What is raised for a kind; everything else is a mistake of usage."""


@final
@dataclass(frozen=True, kw_only=True)
class SeenTensor:
    """A tensor that took part in an error, without its values.

    Args:
        name: What the failing function calls it.
        called: What the code of the user calls it; empty if that is not known or the same.
        shape: Its shape.
        dtype: Its type, such as ``float32``.
        device: Where it is.
    """

    name: str
    called: str
    shape: tuple[int, ...]
    dtype: str
    device: str

    @classmethod
    def of(cls, name: str, called: str, tensor: Tensor) -> SeenTensor:
        """Describe a tensor."""
        return cls(
            name=name,
            called="" if called == name else called,
            shape=tuple(tensor.shape),
            dtype=dtype_name(tensor),
            device=str(tensor.device),
        )

    def __str__(self) -> str:
        known = f"{self.name} `{self.called}`" if self.called else self.name
        place = "" if self.device == "cpu" else f" on {self.device}"
        return f"{known} {self.shape} {self.dtype}{place}"


@final
@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why an error happened, and the one line that mends it.

    Args:
        kind: What kind of mistake it is.
        cause: What went wrong, as one sentence without its full stop.
        fix: What to do.
        where: The layer, by its path in the model, or the function; empty if there is none.
        line: The line of the user's code, such as ``net.py:17``; empty if there is none.
        tensors: The tensors that took part.
    """

    kind: Kind
    cause: str
    fix: str
    where: str = ""
    line: str = ""
    tensors: tuple[SeenTensor, ...] = ()

    def __str__(self) -> str:
        place = f"{self.where} ({self.line})" if self.where and self.line else self.where
        place = place or self.line
        seen = f"; got {', '.join(map(str, self.tensors))}" if self.tensors else ""
        return f"{place}: {self.cause}{seen}. {self.fix}".removeprefix(": ")

    def to_dict(self) -> dict[str, Any]:
        """Give the explanation as plain data, ready for JSON."""
        return asdict(self)

    def error(self, owner: str) -> FitwellError:
        """Make the error of this package that says it.

        Args:
            owner: Who speaks, for the start of the sentence.
        """
        return _RAISED.get(self.kind, UsageError)(f"{owner}: {self}")


Rule = tuple[str, Callable[[re.Match[str], "Scene"], Explanation | None]]
"""A pattern in the message of an error, and what explains it."""


def dtype_name(tensor: Tensor) -> str:
    """Give a dtype without ``torch.``."""
    return str(tensor.dtype).removeprefix("torch.")


def sizes(text: str) -> tuple[int, ...]:
    """Read the sizes in a text such as ``[4, 3]``, ``4x3`` or ``torch.Size([4, 3])``."""
    return tuple(map(int, re.findall(r"\d+", text)))
