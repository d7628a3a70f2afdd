"""What could not be seen, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final, final

import torch

_MOST: Final = 50


@final
class Notes:
    """Texts, each kept once and not too many; hooks hold them, and not the watch."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}

    def add(self, text: str) -> None:
        """Keep a text.

        Args:
            text: What was not seen, and why.
        """
        if len(self._texts) < _MOST:
            self._texts[text] = None

    def texts(self) -> list[str]:
        """Give them in the order in which they came."""
        return list(self._texts)

    @contextlib.contextmanager
    def harmless(self, what: str) -> Iterator[None]:
        """Note an error and go on: watching must never end a training.

        Args:
            what: What is lost if there is one.
        """
        try:
            with torch.no_grad():
                yield
        except Exception as err:
            self.add(f"{what}: {type(err).__name__}: {err}")
