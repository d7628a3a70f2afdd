"""What `fitwell lint` gives: findings, with excerpts on the terminal and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from ...lint import Finding, Source
from ._formats import excerpt, github, sarif

Format = Literal["text", "github", "sarif"]


@final
@dataclass(frozen=True)
class LintResult:
    """Findings in some programs.

    Args:
        findings: In the order of files and lines; hints only if they were asked for.
        files: How many files and notebooks were read.
        hidden: How many hints were left out.
        mended: Findings that were mended, with `fix`.
        format: How they are printed.
        changes: What was mended, or could be, as a diff.
        sources: The programs by path, for excerpts.
        note: What else the user should know.
    """

    findings: tuple[Finding, ...]
    files: int
    hidden: int = 0
    mended: tuple[Finding, ...] = ()
    format: Format = "text"
    changes: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    note: str = ""

    @property
    def exit_code(self) -> int:
        """1 if there are findings, 0 if there are none."""
        return 1 if self.findings else 0

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Any:
        return iter(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON."""
        return {
            "findings": [_plain(finding) for finding in self.findings],
            "files": self.files,
            "hidden_hints": self.hidden,
            "mended": [_plain(finding) for finding in self.mended],
        }

    def __str__(self) -> str:
        if self.format == "github":
            return github(self.findings)
        if self.format == "sarif":
            return sarif(self.findings)
        parts = [self.changes.rstrip("\n")] if self.changes else []
        parts += [excerpt(one, self._lines(one)) for one in self.findings]
        return "\n\n".join([*parts, self._summary()])

    def _lines(self, finding: Finding) -> list[str]:
        source = self.sources.get(finding.file)
        return [] if source is None else source.lines(finding.cell)

    def _summary(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        words = [
            _count(counts[kind], kind) for kind in ("error", "warning", "hint") if counts[kind]
        ]
        among = f"in {_count(self.files, 'file')}"
        if words:
            faulty = len({finding.file for finding in self.findings})
            among = f"in {faulty} of {_count(self.files, 'file')}"
        said = [f"{', '.join(words) or 'no faults found'} {among}"]
        certain = sum(bool(finding.edits) for finding in self.findings)
        if self.mended:
            said.append(f"{len(self.mended)} mended")
        if certain:
            said.append(f"{certain} can be mended with --fix")
        if self.hidden:
            said.append(f"{_count(self.hidden, 'hint')} with --hints")
        if self.findings:
            said.append("why: fitwell lint --explain RULE")
        return "; ".join(said) + (f"\n{self.note}" if self.note else "")


def _plain(finding: Finding) -> dict[str, Any]:
    cell = {} if finding.cell is None else {"cell": finding.cell}
    return {
        "file": finding.file,
        **cell,
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "end_column": finding.end_column,
        "rule": finding.rule,
        "severity": finding.severity,
        "message": finding.message,
        "fix": finding.fix,
        "fixable": bool(finding.edits),
    }


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
