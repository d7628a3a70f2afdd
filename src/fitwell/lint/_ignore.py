"""Comments by which a program says what is meant: ``# fitwell: ignore[rule]``."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from typing import Final, final

_COMMENT: Final = re.compile(r"#\s*fitwell:\s*(ignore(?:-file)?)(?![\w-])\s*(?:\[([^\]]*)\])?")
_ALL: Final = "*"


@final
class Ignored:
    """What the comments of a file say to leave out.

    ``# fitwell: ignore[rule, other]`` at the end of a line is for findings on that line,
    ``# fitwell: ignore`` for all of them; on a line of its own it is for the next line.
    ``# fitwell: ignore-file[rule]`` anywhere is for the file.

    Args:
        text: The source.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[int, set[str]] = {}
        self._file: set[str] = set()
        if "fitwell:" not in text:
            return
        for line, alone, what, names in _comments(text):
            if what == "ignore-file":
                self._file |= names
            else:
                self._lines.setdefault(line + 1 if alone else line, set()).update(names)

    def covers(self, rule: str, first: int, last: int) -> bool:
        """Say whether a finding is to be left out.

        Args:
            rule: Its rule.
            first: Line where it begins.
            last: Line where it ends.
        """
        names = set(self._file)
        for line in {first, last}:
            names |= self._lines.get(line, set())
        return rule in names or _ALL in names


def _comments(text: str) -> Iterator[tuple[int, bool, str, set[str]]]:
    """Give line, whether it stands alone, kind and rules of each such comment."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):  # pragma: no cover - it was parsed before
        return
    for token in tokens:
        found = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
        if found is not None:
            names = {name.strip() for name in (found[2] or _ALL).split(",") if name.strip()}
            alone = token.line[: token.start[1]].strip() == ""
            yield token.start[0], alone, found[1], names or {_ALL}
