"""Lend options of `train` to a verb that trains several models."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...core.cards import read_card
from ...core.errors import unknown_name
from .._train import train

_Verb = TypeVar("_Verb", bound=Callable[..., Any])

LENT = (
    *("target", "target_kind", "labels", "id_column", "ignore", "image_size", "channels"),
    *("valid", "test", "valid_path", "test_path", "split", "split_by", "split_seed", "on_bad_row"),
    *("model", "weights", "loss", "metric", "penalty", "optimizer", "lr", "schedule", "augment"),
    *("epochs", "batch_size", "patience", "grad_clip_norm", "precision", "device"),
    *("seed", "smoke"),
)
"""What a verb that trains several models takes over from `train`, unless it has its own."""


def with_training_options(verb: _Verb) -> _Verb:
    """Give a verb that ends in ``**training`` the signature and help of the options it lends.

    Args:
        verb: ``verb(source, path, /, *, own, ..., **training)``; its docstring has `Args` and
            `Groups`, and the lent options become a heading of their own.
    """
    own = inspect.signature(verb).parameters
    theirs = inspect.signature(train).parameters
    hints = typing.get_type_hints(train)
    names = [name for name in LENT if name not in own]
    lent = [theirs[name].replace(annotation=hints[name]) for name in names]
    kept = [p for p in own.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    verb.__signature__ = inspect.Signature([*kept, *lent])  # type: ignore[attr-defined]
    help_of = read_card(train.__doc__).args
    lines = inspect.cleandoc(verb.__doc__ or "").splitlines()
    args, groups = _end_of(lines, "Args"), _end_of(lines, "Groups")
    lines[groups:groups] = [f"    Training: {', '.join(names)}"]
    lines[args:args] = [f"    {name}: {help_of[name]}" for name in names]
    verb.__doc__ = "\n".join(lines)
    return verb


def _end_of(lines: list[str], section: str) -> int:
    """Give the place after the last line of a section."""
    place = lines.index(f"{section}:") + 1
    while place < len(lines) and lines[place].startswith("    "):
        place += 1
    return place


def check_lent(verb: str, training: Mapping[str, Any]) -> None:
    """Refuse what no option of `train` is called.

    Args:
        verb: Whose arguments.
        training: What was given.

    Raises:
        UnknownName: There is no such option.
    """
    for name in training:
        if name not in LENT:
            raise unknown_name(verb, "argument", name, LENT)
