"""The watch of a run: what it saw is kept in the run's folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ...core.files import atomic_path, finite, write_json
from ._figure import draw
from ._reading import summary_of
from ._stall import stall_of
from ._watch import Watch

if TYPE_CHECKING:
    from ...train import Trainer


@final
class WatchLog:
    """Watch the trainer of a run, and write ``watch.json`` and ``watch.png`` at the end.

    Of a run that was resumed, the files tell of what came after; `began_at` says from where.

    Args:
        folder: Of the run.
        settings: Of the `Watch`.
    """

    def __init__(self, folder: str | Path, **settings: Any) -> None:
        self.watch = Watch(**settings)
        self.folder = Path(folder)
        self._began_at = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Begin.

        Args:
            trainer: At the start.
        """
        self._began_at = trainer.step
        self.watch.on_fit_start(trainer)

    def on_step(self, trainer: Trainer) -> None:
        """Take in a step.

        Args:
            trainer: After a step.
        """
        self.watch.on_step(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Leave measuring out.

        Args:
            trainer: At the end of an epoch.
        """
        self.watch.on_epoch(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write what was seen.

        Args:
            trainer: At the end.
        """
        self.watch.on_fit_end(trainer)
        if not self.watch.steps:
            return
        try:
            self._write()
        except Exception as err:  # it must not take the end of a training with it
            print(
                f"watch: what was seen is not in {self.folder}: {type(err).__name__}: {err}.",
                file=sys.stderr,
            )

    def _write(self) -> None:
        record = self.watch.record()
        said = {"summary": summary_of(record), "stuck": stall_of(record).to_dict()}
        kept = {"began_at": self._began_at, **said, **record}
        write_json(self.folder / "watch.json", finite(kept))
        with atomic_path(self.folder / "watch.png") as path:
            draw(record).savefig(path, dpi=110, format="png")
