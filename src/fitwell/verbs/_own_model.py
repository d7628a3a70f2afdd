"""Models of the user's own, named on the command line as ``file.py:Name(...)``."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import UsageError, unknown_name
from ..core.spec import parse
from ..tasks import ModelChoice


def resolve_model(choice: ModelChoice) -> tuple[ModelChoice, str, bool]:
    """Tell a built-in model from the user's own, and load the latter.

    The file is executed, as Python does with a script; only a file that the user names here is.

    Args:
        choice: What the user gave.

    Returns:
        What makes the model, its printed form, and whether it is the user's own.

    Raises:
        UsageError: The file cannot be loaded.
        UnknownName: The file has nothing of that name.
    """
    if isinstance(choice, nn.Module):
        return choice, type(choice).__name__, True
    if not isinstance(choice, str):
        name = getattr(choice, "__qualname__", type(choice).__name__)
        return choice, name, True
    if ".py:" not in choice:
        return choice, str(parse(choice)), False
    return _load(choice), choice, True


def _load(text: str) -> Callable[..., Any]:
    file, _, call = text.partition(".py:")
    path = Path(file + ".py")
    if not path.is_file():
        raise UsageError(f"train: `model` must name a Python file that is there; got {path}.")
    spec = importlib.util.spec_from_file_location(f"fitwell_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"train: `model` must name a Python file; got {path}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as err:
        raise UsageError(
            f"train: {path} cannot be loaded ({type(err).__name__}: {err}). Run it alone first."
        ) from err
    wanted = parse(call)
    known = {name: value for name, value in vars(module).items() if callable(value)}
    if wanted.name not in known:
        own = [name for name, value in known.items() if value.__module__ == module.__name__]
        raise unknown_name(f"train: {path}", "class or function", wanted.name, own)
    made = known[wanted.name]
    if wanted.args or wanted.kwargs:
        try:
            inspect.signature(made).bind_partial(*wanted.args, **wanted.kwargs)
        except TypeError as err:
            raise UsageError(f"train: {path}: {wanted.name}: {err}; got {wanted}.") from err
        return partial(made, *wanted.args, **wanted.kwargs)
    return made  # type: ignore[no-any-return]
