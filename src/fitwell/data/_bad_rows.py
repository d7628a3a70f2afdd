"""What happens when a row or a file of the user's data is bad: stop with one sentence, or skip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from ..core.errors import DataError

OnBadRow = Literal["stop", "skip"]


@final
@dataclass
class BadRows:
    """Collects what was wrong while a source is read.

    Args:
        mode: ``stop`` raises at the first bad row; ``skip`` leaves it out and counts it.
        messages: One sentence per row left out.
    """

    mode: OnBadRow = "stop"
    messages: list[str] = field(default_factory=list)

    def report(self, path: Path | str, row: int | None, problem: str, remedy: str) -> None:
        """Stop at a bad row, or note it.

        Args:
            path: The file.
            row: Row of the file, counting the header as row 1 as editors and spreadsheets do; None
                for a file that is no table.
            problem: What is wrong, with the value, as the predicate of a sentence.
            remedy: What to do, as a sentence.

        Raises:
            DataError: The mode is ``stop``.
        """
        place = f"{path}" if row is None else f"{path}, row {row}"
        message = f"{place}: {problem}. {remedy}"
        if self.mode == "stop":
            raise DataError(f"{message} Or go on without bad rows: --on-bad-row skip.")
        self.messages.append(message)

    @property
    def count(self) -> int:
        """How many rows were left out."""
        return len(self.messages)
