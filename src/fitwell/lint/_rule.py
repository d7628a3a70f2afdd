"""A rule: what is wrong, why it costs days, what to do; and the function that finds it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, final

from ._model._file import File

Severity = Literal["error", "warning", "hint"]


@final
@dataclass(frozen=True)
class Edit:
    """A replacement of some text of a file.

    Args:
        start: Line from 1 and column from 0, in characters, where it begins.
        end: Where it ends.
        text: What stands there then.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


@final
@dataclass(frozen=True)
class Found:
    """A place where a rule is broken.

    Args:
        node: The place, in the file that was asked.
        message: What is wrong there, with its names: one sentence.
        fix: What to do there: one sentence.
        edits: The same as text, where doing it is certainly right.
        certain: Whether it is surely a fault; what is not is a hint.
    """

    node: ast.AST
    message: str
    fix: str
    edits: tuple[Edit, ...] = ()
    certain: bool = True


Check = Callable[[File], Iterable[Found]]


@final
@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is looked for.

    Args:
        name: Of the rule, in words with hyphens; its file has the same name.
        severity: `error` breaks a training or makes a result wrong, `warning` makes it worse or
            wrong now and then, `hint` is a habit, or cannot be certain from the text alone.
        title: What is wrong, in one line.
        why: What it does to a training, and how that shows.
        fix: What to do.
        bad: A program with this fault and no other.
        good: The same without.
        source: Where it is known from.
        check: Finds it in a file.
    """

    name: str
    severity: Severity
    title: str
    why: str
    fix: str
    bad: str
    good: str
    source: str
    check: Check


def replaced(file: File, node: ast.AST, text: str) -> Edit:
    """Give the edit that puts other text in the place of a node.

    Args:
        file: The file of the node.
        node: An expression or a statement.
        text: What stands there then.
    """
    start, end = span(file, node)
    return Edit(start, end, text)


def span(file: File, node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give where a node begins and ends: lines from 1, columns from 0 in characters.

    Args:
        file: The file of the node.
        node: An expression or a statement.
    """

    def characters(line: int, offset: int) -> int:
        return len(file.lines[line - 1].encode()[:offset].decode(errors="ignore"))

    line, end_line = getattr(node, "lineno", 1), getattr(node, "end_lineno", None) or 1
    end = getattr(node, "end_col_offset", None) or 0
    return (line, characters(line, getattr(node, "col_offset", 0))), (
        end_line,
        characters(end_line, end),
    )
