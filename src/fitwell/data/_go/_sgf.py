"""The syntax of the Smart Game Format: text to the properties of each node of the main line.

Nothing here knows Go.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import DataError

Node = dict[str, list[str]]

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z]+")
_VALUE = re.compile(r"\s*\[((?:[^\]\\]|\\.)*)\]", re.DOTALL)
_ESCAPED = re.compile(r"\\(\r\n|\n\r|.)", re.DOTALL)
_CHARSET = re.compile(rb"CA\s*\[([\w.:-]+)\]")
_HEAD = 4096


def decoded(path: Path) -> str:
    """Read a record in the character set that it names, else in UTF-8.

    Args:
        path: The file.

    Raises:
        DataError: There is no such file.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror}). Check the path.") from err
    named = _CHARSET.search(raw[:_HEAD])
    if named is not None:
        try:
            return raw.decode(named[1].decode("ascii")).removeprefix("\ufeff")
        except (LookupError, UnicodeError):
            pass
    return raw.decode("utf-8-sig", errors="replace")


def main_line(text: str, where: str) -> list[Node]:
    """Give the nodes of the first game from its root along the first variation.

    Args:
        text: The record.
        where: Its name, for messages.

    Raises:
        DataError: The text is not in the format.
    """
    place = _after_space(text, 0)
    if not text.startswith("(", place):
        raise _wrong(text, place, where, "a game must begin with '('")
    nodes: list[Node] = []
    # The first variation comes first in the text, so it ends where the first parenthesis closes.
    while True:
        place = _after_space(text, place)
        sign = text[place : place + 1]
        if sign == ")":
            break
        if sign == ";":
            nodes.append({})
            place += 1
        elif sign == "(":
            place += 1
        elif sign.isascii() and sign.isalpha() and nodes:
            place = _property(text, place, nodes[-1], where)
        else:
            found = f"got {sign!r}" if sign else "the record ends within a game"
            raise _wrong(text, place, where, f"';', '(', ')' or a property must follow; {found}")
    if not nodes:
        raise _wrong(text, place, where, "a game must have a node")
    return nodes


def _property(text: str, place: int, node: Node, where: str) -> int:
    name = _NAME.match(text, place)
    # Older versions of the format allow small letters, which do not count.
    key = "".join(filter(str.isupper, name[0])) if name else ""
    end = name.end() if name else place
    values = node.setdefault(key, [])
    count = len(values)
    while (value := _VALUE.match(text, end)) is not None:
        values.append(_ESCAPED.sub(_unescaped, value[1]).strip())
        end = value.end()
    if len(values) == count:
        raise _wrong(text, end, where, f"a value in brackets must follow {text[place:end]!r}")
    return end


def _unescaped(match: re.Match[str]) -> str:
    return "" if match[1][0] in "\r\n" else match[1]


def _after_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place


def _wrong(text: str, place: int, where: str, problem: str) -> DataError:
    line = text.count("\n", 0, place) + 1
    return DataError(
        f"{where}, line {line}: {problem}. Export the game again as SGF, or leave the file out."
    )
