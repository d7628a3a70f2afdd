"""How one of several processes ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENDING = """
import atexit
from fitwell.core.processes import leave

class Held:
    def __del__(self):
        print("taken down", flush=True)

held = Held()
atexit.register(print, "exit functions")
print("said")
leave(3)
"""


@pytest.mark.parametrize(
    ("processes", "expected"),
    [(1, ["said", "exit functions", "taken down"]), (2, ["said", "exit functions"])],
)
def test_one_of_several_processes_ends_without_taking_the_interpreter_down(
    processes: int, expected: list[str]
) -> None:
    """Threads of gloo, which outlive the process group, would abort it there now and then."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDING],
        env={**os.environ, "WORLD_SIZE": str(processes)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stdout.split("\n")[:-1] == expected
