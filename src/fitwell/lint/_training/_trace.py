"""Where an expression comes from: a model with its graph, without it, or elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

if TYPE_CHECKING:
    from .._model._file import File

State = Literal["unknown", "data", "live", "cut"]


@final
@dataclass(frozen=True)
class Cut:
    """A place where the graph ends.

    Args:
        node: The expression.
        file: The file of that place.
        how: `no_grad`, or what is called: `item`, `detach`, `data`, `torch.tensor`, `argmax` ...
        certain: Whether all that was called on the way is known.
    """

    node: ast.AST
    file: File
    how: str
    certain: bool = True


@final
@dataclass(frozen=True)
class Trace:
    """Where an expression comes from.

    Args:
        state: `live`: of a model or a loss, perhaps with its graph; `cut`: of these, and certainly
            without a graph; `data`: certainly without one, of something else.
        cuts: Where it ends.
    """

    state: State
    cuts: frozenset[Cut] = frozenset()


UNKNOWN: Final = Trace("unknown")
DATA: Final = Trace("data")
LIVE: Final = Trace("live")


def joined(parts: Iterable[Trace]) -> Trace:
    """Give what an expression is that is made of others, or may be one of them.

    Args:
        parts: All of them.
    """
    found = list(parts)
    states = {one.state for one in found}
    for state in (LIVE, UNKNOWN):
        if state.state in states:
            return state
    cuts = frozenset().union(*(one.cuts for one in found))
    return Trace("cut", cuts) if "cut" in states else DATA
