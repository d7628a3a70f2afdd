"""Reads files, asks the rules, leaves out what a file or the settings say to ignore."""

from __future__ import annotations

import gc
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

from ._config import Config
from ._ignore import Ignored
from ._model._file import File
from ._model._project import programs
from ._rule import Edit, Found, Rule, Severity, span
from ._sources import Source
from .rules import rules

UNREAD: Final = "syntax-error"
"""Stands for the rule of a finding about a file that cannot be read."""
strict = False
"""Whether the error of a rule that fails is raised; the tests set it."""
_LINES_PER_PROCESS: Final = 5_000
_MOST_PROCESSES: Final = 8


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
    """
    with _no_collection():
        files = [File(path, text) for path, text in texts.items()]
        return _in_order(
            _of_programs(files, lambda _: rules().values() if chosen is None else chosen)
        )


def mends(rule: Rule) -> bool:
    """Say whether a fix is written for what a rule finds.

    Args:
        rule: The rule; its bad example is asked.
    """
    return any(finding.edits for finding in check_texts({"train.py": rule.bad}, [rule]))


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
        for finding in _of_programs(files, asked):
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


def _of_programs(
    files: Sequence[File], asked: Callable[[File], Iterable[Rule]]
) -> Iterator[Finding]:
    for program in programs(files):
        program.link()
    concerned = [file for file in files if file.concerns]
    yield from _shared_out(concerned, lambda file: list(_of_file(file, asked(file))))


def _shared_out(files: Sequence[File], check: Callable[[File], list[Finding]]) -> Iterator[Finding]:
    """Check files in several processes, where there are enough, that know all that this one does.

    A process that is forked has all files as they are, without reading or sending them; only what
    it finds comes back. Where processes cannot be forked, or threads run, this one does it all.
    """
    cores = os.cpu_count() or 1
    lines = sum(len(file.lines) for file in files)
    can_fork = hasattr(os, "fork") and threading.active_count() == 1
    count = min(cores, lines // _LINES_PER_PROCESS, _MOST_PROCESSES) if can_fork else 1
    if count < 2:
        for file in files:
            yield from check(file)
        return
    dealt = [files[first::count] for first in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        children = [_forked(part, check, Path(folder, str(i))) for i, part in enumerate(dealt)]
        for child, part, i in zip(children, dealt, range(count), strict=True):
            _, status = os.waitpid(child, 0)
            if status == 0:
                yield from pickle.loads(Path(folder, str(i)).read_bytes())
            else:  # what went wrong there goes wrong here, with its traceback
                for file in part:
                    yield from check(file)


def _forked(files: Sequence[File], check: Callable[[File], list[Finding]], answer: Path) -> int:
    """Start a process that checks files and leaves what it found; gives its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        found = [finding for file in files for finding in check(file)]
        answer.write_bytes(pickle.dumps(found))
        code = 0
    finally:
        os._exit(code)


def _asked(rule: Rule, file: File) -> list[Found]:
    """Ask a rule; if it fails, say so in a hint, so that what the others find is not lost."""
    try:
        return sorted(rule.check(file), key=lambda one: not one.certain)
    except Exception as err:
        if strict:
            raise
        what = f"{type(err).__name__}: {err}".splitlines()[0]
        message = f"This rule failed on the file, which is a fault of fitwell ({what})."
        return [Found(file.tree.root, message, "Report it; the other rules were asked.", (), False)]


def _of_file(file: File, chosen: Iterable[Rule]) -> Iterator[Finding]:
    for rule in chosen:
        seen: set[int] = set()
        for found in _asked(rule, file):
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
