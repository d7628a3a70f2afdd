"""What comments and ``pyproject.toml`` say to ignore."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fitwell.core.errors import DataError, UnknownName
from fitwell.lint import Config, Source, _engine, check_sources, read_config, rules, themes

FAULTY = "from torch import nn\nlayer = nn.Linear(2, 3),{comment}\n"


def found(text: str, config: Config | None = None, path: str = "train.py") -> list[str]:
    return [one.rule for one in check_sources([Source(path, text)], config or Config())]


@pytest.mark.parametrize(
    "comment",
    [
        "  # fitwell: ignore",
        "  # fitwell: ignore[trailing-comma]",
        "  # fitwell:ignore[ other , trailing-comma ]",
        "  # meant so  # fitwell: ignore[trailing-comma]",
        "\n# fitwell: ignore-file[trailing-comma]",
        "\n# fitwell: ignore-file",
    ],
)
def test_a_comment_keeps_a_line(comment: str) -> None:
    assert found(FAULTY.format(comment="")) == ["trailing-comma"]
    assert found(FAULTY.format(comment=comment)) == []


@pytest.mark.parametrize(
    "comment",
    ["  # fitwell: ignore[other]", "  # fitwell: ignored", "\n# fitwell: ignore", "  # noqa"],
)
def test_another_comment_does_not(comment: str) -> None:
    assert found(FAULTY.format(comment=comment)) == ["trailing-comma"]


def test_a_comment_on_a_line_of_its_own_is_for_the_next() -> None:
    text = "from torch import nn\n# fitwell: ignore[trailing-comma]\nlayer = nn.Linear(2, 3),\n"
    assert found(text) == []
    assert found(text.replace("3),", "3)\nother = nn.Linear(2, 3),")) == ["trailing-comma"]


def test_a_comment_at_the_end_of_a_long_expression() -> None:
    text = "from torch import nn\nlayer = nn.Linear(\n    2,\n    3,\n),{}\n"
    assert found(text.format("")) == ["trailing-comma"]
    assert found(text.format("  # fitwell: ignore")) == []


def test_text_that_looks_like_a_comment_is_none() -> None:
    text = 'from torch import nn\nname = "# fitwell: ignore-file"\nlayer = nn.Linear(2, 3),\n'
    assert found(text) == ["trailing-comma"]


def test_rules_and_themes_are_chosen() -> None:
    text = FAULTY.format(comment="")
    assert found(text, Config(select=("trailing-comma",))) == ["trailing-comma"]
    assert found(text, Config(select=("modules",))) == ["trailing-comma"]
    assert found(text, Config(select=("steps",))) == []
    assert found(text, Config(ignore=("modules",))) == []
    assert found(text, Config(select=("modules",), ignore=("trailing-comma",))) == []
    assert {rule.name for rule in Config().rules()} == set(rules())
    for name, (_, members) in themes().items():
        assert Config(select=(name,)).rules() == list(members)


def settings(folder: Path, text: str) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_config(folder)


def test_the_nearest_file_with_a_table_counts(tmp_path: Path) -> None:
    assert read_config(tmp_path) == Config()
    top = '[tool.fitwell.lint]\nignore = ["modules"]\nexclude = ["old"]\nhints = true\n'
    settings(tmp_path, top)
    inner = settings(tmp_path / "inner", "[project]\nname = 'x'\n")
    assert (inner.ignore, inner.exclude, inner.hints) == (("modules",), ("old",), True)
    program = tmp_path / "inner" / "train.py"
    program.write_text("")
    assert read_config(program) == inner
    own = settings(tmp_path / "inner", "[tool.fitwell.lint]\n")
    assert own.ignore == ()


def test_rules_are_left_out_in_some_files(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        '[tool.fitwell.lint.per-file-ignores]\n"tests/*" = ["modules"]\n"old.py" = ["steps"]\n',
    )
    text = FAULTY.format(comment="")
    assert found(text, config, str(tmp_path / "tests" / "a.py")) == []
    assert found(text, config, str(tmp_path / "old.py")) == ["trailing-comma"]
    assert found(text, config, str(tmp_path / "src" / "tests.py")) == ["trailing-comma"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[tool", DataError, r"pyproject\.toml is not valid TOML"),
        ("[tool.fitwell]\nlint = 3\n", DataError, "must be a table; got 3"),
        (
            "[tool.fitwell.lint]\nignores = []\n",
            UnknownName,
            "no setting named 'ignores'; .*'ignore'",
        ),
        (
            "[tool.fitwell.lint]\nignore = 'x'\n",
            DataError,
            "ignore must be a list of texts; got 'x'",
        ),
        ("[tool.fitwell.lint]\nhints = 1\n", DataError, "hints must be true or false; got 1"),
        ("[tool.fitwell.lint]\nselect = ['trailing-coma']\n", UnknownName, "'trailing-comma'"),
        (
            "[tool.fitwell.lint.per-file-ignores]\na = 'x'\n",
            DataError,
            "per-file-ignores must be a table such as",
        ),
        ("[tool.fitwell.lint.per-file-ignores]\na = ['x']\n", UnknownName, "named 'x'"),
    ],
)
def test_a_wrong_setting_is_named(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings(tmp_path, text)


def test_a_rule_that_fails_takes_nothing_else_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: object) -> list[object]:
        raise RecursionError("too deep\nreally")

    broken = replace(rules()["missing-zero-grad"], check=fails)
    config = Config(select=("modules", "missing-zero-grad"))
    monkeypatch.setattr(Config, "rules", lambda self: [broken, rules()["trailing-comma"]])
    monkeypatch.setattr(_engine, "strict", False)
    first, second = check_sources([Source("train.py", FAULTY.format(comment=""))], config)
    assert (first.rule, first.severity) == ("missing-zero-grad", "hint")
    assert "(RecursionError: too deep)" in first.message
    assert second.rule == "trailing-comma"
    monkeypatch.setattr(_engine, "strict", True)
    with pytest.raises(RecursionError, match="too deep"):
        check_sources([Source("train.py", FAULTY.format(comment=""))], config)
