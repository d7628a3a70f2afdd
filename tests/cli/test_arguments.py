"""Options from signatures: what can be typed, how it is shown, what the function gets."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from fitwell.cli._arguments import Foreign, Options, annotation, metavar, typeable

if TYPE_CHECKING:
    from torch import nn

Mode = Literal["sum", "mean"]
SEEN: dict[str, Any] = {}


def many(
    source: str | Path | nn.Module,
    path: str | None = None,
    /,
    *,
    model: str | nn.Module = "cnn",
    epochs: int | None = None,
    lr: float | None = 0.1,
    size: int | str = 3,
    mode: Mode = "mean",
    often: int | Literal["auto"] = "auto",
    smoke: bool = False,
    compiled: bool | None = None,
    anything: Any = None,
    plot: bool = True,
    split: tuple[float, float] = (0.8, 0.1),
    tags: tuple[str, ...] = (),
    metrics: Sequence[str] = ("accuracy",),
    augment: str | Sequence[str] | None = None,
    folder: Path = Path("runs"),
    observers: Sequence[nn.Module] = (),
    strange: nn.NoSuchAlias = "text",
    **more: Any,
) -> None:
    """Take many options.

    Args:
        source: What to read.
        lr: Rate of `steps`.

    Groups:
        time and length: epochs, lr
    """


def several(*runs: str, by: str = "loss") -> None:
    """Take several.

    Args:
        runs: Which.
        by: What.
    """


DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(many).parameters.items()
    if parameter.default is not parameter.empty
}


def read(*words: str) -> tuple[list[Any], dict[str, Any]]:
    return Options.of(many).read(words, prog="fitwell many")


def test_without_options_the_function_gets_its_own_defaults() -> None:
    positional, keywords = read("a")
    assert positional == ["a", None]
    expected = {k: v for k, v in DEFAULTS.items() if k not in ("path", "observers")}
    assert keywords == expected


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--model", "MLP(hidden=(8,))"], "model", "MLP(hidden=(8,))"),
        (["--epochs", "3"], "epochs", 3),
        (["--lr", "1e-3"], "lr", 1e-3),
        (["--lr", "None"], "lr", None),
        (["--augment", "None"], "augment", "None"),
        (["--size", "4"], "size", 4),
        (["--size", "big"], "size", "big"),
        (["--mode", "sum"], "mode", "sum"),
        (["--often", "5"], "often", 5),
        (["--smoke"], "smoke", True),
        (["--no-plot"], "plot", False),
        (["--compiled"], "compiled", True),
        (["--no-compiled"], "compiled", False),
        (["--compiled", "False"], "compiled", False),
        (["--anything", "text"], "anything", "text"),
        (["--split", "0.5", "0.25"], "split", (0.5, 0.25)),
        (["--tags", "a", "b"], "tags", ("a", "b")),
        (["--augment", "[Flip(), Crop()]"], "augment", "[Flip(), Crop()]"),
        (["--folder", "x/y"], "folder", Path("x/y")),
        (["--strange", "typed"], "strange", "typed"),
    ],
)
def test_an_option_reaches_the_function(words: list[str], name: str, value: Any) -> None:
    _, keywords = read("a", *words)
    assert keywords[name] == value
    assert type(keywords[name]) is type(value)


def test_variadic_arguments() -> None:
    options = Options.of(several)
    assert options.read(["a", "b", "--by", "x"], prog="p") == (["a", "b"], {"by": "x"})
    assert options.read([], prog="p") == ([], {"by": "loss"})


@pytest.mark.parametrize(
    "words", [["a", "--mode", "max"], ["a", "--observers", "x"], ["a", "--more", "x"]]
)
def test_what_cannot_be_typed_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read(*words)
    assert words[1] in capsys.readouterr().err


def test_help_is_in_groups_and_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        read("--help")
    out = capsys.readouterr().out
    groups = out.index("time and length options")
    assert out.index("--epochs INT") > groups > out.index("--mode {sum,mean}")
    assert "Rate of steps. (default: 0.1)" in out
    assert "SOURCE [PATH]" in out
    assert "None" not in out


def test_the_surface_is_text() -> None:
    lines = Options.of(many).surface()
    assert lines[:3] == ["SOURCE TEXT", "PATH TEXT = None", "--model TEXT = 'cnn'"]
    assert {"--split NUMBER NUMBER = (0.8, 0.1)", "--no-plot = True", "--smoke = False"} <= set(
        lines
    )
    assert Options.of(several).surface() == ["RUNS TEXT ...", "--by TEXT = 'loss'"]


def test_names_for_type_checkers_only_are_foreign() -> None:
    parameter = inspect.signature(many).parameters["observers"]
    given = annotation(many, parameter)
    assert given.__args__ == (Foreign,)
    assert typeable(given, parameter.default) is None


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (str | None, "TEXT"),
        (int | Literal["auto"] | None, "{auto}|INT"),
        (tuple[int, ...], "INT ..."),
        (tuple[int, str], "INT TEXT"),
        (Literal["a", None], "{a,None}"),
        (Path | Foreign, "PATH"),
    ],
)
def test_the_word_for_a_value(given: Any, word: str) -> None:
    assert metavar(typeable(given)) == word
