"""Observers that write what was measured for other programs: a table, TensorBoard.

They can be resumed from a checkpoint; services on the net are in `_services`. The record that
fitwell itself reads is `MetricsLog`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ...core.errors import UsageError, missing_extra
from ...core.files import atomic_path

if TYPE_CHECKING:
    from .._trainer import Trainer


@final
class CsvLog:
    """Write a table with a row per epoch, which pandas, R and spreadsheets read.

    Columns are ``epoch, step, lr, train_loss, valid_loss`` and so on, those of the first epoch; a
    metric that comes later is left out, one that is missing leaves its cell empty. A training that
    is resumed cuts rows after its checkpoint off; a new one begins the file anew.

    Args:
        path: The file; its folder is made if it is missing.

    Raises:
        UsageError: The file is there and was not written by a `CsvLog`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._header: list[str] = []
        self._read()

    def _read(self) -> list[list[str]]:
        """Give the whole rows of the file."""
        if not self.path.exists() or not self.path.stat().st_size:
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header[:2] != ["epoch", "step"]:
            raise UsageError(
                f"CsvLog: `path` must be a new file or one that CsvLog wrote; got"
                f" {str(self.path)!r}, which begins with {','.join(header)[:40]!r}. Choose another."
            )
        self._header = header
        return [row for row in rows if len(row) == len(header) and row[1].isdecimal()]

    def on_fit_start(self, trainer: Trainer) -> None:
        """Cut off the rows after the step that training goes on from.

        Args:
            trainer: At the start.
        """
        kept = [row for row in self._read() if int(row[1]) <= trainer.step]
        if not kept:
            self._header = []
            self.path.unlink(missing_ok=True)
            return
        with atomic_path(self.path) as path, path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self._header, *kept])

    def on_epoch(self, trainer: Trainer) -> None:
        """Write the row of the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        row = {"epoch": record["epoch"], "step": record["step"]}
        row |= {name.replace("/", "_"): value for name, value in measured(record)}
        row |= {name: record[name] for name in ("seconds", "examples_per_second")}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not self._header:
                self._header = list(row)
                writer.writerow(self._header)
            writer.writerow([row.get(name, "") for name in self._header])


@final
class TensorBoard:
    """Write losses and metrics as TensorBoard events; look at them with ``tensorboard --logdir``.

    Args:
        folder: Where the event files go. Events of an earlier training there that come after the
            step this one begins at are marked as void.
        every: Steps between losses, at least the trainer's `log_every`.

    Raises:
        MissingExtra: The package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: str | Path, *, every: int = 50) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as err:
            raise missing_extra("TensorBoard", "tensorboard", "tensorboard") from err
        self._make: Callable[..., Any] = SummaryWriter
        self._folder = str(folder)
        self._every = at_least_one("TensorBoard", every)
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open an event file that goes on from the step at hand.

        Args:
            trainer: At the start.
        """
        self._writer = self._make(self._folder, purge_step=trainer.step + 1)

    def on_step(self, trainer: Trainer) -> None:
        """Write the loss, if it is time.

        Args:
            trainer: After a step.
        """
        if trainer.step % self._every == 0:
            self._writer.add_scalar("step/loss", trainer.recent_loss(), trainer.step)

    def on_epoch(self, trainer: Trainer) -> None:
        """Write the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        for name, value in measured(record):
            self._writer.add_scalar(name, value, record["step"])

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write what is left and close the file.

        Args:
            trainer: At the end.
        """
        self._writer.close()


def measured(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Give the numbers of an epoch under one name each, such as ``valid/accuracy``.

    Args:
        record: Of the epoch.
    """
    yield "lr", record["lr"]
    for part in ("train", "valid"):
        for name, value in record[part].items():
            yield f"{part}/{name}", value


def at_least_one(owner: str, every: int) -> int:
    """Check how often something is told.

    Args:
        owner: Who tells.
        every: Steps between two times.

    Raises:
        UsageError: It is below 1.
    """
    if every < 1:
        raise UsageError(f"{owner}: `every` must be at least 1; got {every}.")
    return every
