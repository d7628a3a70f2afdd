"""What a run keeps while it trains, and who else is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from ..core.errors import UsageError
from ..train import CsvLog, MLflow, Retention, Run, TensorBoard, WeightsAndBiases


@final
@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run keeps while it trains; part of ``run.json``, so that resuming keeps it too.

    Args:
        log_every: Steps between losses in ``metrics.jsonl``.
        checkpoint_seconds: Least time between checkpoints.
        keep_best: How many of the best checkpoints stay.
        keep_every: At multiples of this step a checkpoint is written and stays; 0 for none.
        max_bytes: Bytes that all checkpoints may take.
        tensorboard: Whether TensorBoard events are written.
        csv: Whether the metrics are written as CSV too.
        wandb: Project of Weights & Biases that follows the run.
        mlflow: Experiment of MLflow that follows the run.
        watch: Whether gradients, updates, activations and times are watched, and on a CPU the
            first loss that is not finite.
        copy_to: Folder that the run is copied to while it trains.
        copy_seconds: Time between looks for something new to copy.
    """

    log_every: int = 50
    checkpoint_seconds: float = 10.0
    keep_best: int = 1
    keep_every: int = 0
    max_bytes: int | None = None
    tensorboard: bool = False
    csv: bool = False
    wandb: str | None = None
    mlflow: str | None = None
    watch: bool = False
    copy_to: str | None = None
    copy_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.log_every < 1:
            raise UsageError(f"train: `log_every` must be at least 1; got {self.log_every}.")
        if not self.checkpoint_seconds >= 0:
            raise UsageError(
                "train: `checkpoint_seconds` must not be negative; got"
                f" {self.checkpoint_seconds}. Use 0 to save after every step."
            )
        self.retention()

    def retention(self) -> Retention:
        """Give the policy that says which checkpoints stay."""
        return Retention(best=self.keep_best, every=self.keep_every, max_bytes=self.max_bytes)

    @classmethod
    def of(cls, run: Run) -> Recording:
        """Read what a run keeps from its ``run.json``.

        Args:
            run: The run.
        """
        return cls(**run.manifest["recording"])

    def loggers(self, run: Run) -> list[object]:
        """Make the observers that write metrics for other tools.

        Args:
            run: The run.

        Raises:
            MissingExtra: A package that is needed is not installed.
        """
        shown: Any = {
            "name": run.folder.name,
            "config": run.manifest["settings"],
            "every": self.log_every,
        }
        found: list[object] = []
        if self.csv:
            found.append(CsvLog(run.folder / "metrics.csv"))
        if self.tensorboard:
            found.append(TensorBoard(run.folder / "tensorboard", every=self.log_every))
        if self.wandb is not None:
            found.append(WeightsAndBiases(self.wandb, folder=run.folder, **shown))
        if self.mlflow is not None:
            found.append(MLflow(self.mlflow, **shown))
        if self.watch:
            from ..doctor import NaNGuard, WatchLog

            found.append(WatchLog(run.folder))
            chosen = run.settings.optimization
            if chosen.device == "cpu" and chosen.workers == 1:  # reading each loss costs no waiting
                found.append(NaNGuard())
        return found
