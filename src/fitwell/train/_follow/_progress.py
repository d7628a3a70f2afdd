"""Progress on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import html
import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from .._trainer import Trainer

_REFRESH_SECONDS = 0.2
_NOTEBOOK_SECONDS = 0.5  # each refresh is a message through the kernel
_LINE_SECONDS = 1.0


@final
class Progress:
    """Show how far training is, how fast, and what the last epoch measured.

    On a terminal and in a notebook one bar is kept up to date, with rate and remaining time;
    elsewhere a line is written per epoch, at most one a second.

    Args:
        stream: Where to write; by default below the cell in a notebook, else stderr.
        metric: The validation metric to show besides the loss.
    """

    def __init__(self, stream: IO[str] | None = None, metric: str = "loss") -> None:
        self._stream = stream or sys.stderr
        self._may_display = stream is None
        self._metric = metric
        self._bar: Any = None
        self._task: Any = None
        self._refresh_seconds = _REFRESH_SECONDS
        self._next = 0.0
        self._started = 0.0
        self._first_step = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the bar.

        Args:
            trainer: At the start.
        """
        self._started, self._first_step = time.monotonic(), trainer.step
        if self._may_display and in_notebook():
            self._refresh_seconds = _NOTEBOOK_SECONDS
            self._bar = _NotebookBar(total=trainer.total_steps, completed=trainer.step)
            self._bar.refresh()
        elif self._stream.isatty():
            self._open_terminal(trainer)

    def _open_terminal(self, trainer: Trainer) -> None:
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
            self._next = now + self._refresh_seconds
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
        """Close the bar, and say why training ended early.

        Args:
            trainer: At the end.
        """
        stopped = trainer.history.stopped
        reason = f"stopped at step {trainer.step:,}: {stopped}" if stopped else ""
        if isinstance(self._bar, _NotebookBar):
            self._bar.note, reason = reason, ""
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.step)
            self._bar.refresh()
            self._bar.stop()
        if reason:
            self._write(reason)

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


def in_notebook() -> bool:
    """Say whether this code runs in a cell of a notebook; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


@final
@dataclass(kw_only=True)
class _NotebookBar:
    """A bar below the cell, drawn over again in place; used as the one of the terminal is."""

    total: int
    completed: int
    epoch: int = 1
    rate: str = ""
    last: str = ""
    note: str = ""
    _handle: Any = None
    _started: float = 0.0
    _first: int = 0

    def __post_init__(self) -> None:
        self._started, self._first = time.monotonic(), self.completed

    def update(self, _task: Any, **news: Any) -> None:
        """Take over what is new."""
        for name, value in news.items():
            setattr(self, name, value)

    def refresh(self) -> None:
        """Draw it, the first time below what the cell has shown so far."""
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self)

    def stop(self) -> None:
        """Leave it as it is."""

    def _words(self) -> str:
        share = self.completed / max(self.total, 1)
        spent = time.monotonic() - self._started
        done = self.completed - self._first
        left = spent / done * (self.total - self.completed) if done else 0.0
        times = f"{_clock(spent)} < {_clock(left)}"
        parts = (f"epoch {self.epoch}", f"{share:.0%}", self.rate, times, self.last, self.note)
        return "  ".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.completed}" max="{max(self.total, 1)}"></progress>'
        words = html.escape(self._words())
        return f'<div style="font-variant-numeric: tabular-nums">{bar} {words}</div>'

    def __repr__(self) -> str:
        return self._words()
