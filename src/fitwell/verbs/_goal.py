"""What a session minimizes: the loss, a teacher's answers, a penalty for large weights."""

from __future__ import annotations

from torch import nn

from ..core.errors import UsageError
from ..data import Schema
from ..tasks import SupervisedTask
from ..train import LossSettings, Objective, Run, distill, penalize
from ._open_run import open_run


def goal(run: Run, task: SupervisedTask, schema: Schema, device: str) -> Objective:
    """Build what a run minimizes and measures.

    Args:
        run: Its settings, and the scaling of its targets.
        task: Its task.
        schema: Of its data.
        device: Where it trains.

    Raises:
        UnknownName: No loss, penalty or argument of that name.
        UsageError: The teacher is not finished, or learned something else.
    """
    chosen = run.settings.loss
    objective: Objective = task.objective(chosen.loss, schema, run.manifest["scaling"])
    if chosen.teacher is not None:
        teacher = _teacher(chosen, schema).to(device)
        objective = distill(chosen.distill or "Distillation()", objective, teacher)
    return objective if chosen.penalty == "none" else penalize(chosen.penalty, objective)


def _teacher(chosen: LossSettings, schema: Schema) -> nn.Module:
    run = open_run(str(chosen.teacher))
    if schema.target_kind == "number":
        raise UsageError(
            f"train: `teacher` must be left out for numbers; got {chosen.teacher}. Answers are"
            " learned from the probabilities of classes."
        )
    if run.status != "finished":
        raise UsageError(
            f"train: `teacher` must be a finished run; got {chosen.teacher}, which is"
            f" {run.status}. Finish it first: fitwell resume {chosen.teacher}"
        )
    known = run.schema
    for name in ("target_kind", "class_names", "input_shape"):
        if getattr(known, name) != getattr(schema, name):
            raise UsageError(
                f"train: `teacher` must have learned the same task; got {chosen.teacher}, whose"
                f" {name} is {getattr(known, name)}, not {getattr(schema, name)}."
                " Train a teacher on this data."
            )
    return run.model()
