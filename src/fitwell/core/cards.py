"""Cards: the docstring of a public method, read into its parts.

Works on text alone, so that `fitwell list`, `show` and `cite` never import what they describe.
Where the docstrings are found is the business of `core.catalog`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

SECTIONS = ("Args", "Shapes", "Returns", "Yields", "Raises", "Groups", "Example")
CARD_LINES = ("Source", "Differs", "Reduces to", "Checked against")

_SECTION = re.compile(rf"({'|'.join(SECTIONS)}):\s*$")
_CARD_LINE = re.compile(rf"({'|'.join(CARD_LINES)}):\s+(.*)$")
_ITEM = re.compile(r"\*{0,2}([\w.]+(?: [\w.]+)*)(?:\s*\([^)]*\))?:(?:\s+(.*)|\s*)$")
_KEY = re.compile(r"\b[a-z]+[12]\d{3}[a-z0-9]+\b")


@final
@dataclass(frozen=True, kw_only=True)
class Card:
    """What a docstring says, part by part; a part that is not there is empty.

    Args:
        summary: First paragraph: what it does for the user.
        use: Later paragraphs of prose: when to use it, and what to use instead.
        formula: Indented lines before the first section.
        args: Text by argument name, in the order of the docstring.
        shapes: Shape by argument name; `return` is what comes back.
        returns: What comes back.
        raises: When, by exception name.
        groups: Argument names by heading, for the help of a verb with many options.
        source: Where the method was published, beginning with keys of `references.bib`.
        differs: How it departs from its source.
        reduces_to: Which simpler method it turns into, and where.
        checked_against: What the tests compare it with.
        example: Lines of code that run.
    """

    summary: str = ""
    use: str = ""
    formula: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    differs: str = ""
    reduces_to: str = ""
    checked_against: str = ""
    example: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of `references.bib` that the source line names, in order, each once."""
        return tuple(dict.fromkeys(_KEY.findall(self.source)))

    def to_dict(self) -> dict[str, Any]:
        """Give the parts that are not empty as plain data, ready for JSON."""
        return {key: value for key, value in asdict(self).items() if value}


def read_card(docstring: str | None) -> Card:
    """Read a docstring in the house form (Google sections and card lines).

    Args:
        docstring: The text, indented or not; None gives an empty card.
    """
    lines = inspect.cleandoc(docstring or "").splitlines()
    blocks = _blocks(lines)
    prose, formula = _preamble(blocks.get("", []))
    summary, use = (prose[0], "\n\n".join(prose[1:])) if prose else ("", "")
    returns = " ".join(" ".join(blocks.get(name, ())) for name in ("Returns", "Yields"))
    return Card(
        summary=summary,
        use=use,
        formula=formula,
        args=_items(blocks.get("Args", [])),
        shapes=_items(blocks.get("Shapes", [])),
        returns=" ".join(returns.split()),
        raises=_items(blocks.get("Raises", [])),
        groups={
            title: tuple(name.strip() for name in text.rstrip(".").split(","))
            for title, text in _items(blocks.get("Groups", [])).items()
        },
        example=_dedent(blocks.get("Example", [])),
        **{
            name.lower().replace(" ", "_"): " ".join(" ".join(blocks.get(name, ())).split())
            for name in CARD_LINES
        },
    )


def _blocks(lines: list[str]) -> dict[str, list[str]]:
    """Cut the lines at section headings and card lines; what comes before them is block ''."""
    blocks: dict[str, list[str]] = {"": []}
    name = ""
    for line in lines:
        if heading := _SECTION.match(line):
            name = heading[1]
            blocks[name] = []
        elif card_line := _CARD_LINE.match(line):
            name = card_line[1]
            blocks[name] = [card_line[2]]
        elif name in CARD_LINES and not line.strip():
            name = "(after)"  # a blank line ends a card line; prose after it belongs to nothing
        else:
            blocks.setdefault(name, []).append(line)
    return blocks


def _preamble(lines: list[str]) -> tuple[list[str], str]:
    """Split the lines before the first section into prose paragraphs and the formula."""
    prose: list[str] = []
    formulas: list[str] = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if not paragraph.strip():
            continue
        if all(line.startswith("    ") for line in paragraph.splitlines() if line.strip()):
            formulas.append(paragraph.strip("\n"))
        else:
            prose.append(" ".join(paragraph.split()))
    return prose, textwrap.dedent("\n\n".join(formulas))


def _items(lines: list[str]) -> dict[str, str]:
    """Read ``name: text`` items, whose text may go on in lines indented deeper."""
    items: dict[str, str] = {}
    name = ""
    for line in _dedent(lines).splitlines():
        item = None if line.startswith(" ") else _ITEM.match(line)
        if item:
            name = item[1]
            items[name] = item[2] or ""
        elif name and line.strip():
            items[name] = f"{items[name]} {line.strip()}".strip()
    return items


def _dedent(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n")
