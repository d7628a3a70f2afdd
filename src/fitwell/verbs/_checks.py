"""What is checked before a run is begun or gone on with."""

from __future__ import annotations

import contextlib
import json
import math
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.errors import FitwellError, RunError, UsageError
from ..data import Batch, Splits, augmentation
from ..optim import WarmUp, schedule
from ..train import EMA, Objective, OptimizationSettings, Run, Settings, average, explain

_SPANS = 3  # of an average, after which 5 % of the first weights are left in it
_PACKAGE = str(Path(__file__).parents[1])


@dataclass
class Tried:
    """A model that is being tried."""

    model: nn.Module | None = None


@contextlib.contextmanager
def explained_fit(settings: Settings, splits: Splits) -> Iterator[Tried]:
    """Explain what goes wrong while a model and a loss are tried on two examples.

    Args:
        settings: Of the run.
        splits: The data.

    Raises:
        UsageError: Model, loss and data do not fit together.
        TrainingError: Memory does not suffice.
    """
    tried = Tried()
    try:
        yield tried
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as err:
        if isinstance(err, FitwellError):
            raise
        explained = explain(err, tried.model)
        if explained is not None and explained.kind == "memory":
            raise explained.error("train") from err
        reason = _where_raised(err) if explained is None else str(explained)
        raise UsageError(
            f"train: `model` and `loss` must fit the data, inputs of shape"
            f" {splits.schema.input_shape} and {splits.schema.num_outputs} outputs;"
            f" {settings.model.spec} with {settings.loss.loss} fails: {reason}"
        ) from err


def try_batch(model: nn.Module, objective: Objective, batch: Batch) -> None:
    """Refuse a model that gives something else than a tensor, before a loss trips over it.

    Then try the loss, which may get targets that augmentation has mixed.
    """
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = model(batch.inputs)
        if isinstance(outputs, Tensor):
            objective(model, batch)
    model.train(was_training)
    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"train: `model` must give one tensor; got a {type(outputs).__name__}. Return the"
            " logits or numbers alone from forward."
        )


def check_augment(text: str, splits: Splits) -> None:
    """Refuse augmentation of what is no image, or of values that it would clip.

    Args:
        text: Its printed form.
        splits: The data.

    Raises:
        UsageError: The inputs are no images, or lie outside [0, 1] and would be recolored.
    """
    shape, inputs = splits.schema.input_shape, splits.train.inputs
    if text != "none" and len(shape) != 3:
        raise UsageError(
            f"train: `augment` must be left out for inputs of shape {shape}, which are no images;"
            f" got {text!r}."
        )
    chain = augmentation(text)
    if chain is None or not chain.recolors or not isinstance(inputs, Tensor):
        return
    if not inputs.is_floating_point():
        return
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0 or high > 1:
        raise UsageError(
            f"train: `augment` {chain.recolors[0]} needs images in [0, 1]; got values from"
            f" {low:.3g} to {high:.3g}. Scale them, or leave it out."
        )


def short_run_note(chosen: OptimizationSettings, examples: int) -> str | None:
    """Say that a run is too short for its warm-up or its average of weights; None if it is not.

    Args:
        chosen: Its settings.
        examples: Of the training part.
    """
    batches = math.ceil(examples / (chosen.batch_size * chosen.workers))
    wanted = (chosen.epochs or math.inf) * math.ceil(batches / chosen.accumulate)
    steps = min(wanted, chosen.max_steps or math.inf)
    rise, kept = schedule(chosen.schedule), average(chosen.average)
    if isinstance(rise, WarmUp) and isinstance(rise.steps, int) and rise.steps >= steps:
        return (
            f"schedule: the warm-up takes {rise.steps} steps and the run has {steps}, so that the"
            " rate never gets where it should. Write a share, such as WarmUp(steps=0.1)."
        )
    if isinstance(kept, EMA) and not kept.warmup and steps * (1 - kept.decay) < _SPANS:
        return (
            f"average: EMA(decay={kept.decay}) spans {1 / (1 - kept.decay):.0f} steps and the run"
            f" has {steps}, so that the first weights stay in it. Write EMA(warmup=True)."
        )
    return None


def _where_raised(err: Exception) -> str:
    """Give an error's own words and the line outside of libraries that it came from."""
    lines = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(err.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith(_PACKAGE)
    ]
    return f"{type(err).__name__}: {err}" + (f" ({lines[-1]})." if lines else ".")


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


def check_same_settings(run: Run, settings: Settings) -> None:
    """Refuse to go on with other settings than the run began with; lengths and device may differ.

    Args:
        run: The run.
        settings: What was asked for now.

    Raises:
        UsageError: A setting differs.
    """
    free = {"epochs", "max_steps", "device"}
    before, now = (json.loads(json.dumps(s.to_dict())) for s in (run.settings, settings))
    differ = [
        f"{name} was {before[section].get(name)!r}, is {value!r}"
        for section, values in now.items()
        for name, value in values.items()
        if name not in free and before[section].get(name) != value
    ]
    if differ:
        raise UsageError(
            f"{run.folder}: must go on with the settings that it began with; {'; '.join(differ)}."
            " Leave them out, or choose another folder with --run."
        )
