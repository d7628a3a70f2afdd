"""One training of a run, from its settings to its numbers; what `train` and `resume` share."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from ..core.errors import FitwellError, RunError, UsageError, unknown_name
from ..core.records import machine
from ..data import Batches, Examples, Splits, augmentation
from ..optim import schedule
from ..tasks import ModelChoice, SupervisedTask, make_optimizer
from ..tasks import pick_device as pick_device
from ..train import (
    ALONE,
    CheckpointWriter,
    EarlyStopping,
    MetricsLog,
    OptimizationSettings,
    Progress,
    Replicas,
    Retention,
    Run,
    Shares,
    TensorBoard,
    TimeBudget,
    Trainer,
    World,
    resume,
)
from ._measure import measure


@final
@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run keeps while it trains; part of ``run.json``, so that resuming keeps it too.

    Args:
        log_every: Steps between losses in ``metrics.jsonl``.
        checkpoint_seconds: Least time between checkpoints.
        keep_best: How many of the best checkpoints stay.
        keep_every: Checkpoints at multiples of this step stay; 0 for none.
        max_bytes: Bytes that all checkpoints may take.
        tensorboard: Whether TensorBoard events are written.
    """

    log_every: int = 50
    checkpoint_seconds: float = 10.0
    keep_best: int = 1
    keep_every: int = 0
    max_bytes: int | None = None
    tensorboard: bool = False

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


@final
@dataclass(frozen=True, kw_only=True)
class Session:
    """A run that is being trained in this process.

    Args:
        run: The run.
        task: Its task.
        splits: Its data.
        choice: Its model: printed form, module, or what makes one.
        max_minutes: Time budget of this process.
        quiet: Whether progress is left out.
        world: The processes that train it.
    """

    run: Run
    task: SupervisedTask
    splits: Splits
    choice: ModelChoice
    max_minutes: float | None = None
    quiet: bool = False
    world: World = ALONE

    def check(self) -> None:
        """Try two examples, so that a wrong setting fails before a folder is made.

        Raises:
            UsageError: A setting is out of range, or data, model, loss and metric do not fit.
            UnknownName: No optimizer, loss or argument of that name.
        """
        settings = self.run.settings
        chosen = settings.optimization
        for name in ("epochs", "max_steps"):
            value = getattr(chosen, name)
            if value is not None and value < 1:
                raise UsageError(f"train: `{name}` must be at least 1; got {value}.")
        if self.max_minutes is not None:
            TimeBudget(self.max_minutes)
        shape = self.splits.schema.input_shape
        if chosen.augment != "none" and len(shape) != 3:
            raise UsageError(
                f"train: `augment` must be left out for inputs of shape {shape}, which are no"
                f" images; got {chosen.augment!r}."
            )
        best = EarlyStopping(settings.loss.metric, self.run.manifest["best_mode"], chosen.patience)
        few = self._batches(self.splits.train.select(range(min(2, len(self.splits.train)))), True)
        trainer = self._trainer(self._build_model(chosen), chosen, (), None)
        try:
            measured = trainer.evaluate(few)
        except (RuntimeError, ValueError, TypeError, IndexError) as err:
            if isinstance(err, FitwellError):
                raise
            raise UsageError(
                f"train: `model` and `loss` must fit the data, inputs of shape {shape} and"
                f" {self.splits.schema.num_outputs} outputs; {settings.model.spec} with"
                f" {settings.loss.loss} fails ({type(err).__name__}: {err})."
            ) from err
        if best.metric not in measured:
            raise unknown_name("train", "metric", best.metric, measured)

    def execute(self) -> Run:
        """Train from the newest checkpoint, or from the start, to the end; then measure.

        Raises:
            KeyboardInterrupt: The user stopped it; the run can be resumed.
        """
        if not self.world.leads:
            self._execute()
            return self.run
        with self.run.locked():
            try:
                self._execute()
            except Exception as err:
                self.run.update(status="failed", error=f"{type(err).__name__}: {err}")
                raise
        return self.run

    def _execute(self) -> None:
        chosen = self.run.settings.optimization
        torch.manual_seed(chosen.seed)
        model = self._build_model(chosen)
        best = EarlyStopping(
            self.run.settings.loss.metric, self.run.manifest["best_mode"], chosen.patience
        )
        train = self._shares(self._batches(self.splits.train, True))
        valid = self._shares(self._batches(self.splits.valid))
        replicas = Replicas(self.world) if self.world.size > 1 else None
        observers = self._observers(best) if self.world.leads else ()
        trainer = self._trainer(model, chosen, observers, replicas)
        self._restore(trainer, train, best)
        self._record(status="running", error=None, machine=self._machine())
        with _stoppable(trainer) as interrupted:
            trainer.fit(
                train,
                valid,
                epochs=chosen.epochs,
                max_steps=chosen.max_steps,
                log_every=self.run.manifest["recording"]["log_every"],
            )
        stopped = trainer.history.stopped
        if interrupted:
            self._record(status="stopped", stopped=stopped)
            raise KeyboardInterrupt
        if not self.world.leads:
            return
        best.restore(trainer)
        self.run.save_model(trainer.measured_model.state_dict())
        measure(self.run, self.task, self.splits, trainer, best.best_epoch)
        early = stopped is not None and chosen.patience is not None and "no better" in stopped
        ended = stopped is None or early
        self.run.update(status="finished" if ended else "stopped", stopped=stopped)

    def _record(self, **changes: Any) -> None:
        if self.world.leads:
            self.run.update(**changes)

    def _build_model(self, chosen: OptimizationSettings) -> nn.Module:
        model = self.task.build_model(
            self.choice, self.splits.schema, self.run.manifest["scaling"]
        ).to(self._device)
        if chosen.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    @property
    def _device(self) -> str:
        return self.world.device(self.run.settings.optimization.device)

    def _batches(self, examples: Examples, training: bool = False) -> Batches:
        chosen = self.run.settings.optimization
        size = chosen.batch_size if training else max(chosen.batch_size, 256)
        return Batches(
            _placed(examples, self._device),
            size * self.world.size,
            shuffle=training,
            seed=chosen.seed,
            augment=augmentation(chosen.augment) if training else None,
            device=self._device,
        )

    def _shares(self, batches: Batches) -> Batches | Shares:
        return batches if self.world.size == 1 else Shares(batches, self.world)

    def _observers(self, best: EarlyStopping) -> list[object]:
        kept = Recording(**self.run.manifest["recording"])
        observers: list[object] = [MetricsLog(self.run, kept.log_every), best]
        if not self.quiet:
            observers.append(Progress(metric=best.metric))
        if kept.tensorboard:
            observers.append(TensorBoard(self.run.folder / "tensorboard"))
        if self.max_minutes is not None:
            observers.append(TimeBudget(self.max_minutes))
        checkpoints = self.run.checkpoints(kept.retention())
        observers.append(CheckpointWriter(checkpoints, kept.checkpoint_seconds, best))
        return observers

    def _trainer(
        self,
        model: nn.Module,
        chosen: OptimizationSettings,
        observers: Sequence[object],
        replicas: Replicas | None,
    ) -> Trainer:
        return Trainer(
            model,
            self.task.objective(
                self.run.settings.loss.loss, self.splits.schema, self.run.manifest["scaling"]
            ),
            make_optimizer(chosen.optimizer, model),
            schedule=schedule(chosen.schedule),
            accumulate=chosen.accumulate,
            grad_clip_norm=chosen.grad_clip_norm,
            precision=chosen.precision,
            ema_decay=chosen.ema_decay,
            compiled=chosen.compiled,
            replicas=replicas,
            observers=observers,
        )

    def _restore(self, trainer: Trainer, train: Batches | Shares, best: EarlyStopping) -> None:
        checkpoints = self.run.checkpoints()
        step = checkpoints.newest()
        if step is not None:
            where = str(checkpoints.folder / f"step-{step:09d}")
            resume(trainer, checkpoints.load(step), train, best, where)
        if self.world.leads:
            self.run.rewind(step or 0)

    def _machine(self) -> dict[str, Any]:
        """Describe what the run trains on, since the last bits of its numbers depend on it."""
        threads = torch.get_num_threads()
        return {**machine(), "device": self._device, "threads": threads}


def _placed(examples: Examples, device: str) -> Examples:
    """Move what fits into half of a GPU's free memory there; the rest is moved batch by batch."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        if examples.inputs.nbytes > free / 2:
            return examples
    return examples.to(device)


@contextlib.contextmanager
def _stoppable(trainer: Trainer) -> Iterator[list[str]]:
    """Let the first Ctrl-C or termination end training after its step; the second one at once."""
    caught: list[str] = []

    def ask(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(signal.Signals(number).name)
        trainer.stop(f"interrupted by {caught[0]}")

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_same_data(run: Run, splits: Splits) -> None:
    """Refuse to go on with other data than the run began with.

    Args:
        run: The run.
        splits: The data as it is now.

    Raises:
        RunError: The data changed.
    """
    before = run.manifest["data"]["fingerprint"]
    if splits.fingerprint != before:
        raise RunError(
            f"{run.folder}: the data has changed since the run began (fingerprint"
            f" {splits.fingerprint[:12]}, was {before[:12]}). Restore it, or start a new run with"
            f" 'fitwell train --like {run.folder}'."
        )
