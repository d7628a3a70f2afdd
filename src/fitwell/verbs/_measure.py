"""The numbers of a trained run, and its ``result.json``, ``evaluation.json`` and ``*.npz``."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..core.files import atomic_path, write_json
from ..data import Batches, Examples, Splits
from ..metrics import Classification, calibration
from ..tasks import SupervisedTask
from ..train import Member, Run, Trainer
from ._confidence import Confidence, fit_confidence, save_confidence
from ._data_card import png, write_data_card

_WORST: Final = 24  # errors shown in the report
_SIDE: Final = 96  # pixels of their pictures
_CELLS: Final = 12  # columns of their rows
_POINTS: Final = 2_000  # of a regression, shown in the report


def measure(
    run: Run, task: SupervisedTask, splits: Splits, trainer: Trainer | Member, best_epoch: int
) -> None:
    """Measure the kept weights on all parts, each in one pass, and write the run's records.

    Args:
        run: The run.
        task: Its task.
        splits: Its data.
        trainer: Holds the kept weights.
        best_epoch: The epoch they are from; 0 if no epoch was measured.
    """
    device = trainer.device
    batch_size = max(run.settings.optimization.batch_size, 256)
    last = "valid" if splits.test is None else "test"
    kept = {last, "valid"} if splits.schema.target_kind == "class" else {last}
    scores: dict[str, Any] = {"test": {}}
    outputs: dict[str, Tensor] = {}
    for name, part in splits.parts().items():
        batches = Batches(part.to(device), batch_size, device=device)
        if name in kept:
            scores[name], outputs[name] = evaluate_with_outputs(trainer, batches)
        else:
            scores[name] = trainer.evaluate(batches)
    records = trainer.history.epochs
    examples = len(splits.train) * trainer.step / max(trainer.steps_per_epoch or 1, 1)
    training_seconds = sum(record["seconds"] for record in records)
    trained = records[-1]["step"] if records else trainer.step
    result = {
        "run": str(run.folder),
        "task": task.name,
        "model": run.settings.model.spec,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "epochs": trainer.epoch,
        "steps": trainer.step,
        "seconds": trainer.history.seconds,
        "examples_per_second": examples
        * (trained / max(trainer.step, 1))
        / max(training_seconds or trainer.history.seconds, 1e-9),
        "best_epoch": best_epoch,
        "skipped": int(splits.schema.source.get("skipped", 0)),
        **peak_memory(trainer.device),
        "train": scores["train"],
        "valid": scores["valid"],
        "test": scores["test"],
    }
    write_json(run.folder / "result.json", result)
    part, confidence = splits.parts()[last], None
    if splits.schema.target_kind == "class":
        confidence = fit_confidence(outputs["valid"], _targets(splits.valid))
        if confidence is not None:
            save_confidence(run, confidence)
    record = evaluation(last, part, task, outputs[last], None if last == "valid" else confidence)
    write_json(run.folder / "evaluation.json", record)
    save_predictions(run, last, part, task, outputs[last])
    write_data_card(run, splits)


def evaluate_with_outputs(
    trainer: Trainer | Member, batches: Batches
) -> tuple[dict[str, float], Tensor]:
    """Measure as the trainer does, and keep the outputs on the CPU, in one pass over the data.

    Args:
        trainer: Holds the model.
        batches: The examples, in their order.
    """
    kept: list[Tensor] = []

    def keep(_model: object, _inputs: object, outputs: Tensor) -> None:
        kept.append(outputs.float().cpu())

    hook = trainer.measured_model.register_forward_hook(keep)
    try:
        scores = trainer.evaluate(batches)
    finally:
        hook.remove()
    return scores, torch.cat(kept)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Give the most memory in bytes that this process has had, and that torch has had on a GPU.

    Args:
        device: What was trained on.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"peak_memory": peak * (1 if sys.platform == "darwin" else 1024)}
    if device.type == "cuda":
        found["peak_device_memory"] = torch.cuda.max_memory_allocated(device)
    return found


def save_predictions(
    run: Run, part: str, examples: Examples, task: SupervisedTask, outputs: Tensor
) -> None:
    """Write ids, targets and answers of a part, for paired comparisons.

    Args:
        run: The run.
        part: Name of the part.
        examples: The part.
        task: Its task.
        outputs: Of the model on it.
    """
    answers = task.describe(outputs, examples.schema)
    with atomic_path(run.folder / f"predictions_{part}.npz") as path, path.open("wb") as file:
        np.savez(
            file,
            ids=np.array(examples.named_ids()),
            target=_targets(examples).numpy(),
            prediction=answers.values.numpy(),
        )


def evaluation(
    part: str,
    examples: Examples,
    task: SupervisedTask,
    outputs: Tensor,
    confidence: Confidence | None = None,
) -> dict[str, Any]:
    """Describe where a model is right and wrong, as plain data for the report.

    Args:
        part: Name of the part.
        examples: The part.
        task: Its task.
        outputs: Of the model on it.
        confidence: What another part said about the model's confidence.
    """
    schema, targets = examples.schema, _targets(examples)
    record: dict[str, Any] = {"part": part, "class_names": list(schema.class_names)}
    answers = task.describe(outputs, schema)
    if answers.probs is None:
        chosen = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:_POINTS]
        points = {"target": targets[chosen], "prediction": answers.values[chosen]}
        record["regression"] = {name: values.tolist() for name, values in points.items()}
        record["examples"] = _furthest(examples, targets, answers.values)
        return record
    counts = Classification(schema.num_classes)
    counts.update(outputs, targets)
    record["confusion"] = counts.confusion.tolist()
    record["per_class"] = [
        {**score.to_dict(), "name": name}
        for name, score in zip(schema.class_names, counts.per_class(), strict=True)
    ]
    if bool(outputs.isfinite().all()):
        learned = {} if confidence is None else confidence.record(outputs, targets)
        record["calibration"] = {**calibration(answers.probs, targets).to_dict(), **learned}
    sure, worst = _wrong(targets, answers.values, answers.probs)
    record["examples"] = _errors(examples, targets, answers.values, answers.probs, sure)
    record["worst"] = _errors(examples, targets, answers.values, answers.probs, worst)
    return record


def _wrong(targets: Tensor, values: Tensor, probs: Tensor) -> tuple[list[int], list[int]]:
    """Give the wrong answers the model was surest of, then others with the largest loss."""
    wrong = (values != targets).nonzero()[:, 0]
    confidence, likelihood = probs.amax(dim=1)[wrong], probs[wrong, targets[wrong]]
    sure = wrong[confidence.argsort(descending=True, stable=True)][:_WORST].tolist()
    worst = wrong[likelihood.argsort(stable=True)][:_WORST].tolist()
    return sure, [place for place in worst if place not in set(sure)]


def _errors(
    examples: Examples, targets: Tensor, values: Tensor, probs: Tensor, places: Sequence[int]
) -> list[dict[str, Any]]:
    names = examples.schema.class_names
    return [
        {
            **shown,
            "target": names[int(targets[place])],
            "prediction": names[int(values[place])],
            "probability": float(probs[place].amax()),
            "target_probability": float(probs[place, targets[place]]),
        }
        for place, shown in zip(places, recognizable(examples, places), strict=True)
    ]


def _furthest(examples: Examples, targets: Tensor, values: Tensor) -> list[dict[str, Any]]:
    """Give the answers that are furthest from the truth."""
    order = (values - targets).abs().argsort(descending=True, stable=True)[:_WORST].tolist()
    return [
        {**shown, "target": float(targets[place]), "prediction": float(values[place])}
        for place, shown in zip(order, recognizable(examples, order), strict=True)
    ]


def recognizable(examples: Examples, places: Sequence[int]) -> list[dict[str, Any]]:
    """Give what a person recognizes examples by: id, and picture or row.

    Args:
        examples: The examples.
        places: Positions of those that are shown.
    """
    if not places:
        return []
    ids = examples.named_ids()
    inputs = examples.inputs[torch.tensor(places)].cpu()
    return [
        {"id": ids[place], "picture": png(values, _SIDE), "row": _row(examples, values)}
        for place, values in zip(places, inputs, strict=True)
    ]


def _row(examples: Examples, values: Tensor) -> dict[str, float | str | None]:
    """Give the first cells of a row of a table by column; None is a missing value."""
    row: dict[str, float | str | None] = {}
    for column, value in zip(examples.schema.columns[:_CELLS], values.tolist(), strict=False):
        if column.kind == "number":
            row[column.name] = value if math.isfinite(value) else None
        else:
            row[column.name] = column.categories[int(value) - 1] if value >= 1 else None
    return row


def _targets(examples: Examples) -> Tensor:
    targets = examples.targets
    return torch.empty(0) if targets is None else targets.cpu()
