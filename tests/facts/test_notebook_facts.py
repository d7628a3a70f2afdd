"""What `docs/notebooks.md` says of `!` and `%` is what IPython does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CELLS = """
import os
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def after(cell):
    result = shell.run_cell(cell)
    result.raise_error()
    return os.path.basename(os.getcwd())
found = [after("!cd photos"), after("!cd photos && touch seen"), after("%cd photos")]
found.append(after("!touch from_shell"))
print(*found)
"""
SCRIPT = """
import os, subprocess
def after():
    return os.path.basename(os.getcwd())
found = [after()]
subprocess.run("cd photos && touch seen", shell=True)
found.append(after())
os.chdir("photos")
found.append(after())
subprocess.run("touch from_shell", shell=True)
print(*found, after())
"""


def run(code: str, folder: Path) -> tuple[str, list[str]]:
    """Run code in a folder named `work` with a folder `photos`: places, and files in `photos`."""
    photos = folder / "work" / "photos"
    photos.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder / "work",
        env={**os.environ, "IPYTHONDIR": str(folder / "ipython"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], sorted(os.listdir(photos))


@pytest.mark.skipif(find_spec("IPython") is None, reason="needs IPython")
def test_plat_02_a_shell_ends_at_once_and_the_kernel_stays(tmp_path: Path) -> None:
    """And the script that the page gives for each line ends in the same place."""
    places, files = run(CELLS, tmp_path / "notebook")
    assert places == "work work photos photos"
    assert files == ["from_shell", "seen"]
    assert run(SCRIPT, tmp_path / "script") == (places, files)
