"""Blocks of code in Markdown, with what the comment before them says."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"python", "bash", "console", "text", "bibtex", "toml", "yaml"}
"""The first two run in the tests; the others do not."""

COMMENTS = {"fails", "needs: FITWELL_DATA"}
"""What a comment right before a block can say."""

_FENCE = re.compile(
    r"^(?:<!-- (?P<comment>[^>]*?) -->\n)?```(?P<info>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block.

    `title` is the file it stands for, `comment` what is said right before it, `line` where its code
    begins.
    """

    language: str
    title: str
    comment: str
    code: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a block of bash, each as its words."""
        joined = self.code.replace("\\\n", " ")
        lines = (shlex.split(line, comments=True) for line in joined.splitlines())
        return [words for words in lines if words]


def blocks_of(file: Path) -> list[Block]:
    text = file.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match["info"])
        found.append(
            Block(
                language=match["info"].partition(" ")[0],
                title=title[1] if title else "",
                comment=match["comment"] or "",
                code=match["code"],
                line=text.count("\n", 0, match.start("code")) + 1,
            )
        )
    return found
