"""Reads files, asks the rules, leaves out what a file or the settings say to ignore."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, final

from ._config import Config
from ._ignore import Ignored
from ._model._file import File
from ._model._project import Project
from ._rule import Edit, Rule, Severity, span
from ._sources import Source
from .rules import rules

UNREAD: Final = "syntax-error"
"""Stands for the rule of a finding about a file that cannot be read."""


@final
@dataclass(frozen=True)
class Finding:
    """A fault in a program.

    Args:
        file: Path, as it was found.
        line: From 1; of a notebook, in the cell.
        column: From 1, in characters.
        end_line: Where it ends.
        end_column: Where it ends: one past its last character.
        rule: Name of the rule.
        severity: `error`, `warning` or `hint`.
        message: What is wrong, in one sentence.
        fix: What to do, in one sentence.
        cell: Number of the cell in a notebook, from 1.
        edits: The fix as text, where that is certain.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    rule: str
    severity: Severity
    message: str
    fix: str
    cell: int | None = None
    edits: tuple[Edit, ...] = field(default=(), repr=False)


def check_texts(texts: Mapping[str, str], chosen: Sequence[Rule] | None = None) -> list[Finding]:
    """Look for faults in programs that import from each other.

    Args:
        texts: Source by path.
        chosen: The rules to ask; None asks all.

    Raises:
        SyntaxError: A text is not Python.

    Source: Each rule names its own.
    """
    with _no_collection():
        files = [File(path, text) for path, text in texts.items()]
        return _in_order(
            _of_project(files, lambda _: rules().values() if chosen is None else chosen)
        )


def check_sources(sources: Sequence[Source], config: Config) -> list[Finding]:
    """Look for faults in files and notebooks; what cannot be read is a finding too.

    What comments and settings say to ignore is left out; hints are not.

    Args:
        sources: All files of the project.
        config: What is asked, and where.
    """
    chosen = config.rules()
    found: list[Finding] = []
    files: list[File] = []

    def asked(file: File) -> list[Rule]:
        left_out = config.ignored_in(file.path)
        return [rule for rule in chosen if rule.name not in left_out]

    by_path = {source.path: source for source in sources}
    ignored = {source.path: Ignored(source.text) for source in sources}
    with _no_collection():
        for source in sources:
            file = _parsed(source)
            files += [file] if isinstance(file, File) else []
            found += [file] if isinstance(file, Finding) else []
        for finding in _of_project(files, asked):
            if not ignored[finding.file].covers(finding.rule, finding.line, finding.end_line):
                found.append(_in_cell(finding, by_path[finding.file]))
    return _in_order(found)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(
        findings, key=lambda one: (one.file, one.cell or 0, one.line, one.column, one.rule)
    )


def _parsed(source: Source) -> File | Finding:
    if source.fault:
        return _unread(source, source.fault)
    try:
        return File(source.path, source.text)
    except SyntaxError as err:
        fault = f"is not valid Python: {err.msg}"
        return _unread(source, fault, err.lineno or 1, err.offset or 1)
    except (ValueError, RecursionError, MemoryError) as err:
        return _unread(source, f"cannot be read as Python: {str(err) or type(err).__name__}")


def _unread(source: Source, message: str, line: int = 1, column: int = 1) -> Finding:
    return Finding(
        file=source.path,
        line=line,
        column=column,
        end_line=line,
        end_column=column + 1,
        rule=UNREAD,
        severity="error",
        message=f"The file {message}.",
        fix="Mend the file, or leave it out with `exclude`.",
    )


def _in_cell(finding: Finding, source: Source) -> Finding:
    """Count the lines of a finding from the beginning of its cell."""
    if not source.starts:
        return finding
    cell, line = source.cell(finding.line)
    end_line = finding.end_line - finding.line + line
    return replace(finding, cell=cell, line=line, end_line=end_line, edits=())


def _of_project(
    files: Sequence[File], asked: Callable[[File], Iterable[Rule]]
) -> Iterator[Finding]:
    project = Project(files)
    project.link()
    for file in files:
        if file.concerns:
            yield from _of_file(file, asked(file))


def _of_file(file: File, chosen: Iterable[Rule]) -> Iterator[Finding]:
    for rule in chosen:
        seen: set[int] = set()
        for found in rule.check(file):
            (line, column), (end_line, end_column) = span(file, found.node)
            if line in seen:
                continue
            seen.add(line)
            yield Finding(
                file=file.path,
                line=line,
                column=column + 1,
                end_line=end_line,
                end_column=end_column + 1,
                rule=rule.name,
                severity=rule.severity if found.certain else "hint",
                message=found.message,
                fix=found.fix,
                edits=found.edits,
            )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hold the garbage collector back: trees of syntax are many objects and no garbage."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
