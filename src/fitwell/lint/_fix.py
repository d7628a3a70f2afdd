"""Mends what is certain: edits applied to a text, and shown as a diff."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable

from ._engine import Finding
from ._rule import Edit


def fixed(text: str, findings: Iterable[Finding]) -> tuple[str, list[Finding]]:
    """Apply the edits of some findings.

    Of findings whose edits overlap the first is mended; the next run mends the others. Nothing is
    changed if the result would not be Python.

    Args:
        text: The source.
        findings: Findings in it.

    Returns:
        The new text, and the findings that it mends.
    """
    taken: list[Edit] = []
    mended: list[Finding] = []
    for finding in findings:
        if finding.edits and not any(_overlap(e, t) for e in finding.edits for t in taken):
            taken += finding.edits
            mended.append(finding)
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    new = text
    for edit in sorted(taken, key=lambda one: one.start, reverse=True):
        first = starts[edit.start[0] - 1] + edit.start[1]
        last = starts[edit.end[0] - 1] + edit.end[1]
        new = new[:first] + edit.text + new[last:]
    try:
        ast.parse(new)
    except SyntaxError:
        return text, []
    return new, mended


def _overlap(one: Edit, other: Edit) -> bool:
    return (one.start < other.end and other.start < one.end) or one.start == other.start


def as_diff(path: str, old: str, new: str) -> str:
    """Give the changes of a file as a unified diff.

    Args:
        path: Of the file.
        old: Its text.
        new: Its text with the changes.
    """
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        fromfile=path,
        tofile=f"{path} (mended)",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
