"""One training of a run, from its settings to its numbers; what `train` and `resume` share."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import nn

from ..core.errors import RunError, UsageError, unknown_name
from ..core.records import machine
from ..data import Batches, Examples, Splits, augmentation, memory_budget
from ..optim import follow, schedule, watching
from ..tasks import ModelChoice, SupervisedTask, make_optimizer
from ..tasks import pick_device as pick_device
from ..train import (
    ALONE,
    CheckpointWriter,
    CopyOut,
    EarlyStopping,
    MetricsLog,
    Objective,
    OptimizationSettings,
    Progress,
    Replicas,
    Run,
    TimeBudget,
    Trainer,
    Unfreezing,
    World,
    average,
    freeze,
    load_start_weights,
    recompute_activations,
    resume,
    tiny_batch_note,
)
from ._checks import check_augment, explained_fit, short_run_note, try_batch
from ._goal import goal
from ._measure import measure
from ._recording import Recording

_INTERRUPTED = "interrupted by"
_ONE_SIGNAL = 10.0  # seconds


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
        for name in ("batch_size", "epochs", "max_steps"):
            value = getattr(chosen, name)
            if value is not None and value < 1:
                raise UsageError(f"train: `{name}` must be at least 1; got {value}.")
        if self.max_minutes is not None:
            TimeBudget(self.max_minutes)
        if chosen.unfreeze_every is not None:
            Unfreezing(chosen.unfreeze_every)
            if self.world.size > 1:
                raise UsageError(
                    f"train: `workers` must be 1 with `unfreeze_every`; got {self.world.size}."
                    " Processes that train together settle at the start what learns: use --freeze."
                )
        check_augment(chosen.augment, self.splits)
        best = EarlyStopping(settings.loss.metric, self.run.manifest["best_mode"], chosen.patience)
        Recording.of(self.run).loggers(self.run)  # a package may be missing
        two = self.splits.train.select(range(min(2, len(self.splits.train))))
        few = self.batches(two, len(two), training=True)
        with explained_fit(settings, self.splits) as tried:
            tried.model = self.build_model()
            self._say(self.start(tried.model))
            trainer = self.trainer(tried.model, chosen, (), None)
            try_batch(tried.model, trainer.objective, next(iter(few)))
            measured = trainer.evaluate(self.batches(two, len(two)))
            if trainer.schedule is not None:
                follow(trainer.schedule, [{"train": {}, "valid": measured}])
        if best.metric not in measured:
            raise unknown_name("train", "metric", best.metric, measured)
        self._say(tiny_batch_note(tried.model, chosen.batch_size))
        self._say(short_run_note(chosen, len(self.splits.train)))

    def _say(self, note: str | None) -> None:
        if note and not self.quiet and self.world.leads:
            print(note, file=sys.stderr)

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
            finally:
                self._copy_out()
        return self.run

    def _copy_out(self) -> None:
        kept = Recording.of(self.run)
        if kept.copy_to is not None:
            CopyOut(self.run.folder, kept.copy_to, kept.copy_seconds).finish()

    def finish(self, report: bool, predict: str | None = None, sample: str | None = None) -> Run:
        """Train to the end, then write what was asked for.

        Args:
            report: Whether to write report.html.
            predict: Data to answer for once the run is finished.
            sample: A leaderboard's sample file that the answers shall follow.
        """
        self.execute()
        # All processes end together, with the run as it is on disk.
        manifest = self.world.by_leader(lambda: self._finish(report, predict, sample))
        self.run.manifest.update(manifest)
        return self.run

    def _finish(self, report: bool, predict: str | None, sample: str | None) -> dict[str, Any]:
        if report:
            from ._report import report as write_report

            write_report(str(self.run.folder))
        if predict is not None and self.run.status == "finished":
            from ._predict import predict as write_predictions

            write_predictions(self.run, predict, sample=sample)
        self._copy_out()
        return self.run.manifest

    def _execute(self) -> None:
        chosen = self.run.settings.optimization
        torch.manual_seed(chosen.seed)
        model = self.build_model()
        if self.run.checkpoints().newest() is None:
            self.start(model)
        best = EarlyStopping(
            self.run.settings.loss.metric, self.run.manifest["best_mode"], chosen.patience
        )
        train = self.batches(self.splits.train, chosen.batch_size, training=True)
        valid = self.batches(self.splits.valid, max(chosen.batch_size, 256))
        replicas = Replicas(self.world) if self.world.size > 1 else None
        observers = self._observers(best) if self.world.leads else ()
        trainer = self.trainer(model, chosen, observers, replicas)
        self._restore(trainer, train, best)
        self._record(status="running", error=None, machine=self.machine())
        with _stoppable(trainer, patient=self.world.size > 1) as interrupted:
            trainer.fit(
                train,
                valid,
                epochs=chosen.epochs,
                max_steps=chosen.max_steps,
                log_every=self.run.manifest["recording"]["log_every"],
            )
            stopped = trainer.history.stopped
            if interrupted or (stopped or "").startswith(_INTERRUPTED):  # here or elsewhere
                self._record(status="stopped", stopped=stopped)
                raise KeyboardInterrupt(
                    f"stopped by Ctrl-C. Go on with: fitwell resume {self.run.folder}"
                )
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

    def build_model(self) -> nn.Module:
        """Build the model on its device, ready to train."""
        chosen = self.run.settings.optimization
        model = self.task.build_model(
            self.choice, self.splits.schema, self.run.manifest["scaling"]
        ).to(self._device)
        freeze(model, self.run.settings.model.freeze)
        if chosen.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return recompute_activations(model) if chosen.recompute else model

    def start(self, model: nn.Module) -> str | None:
        """Give a new model the weights that it starts from, if there are any; say what was done.

        Args:
            model: From `build_model`.

        Raises:
            UsageError: None of the weights fit.
        """
        source = self.run.settings.model.weights
        return None if source is None else f"weights: {load_start_weights(model, source)}"

    def objective(self) -> Objective:
        """Build what is minimized and measured."""
        return goal(self.run, self.task, self.splits.schema, self._device)

    @property
    def _device(self) -> str:
        return self.world.device(self.run.settings.optimization.device)

    def batches(self, examples: Examples, size: int, *, training: bool = False) -> Batches:
        """Give batches of examples, in each process its share.

        Args:
            examples: Of the data.
            size: Examples per batch and process.
            training: Whether they are shuffled and augmented.
        """
        chosen = self.run.settings.optimization
        return Batches(
            _placed(examples, self._device),
            size,
            shuffle=training,
            seed=chosen.seed,
            augment=augmentation(chosen.augment) if training else None,
            device=self._device,
            shard=self.world.shard,
            memory=None if self.world.size == 1 else memory_budget() // self.world.size,
        )

    def with_settings(self, **optimization: Any) -> Session:
        """Give the session with other settings of the optimization, before its run is begun.

        Args:
            optimization: The settings that change.
        """
        settings = self.run.settings
        changed = replace(settings, optimization=replace(settings.optimization, **optimization))
        return self.with_facts(settings=changed.to_dict())

    def with_facts(self, **facts: Any) -> Session:
        """Give the session with other entries of ``run.json``, before its run is begun.

        Args:
            facts: The entries.
        """
        return replace(self, run=Run(self.run.folder, {**self.run.manifest, **facts}))

    def _observers(self, best: EarlyStopping) -> list[object]:
        kept = Recording.of(self.run)
        every = self.run.settings.optimization.unfreeze_every
        observers: list[object] = [] if every is None else [Unfreezing(every)]
        observers += [MetricsLog(self.run, kept.log_every), best]
        if self.max_minutes is not None:
            observers.append(TimeBudget(self.max_minutes))
        checkpoints = self.run.checkpoints(kept.retention())
        observers.append(CheckpointWriter(checkpoints, kept.checkpoint_seconds, best))
        observers += kept.loggers(self.run)  # after it: what fails there costs no checkpoint
        if kept.copy_to is not None:
            observers.append(CopyOut(self.run.folder, kept.copy_to, kept.copy_seconds))
        if not self.quiet:  # last, so that nothing that fails before it leaves a bar behind
            observers.append(Progress(metric=best.metric))
        return observers

    def trainer(
        self,
        model: nn.Module,
        chosen: OptimizationSettings,
        observers: Sequence[object],
        replicas: Replicas | None,
    ) -> Trainer:
        """Build a trainer.

        Args:
            model: What it trains.
            chosen: With which settings.
            observers: Called along the way.
            replicas: The processes that train together.
        """
        return Trainer(
            model,
            self.objective(),
            make_optimizer(chosen.optimizer, model, chosen.layer_decay),
            schedule=watching(
                schedule(chosen.schedule),
                self.run.settings.loss.metric,
                self.run.manifest["best_mode"],
            ),
            accumulate=chosen.accumulate,
            grad_clip_norm=chosen.grad_clip_norm,
            precision=chosen.precision,
            average=average(chosen.average),
            compiled=chosen.compiled,
            replicas=replicas,
            observers=observers,
        )

    def _restore(self, trainer: Trainer, train: Batches, best: EarlyStopping) -> None:
        checkpoints = self.run.checkpoints()
        step = checkpoints.newest()
        if step is None and self.run.status == "finished":
            raise RunError(
                f"{self.run.folder}: is finished and has no checkpoint to go on from. Train a new"
                f" run: fitwell train --like {self.run.folder}"
            )
        if step is None and self.run.metrics() and self.world.leads:
            print(f"{self.run.folder}: no checkpoint; starts again at epoch 1", file=sys.stderr)
        if step is not None:
            where = str(checkpoints.folder / f"step-{step:09d}")
            resume(trainer, checkpoints.load(step), train, best, where)
        if self.world.leads:
            self.run.rewind(step or 0)

    def machine(self) -> dict[str, Any]:
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
def _stoppable(trainer: Trainer, *, patient: bool) -> Iterator[list[str]]:
    """Let the first Ctrl-C or termination end training after its step; the second one at once.

    A launcher passes on to its processes what the terminal has sent them already, so several of
    them take what comes within some seconds for one.
    """
    caught: list[str] = []
    until = 0.0

    def ask(number: int, frame: object) -> None:
        nonlocal until
        if caught and time.monotonic() >= until:
            raise KeyboardInterrupt
        if caught:
            return
        until = time.monotonic() + (_ONE_SIGNAL if patient else 0.0)
        caught.append(signal.Signals(number).name)
        trainer.stop(f"{_INTERRUPTED} {caught[0]}")

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
