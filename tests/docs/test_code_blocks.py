"""Every block of Python and of `fitwell` commands in the documentation runs, in its order.

A page is one session: its blocks share a folder and Python names. Recipes are cut to one epoch, and
a report is written only where a page asks for one, so that what a reader runs for minutes takes a
moment here. The code of a translated page does not run again: it has to be that of the original.
"""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fitwell.cli import main
from fitwell.data import Schema
from fitwell.tasks import SupervisedTask
from fitwell.train import Recipe, Run
from fitwell.verbs._session import Session

from .blocks import COMMENTS, LANGUAGES, Block, blocks_of
from .prepare import prepare

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name != "reference"),
]
ORIGINALS = {p: ROOT / "docs" / "tour" / p.name for p in PAGES if p.parent.name == "zh"}
"""The page that each translated page has its code from."""

NEED_DATA = {"docs/data.md"}
"""Pages all of whose code needs the real data sets."""

PREPARED = ("mynet",)
"""Modules that pages write and import."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def expected_messages(blocks: list[Block], place: int) -> list[str]:
    """Give what a failing block must print: the lines of the block of text after it."""
    after = blocks[place + 1] if place + 1 < len(blocks) else None
    if after is None or after.language != "text":
        raise ValueError("a block that fails must be followed by its message as a block of text")
    return after.code.splitlines()


def run_commands(block: Block, messages: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for words in block.commands:
        assert words[0] == "fitwell", f"bash blocks hold fitwell commands only; got {words[0]!r}"
        capsys.readouterr()
        code = main(words[1:])
        shown = capsys.readouterr()
        printed = shown.out + shown.err
        if messages:
            assert code != 0, f"{words} should fail"
            for line in messages:
                assert line in printed, f"{' '.join(words)} printed {printed!r}"
        else:
            assert code == 0, f"{' '.join(words)} gave {code}: {printed}"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def session(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in a folder of small files, with recipes of one epoch; gives a page's Python names."""
    for item in prepared.iterdir():
        (tmp_path / item.name).symlink_to(item, target_is_directory=item.is_dir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in PREPARED:
        monkeypatch.delitem(sys.modules, module, raising=False)
    long = SupervisedTask.recipe

    def recipe(self: SupervisedTask, schema: Schema, count: int) -> Recipe:
        return replace(long(self, schema, count), epochs=1)

    monkeypatch.setattr(SupervisedTask, "recipe", recipe)
    finish = Session.finish

    def without_report(self: Session, report: bool, *answers: Any) -> Run:
        return finish(self, False, *answers)

    monkeypatch.setattr(Session, "finish", without_report)
    return {"__name__": "__docs__"}


def with_code() -> list[Path]:
    return [
        p
        for p in PAGES
        if p not in ORIGINALS and any(b.language in ("python", "bash") for b in blocks_of(p))
    ]


@pytest.mark.parametrize("page", with_code(), ids=name)
def test_the_code_of_a_page_runs(
    page: Path, session: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    have_data = bool(os.environ.get("FITWELL_DATA"))
    if name(page) in NEED_DATA and not have_data:
        pytest.skip("needs the real data sets: set FITWELL_DATA")
    if name(page) == "docs/troubleshooting.md":
        net = next(b for b in blocks_of(ROOT / "docs/tour/module.md") if b.title == "mynet.py")
        Path("mynet.py").write_text(net.code, encoding="utf-8")
    blocks = blocks_of(page)
    for place, block in enumerate(blocks):
        if block.comment.startswith("needs") and not have_data:
            continue
        if block.language == "python" and block.title:
            Path(block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            lines = "\n" * (block.line - 1) + block.code
            exec(compile(lines, name(page), "exec"), session)
        elif block.language == "bash":
            fails = block.comment == "fails"
            run_commands(block, expected_messages(blocks, place) if fails else [], capsys)


def meanings(page: Path) -> list[object]:
    """Give what the blocks of a page do, without the comments in their code."""
    found: list[object] = []
    for block in blocks_of(page):
        code: object = block.code
        if block.language == "bash":
            code = block.commands
        elif block.language == "python":
            code = ast.dump(ast.parse(block.code))
        found.append((block.language, block.title, block.comment, code))
    return found


@pytest.mark.parametrize("page", ORIGINALS, ids=name)
def test_the_code_of_a_translated_page_is_that_of_the_original(page: Path) -> None:
    assert meanings(page) == meanings(ORIGINALS[page])
    assert meanings(page) != []


def test_a_translation_may_change_comments_alone(tmp_path: Path) -> None:
    page, text = tmp_path / "page.md", "```bash\nfitwell show {}  # {}\n```\n"
    python = "```python\nx = {}  # {}\n```\n"
    page.write_text(text.format("runs/a", "one") + python.format(1, "two"), encoding="utf-8")
    original = meanings(page)
    page.write_text(text.format("runs/a", "一") + python.format(1, "二"), encoding="utf-8")
    assert meanings(page) == original
    for command, value in (("runs/b", 1), ("runs/a", 2)):
        page.write_text(text.format(command, "一") + python.format(value, "二"), encoding="utf-8")
        assert meanings(page) != original


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_block_escapes(page: Path) -> None:
    blocks = blocks_of(page)
    assert {block.language for block in blocks} <= LANGUAGES
    assert {block.comment for block in blocks if block.language in ("python", "bash")} <= {
        "",
        *COMMENTS,
    }
    fences = [line for line in page.read_text(encoding="utf-8").splitlines() if "```" in line]
    real = [line for line in fences if line.lstrip().startswith("```")]
    assert len(real) == 2 * len(blocks)


def test_a_broken_block_is_caught(
    session: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nfitwell show optim.AdamW  # a comment\nfitwell trian digits\n```\n"
        "<!-- fails -->\n```bash\nfitwell coverage\n```\n```text\nanother message\n```\n",
        encoding="utf-8",
    )
    wrong, healthy, _ = blocks_of(page)
    assert wrong.commands[0] == ["fitwell", "show", "optim.AdamW"]
    with pytest.raises(AssertionError, match="trian digits gave 2"):
        run_commands(wrong, [], capsys)
    with pytest.raises(AssertionError, match="should fail"):
        run_commands(healthy, expected_messages(blocks_of(page), 1), capsys)
    with pytest.raises(ValueError, match="followed by its message"):
        expected_messages([healthy], 0)
