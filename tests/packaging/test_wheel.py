"""The wheel is complete: built from the source archive, unpacked bare, imported and used.

Nothing is downloaded: the build uses the installed hatchling, and dependencies are those of this
environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fitwell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DATA_FILES = {
    "fitwell/py.typed",
    "fitwell/core/coverage.tsv",
    "fitwell/core/references.bib",
    *(
        path.relative_to(ROOT / "src").as_posix()
        for path in (
            *(ROOT / "src/fitwell/report/templates").glob("*.jinja"),
            *(ROOT / "src/fitwell/ui/static").iterdir(),
        )
    ),
}

IMPORT_ALL = """
import importlib, pkgutil, fitwell
names = [m.name for m in pkgutil.walk_packages(fitwell.__path__, "fitwell.")]
for name in names:
    if name != "fitwell.__main__":
        importlib.import_module(name)
print(fitwell.__file__, len(names))
"""

USE_FILES = """
from fitwell.core.coverage import coverage_file, read_coverage
from fitwell.core.references import references
from fitwell.report._templates import _environment
templates = _environment().list_templates()
for name in templates:
    _environment().get_template(name)
print(coverage_file(), len(read_coverage().lines), len(references()), len(templates))
"""


def run(*words: str | Path, folder: Path, path: Path | None = None) -> str:
    """Run Python outside the checkout, with `path` in front of everything installed."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**variables, "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = next(built.glob("*.whl"))
    run("-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel, folder=built)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        metadata = next(n for n in names if n.endswith(".dist-info/METADATA"))
        about = wheel.read(metadata).decode()
    package = ROOT / "src" / "fitwell"
    modules = {p.relative_to(ROOT / "src").as_posix() for p in package.rglob("*.py")}
    assert modules | DATA_FILES == {n for n in names if ".dist-info/" not in n}
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "License-Expression: Apache-2.0" in about
    assert "Requires-Python: >=3.11" in about
    assert "# fitwell" in about


def test_the_source_archive_leaves_private_things_out(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.partition("/")[0] for name in names}
    known = {"src", "docs", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO"}
    assert known <= tops
    assert tops - known <= {".gitignore"}
    assert {n for n in names if n.startswith("docs/")} == {"docs/coverage.tsv"}


def test_every_module_imports_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    file, count = run("-W", "error", "-c", IMPORT_ALL, folder=tmp_path, path=installed).split()
    assert Path(file).is_relative_to(installed)
    modules = list((ROOT / "src" / "fitwell").rglob("*.py"))
    assert int(count) == len(modules) - 1  # the package itself is not walked


def test_packaged_files_are_found(installed: Path, tmp_path: Path) -> None:
    words = run("-c", USE_FILES, folder=tmp_path, path=installed).split()
    assert Path(words[0]) == installed / "fitwell" / "core" / "coverage.tsv"
    table = (ROOT / "docs" / "coverage.tsv").read_text(encoding="utf-8")
    assert int(words[1]) == len(table.splitlines()) - 1
    assert int(words[2]) > 0
    assert int(words[3]) == sum(name.endswith(".jinja") for name in DATA_FILES)


def test_the_command_works(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "fitwell"
    assert "usage: fitwell" in run(command, "--help", folder=tmp_path, path=installed)
    version = run("-m", "fitwell", "--version", folder=tmp_path, path=installed)
    assert version.split() == ["fitwell", fitwell.__version__]
