"""One number for all that a training depends on, equal only for states equal to the bit."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.data import Dataset

from ..data import Examples
from ..train._state import random_state
from ._reached import GENERATORS, reached

_SCALARS: Final = (str, int, float, bool, bytes, type(None), torch.dtype, torch.device)
_LISTS: Final = (list, tuple, deque, set, frozenset, Mapping)
_ITEMS: Final = 1000
"""Items of a list of a module or a data set that are looked at: the first and the last ones."""


def state_digest(*parts: Any) -> str:
    """Give a SHA-256 over all that a training depends on: equal only for states equal to the bit.

    Values, gradients and flags of tensors; buffers, modes, hooks, lists and dicts of modules;
    states and settings of optimizers, schedules, loaders and generators; modules and tensors that a
    function closes over; generators and positions of data sets; torch's, NumPy's and Python's
    random generators. Contents of data sets are left out, and the middle of very long lists.

    Args:
        parts: As for `sandbox`.
    """
    digest = hashlib.sha256()
    seen: dict[int, int] = {}
    alive: list[Any] = []  # an id is only one's own while its object lives
    for part in (random_state(), *parts):
        _add(digest, part, seen, alive)
    return digest.hexdigest()


def _add(digest: Any, value: Any, seen: dict[int, int], alive: list[Any]) -> None:
    """Take in a value; what was seen before as the place where it was."""
    if isinstance(value, bytes):
        digest.update(b"bytes%d:" % len(value))
        digest.update(value)
        return
    if isinstance(value, _SCALARS):
        digest.update(f"{type(value).__name__}{value!r};".encode())
        return
    if id(value) in seen:
        digest.update(f"again{seen[id(value)]};".encode())
        return
    seen[id(value)] = len(seen)
    alive.append(value)
    digest.update(f"{type(value).__qualname__}:".encode())
    for item in _parts_of(value):
        _add(digest, item, seen, alive)
    digest.update(b";")


def _parts_of(value: Any) -> Iterator[Any]:
    """Give what a value consists of."""
    if isinstance(value, Tensor):
        yield from _of_tensor(value)
    elif isinstance(value, nn.Module):
        yield from _of_module(value)
    elif isinstance(value, Optimizer):
        yield from sorted(vars(value).items())
    elif isinstance(value, GENERATORS):
        yield _state_of(value)
    elif isinstance(value, np.ndarray):
        yield value.tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, item)
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from value
    elif isinstance(value, (Dataset, Examples)):
        yield from _of_data(value, depth=3)
    elif hasattr(value, "state_dict"):
        yield value.state_dict()
        if hasattr(value, "dataset"):
            yield from _of_data(value.dataset, depth=3)
    elif isinstance(value, (type, FunctionType)):
        yield value.__qualname__
        if isinstance(value, FunctionType):
            yield [held for _, held in reached(value) if isinstance(held, (nn.Module, Tensor))]
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif hasattr(value, "dataset") and hasattr(value, "__dict__"):  # a loader
        for name, item in vars(value).items():
            if name in ("dataset", "_iterator"):
                yield from _of_data(item, depth=3) if name == "dataset" else ()
            else:
                yield from (name, item)
    elif hasattr(value, "__dict__"):
        yield from vars(value).items()


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, random.Random):
        return repr(generator.getstate())
    return generator.get_state()  # torch's and NumPy's older kind


def _of_tensor(value: Tensor) -> Iterator[Any]:
    if is_lazy(value):
        return
    yield str((value.dtype, tuple(value.shape), value.device, value.requires_grad))
    plain = value.detach().cpu()
    if plain.layout != torch.strided:
        plain = plain.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
        yield from (plain.indices(), plain.values())
    else:
        plain = plain.contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    yield value.grad if value.is_leaf else None


def _of_module(value: nn.Module) -> Iterator[Any]:
    for name, module in value.named_modules():
        yield from (name, type(module).__qualname__, module.training)
        for kind, held in vars(module).items():
            if kind.endswith("_hooks"):
                yield from (kind, list(held.values()))
            elif kind in ("_parameters", "_buffers") or isinstance(held, Tensor):
                yield from (kind, held)
            elif isinstance(held, (int, float, str, bool, np.ndarray, *GENERATORS)):
                yield from (kind, held)
            elif isinstance(held, _LISTS) and kind != "_modules":
                yield from (kind, *_ends(held))


def _ends(held: Any, depth: int = 3) -> Iterator[Any]:
    """Give the plain items at both ends of a list or dict, and how long it is."""
    yield len(held)
    items: Iterable[Any] = held.items() if isinstance(held, Mapping) else held
    if len(held) > _ITEMS and not isinstance(held, (set, frozenset)):
        last: Any = items
        items = (*islice(items, _ITEMS // 2), *islice(reversed(last), _ITEMS // 2))
    for item in islice(items, _ITEMS):
        if isinstance(item, (*_SCALARS, Tensor, np.ndarray, *GENERATORS)):
            yield item
        elif isinstance(item, _LISTS) and depth:
            yield from _ends(item, depth - 1)


def _of_data(data: Any, depth: int) -> Iterator[Any]:
    """Give what reading a data set may change: its generators, its position, its order."""
    yield id(data)
    if isinstance(data, Examples) or not depth:
        return
    for name, held in getattr(data, "__dict__", {}).items():
        yield name
        yield from _of_field(held, depth)


def _of_field(held: Any, depth: int) -> Iterator[Any]:
    if isinstance(held, (*_SCALARS, *GENERATORS, nn.Module)):
        yield held
    elif isinstance(held, (Tensor, np.ndarray, type, FunctionType)):
        yield id(held)
    elif isinstance(held, _LISTS):
        yield len(held)
        if len(held) <= _ITEMS:
            for item in held.values() if isinstance(held, Mapping) else held:
                yield from _of_field(item, depth - 1) if depth else ()
    else:
        yield from _of_data(held, depth - 1)
