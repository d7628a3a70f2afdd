"""Observers that tell services on the net what was measured; resumable from a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ...core.errors import UsageError, missing_extra
from ._loggers import at_least_one, measured

if TYPE_CHECKING:
    from .._trainer import Trainer

_LONGEST_PARAMETER = 500  # letters; what all versions of MLflow take


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
        self._every = at_least_one("WeightsAndBiases", every)
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
            self._log({"step/loss": trainer.recent_loss()}, trainer.step)

    def on_epoch(self, trainer: Trainer) -> None:
        """Send the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        values = {**dict(measured(record)), "epoch": record["epoch"]}
        self._log(values, record["step"])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if self._run is None:
            return
        try:
            self._run.log(values, step=step)
        except self._wandb.Error as err:  # hours of training must not be lost over this
            self._run = None
            _warn("WeightsAndBiases", err)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the run; it counts as failed if an error ended training.

        Args:
            trainer: At the end.
        """
        if self._run is not None:
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
        self._every = at_least_one("MLflow", every)
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
        self._send(dict(measured(record)), record["step"])

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
            _warn("MLflow", err)

    def state_dict(self) -> dict[str, Any]:
        """Give the id of the run at the server."""
        return {"id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the run of a saved training.

        Args:
            state: What `state_dict` gave.
        """
        self._id = state["id"]


def _warn(owner: str, err: Exception) -> None:
    words = " ".join(str(err).split())[:200]
    warnings.warn(f"{owner}: nothing more is sent ({words}).", RuntimeWarning, stacklevel=5)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", str(value)[:_LONGEST_PARAMETER]
