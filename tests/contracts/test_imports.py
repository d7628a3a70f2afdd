"""What importing costs: checked by what is loaded, never by the clock."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fitwell

SRC = Path(__file__).parents[2] / "src"
HEAVY = ("torch", "numpy", "sklearn", "scipy", "matplotlib", "jinja2", "pyarrow", "PIL", "rich")
LAZY = {
    *("sklearn", "scipy", "matplotlib", "jinja2", "pyarrow", "PIL", "pandas", "tensorboard"),
    *("wandb", "mlflow", "starlette", "uvicorn", "onnx", "onnxscript", "onnxruntime", "IPython"),
}
"""What no module of the package imports at its top."""
BASES = {"fitwell/estimators/_estimator.py", "fitwell/estimators/_supervised.py"}
"""Modules whose classes have bases in scikit-learn; only they are imported for it."""


def loaded(code: str) -> set[str]:
    """Give the heavy packages that a fresh interpreter has after some code."""
    report = f"import sys, json; json.dump([m for m in {HEAVY!r} if m in sys.modules], sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )
    return set(json.loads(done.stderr))


def top_imports(tree: ast.Module) -> set[str]:
    """Give the packages imported whenever the module is: not in functions or for checkers."""
    found: set[str] = set()
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += list(ast.iter_child_nodes(node))
    return found


def test_the_check_sees_what_is_loaded() -> None:
    assert loaded("import numpy") == {"numpy"}


@pytest.mark.parametrize(
    ("code", "packages"),
    [
        ("import sklearn.base", {"sklearn"}),
        ("try:\n    from PIL import Image\nexcept ImportError: pass", {"PIL"}),
        ("class A:\n    import jinja2", {"jinja2"}),
        ("def f():\n    import sklearn", set()),
        ("if TYPE_CHECKING:\n    import sklearn", set()),
        ("from .sklearn import x", set()),
    ],
)
def test_the_check_sees_imports_at_the_top(code: str, packages: set[str]) -> None:
    assert top_imports(ast.parse(code)) == packages


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["list", "methods"], ["show", "optim.AdamW"], ["cite", "adamw"]]
)
def test_looking_things_up_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded(f"import fitwell.cli; fitwell.cli.main({words!r})") == set()


@pytest.mark.parametrize("words", [["coverage", "--json"], ["show", "--help"], ["trian"]])
def test_the_dispatcher_loads_nothing_heavy(words: list[str]) -> None:
    code = "import fitwell.cli, sys, io; keep, sys.stderr = sys.stderr, io.StringIO()\n"
    assert loaded(f"{code}fitwell.cli.main({words!r}); sys.stderr = keep") == set()


def test_importing_the_package_loads_nothing() -> None:
    assert loaded("import fitwell; dir(fitwell); fitwell.__version__") == set()


def test_no_module_imports_at_its_top_what_few_need() -> None:
    found = {}
    for file in sorted((SRC / "fitwell").rglob("*.py")):
        name = file.relative_to(SRC).as_posix()
        allowed = {"sklearn"} if name in BASES else set()
        if heavy := (top_imports(ast.parse(file.read_text(encoding="utf-8"))) & LAZY) - allowed:
            found[name] = heavy
    assert found == {}


def test_public_names_are_sorted_and_there() -> None:
    assert fitwell.__all__ == sorted(fitwell.__all__)
    assert [name for name in fitwell.__all__ if getattr(fitwell, name, None) is None] == []
    assert set(fitwell.__all__) <= set(dir(fitwell))


def test_a_verb_stays_a_verb_beside_the_subpackage_of_its_name() -> None:
    import fitwell.report
    import fitwell.train

    assert callable(fitwell.train)
    assert callable(fitwell.report)
    from fitwell.train import Trainer

    assert fitwell.Trainer is Trainer


def test_families_are_attributes_and_other_names_are_not() -> None:
    assert fitwell.optim.AdamW.__name__ == "AdamW"
    with pytest.raises(AttributeError, match="module 'fitwell' has no attribute 'no_such_name'"):
        _ = fitwell.no_such_name  # type: ignore[attr-defined]
