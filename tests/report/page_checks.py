"""What every page must satisfy, checked with the parser of the standard library."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

VOID = frozenset({"meta", "img", "br", "wbr", "hr", "link", "input"})
REFERENCES = frozenset({"src", "href", "srcset", "action", "data", "poster", "xlink:href"})


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> repeats an attribute at {self.getpos()}")
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in REFERENCES:
                self.references.append(value or "")
            if name.startswith("on"):
                self.problems.append(f"<{tag}> has {name} at {self.getpos()}")


def read_page(page: str) -> Any:
    """Parse a page."""
    parser = _Page()
    parser.feed(page)
    parser.close()
    return parser


def problems(page: str) -> list[str]:
    """List what keeps a page from being well-formed, self-contained and free of scripts."""
    found = read_page(page)
    listed = [*found.problems, *(f"<{tag}> is not closed" for tag in found.open)]
    listed += [f"id {name} repeats" for name in found.ids if found.ids.count(name) > 1]
    listed += [f"<{tag}>" for tag in found.tags if tag in {"script", "link", "iframe", "object"}]
    for reference in found.references:
        if reference.startswith("#"):
            listed += [f"{reference} leads nowhere"] * (reference[1:] not in found.ids)
        elif not reference.startswith("data:image/png;base64,"):
            listed.append(f"{reference} is outside")
    listed += re.findall(r"https?:", page.replace("http://www.w3.org/2000/svg", ""))
    return listed + re.findall(r"url\((?!#)|@import", page)


def check_page(page: str) -> str:
    """Check a page and give its text."""
    assert problems(page) == []
    return " ".join(" ".join(read_page(page).text).split())
