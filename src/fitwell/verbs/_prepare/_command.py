"""The command line that does what arguments of a verb say."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_NOT_REPEATED = (
    *("source", "path", "run", "resume", "predict", "sample"),
    *("plan", "probe_seconds", "session_hours"),
)


@cache
def defaults() -> Mapping[str, Any]:
    """Give all arguments of `train` with their defaults; those without one are None."""
    from .._train import train

    empty = inspect.Parameter.empty
    parameters = inspect.signature(train).parameters.values()
    return {p.name: None if p.default is empty else p.default for p in parameters}


def command(verb: str, given: Mapping[str, Any]) -> str:
    """Give the command line that does the same, as far as its arguments can be typed.

    Args:
        verb: Such as ``train``.
        given: Its arguments by name; those of `train` are left out where they are the defaults.
    """
    words = ["fitwell", verb]
    words += [
        str(given[name]) for name in ("source", "path") if isinstance(given[name], (str, Path))
    ]
    for name, value in given.items():
        if name in _NOT_REPEATED or value == defaults().get(name):
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, (list, tuple)):
            words += [option, *map(str, value)]
        elif isinstance(value, (str, int, float, Path)):
            words += [option, str(value)]
    return shlex.join(words)
