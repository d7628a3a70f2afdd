"""What functions and data sets hold, for copies that do not reach the originals through them."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from ..data import Examples

GENERATORS: Final = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

_SHORT: Final = 100
"""Items of a list that are each looked at, for modules in a function's list, data in a data set's.
"""

_LONGEST: Final = 1_000_000
"""Items of a data set's own list that are copied, as far as it may be shuffled; others are shared.
"""


def reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Give what a function closes over and the globals of its file that it names.

    Args:
        function: Any.
    """
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield name, cell.cell_contents
        except ValueError:  # not yet filled
            continue
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= _names(inner)
    return found


class Copier:
    """Copies functions so that they reach the copies where they reached the originals.

    `copy.deepcopy` gives functions back as they are: one that closes over a model would put its
    gradients into the original.

    Args:
        memo: Of `copy.deepcopy`, with the copies of all parts.
    """

    def __init__(self, memo: dict[int, Any]) -> None:
        self.memo = memo
        self.made: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """Give the copy of a function; anything that reaches no model or tensor as it is."""
        if id(value) not in self.made:
            self.made[id(value)] = value  # while it is under way, and if nothing is to be copied
            if isinstance(value, FunctionType):
                self.made[id(value)] = self._function(value)
            elif isinstance(value, partial):
                again = self.of(value.func)
                if again is not value.func:
                    self.made[id(value)] = type(value)(again, *value.args, **value.keywords)
        return self.made[id(value)]

    def parts(self, value: Any) -> Any:
        """Do so with a part, and with those in tuples, lists and dicts.

        Args:
            value: A copy by `copy.deepcopy`, whose functions are still the originals.
        """
        if isinstance(value, list):
            value[:] = [self.parts(item) for item in value]
        elif isinstance(value, dict):
            value.update({key: self.parts(item) for key, item in value.items()})
        elif type(value) is tuple:
            return tuple(self.parts(item) for item in value)
        return self.of(value)

    def within(self, module: nn.Module) -> None:
        """Do the same to the functions that a copied module and its parts hold.

        Args:
            module: A copy.
        """
        for part in module.modules():
            for name, held in list(vars(part).items()):
                if isinstance(held, (FunctionType, partial)):
                    vars(part)[name] = self.of(held)
                elif name.endswith("_hooks"):
                    for key, hook in list(held.items()):
                        held[key] = self.of(hook)

    def _function(self, function: FunctionType) -> FunctionType:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        changed = {}
        for name, held in reached(function):
            other = self._held(held, function, closed=name in cells)
            if other is not held:
                changed[name] = other
        if not changed:
            return function
        closure = tuple(
            CellType(changed[name]) if name in changed else cell for name, cell in cells.items()
        )
        named = {n: v for n, v in changed.items() if n not in cells}
        made = FunctionType(
            function.__code__,
            {**function.__globals__, **named} if named else function.__globals__,
            function.__name__,
            function.__defaults__,
            closure or None,
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        made.__dict__.update(function.__dict__)
        return made

    def _held(self, held: Any, function: FunctionType, *, closed: bool) -> Any:
        """Give the copy of what a function holds, as far as it is a model or reaches one."""
        if id(held) in self.memo:
            return self.memo[id(held)]
        if isinstance(held, FunctionType):
            return self.of(held) if held.__globals__ is function.__globals__ else held
        if isinstance(held, partial):
            return self.of(held)
        if isinstance(held, MethodType):
            return self._copied(held) if _is_state(held.__self__) else held
        if isinstance(held, (list, tuple, dict)) and len(held) <= _SHORT:
            items = held.values() if isinstance(held, dict) else held
            return self._copied(held) if any(_is_state(item) for item in items) else held
        return self._copied(held) if _is_state(held) else held

    def _copied(self, held: Any) -> Any:
        return copy.deepcopy(held, self.memo)


def _is_state(value: Any) -> bool:
    """Say whether a training may change it: modules, optimizers, tensors without a history."""
    if isinstance(value, Tensor):
        return value.is_leaf
    return isinstance(value, (nn.Module, Optimizer, *GENERATORS))


def lent(data: Any, memo: dict[int, Any], depth: int = 3) -> Any:
    """Give a data set that shares its rows, and has generators, position and order of its own.

    Args:
        data: Anything that a loader reads from.
        memo: Of `copy.deepcopy`, where the copy is noted.
        depth: How far data sets, and what they apply to their rows, are followed.
    """
    if id(data) in memo:
        return memo[id(data)]
    if isinstance(data, GENERATORS) or (isinstance(data, nn.Module) and depth):
        return copy.deepcopy(data, memo)
    made = data
    if isinstance(data, (list, tuple, deque, set, dict)):
        made = _list_lent(data, memo, depth)
    elif depth and _has_fields(data):
        try:
            made = copy.copy(data)
        except (TypeError, RuntimeError, NotImplementedError):
            return data  # open files and the like
        memo[id(data)] = made
        if made is not data:
            for name, held in vars(data).items():
                vars(made)[name] = lent(held, memo, depth - 1)
    memo[id(data)] = made
    memo.setdefault(id(memo), []).append(data)  # an id is only one's own while its object lives
    return made


def _list_lent(data: Any, memo: dict[int, Any], depth: int) -> Any:
    if len(data) > _LONGEST:
        return data
    if len(data) > _SHORT or not depth:
        return data if isinstance(data, tuple) else copy.copy(data)
    if isinstance(data, dict):
        made = copy.copy(data)
        made.update({key: lent(held, memo, depth - 1) for key, held in data.items()})
        return made
    items = [lent(held, memo, depth - 1) for held in data]
    if isinstance(data, tuple):
        same = all(one is other for one, other in zip(items, data, strict=True))
        return data if same or type(data) is not tuple else tuple(items)
    if isinstance(data, set):
        return copy.copy(data)
    several: Any = copy.copy(data)
    several.clear()
    several.extend(items)
    return several


def _has_fields(data: Any) -> bool:
    """Say whether a copy of its fields is a copy of it: data sets, and what they apply to rows."""
    if isinstance(data, (Dataset, Examples)):
        return not isinstance(data, Examples)
    kind: Any = type(data)
    own = (kind.__reduce_ex__, kind.__reduce__, kind.__getstate__)
    usual: tuple[Any, ...] = (object.__reduce_ex__, object.__reduce__, object.__getstate__)
    plain = not any(hasattr(kind, name) for name in ("__copy__", "__deepcopy__", "__next__"))
    return hasattr(data, "__dict__") and plain and own == usual
