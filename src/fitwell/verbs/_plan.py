"""How long a training would take, how much memory and disk, and how to cut it into sessions."""

from __future__ import annotations

import copy
import math
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch

from ..core.errors import UsageError
from ..train import Checkpoints, Run, Trainer, batch_length
from ._recording import Recording
from ._session import Session

# Of a session, not planned with: a machine is not always as fast as it was while it was probed.
_RESERVE = 0.05
_SAID = ("--run", "--max-minutes", "--probe-seconds", "--session-hours")
_WARM_UP = 2  # steps in which kernels are chosen and the optimizer makes its state


@final
@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds that the parts of a training take, as a probe measured them.

    Args:
        startup: Reading the data and what else comes before the first step; once per session.
        warm_up: The first steps together, above what as many later ones take.
        step: A step.
        validation: Measuring the validation part, after each epoch.
        checkpoint: Writing a checkpoint.
        final: Measuring all parts and writing the weights; at the end of each session.
    """

    startup: float = 0.0
    warm_up: float = 0.0
    step: float
    validation: float = 0.0
    checkpoint: float = 0.0
    final: float = 0.0

    def fit(self, steps: int, epochs: int, checkpoint_seconds: float) -> float:
        """Give the time between the first step and the last.

        Args:
            steps: Updates in all.
            epochs: Passes over the data that end, each with a validation.
            checkpoint_seconds: Least time between checkpoints; 0 writes one after each step.
        """
        plain = self.warm_up + steps * self.step + epochs * self.validation
        if checkpoint_seconds < self.step:
            return plain + steps * self.checkpoint
        return plain + self.checkpoint * (1 + plain // (checkpoint_seconds + self.checkpoint))


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would take. An early stop, where one is asked for, makes it shorter.

    Args:
        seconds: Time in all sessions together.
        costs: Of its parts.
        steps: Updates in all.
        epochs: Passes over the training part.
        memory_bytes: Most memory at a time: of the GPU if it trains there, else of the process.
        disk_bytes: Most that the run folder takes, without the report.
        session_hours: Longest session.
        commands: What to type, one command per session.
        probe_steps: Steps that were taken to know this.
        probe_seconds: Time that was taken to know this.
    """

    seconds: float
    costs: Costs
    steps: int
    epochs: int
    memory_bytes: int
    disk_bytes: int
    session_hours: float
    commands: tuple[str, ...]
    probe_steps: int
    probe_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {**asdict(self), "sessions": len(self.commands)}

    def __str__(self) -> str:
        count = len(self.commands)
        sessions = "one session" if count == 1 else f"{count} sessions"
        lines = [
            f"time     {_time(self.seconds)} for {self.steps:,} steps in {self.epochs:,} epochs,"
            f" {1000 * self.costs.step:.3g} ms a step",
            f"memory   {_size(self.memory_bytes)} at most",
            f"disk     {_size(self.disk_bytes)} at most",
            f"probe    {self.probe_steps:,} steps in {_time(self.probe_seconds)}",
            f"sessions {sessions} of at most {self.session_hours:g} h:",
        ]
        return "\n".join([*lines, *(f"  {command}" for command in self.commands)])


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def plan_session(
    session: Session,
    *,
    probe_seconds: float = 20.0,
    session_hours: float = 12.0,
    startup_seconds: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Plan:
    """Train for some seconds, forget it, and say what the whole training would take.

    Steps are real ones, with the data, batches, augmentation, model and settings of the run; parts
    are measured on some batches; one checkpoint is written beside the run's folder and deleted. The
    run itself is not touched.

    Args:
        session: What would be trained.
        probe_seconds: Time to train; the longer, the closer.
        session_hours: Longest session that the machine grants.
        startup_seconds: Time that the session has taken so far, which each session will take.
        clock: Gives seconds.

    Raises:
        UsageError: A time is not positive, several processes train, or a session is too short for
            what cannot be cut.
    """
    for name, value in (("probe_seconds", probe_seconds), ("session_hours", session_hours)):
        if not value > 0:
            raise UsageError(f"train: `{name}` must be positive; got {value}.")
    if session.world.size > 1:
        raise UsageError(
            f"train: `workers` must be 1 for a plan; got {session.world.size}. Plan it with one."
        )
    began = clock()
    chosen = session.run.settings.optimization
    device = torch.device(chosen.device)
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(chosen.seed)
        model = copy.deepcopy(session.build_model())  # it may be the user's own object
        watch = _Stopwatch(probe_seconds, clock)
        trainer = session.trainer(model, chosen, [watch], None)
        recording = Recording(**session.run.manifest["recording"])
        trainer.fit(
            session.batches(session.splits.train, chosen.batch_size, training=True),
            epochs=chosen.epochs,
            max_steps=chosen.max_steps,
            log_every=recording.log_every,
        )
        costs, checkpoint_bytes = _measure(session, trainer, watch, startup_seconds, clock)
    steps = trainer.total_steps
    epochs = math.ceil(steps / (trainer.steps_per_epoch or steps))
    weights = sum(t.nbytes for t in trainer.measured_model.state_dict().values())
    fit = costs.fit(
        steps, steps // (trainer.steps_per_epoch or steps), recording.checkpoint_seconds
    )
    commands = _commands(session.run, costs, fit, session_hours)
    each = costs.startup + costs.final
    return Plan(
        seconds=fit + len(commands) * each,
        costs=costs,
        steps=steps,
        epochs=epochs,
        memory_bytes=_peak_memory(device),
        disk_bytes=weights + _checkpoints_bytes(recording, checkpoint_bytes, steps),
        session_hours=session_hours,
        commands=commands,
        probe_steps=trainer.step,
        probe_seconds=clock() - began,
    )


@final
class _Stopwatch:
    """Notes when steps end, and stops the training after some seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self.times: list[float] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        """Start.

        Args:
            trainer: At the start.
        """
        self.times.append(self._clock())

    def on_step(self, trainer: Trainer) -> None:
        """Note the time; a GPU is waited for in the warm-up and at the end.

        Args:
            trainer: After a step.
        """
        if len(self.times) <= _WARM_UP:
            _wait(trainer.device)
        now = self._clock()
        if now - self.times[0] >= self._seconds and len(self.times) > _WARM_UP:
            _wait(trainer.device)
            trainer.stop("the probe is over")
            now = self._clock()
        self.times.append(now)

    def costs(self) -> tuple[float, float]:
        """Give the seconds of the warm-up above plain steps, and of a step."""
        warm = min(_WARM_UP, len(self.times) - 2)
        step = (self.times[-1] - self.times[warm]) / (len(self.times) - 1 - warm)
        return max(self.times[warm] - self.times[0] - warm * step, 0.0), step


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _measure(
    session: Session,
    trainer: Trainer,
    watch: _Stopwatch,
    startup: float,
    clock: Callable[[], float],
) -> tuple[Costs, int]:
    """Measure all parts of a training, and the bytes of a checkpoint."""
    warm_up, step = watch.costs()
    parts = session.splits.parts()
    size = max(session.run.settings.optimization.batch_size, 256)
    few = session.batches(session.splits.valid, size)
    per_example = _evaluation_seconds(trainer, few, watch._seconds / 4, clock)
    last = len(parts["test"] if "test" in parts else parts["valid"])
    examples = sum(map(len, parts.values())) + last
    seconds, size = _checkpoint(session.run, trainer, clock)
    costs = Costs(
        startup=startup,
        warm_up=warm_up,
        step=step,
        validation=len(session.splits.valid) * per_example,
        checkpoint=seconds,
        final=examples * per_example + seconds,
    )
    return costs, size


def _evaluation_seconds(
    trainer: Trainer, batches: Iterable[Any], seconds: float, clock: Callable[[], float]
) -> float:
    """Give the time that measuring an example takes, after a batch that is not timed."""
    trainer.evaluate(_until(batches, clock, 0.0, []))
    counts: list[int] = []
    started = clock()
    trainer.evaluate(_until(batches, clock, seconds, counts))
    return (clock() - started) / sum(counts)


def _until(
    batches: Iterable[Any], clock: Callable[[], float], seconds: float, counts: list[int]
) -> Iterator[Any]:
    started = clock()
    for batch in batches:
        counts.append(batch_length(batch))
        yield batch
        if clock() - started >= seconds:
            return


def _checkpoint(run: Run, trainer: Trainer, clock: Callable[[], float]) -> tuple[float, int]:
    """Write one checkpoint to the disk of the run, and delete it."""
    state = {**trainer.state_dict(), "best": trainer.measured_model.state_dict()}
    there = next(path for path in run.folder.absolute().parents if path.is_dir())
    with tempfile.TemporaryDirectory(prefix=".fitwell-plan-", dir=there) as folder:
        checkpoints = Checkpoints(folder)
        started = clock()
        checkpoints.save(state)
        return clock() - started, checkpoints.entries()[0].size


def _checkpoints_bytes(recording: Recording, size: int, steps: int) -> int:
    """Give what checkpoints take at most: those that stay, the newest, and one being written."""
    periodic = steps // recording.keep_every if recording.keep_every else 0
    most = size * (recording.keep_best + periodic + 2)
    return most if recording.max_bytes is None else min(most, recording.max_bytes)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _commands(run: Run, costs: Costs, fit: float, session_hours: float) -> tuple[str, ...]:
    """Cut a training into sessions: the command that starts it, and those that go on.

    Every session pays for its start and for measuring at its end, and a validation may begin just
    before its time is up.

    Raises:
        UsageError: This alone fills a session.
    """
    usable = session_hours * 3600 * (1 - _RESERVE)
    fixed = costs.startup + costs.final
    if fixed + fit <= usable:
        return _typed(run, None, 1)
    most = usable - fixed - max(costs.validation, costs.checkpoint + costs.warm_up, costs.step)
    minutes = math.floor(most / 60 * 10) / 10
    if minutes <= 0:
        raise UsageError(
            f"train: `session_hours` must leave time to train: of each session"
            f" {_time(usable - most)} go into reading, measuring and saving; got"
            f" {session_hours:g}. Use longer sessions, or smaller validation and test parts."
        )
    return _typed(run, minutes, math.ceil(fit / (60 * minutes)))


def _typed(run: Run, minutes: float | None, sessions: int) -> tuple[str, ...]:
    settings = run.settings
    own = settings.model.own and ".py:" not in settings.model.spec
    limit = {} if minutes is None else {"max-minutes": f"{minutes:g}"}
    if settings.loss.source == "memory" or own:
        words = "".join(f", {name.replace('-', '_')}={value}" for name, value in limit.items())
        first = f"fitwell.train(..., run={str(run.folder)!r}{words})"
        more = f"fitwell.resume({str(run.folder)!r}, ...{words})"
        return (first, *[more] * (sessions - 1))
    command = _without_own_options(shlex.split(run.manifest["command"]))
    first = _joined([*command, "--run", str(run.folder)], limit)
    model = {"model": settings.model.spec} if settings.model.own else {}
    more = _joined(["fitwell", "resume", str(run.folder)], {**model, **limit})
    return (first, *[more] * (sessions - 1))


def _without_own_options(words: Sequence[str]) -> list[str]:
    """Leave out that a plan was asked for, and what the plan says itself, with their values."""
    kept: list[str] = []
    is_value = False
    for word in words:
        if not is_value and word not in _SAID and word != "--plan":
            kept.append(word)
        is_value = not is_value and word in _SAID
    return kept


def _joined(words: Sequence[str], options: Mapping[str, str]) -> str:
    return shlex.join([*words, *(w for name, v in options.items() for w in (f"--{name}", v))])
