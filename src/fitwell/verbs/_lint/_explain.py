"""What a rule is about, for a terminal."""

from __future__ import annotations

import textwrap

from ...core.errors import unknown_name
from ...lint import mends, rules, themes

_WIDTH = 92


def explained(name: str) -> str:
    """Give the page of a rule.

    Args:
        name: Of the rule.

    Raises:
        UnknownName: There is no such rule.
    """
    if name not in rules():
        raise unknown_name("lint", "rule", name, rules())
    rule = rules()[name]
    parts = [
        f"{rule.name} ({rule.severity}{', mended by --fix' if mends(rule) else ''}): {rule.title}",
        textwrap.fill(rule.why, _WIDTH),
        textwrap.fill(f"What to do: {rule.fix}", _WIDTH),
        "Wrong:\n" + textwrap.indent(rule.bad.rstrip(), "    "),
        "Right:\n" + textwrap.indent(rule.good.rstrip(), "    "),
        textwrap.fill(f"Source: {rule.source}", _WIDTH),
        f"To keep a line as it is: # fitwell: ignore[{rule.name}]",
    ]
    return "\n\n".join(parts)


def table() -> str:
    """Give all rules, theme by theme."""
    parts = []
    width = max(map(len, rules())) + 2
    for name, (heading, members) in themes().items():
        lines = [f"  {rule.name:<{width}}{rule.severity:<9}{rule.title}" for rule in members]
        parts.append("\n".join([f"{name}: {heading.partition(': ')[2] or heading}", *lines]))
    return "\n\n".join(parts)
