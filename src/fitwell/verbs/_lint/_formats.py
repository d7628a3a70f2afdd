"""Findings for readers: a terminal, GitHub's annotations, SARIF for code-scanning tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ... import __version__
from ...lint import UNREAD, Finding, Rule, rules

_BEFORE: Final = 1  # lines of an excerpt before the finding
_LONGEST: Final = 4  # lines of a finding that are shown
_LEVELS: Final = {"error": "error", "warning": "warning", "hint": "note"}


def place(finding: Finding) -> str:
    """Give where a finding is, in the form that editors and terminals make a link of.

    Args:
        finding: The finding.
    """
    cell = "" if finding.cell is None else f"cell {finding.cell}:"
    return f"{finding.file}:{cell}{finding.line}:{finding.column}"


def excerpt(finding: Finding, lines: Sequence[str]) -> str:
    """Give a finding with its lines of the program.

    Args:
        finding: The finding.
        lines: Of the file, or of the cell.
    """
    head = f"{place(finding)}: {finding.severity}: {finding.message} [{finding.rule}]"
    last = min(finding.end_line, finding.line + _LONGEST - 1, len(lines))
    shown = range(max(1, finding.line - _BEFORE), last + 1)
    width = len(str(last))
    body: list[str] = []
    for number in shown:
        line = lines[number - 1].expandtabs(4)
        if number < finding.line and not line.strip():
            continue
        body.append(f"  {number:>{width}} | {line}".rstrip())
        if number == finding.line:
            body.append(f"  {'':>{width}} | {_marks(finding, lines[number - 1])}")
    if finding.end_line > last:
        body.append(f"  {'':>{width}} | ...")
    return "\n".join([head, *body, f"  {'':>{width}} = {finding.fix}"])


def _marks(finding: Finding, line: str) -> str:
    """Give the line of ``^`` under what is meant."""
    first = finding.column - 1
    last = finding.end_column - 1 if finding.end_line == finding.line else len(line)
    before = line[:first].expandtabs(4)
    return " " * len(before) + "^" * max(1, len(line[:last].expandtabs(4)) - len(before))


def github(findings: Sequence[Finding]) -> str:
    """Give findings as the commands by which a GitHub workflow marks lines of a change.

    Args:
        findings: The findings.
    """
    names = {"error": "error", "warning": "warning", "hint": "notice"}
    lines = []
    for one in findings:
        where = f"file={_escaped(one.file, ':,')},line={one.line},col={one.column}"
        where += f",endLine={one.end_line},title={_escaped(f'fitwell: {one.rule}', ':,')}"
        lines.append(f"::{names[one.severity]} {where}::{_escaped(f'{one.message} {one.fix}')}")
    return "\n".join(lines)


def _escaped(text: str, more: str = "") -> str:
    for sign in "%\r\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def sarif(findings: Sequence[Finding]) -> str:
    """Give findings as a SARIF 2.1.0 log, which GitHub code scanning and editors read.

    Args:
        findings: The findings.
    """
    driver = {
        "name": "fitwell lint",
        "version": __version__,
        "rules": [_rule(rule) for rule in rules().values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding) for finding in findings],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": rule.fix,
            "markdown": f"{rule.fix}\n\n```python\n{rule.good}```",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"source": rule.source},
    }


def _result(finding: Finding) -> dict[str, Any]:
    path = Path(finding.file)
    uri = path.as_uri() if path.is_absolute() else path.as_posix()
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
    }
    location = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
    known = {} if finding.rule == UNREAD else {"ruleIndex": list(rules()).index(finding.rule)}
    return {
        "ruleId": finding.rule,
        **known,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.fix}"},
        "locations": [location],
    }
