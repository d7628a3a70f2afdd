"""Observers that tell other programs what was measured: a table, TensorBoard, two services.

All of them can be resumed from a checkpoint. The record that fitwell itself reads is `MetricsLog`.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..core.errors import UsageError, missing_extra
from ..core.files import atomic_path

if TYPE_CHECKING:
    from ._trainer import Trainer

_LONGEST_PARAMETER = 500  # letters; what all versions of MLflow take


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
        row |= {name.replace("/", "_"): value for name, value in _measured(record)}
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
        self._every = _at_least_one("TensorBoard", every)
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
        for name, value in _measured(record):
            self._writer.add_scalar(name, value, record["step"])

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write what is left and close the file.

        Args:
            trainer: At the end.
        """
        self._writer.close()


@final
class WeightsAndBiases:
    """Send losses and metrics to Weights & Biases.

    A training that is resumed from a checkpoint goes on with the same run there, where wandb drops
    steps that it knows; files of ``WANDB_MODE=offline`` repeat those since the checkpoint. Keys and
    addresses are set as for wandb itself.

    Args:
        project: Name of the project.
        name: Name of the run; wandb makes one up if it is left out.
        config: Settings to show with the run.
        folder: Where wandb keeps its files, in a folder ``wandb``; the current one if left out.
        every: Steps between losses, at least the trainer's `log_every`.

    Raises:
        MissingExtra: The package ``wandb`` is not installed.
    """

    def __init__(
        self,
        project: str,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        folder: str | Path | None = None,
        every: int = 50,
    ) -> None:
        try:
            import wandb
        except ImportError as err:
            raise missing_extra("WeightsAndBiases", "wandb", "wandb") from err
        self._wandb: Any = wandb
        self._where: dict[str, Any] = {
            "project": project,
            "name": name,
            "config": dict(config or {}),
            "dir": None if folder is None else str(folder),
        }
        self._every = _at_least_one("WeightsAndBiases", every)
        self._id: str | None = None
        self._run: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the run, or the one that a resumed training began.

        Args:
            trainer: At the start.

        Raises:
            UsageError: wandb refuses, such as without a key.
        """
        if self._where["dir"] is not None:  # else wandb takes another folder
            Path(self._where["dir"]).mkdir(parents=True, exist_ok=True)
        try:
            self._run = self._wandb.init(**self._where, id=self._id, resume="allow")
        except self._wandb.Error as err:
            raise UsageError(
                f"WeightsAndBiases: wandb cannot open a run ({' '.join(str(err).split())[:200]})."
                " Run 'wandb login', or set WANDB_MODE=offline."
            ) from err
        self._id = str(self._run.id)

    def on_step(self, trainer: Trainer) -> None:
        """Send the loss, if it is time.

        Args:
            trainer: After a step.
        """
        if trainer.step % self._every == 0:
            self._run.log({"step/loss": trainer.recent_loss()}, step=trainer.step)

    def on_epoch(self, trainer: Trainer) -> None:
        """Send the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        values = {**dict(_measured(record)), "epoch": record["epoch"]}
        self._run.log(values, step=record["step"])

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the run; it counts as failed if an error ended training.

        Args:
            trainer: At the end.
        """
        self._run.finish(exit_code=0 if trainer.healthy else 1)

    def state_dict(self) -> dict[str, Any]:
        """Give the id of the run at the service."""
        return {"id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the run of a saved training.

        Args:
            state: What `state_dict` gave.
        """
        self._id = state["id"]


@final
class MLflow:
    """Send losses and metrics to an MLflow tracking server.

    A training that is resumed from a checkpoint goes on with the same run there. If the server can
    no longer be reached, training goes on without it, with one warning.

    Args:
        experiment: Name of the experiment; made if it is missing.
        name: Name of the run; MLflow makes one up if it is left out.
        config: Settings, sent as parameters.
        uri: Address of the server; ``MLFLOW_TRACKING_URI`` if it is left out.
        every: Steps between losses, at least the trainer's `log_every`.

    Raises:
        MissingExtra: The package ``mlflow-skinny`` is not installed.
    """

    def __init__(
        self,
        experiment: str,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        uri: str | None = None,
        every: int = 50,
    ) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as err:
            raise missing_extra("MLflow", "mlflow-skinny", "mlflow") from err
        self._make: Callable[..., Any] = MlflowClient
        self._experiment, self._name, self._uri = experiment, name, uri
        self._config = dict(_flat(config or {}))
        self._every = _at_least_one("MLflow", every)
        self._id: str | None = None
        self._client: Any = None
        self._told: dict[str, int] = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the run, or the one that a resumed training began.

        Args:
            trainer: At the start.

        Raises:
            UsageError: There is no server at the address that takes it.
        """
        try:
            self._client = self._make(tracking_uri=self._uri)
            self._open()
        except Exception as err:
            raise UsageError(
                "MLflow: `uri` must be the address of a tracking server; got"
                f" {self._uri or 'MLFLOW_TRACKING_URI'} ({' '.join(str(err).split())[:200]})."
                " Start one with: mlflow server"
            ) from err

    def _open(self) -> None:
        client = self._client
        if self._id is not None:
            self._told = {
                name: max(point.step for point in client.get_metric_history(self._id, name))
                for name in client.get_run(self._id).data.metrics
            }
            client.update_run(self._id, status="RUNNING")
            return
        found = client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else client.create_experiment(self._experiment)
        self._id = str(client.create_run(experiment, run_name=self._name).info.run_id)
        for name, value in self._config.items():
            client.log_param(self._id, name, value)

    def on_step(self, trainer: Trainer) -> None:
        """Send the loss, if it is time.

        Args:
            trainer: After a step.
        """
        if trainer.step % self._every == 0:
            self._send({"step/loss": trainer.recent_loss()}, trainer.step)

    def on_epoch(self, trainer: Trainer) -> None:
        """Send the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        self._send(dict(_measured(record)), record["step"])

    def _send(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if step > self._told.get(name, -1):
                self._tell("log_metric", name, value, step=step)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the run; it counts as failed if an error ended training.

        Args:
            trainer: At the end.
        """
        self._tell("set_terminated", "FINISHED" if trainer.healthy else "FAILED")

    def _tell(self, method: str, *values: Any, **named: Any) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self._id, *values, **named)
        except Exception as err:  # hours of training must not be lost over this
            self._client = None
            words = " ".join(str(err).split())[:200]
            warnings.warn(f"MLflow: nothing more is sent ({words}).", RuntimeWarning, stacklevel=4)

    def state_dict(self) -> dict[str, Any]:
        """Give the id of the run at the server."""
        return {"id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the run of a saved training.

        Args:
            state: What `state_dict` gave.
        """
        self._id = state["id"]


def _measured(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Give the numbers of an epoch under one name each, such as ``valid/accuracy``."""
    yield "lr", record["lr"]
    for part in ("train", "valid"):
        for name, value in record[part].items():
            yield f"{part}/{name}", value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", str(value)[:_LONGEST_PARAMETER]


def _at_least_one(owner: str, every: int) -> int:
    if every < 1:
        raise UsageError(f"{owner}: `every` must be at least 1; got {every}.")
    return every
