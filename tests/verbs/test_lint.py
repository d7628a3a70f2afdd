"""`fitwell lint` as a user calls it: on files, folders, notebooks; in hooks and services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fitwell
from fitwell.cli import main
from fitwell.lint import rules

FAULTY = "from torch import nn\n\nlayer = nn.Linear(2, 3),\n"
CLEAN = "from torch import nn\n\nlayer = nn.Linear(2, 3)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(FAULTY)
    (tmp_path / "model.py").write_text(CLEAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_findings_are_shown_with_their_lines(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint"]) == 1
    assert capsys.readouterr().out == (
        "train.py:3:9: error: `layer` is a tuple that holds Linear, not the module:"
        " the line ends with a comma. [trailing-comma]\n"
        "  3 | layer = nn.Linear(2, 3),\n"
        "    |         ^^^^^^^^^^^^^^^^\n"
        "    = Delete the comma.\n"
        "\n"
        "1 error in 1 of 2 files; 1 can be mended with --fix; why: fitwell lint --explain RULE\n"
    )
    assert main(["lint", "model.py"]) == 0
    assert capsys.readouterr().out == "no faults found in 1 file\n"


def test_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "train.py", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["files"] == 1
    (finding,) = result["findings"]
    wanted = {"file": "train.py", "line": 3, "rule": "trailing-comma", "severity": "error"}
    assert wanted.items() <= finding.items()
    assert finding["message"].startswith("`layer` is a tuple")
    assert finding["fix"] == "Delete the comma."


def test_github_and_sarif(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--format", "github"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "::error file=train.py,line=3,col=9,endLine=3,title=fitwell%3A trailing-comma::`layer` is"
    )
    assert main(["lint", "--format", "sarif", "--output", "lint.sarif"]) == 1
    assert "written to lint.sarif" in capsys.readouterr().out
    log = json.loads((project / "lint.sarif").read_text())
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "trailing-comma"
    assert result["level"] == "error"
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "train.py"}
    region = location["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"], region["endColumn"]) == (3, 9, 25)


def test_fix_shows_what_it_changes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "train.py"
    path.write_bytes(FAULTY.replace("\n", "\r\n").encode())
    path.chmod(0o755)
    assert main(["lint", "--diff"]) == 1
    assert "-layer = nn.Linear(2, 3),\n+layer = nn.Linear(2, 3)\n" in capsys.readouterr().out
    assert path.read_bytes() == FAULTY.replace("\n", "\r\n").encode()
    assert main(["lint", "--fix"]) == 0
    out = capsys.readouterr().out
    assert "+layer = nn.Linear(2, 3)\n" in out
    assert out.endswith("no faults found in 2 files; 1 mended\n")
    assert path.read_bytes() == CLEAN.replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o755


def test_hints_are_shown_when_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = next(rule for rule in rules().values() if rule.severity == "hint")
    (project / "train.py").write_text(rule.bad)
    assert main(["lint", "train.py"]) == 0
    assert "1 hint with --hints" in capsys.readouterr().out
    assert main(["lint", "train.py", "--hints"]) == 1
    assert f"[{rule.name}]" in capsys.readouterr().out
    (project / "pyproject.toml").write_text("[tool.fitwell.lint]\nhints = true\n")
    assert main(["lint", "train.py"]) == 1


def test_rules_are_chosen_by_name_or_theme(project: Path) -> None:
    assert main(["lint", "--ignore", "trailing-comma"]) == 0
    assert main(["lint", "--select", "modules"]) == 1
    assert main(["lint", "--select", "steps,losses", "train.py"]) == 0
    assert main(["lint", "--ignore", "steps, trailing-comma", "train.py"]) == 0
    assert main(["lint", "--exclude", "train.py"]) == 0
    assert main(["lint", "--exclude", "train.py,old"]) == 0
    assert len(fitwell.lint(project, select=["modules"])) == 1


def test_rules_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in rules().values():
        assert main(["lint", "--explain", rule.name]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{rule.name} ({rule.severity}")
        assert f"ignore[{rule.name}]" in out
    assert main(["lint", "--list-rules"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in rules())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "fitwell lint: `paths` must exist; got 'nowhere'. Name a file or a folder."),
        (
            ["--explain", "trailing-coma"],
            "no rule named 'trailing-coma'; nearest: 'trailing-comma'",
        ),
        (["--ignore", "coma"], "no rule or theme named 'coma'"),
        (["--fix", "--diff"], "must not both be given"),
    ],
)
def test_wrong_use_is_named(
    project: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path)]) == 0
    assert "there is no Python file or notebook here" in capsys.readouterr().out


def test_from_python(project: Path) -> None:
    result = fitwell.lint(project)
    assert len(result) == 1
    assert [finding.rule for finding in result] == ["trailing-comma"]
    assert not fitwell.lint(project / "model.py")


WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy", "sklearn", "matplotlib", "PIL", "pyarrow"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from fitwell.cli import main
sys.exit(main(["lint"]))
"""


def test_it_needs_neither_torch_nor_numpy(project: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "trailing-comma" in ended.stdout
