"""The dispatcher, driven with made-up verbs: results, errors, exit codes, what goes where."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fitwell import __version__
from fitwell.cli import _main, main
from fitwell.cli._main import overview
from fitwell.cli._verbs import TABLE, Verb
from fitwell.core.errors import DataError, RunError, TrainingError, UnknownName, UsageError

SRC = Path(__file__).parents[2] / "src"


class Result:
    """A result like those of verbs."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def to_dict(self) -> dict[str, Any]:
        return self.values

    def __str__(self) -> str:
        return "a readable result"


class Bad(Result):
    exit_code = 1


def good(name: str, /, *, number: float = 0.5) -> Result:
    """Do it.

    Args:
        name: Whom to.
        number: How much.
    """
    print("noise on stdout")
    return Result(name=name, number=number, path=Path("x"), nan=float("nan"))


def bad() -> Bad:
    """Find something wrong."""
    return Bad(ok=False)


ERRORS: dict[str, BaseException] = {
    "usage": UsageError("fail: `x` must be 1; got 2."),
    "unknown": UnknownName("catalog: no method."),
    "data": DataError("fitwell fail: file.csv line 3: no number."),
    "run": RunError("Run: damaged."),
    "training": TrainingError("Engine: the loss became NaN."),
    "missing": FileNotFoundError(2, "No such file or directory", "a.csv"),
    "bug": KeyError("lost"),
    "memory": MemoryError(),
    "ctrl-c": KeyboardInterrupt(),
    "pipe": BrokenPipeError(),
}


def fail(kind: str, /) -> None:
    """Fail.

    Args:
        kind: How.
    """
    raise ERRORS[kind]


@pytest.fixture(autouse=True)
def _verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        Verb(f.__name__, f"{__name__}:{f.__name__}", "help", "Made up") for f in (good, bad, fail)
    ]
    table += [Verb("good two", f"{__name__}:bad", "help", "Made up")]
    table += [Verb("pair one", f"{__name__}:bad", "help", "Made up")]
    table += [Verb("absent", "fitwell.verbs._no_such_file:verb", "help", "Made up")]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[good.__module__])
    monkeypatch.setattr(_main, "TABLE", (*TABLE, *table))


def test_text_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good", "you"]) == 0
    assert capsys.readouterr().out == "noise on stdout\na readable result\n"


def test_json_is_exactly_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good", "you", "--number", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "you", "number": 2.0, "path": "x", "nan": None}
    assert err == "noise on stdout\n"


def test_a_result_may_carry_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bad", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False}


def test_the_longer_verb_wins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good", "two"]) == 1
    assert capsys.readouterr().out == "a readable result\n"


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("usage", 2, "`x` must be 1; got 2."),
        ("unknown", 2, "catalog: no method."),
        ("data", 2, "file.csv line 3: no number."),
        ("run", 1, "Run: damaged."),
        ("training", 1, "Engine: the loss became NaN."),
        ("missing", 1, "No such file or directory: 'a.csv'."),
        ("memory", 1, "out of memory. Use a smaller --batch-size or a smaller model."),
        ("ctrl-c", 130, "stopped by Ctrl-C."),
    ],
)
def test_an_error_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], kind: str, code: int, message: str
) -> None:
    assert main(["fail", kind]) == code
    assert capsys.readouterr() == ("", f"fitwell fail: {message}\n")


def test_an_error_is_an_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fail", "usage", "--json"]) == 2
    message = "`x` must be 1; got 2."
    expected = {"error": {"kind": "UsageError", "message": message}}
    assert json.loads(capsys.readouterr().out) == expected


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fail", "bug"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fitwell fail: unexpected KeyError: 'lost' (test_dispatcher.py:")
    assert err.endswith("Add --debug for the traceback.\n")
    assert err.count("\n") == 1
    assert main(["fail", "bug", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no verb named 'trian'; nearest: 'train'"),
        (["data", "lst"], "no verb named 'data lst'; nearest: 'data list'"),
        (["zzzz"], "no verb named 'zzzz'; known: absent, average, bad"),
        (["absent"], "this installation of fitwell has no module 'fitwell.verbs._no_such_file'"),
    ],
)
def test_an_unknown_verb_is_misuse(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fitwell")
    assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [(["good"], "NAME"), (["good", "a", "--numbr", "1"], "--numbr"), (["good", "a", "b"], "b")],
)
def test_wrong_arguments_are_misuse(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert main([*words, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "UsageError"
    assert message in error["message"]
    assert "│" not in error["message"]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_of_the_whole_names_every_verb(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out == overview()
    assert all(f"\n  {verb.words} " in out for verb in TABLE)
    assert max(map(len, out.splitlines())) <= 88


@pytest.mark.parametrize("words", [["good", "--help"], ["help", "good"], ["good", "-h"]])
def test_help_of_a_verb(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    for word in ("fitwell good", "Do it.", "Whom to.", "--number NUMBER", "--json", "--debug"):
        assert word in out


def test_half_a_verb_lists_the_other_halves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair"]) == 0
    assert "pair one" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fitwell {__version__}\n"


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-m", "fitwell", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


def test_as_a_module() -> None:
    done = run("coverage", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == 700


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-m", "fitwell", "coverage"]
    try:
        done = subprocess.run(
            command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_message_names_options_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--batch-size", "0", "--quiet"]) == 2
    assert capsys.readouterr().err == "fitwell train: `--batch-size` must be at least 1; got 0.\n"
