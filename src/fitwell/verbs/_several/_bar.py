"""How far trainings are that go on together."""

from __future__ import annotations

import sys
import time
from typing import IO, Any, final

from ...train import Population


@final
class Bar:
    """A line that is kept up to date on a terminal; elsewhere lines, at most one a second.

    Args:
        quiet: Show nothing.
        stream: Where to write.
    """

    def __init__(self, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = self._stream.isatty()
        self._begun = time.monotonic()
        self._next = 0.0
        self._wrote = False

    def show(self, population: Population) -> None:
        """Show an epoch.

        Args:
            population: After it.
        """
        now = time.monotonic()
        if self._quiet or (now < self._next and population.active):
            return
        self._next = now + (0.2 if self._live else 1.0)
        self._write(_line(population, now - self._begun))

    def _write(self, line: str) -> None:
        end = "" if self._live else "\n"
        start = "\r\x1b[K" if self._live else ""
        self._stream.write(f"{start}{line}{end}")
        self._stream.flush()
        self._wrote = True

    def close(self) -> None:
        """End the line."""
        if self._live and self._wrote:
            self._stream.write("\n")
            self._stream.flush()


def _line(population: Population, seconds: float) -> str:
    members: list[Any] = population.members
    most = max(member.epochs for member in members)
    left = len(population.active)
    choices = [choice for choice in population.choices.values() if choice.size > 1]
    how = f"  {choices[0]}" if choices else ""
    training = f"{left} of {len(members)} train" if left else f"all {len(members)} are done"
    return f"epoch {population.epoch}/{most}  {training}  {seconds:.1f} s{how}"
