"""Progress on a terminal, plain lines elsewhere; both to stderr."""

from __future__ import annotations

import sys
import time
from typing import IO, TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from ._trainer import Trainer

_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 1.0


@final
class Progress:
    """Show how far training is, how fast, and what the last epoch measured.

    On a terminal one bar is kept up to date, with rate and remaining time; elsewhere a line is
    written per epoch, at most one a second.

    Args:
        stream: Where to write; stderr by default.
        metric: The validation metric to show besides the loss.
    """

    def __init__(self, stream: IO[str] | None = None, metric: str = "loss") -> None:
        self._stream = stream or sys.stderr
        self._metric = metric
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0
        self._started = 0.0
        self._first_step = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the bar.

        Args:
            trainer: At the start.
        """
        self._started, self._first_step = time.monotonic(), trainer.step
        if not self._stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("<"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
            console=Console(file=self._stream),
            auto_refresh=False,
        )
        self._task = self._bar.add_task(
            "train",
            total=trainer.total_steps,
            completed=trainer.step,
            epoch=trainer.epoch + 1,
            rate="",
            last="",
        )
        self._bar.start()

    def on_step(self, trainer: Trainer) -> None:
        """Refresh the bar, a few times a second.

        Args:
            trainer: After a step.
        """
        if self._bar is None:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            rate = f"{self._rate(trainer):,.4g} steps/s"
            self._bar.update(self._task, completed=trainer.step, epoch=trainer.epoch + 1, rate=rate)
            self._bar.refresh()

    def on_epoch(self, trainer: Trainer) -> None:
        """Show what the epoch measured.

        Args:
            trainer: At the end of an epoch.
        """
        text = self._summary(trainer.history.epochs[-1])
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.step, last=text)
            return
        now = time.monotonic()
        if now >= self._next or trainer.step >= trainer.total_steps:
            self._next = now + _LINE_SECONDS
            left = (trainer.total_steps - trainer.step) / max(self._rate(trainer), 1e-9)
            self._write(f"epoch {trainer.epoch}  {text}  {_clock(left)} left")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the bar.

        Args:
            trainer: At the end.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.step)
            self._bar.refresh()
            self._bar.stop()
        if trainer.history.stopped:
            self._write(f"stopped at step {trainer.step:,}: {trainer.history.stopped}")

    def _rate(self, trainer: Trainer) -> float:
        seconds = time.monotonic() - self._started
        return (trainer.step - self._first_step) / max(seconds, 1e-9)

    def _summary(self, record: dict[str, Any]) -> str:
        parts = [f"train loss {record['train']['loss']:.4g}"]
        valid = record["valid"]
        for name in dict.fromkeys(("loss", self._metric)):
            if name in valid:
                parts.append(f"valid {name} {valid[name]:.4g}")
        parts.append(f"{record['examples_per_second']:,.0f} examples/s")
        return "  ".join(parts)

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
