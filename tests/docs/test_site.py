"""The site agrees with the package: names, options, links, numbers."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

import fitwell
from fitwell.cli._arguments import EVERYWHERE, Options, is_positional
from fitwell.cli._main import load
from fitwell.cli._verbs import TABLE
from fitwell.core.catalog import entries, families
from fitwell.lint import rules as lint_rules

from .test_code_blocks import PAGES, ROOT, name

_CODE = re.compile(r"^```(?!python)\w.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
"""Code in the text, and blocks of it but for Python, which runs."""

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*[a-z0-9])")
_NUMBERS = re.compile(r"<!-- numbers: (.+?) -->")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FOREIGN_OPTIONS = {
    "build-arg",
    "generate-hashes",
    "gpus",
    "help",
    "index-url",
    "ipc",
    "nnodes",
    "nproc-per-node",
    "require-hashes",
    "rm",
    "signal",
}
"""Options in the documentation that are not of a verb."""

ENDINGS = {"html", "json", "jsonl", "csv", "py", "sarif"}
"""What comes after the dot in the name of a file, such as ``report.html``."""


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that writes the generated pages."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "docs"))
    return module


@pytest.fixture(scope="module")
def pages(generate: ModuleType) -> dict[str, str]:
    made: dict[str, str] = generate.pages()
    return made


def headings(text: str) -> list[str]:
    return re.findall(r"^## (\S+) \{", text, re.MULTILINE)


def unknown_names(text: str) -> list[str]:
    """Give the names such as ``optim.Adan`` that stand as code in a page and are not there."""
    known = {entry.path for entry in entries()} | {f"fitwell.{n}" for n in fitwell.__all__}
    words = "|".join(families())
    pattern = re.compile(rf"(?<![\w./])(?:fitwell\.)?((?:{words})\.[A-Za-z]\w*)(?![\w.])")
    code = " ".join(_CODE.findall(text))
    found = {m[1] for m in pattern.finditer(code) if m[1].rpartition(".")[2] not in ENDINGS}
    found |= {f"fitwell.{n}" for n in re.findall(r"fitwell\.([A-Za-z]\w*)\b(?!\.)", code)}
    known |= {f"nn.{n}" for n in dir(torch.nn)} | {f"fitwell.{n}" for n in families()}
    return sorted(found - known)


def options() -> set[str]:
    """Give what can be typed after two dashes."""
    found = set(EVERYWHERE)
    for verb in TABLE:
        for word, (parameter, _) in Options.of(load(verb)).parameters.items():
            option = word.replace("_", "-")
            if not is_positional(parameter):
                found.add(f"no-{option}" if parameter.default is True else option)
    return found


def test_public_names_are_sorted_and_documented(pages: dict[str, str]) -> None:
    assert sorted(fitwell.__all__) == fitwell.__all__
    assert headings(pages["python.md"]) == [f"fitwell.{n}" for n in fitwell.__all__]
    assert all(getattr(fitwell, n) is not None for n in fitwell.__all__)


@pytest.mark.parametrize("family", families())
def test_the_names_of_a_family_are_sorted_and_documented(
    family: str, pages: dict[str, str]
) -> None:
    published = [entry.path for entry in entries(family)]
    assert sorted(published) == published
    assert headings(pages[f"{family}.md"]) == published
    module = importlib.import_module(f"fitwell.{family}")
    assert [p for p in published if not hasattr(module, p.partition(".")[2])] == []


def test_every_verb_and_option_is_documented(pages: dict[str, str]) -> None:
    text = pages["cli.md"]
    assert re.findall(r"^### fitwell (.+?) \{", text, re.MULTILINE) == [v.words for v in TABLE]
    assert options() - set(_OPTION.findall(text)) == set()


def test_every_page_is_reached_from_the_menu(pages: dict[str, str]) -> None:
    listed = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    written = {p.relative_to(ROOT / "docs").as_posix() for p in PAGES if "docs" in p.parts}
    rules = {f"lint-{n}.md" for n in lint_rules()}
    assert listed == written | {f"reference/{n}" for n in set(pages) - rules}
    # the pages of the rules are in the table of the rules
    assert {link.partition("#")[0] for link in _LINK.findall(pages["lint-rules.md"])} >= rules


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_options_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert unknown_names(text) == []
    commands = "\n".join(line for c in _CODE.findall(text) for line in c.splitlines())
    assert sorted(set(_OPTION.findall(commands)) - options() - FOREIGN_OPTIONS) == []
    for link in _LINK.findall(text):
        target = link.partition("#")[0]
        if target and "://" not in target and "reference/" not in target:
            assert (page.parent / target).is_file(), f"{link} leads nowhere"


def test_a_wrong_name_is_caught() -> None:
    text = "`optim.Adan` and `fitwell.trian` and `optim.AdamW`, optim.Adan not as code"
    assert unknown_names(text) == ["fitwell.trian", "optim.Adan"]


def test_the_numbers_in_the_pages_are_those_of_the_records(generate: ModuleType) -> None:
    found = generate.numbered()
    for file, current in found.items():
        old = file.read_text(encoding="utf-8") != current
        assert not old, f"{file} is out of date. Run: python docs/generate.py"
    for readme in ("README.md", "README.zh-CN.md"):
        assert found[ROOT / readme].count("<!-- numbers: recipes -->") == 1


def test_without_records_pages_say_so(generate: ModuleType, tmp_path: Path) -> None:
    assert generate.recipes_page(tmp_path).count("Not measured yet") == 1
    page = generate.benchmark_page(tmp_path)
    assert page.count("Not measured yet") == len(generate.BENCHMARKS)
    block = "<!-- numbers: {} -->\nold 0.99\n<!-- end of numbers -->"
    filled = generate.filled(block.format("recipes"), "zh", tmp_path)
    assert "尚未测量" in filled
    assert "0.99" not in filled
    for kind in sys.modules["number_blocks"].BLOCKS:
        said = generate.filled(block.format(kind), "en", tmp_path)
        assert said == block.format(kind).replace("old 0.99", "*Not measured yet.*")
    with pytest.raises(ValueError, match="`lucky` must be one of recipes, "):
        generate.filled(block.format("lucky"), "en", tmp_path)


def test_what_no_page_shows_is_no_block(generate: ModuleType) -> None:
    shown = {name for text in generate.numbered().values() for name in _NUMBERS.findall(text)}
    assert shown == {"recipes", *sys.modules["number_blocks"].BLOCKS}


def record(**changes: Any) -> dict[str, Any]:
    usual = {
        "what": "mnist_lenet5",
        "method": "fitwell train mnist",
        "result": {"train": {"loss": 0.5}, "test": {"loss": 0.25, "accuracy": 0.9625}},
        "seeds": [0],
        "seconds": 90.0,
        "epochs": 12,
        "machine": {"cpu": "A | B", "cores": 2},
        "versions": {"python": "3.11.7"},
        "commit": None,
        "date": "2026-01-02T00:00:00+00:00",
    }
    return {**usual, **changes}


def test_records_become_tables(generate: ModuleType, tmp_path: Path) -> None:
    old = record(result={"test": {"accuracy": 0.5}}, date="2025-01-02T00:00:00+00:00")
    recipes = [old, record(data="mnist (a copy): test as published")]  # the newer one counts
    lines = "".join(json.dumps(r) + "\n" for r in recipes)
    (tmp_path / "recipes.jsonl").write_text(lines, encoding="utf-8")
    ours = {"seconds": [1, 3, 2], "median": 2.0, "min": 1.0, "max": 3.0}
    theirs = {**ours, "median": 4.0, "ratio": 2.0, "interval": {"low": 1.5, "high": 2.5}}
    result = {"peer": theirs, "fitwell": ours, "goals": {"help, seconds": 0.25}}
    times = record(what="mlp", result=result, rounds=3)
    (tmp_path / "engine.jsonl").write_text(json.dumps(times) + "\n", encoding="utf-8")
    plain = record(what="folder", result={"images_per_second": 1234.5})
    (tmp_path / "images.jsonl").write_text(json.dumps(plain) + "\n", encoding="utf-8")
    row = (
        r"| mnist_lenet5 | mnist (a copy) | accuracy 0.9625 | 12 | 1.5 min | 0 | A \| B, 2 cores |"
    )
    block = "<!-- numbers: recipes -->\n<!-- end of numbers -->"
    assert generate.filled(block, "en", tmp_path).splitlines()[3:-1] == [row]
    recipes_page = generate.recipes_page(tmp_path)
    assert "| train | 0.5 | – |" in recipes_page
    assert "- 2025-01-02: test accuracy 0.5 by `fitwell train mnist`" in recipes_page
    page = generate.benchmark_page(tmp_path)
    fitwell_row = "| fitwell | 2 | 1 to 3 | – | – |"
    assert f"{fitwell_row}\n| peer | 4 | 1 to 3 | 2 | 1.5 to 2.5 |" in page
    assert "| help, seconds | 0.25 |" in page
    assert "| images per second | 1,234 |" in page
    assert "rounds 3" in page


def test_each_shape_of_a_record_becomes_a_table(generate: ModuleType, tmp_path: Path) -> None:
    ours = {"seconds": [1.0], "median": 1.0, "samples_per_second": 50.0}
    peer = {"seconds": [2.0], "median": 2.0, "ratio": 2.0}
    written = {
        "stream": {"megabytes_per_second": {"read": 512.0}, "contestants": {"a": ours, "b": peer}},
        "plan": {"digits": {"seconds_ratio": 1.25, "plan": {"steps": 3}}},
        "options": {"bf16": {"speed": 1.5}},
        "engine": {"fitwell": ours, "hand": peer},
        "images": {"first_epoch_images_per_second": 30.0},
    }
    for stem, result in written.items():
        made = record(what=f"{stem}, small", result=result, images=7)
        (tmp_path / f"{stem}.jsonl").write_text(json.dumps(made) + "\n", encoding="utf-8")
    rungs = {"references": {"line": 3.0}, "big": {"mse": 4.0, "features": 9, "parameters": 99}}
    lines = [
        record(what="covid_hw1 random", result=rungs),
        record(what="covid_hw1 states", result={"references": {"line": 5.0}, "big": {"mse": 6.0}}),
        record(method="fitwell train mnist --model 'CNN(pool=1)'", parameters=1234),
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "recipes.jsonl").write_text(text.replace('"loss": 0.5', '"accuracy": 0.75'))

    expected = {
        "stream": ["| b | 2 | – to – | – | 2 |", "| read | 512 |"],
        "plan": ["| digits | 1.25 |"],
        "options": ["| bf16 | 1.5 |"],
        "engine": ["| samples/s of fitwell | 50 |", "| hand | 2 |"],
        "image folder": ["| small | 7 | 30 | – | – | – |"],
        "covid": ["| line | – | – | 3 | 5 |", "| big | 9 | 99 | 4 | 6 |"],
        "image recipes": ["| mnist_lenet5 | CNN(pool=1) | – | 1,234 | 12 | 1.5 | 0.75 | 0.9625 |"],
    }
    for name_of_block, rows in expected.items():
        block = f"<!-- numbers: {name_of_block} -->\n<!-- end of numbers -->"
        found = generate.filled(block, "en", tmp_path).splitlines()
        assert [row for row in rows if row not in found] == []
    assert "## Options\n\n### options, small" in generate.benchmark_page(tmp_path)


def test_long_signatures_are_broken_at_arguments(generate: ModuleType) -> None:
    short = "f(a: int=1) -> int"
    assert generate.wrapped(short) == short
    arguments = "a: tuple[int, int]=(1, 2), *, b: Callable[[int, int], str], c: str='some words'"
    broken = generate.wrapped(f"function({arguments}) -> dict[str, tuple[int, int]]")
    assert broken.splitlines() == [
        "function(",
        "    a: tuple[int, int]=(1, 2),",
        "    *,",
        "    b: Callable[[int, int], str],",
        "    c: str='some words',",
        ") -> dict[str, tuple[int, int]]",
    ]


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == fitwell.__version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"]
    assert citation["title"]
    assert citation["message"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in changes
