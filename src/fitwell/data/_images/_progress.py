"""How far the decoding of images is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import IO, final

# Small folders are done before anyone wonders.
_QUIET_SECONDS = 2.0
_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 30.0


@final
class DecodingProgress:
    """Say how far the decoding of images is, if it takes longer than two seconds.

    Give it to `load_images` as `progress`. On a terminal one line is kept up to date, elsewhere one
    is written every half minute.

    Args:
        stream: Where to write; None is stderr.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = clock()
        self._next = self._started + _QUIET_SECONDS
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Take note of how far it is.

        Args:
            done: Images that are decoded.
            total: Images in all.
        """
        now, live = self._clock(), self._stream.isatty()
        if done == 0:
            self._started, self._next, self._shown = now, now + _QUIET_SECONDS, False
        elif done >= total:
            if self._shown:
                self._write(
                    f"decoded {total:,} images in {_clock(now - self._started)}", live, "\n"
                )
        elif now >= self._next:
            self._next = now + (_REFRESH_SECONDS if live else _LINE_SECONDS)
            self._shown = True
            left = (now - self._started) / done * (total - done)
            text = f"decoding {done:,} of {total:,} images, {_clock(left)} left"
            self._write(text, live, "" if live else "\n")

    def _write(self, text: str, live: bool, end: str) -> None:
        self._stream.write((f"\r{text:<60}" if live else text) + end)
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
