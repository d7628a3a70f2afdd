"""Clean programs are silent, faulty ones have their fault named: written without knowing the rules.

The first line of a faulty program says the line of its fault, the rule that finds it, and what is
wrong: ``# fault: 12 [missing-zero-grad] ...``; ``[none]`` is a fault that no rule finds, and
``hint`` after the rule one that is likely but not certain.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fitwell
from fitwell.lint import Config, Finding, check_sources, find, read

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HEAD = re.compile(r"# fault: (\d+) \[([a-z-]+)( hint)?\] .+")
FAULTY = sorted((HERE / "faulty").glob("*.py"))
CLEAN = sorted(path for path in (HERE / "clean").iterdir() if path.suffix in (".py", ".ipynb"))
MISSED = {"log_loss_of_logits.py"}
"""Faulty programs that no rule speaks of."""


def findings(*paths: Path) -> list[Finding]:
    return check_sources([read(path) for path in find(paths)], Config())


def certain(*paths: Path) -> list[Finding]:
    return [one for one in findings(*paths) if one.severity != "hint"]


@pytest.mark.parametrize("path", [*CLEAN, HERE / "clean" / "package"], ids=lambda path: path.name)
def test_a_clean_program_is_silent(path: Path) -> None:
    assert certain(path) == []


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_the_fault_of_a_program_is_named_and_nothing_else(path: Path) -> None:
    head = HEAD.match(path.read_text(encoding="utf-8"))
    assert head is not None, "the first line says the fault"
    if head[2] == "none":
        assert path.name in MISSED
        assert findings(path) == []
        return
    shown = findings(path) if head[3] else certain(path)
    assert {one.rule for one in shown} == {head[2]}
    assert int(head[1]) in {one.line for one in shown}
    assert (certain(path) == []) == bool(head[3])


def test_programs_side_by_side_are_judged_as_if_alone() -> None:
    """A folder of scripts is not one program: what one does says nothing of the others."""
    alone = {(one.file, one.line, one.rule) for path in FAULTY for one in certain(path)}
    together = {(one.file, one.line, one.rule) for one in certain(HERE / "faulty", HERE / "clean")}
    assert together == alone


def test_there_are_thirty_clean_programs_at_least() -> None:
    assert len(CLEAN) >= 30


@pytest.mark.parametrize("folder", ["recipes", "benchmarks", "docs"])
def test_the_programs_of_this_project_are_clean(folder: str) -> None:
    result = fitwell.lint(ROOT / folder)
    assert result.files > 0
    assert list(result) == []


@pytest.mark.slow
def test_the_package_is_clean() -> None:
    assert list(fitwell.lint(ROOT / "src")) == []
