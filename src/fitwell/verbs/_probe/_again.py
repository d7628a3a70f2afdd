"""What it takes to train a run again: its length, its optimizer, and what a twin does without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from ...core.errors import UsageError
from ...core.spec import Spec, parse
from ...data import Splits
from ...doctor import Twin
from ...optim import WRAPPERS
from ...tasks import innermost, optimizer_spec
from ...train import Distillation, Objective, OptimizationSettings, Penalized, Run, Supervised

ALONE: Final = {
    "accumulate": 1,
    "average": "none",
    "compiled": False,
    "max_steps": None,
    "patience": None,
    "recompute": False,
}
"""Settings that a twin does without: they change how a run is trained or kept, not what limits."""


def step_size(run: Run) -> int:
    """Give the examples of a step of a run, in all its processes.

    Args:
        run: The run.
    """
    chosen = run.settings.optimization
    return chosen.batch_size * chosen.accumulate * chosen.workers


def epochs_of(run: Run, splits: Splits) -> int:
    """Give the passes that a run took, or is to take; a part of one counts as one.

    Args:
        run: The run.
        splits: Its data.
    """
    chosen = run.settings.optimization
    taken = run.result.get("epochs") or chosen.epochs
    if taken:
        return int(taken)
    steps = math.ceil(len(splits.train) / step_size(run))
    return math.ceil((chosen.max_steps or steps) / steps)


def check_again(run: Run, owner: str) -> None:
    """Refuse a run that cannot be trained beside others.

    Args:
        run: The run.
        owner: The verb, for messages.

    Raises:
        UsageError: Layers are set free on the way.
    """
    every = run.settings.optimization.unfreeze_every
    if every is not None:
        raise UsageError(
            f"{owner}: `run` must learn with the same layers throughout to be trained again beside"
            f" others; {run.folder} has unfreeze_every={every}. Train one with --freeze, or with"
            " neither, and ask that."
        )


def changed_settings(
    twin: Twin, chosen: OptimizationSettings, *, batch_size: int, epochs: int, seed: int
) -> dict[str, Any]:
    """Give the settings of a twin that are not those of the run.

    Args:
        twin: What is different.
        chosen: Settings of the run.
        batch_size: Examples of a step of the run.
        epochs: Passes of the run.
        seed: Added to that of the run.
    """
    known = innermost(chosen.optimizer).kwargs
    rates = {"lr": twin.lr(float(known["lr"]))}
    if "weight_decay" in known:
        rates["weight_decay"] = twin.weight_decay(float(known["weight_decay"]))
    augment = twin.augment(None if chosen.augment == "none" else chosen.augment)
    return {
        **ALONE,
        "optimizer": str(_with(optimizer_spec(chosen.optimizer), rates)),
        "batch_size": twin.batch_size(batch_size),
        "epochs": twin.epochs(epochs),
        "augment": augment or "none",
        "precision": "float32" if chosen.precision == "fp16" else chosen.precision,
        "seed": chosen.seed + seed,
    }


def _with(spec: Spec, rates: dict[str, float]) -> Spec:
    """Change arguments of the innermost optimizer."""
    if spec.name in WRAPPERS:
        return spec.but(optimizer=_with(parse(spec.kwargs["optimizer"]), rates))
    return spec.but(**rates)


def with_loss(objective: Objective, twin: Twin) -> Objective:
    """Give an objective with the loss of a twin, also where it is inside of a penalty or a teacher.

    Args:
        objective: Of the run.
        twin: What is different.
    """
    if isinstance(objective, Supervised):
        return replace(objective, loss=twin.loss(objective.loss))
    if isinstance(objective, (Penalized, Distillation)):
        return replace(objective, objective=with_loss(objective.objective, twin))
    return objective


def differences(run: Run, splits: Splits, epochs: int) -> Iterator[str]:
    """Say in what twins are not the run, though nothing was changed.

    Args:
        run: The run.
        splits: Its data.
        epochs: Passes of a twin.
    """
    chosen = run.settings.optimization
    taken = run.result.get("epochs")
    steps, whole = run.result.get("steps"), math.ceil(len(splits.train) / step_size(run))
    passes = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if taken and chosen.epochs and taken < chosen.epochs and epochs == taken:
        yield (
            f"twins train {passes}, as many as the run took of {chosen.epochs}; a schedule comes to"
            " its end in these"
        )
    elif steps and chosen.max_steps is not None and steps != epochs * whole:
        yield f"twins train {passes} of {whole:,} steps; the run took {steps:,} steps"
    if chosen.average != "none":
        yield f"twins are measured with their last weights; the run kept {chosen.average} of them"
    if chosen.accumulate * chosen.workers > 1:
        yield (
            f"a step of a twin takes its {step_size(run):,} examples in one pass, so batch norm"
            f" sees them together; the run took {chosen.batch_size:,} at a time"
        )
    if chosen.precision == "fp16":
        yield "twins train in float32; the run was trained in fp16"


def held_on(run: Run) -> Iterator[str]:
    """Say what regularizes a run and stays in all twins.

    Args:
        run: The run.
    """
    chosen = run.settings.loss
    if chosen.penalty != "none":
        yield f"the penalty {chosen.penalty} is in all twins; no twin is without it"
    if chosen.teacher is not None:
        yield f"all twins learn from the teacher {chosen.teacher}; no twin is without it"
