"""The budgets of the house: small files, short functions, few parameters, no drawers.

Each check is a function of a source tree, first shown to fail on a broken tree made here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fitwell"

FILE_LINES, FUNCTION_LINES, PARAMETERS, FOLDER_FILES, COMMON_LINES = 400, 60, 12, 25, 150

LONG_FILES = {"data/_builtin_catalog.py": "a table of data sets, not code"}
"""Files that may be longer, up to 700 lines unless they are data, with the reason."""

LARGE_CONSTRUCTORS = {
    "core/cards.py:Card": "one field per part of a docstring",
    "train/_settings.py:OptimizationSettings": "the record of a run's settings, one per option",
}
"""Constructors that may take more parameters, with the reason."""

FORBIDDEN_IMPORTS = {"torchvision", "torchaudio"}


def sources(package: Path) -> Iterator[tuple[str, str, ast.Module]]:
    for file in sorted(package.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        yield file.relative_to(package).as_posix(), text, ast.parse(text)


def long_files(package: Path, exempt: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {count} lines"
        for name, text, _ in sources(package)
        if (count := len(text.splitlines())) > FILE_LINES and name not in exempt
    ]


def long_functions(package: Path) -> list[str]:
    """Count the lines after signature and docstring, which are as long as the options are many."""
    found = []
    for name, _, tree in sources(package):
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node, clean=False) else node.body
                count = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if count > FUNCTION_LINES:
                    found.append(f"{name}:{node.name}: {count} lines")
    return found


def large_constructors(package: Path, exempt: Mapping[str, str]) -> list[str]:
    found = []
    for name, _, tree in sources(package):
        for node in ast.walk(tree):
            place = f"{name}:{node.name}" if isinstance(node, ast.ClassDef) else ""
            if isinstance(node, ast.ClassDef) and place not in exempt:
                count = constructor_size(node)
                if count > PARAMETERS:
                    found.append(f"{place}: {count} parameters")
    return found


def constructor_size(node: ast.ClassDef) -> int:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            args = item.args
            return len([*args.posonlyargs, *args.args, *args.kwonlyargs]) - 1
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    hidden = [f for f in fields if "init=False" in ast.unparse(f) or "ClassVar" in ast.unparse(f)]
    return len(fields) - len(hidden)


def full_folders(package: Path) -> list[str]:
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    counts = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    return [f"{folder.name}: {n} files" for folder, n in counts.items() if n > FOLDER_FILES]


def drawers(package: Path) -> list[str]:
    found = []
    for name, text, _ in sources(package):
        word = Path(name).stem.strip("_")
        if word in ("utils", "util", "helpers", "misc"):
            found.append(name)
        elif word == "common" and len(text.splitlines()) > COMMON_LINES:
            found.append(name)
    return found


def forbidden_imports(folder: Path) -> list[str]:
    found = []
    for name, _, tree in sources(folder):
        if name.startswith(("lint/clean/", "lint/faulty/")):
            continue  # programs that are read by the linter, never run
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            found += [f"{name}: {m}" for m in modules if m.partition(".")[0] in FORBIDDEN_IMPORTS]
    return found


def notes_to_self(package: Path) -> list[str]:
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    return [
        f"{name}:{number}"
        for name, text, _ in sources(package)
        for number, line in enumerate(text.splitlines(), start=1)
        if any(word in line for word in words)
    ]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    package = tmp_path / "broken"
    package.mkdir()
    (package / "_utils.py").write_text("# TO" + "DO\n" + "import torchvision.io\n")
    (package / "_common.py").write_text("x = 1\n" * (COMMON_LINES + 1))
    (package / "_long.py").write_text("x = 1\n" * (FILE_LINES + 1))
    body = "    x = 1\n" * FUNCTION_LINES
    (package / "_function.py").write_text(
        f'def short():\n    """Do."""\n{body}\ndef long():\n{body}    x = 2\n'
    )
    names = ", ".join(f"a{i}" for i in range(PARAMETERS + 1))
    fields = "".join(f"    a{i}: int\n" for i in range(PARAMETERS + 1))
    (package / "_large.py").write_text(
        f"class A:\n    def __init__(self, {names}): pass\n"
        f"@dataclass(frozen=True)\nclass B:\n{fields}"
        f"class C(Protocol):\n{fields}"
    )
    (package / "_from.py").write_text("from torchaudio import load\nfrom .torchaudio import x\n")
    full = package / "full"
    full.mkdir()
    for number in range(FOLDER_FILES + 1):
        (full / f"_{number}.py").write_text("")
    return package


def test_a_broken_house_is_caught(broken: Path) -> None:
    assert long_files(broken, {}) == ["_long.py: 401 lines"]
    assert long_files(broken, {"_long.py": "a reason"}) == []
    assert long_functions(broken) == ["_function.py:long: 61 lines"]
    assert large_constructors(broken, {"_large.py:B": "a reason"}) == ["_large.py:A: 13 parameters"]
    assert len(large_constructors(broken, {})) == 2
    assert full_folders(broken) == ["full: 26 files"]
    assert drawers(broken) == ["_common.py", "_utils.py"]
    assert forbidden_imports(broken) == ["_from.py: torchaudio", "_utils.py: torchvision.io"]
    assert notes_to_self(broken) == ["_utils.py:1"]


def test_no_file_is_too_long() -> None:
    assert long_files(PACKAGE, LONG_FILES) == []


def test_no_function_is_too_long() -> None:
    assert long_functions(PACKAGE) == []


def test_no_constructor_is_too_large() -> None:
    assert large_constructors(PACKAGE, LARGE_CONSTRUCTORS) == []


def test_no_folder_is_too_full() -> None:
    assert full_folders(PACKAGE) == []


def test_there_are_no_drawers() -> None:
    assert drawers(PACKAGE) == []


@pytest.mark.parametrize("folder", ["src", "tests", "recipes", "benchmarks"])
def test_torchvision_and_torchaudio_are_not_imported(folder: str) -> None:
    assert forbidden_imports(ROOT / folder) == []


def test_there_are_no_notes_to_self() -> None:
    assert notes_to_self(PACKAGE) == []


def test_exemptions_are_still_needed() -> None:
    files = {line.partition(":")[0] for line in long_files(PACKAGE, {})}
    assert set(LONG_FILES) <= files
    constructors = {line.rpartition(":")[0] for line in large_constructors(PACKAGE, {})}
    assert set(LARGE_CONSTRUCTORS) <= constructors
