"""`fitwell lint`: which files, which rules, and what to do with what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...core.errors import UsageError
from ...core.files import atomic_path, write_text
from ...lint import (
    Config,
    Finding,
    Source,
    as_diff,
    check_sources,
    encoding_of,
    find,
    fixed,
    read_config,
)
from ...lint import read as read_source
from ._explain import explained, table
from ._result import Format, LintResult


def lint(
    *paths: str | Path,
    select: str | Sequence[str] = "",
    ignore: str | Sequence[str] = "",
    exclude: str | Sequence[str] = "",
    hints: bool = False,
    fix: bool = False,
    diff: bool = False,
    format: Literal["text", "github", "sarif"] = "text",
    output: str | Path | None = None,
    explain: str | None = None,
    list_rules: bool = False,
) -> LintResult | str:
    """Read training programs, without running them, and name the bugs that cost days.

    Scripts, packages and notebooks are read together: what one file imports from another is
    followed. What is reported is certain; what is only likely is a hint. The exit code is 1 if
    anything is found. A line is kept as it is by ``# fitwell: ignore[rule]`` at its end, a file by
    ``# fitwell: ignore-file[rule]`` in it. Settings of a project stand in its ``pyproject.toml``
    under ``[tool.fitwell.lint]``: select, ignore, exclude, hints, per-file-ignores.

    Args:
        paths: Files and folders; this folder if left out.
        select: Rules or themes to ask, and no others; several with commas: ``steps,losses``.
        ignore: Rules or themes not to ask, in the same way.
        exclude: Patterns of files and folders to pass over: ``legacy/*,old.py``.
        hints: Show what is likely but not certain, too.
        fix: Mend what is certain, and show what was changed.
        diff: Show what `fix` would change, and change nothing.
        format: How to print: `text` with excerpts, `github` for annotations in a workflow, `sarif`
            for code scanning.
        output: File to write the findings to, in place of printing them.
        explain: Say what a rule is about: why, example, what to do.
        list_rules: Say which rules there are.

    Raises:
        UsageError: A path is not there or is no program.
        UnknownName: There is no rule or theme of a name.
        DataError: The settings in ``pyproject.toml`` are wrong.
    """
    if explain is not None:
        return explained(explain)
    if list_rules:
        return table()
    if fix and diff:
        raise UsageError("lint: `fix` and `diff` must not both be given; got both. Leave one out.")
    start = Path(paths[0]) if paths else Path()
    config = _with(read_config(start), select, ignore, exclude, hints)
    sources = [read_source(path) for path in find(paths or (Path(),), config.exclude)]
    changes, mended = "", list[Finding]()
    if fix or diff:
        changes, mended = _mend(sources, config, write=fix)
    if fix and mended:
        sources = [read_source(Path(source.path)) for source in sources]
    result = _result(sources, config, format)
    result = replace(result, changes=changes, mended=tuple(mended) if fix else ())
    if output is None:
        return result
    write_text(output, f"{result}\n")
    return replace(result, format="text", sources={}, note=f"written to {output}")


def _with(
    config: Config,
    select: str | Sequence[str],
    ignore: str | Sequence[str],
    exclude: str | Sequence[str],
    hints: bool,
) -> Config:
    """Put what was typed over what the project says."""
    return replace(
        config,
        select=_several(select) or config.select,
        ignore=(*config.ignore, *_several(ignore)),
        exclude=(*config.exclude, *_several(exclude)),
        hints=hints or config.hints,
    )


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    texts = names.split(",") if isinstance(names, str) else names
    return tuple(text.strip() for text in texts if text.strip())


def _result(sources: Sequence[Source], config: Config, format: Format) -> LintResult:
    findings = check_sources(sources, config)
    shown = [one for one in findings if config.hints or one.severity != "hint"]
    return LintResult(
        findings=tuple(shown),
        files=len(sources),
        hidden=len(findings) - len(shown),
        format=format,
        sources={source.path: source for source in sources},
        note="" if sources else "there is no Python file or notebook here",
    )


def _mend(sources: Sequence[Source], config: Config, *, write: bool) -> tuple[str, list[Finding]]:
    """Apply what is certain to the files, or only show it."""
    changes: list[str] = []
    mended: list[Finding] = []
    findings = [one for one in check_sources(sources, config) if one.edits]
    for source in sources:
        here = [one for one in findings if one.file == source.path and one.severity != "hint"]
        new, done = fixed(source.text, here)
        if done:
            changes.append(as_diff(source.path, source.text, new))
            mended += done
            if write:
                _write(Path(source.path), new)
    return "\n".join(changes), mended


def _write(path: Path, text: str) -> None:
    """Replace a file, with the encoding, the line ends and the mode that it had."""
    old, mode = path.read_bytes(), path.stat().st_mode
    ends = "\r\n" if b"\r\n" in old else "\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.replace("\n", ends).encode(encoding_of(old)))
    path.chmod(mode)
