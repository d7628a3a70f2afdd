"""All rules, each in a file of its own, in folders by theme."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from .._rule import Rule


@cache
def rules() -> Mapping[str, Rule]:
    """Give the rules by their names, theme by theme.

    Source: Each rule names its own.
    """
    found: dict[str, Rule] = {}
    for theme in pkgutil.iter_modules(__path__):
        package = importlib.import_module(f"{__name__}.{theme.name}")
        for part in pkgutil.iter_modules(package.__path__):
            rule = importlib.import_module(f"{package.__name__}.{part.name}").RULE
            found[rule.name] = rule
    return MappingProxyType(found)


@cache
def themes() -> Mapping[str, tuple[str, tuple[Rule, ...]]]:
    """Give for each theme its heading and its rules."""
    found: dict[str, tuple[str, tuple[Rule, ...]]] = {}
    for theme in pkgutil.iter_modules(__path__):
        package = importlib.import_module(f"{__name__}.{theme.name}")
        members = {part.name.replace("_", "-") for part in pkgutil.iter_modules(package.__path__)}
        heading = (package.__doc__ or "").strip().rstrip(".")
        found[theme.name] = (heading, tuple(r for r in rules().values() if r.name in members))
    return MappingProxyType(found)
