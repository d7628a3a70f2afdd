"""The numbers of a trained run: ``result.json``, ``evaluation.json``, ``predictions_*.npz``."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.files import atomic_path, write_json
from ..data import Batches, Examples, Splits
from ..metrics import Classification
from ..tasks import SupervisedTask
from ..train import Run, Trainer, outputs_of

_PICTURES = 24  # worst errors shown in the report
_POINTS = 2_000  # of a regression, shown in the report


def measure(
    run: Run, task: SupervisedTask, splits: Splits, trainer: Trainer, best_epoch: int
) -> None:
    """Measure the kept weights on all parts, and write the run's records.

    Args:
        run: The run.
        task: Its task.
        splits: Its data.
        trainer: Holds the kept weights.
        best_epoch: The epoch they are from; 0 if no epoch was measured.
    """
    device = run.settings.optimization.device
    batch_size = max(run.settings.optimization.batch_size, 256)
    scores: dict[str, Any] = {"test": {}}
    for name, part in splits.parts().items():
        batches = Batches(part.to(device), batch_size, device=device)
        scores[name] = trainer.evaluate(batches)
    last = "valid" if splits.test is None else "test"
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
        "train": scores["train"],
        "valid": scores["valid"],
        "test": scores["test"],
    }
    write_json(run.folder / "result.json", result)
    part = splits.parts()[last]
    batches = Batches(part.to(device), batch_size, device=device)
    with trainer.autocast():
        outputs = outputs_of(trainer.measured_model, batches)
    write_json(run.folder / "evaluation.json", evaluation(last, part, task, outputs))
    save_predictions(run, last, part, task, outputs)


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
    part: str, examples: Examples, task: SupervisedTask, outputs: Tensor
) -> dict[str, Any]:
    """Describe where a model is right and wrong, as plain data for the report.

    Args:
        part: Name of the part.
        examples: The part.
        task: Its task.
        outputs: Of the model on it.
    """
    schema, targets = examples.schema, _targets(examples)
    record: dict[str, Any] = {"part": part, "class_names": list(schema.class_names)}
    answers = task.describe(outputs, schema)
    if answers.probs is None:
        chosen = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:_POINTS]
        points = {"target": targets[chosen], "prediction": answers.values[chosen]}
        record["regression"] = {name: values.tolist() for name, values in points.items()}
        return record
    counts = Classification(schema.num_classes)
    counts.update(outputs, targets)
    record["confusion"] = counts.confusion.tolist()
    record["per_class"] = [
        {**score.to_dict(), "name": name}
        for name, score in zip(schema.class_names, counts.per_class(), strict=True)
    ]
    record["examples"] = _worst(examples, targets, answers.values, answers.probs)
    return record


def _worst(
    examples: Examples, targets: Tensor, values: Tensor, probs: Tensor
) -> list[dict[str, Any]]:
    """Give the wrong answers, the most confident first."""
    confidence = probs.amax(dim=1)
    wrong = (values != targets).nonzero().squeeze(1)
    order = wrong[confidence[wrong].argsort(descending=True, stable=True)][:_PICTURES].tolist()
    names, ids = examples.schema.class_names, examples.named_ids()
    return [
        {
            "id": ids[place],
            "target": names[int(targets[place])],
            "prediction": names[int(values[place])],
            "probability": float(confidence[place]),
            "picture": _picture(examples.inputs[place]),
        }
        for place in order
    ]


def _picture(image: Tensor) -> str | None:
    """Encode a uint8 image (1 or 3, H, W) as PNG in base64; anything else has no picture."""
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        return None
    from PIL import Image

    pixels = image.permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((96, 96))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _targets(examples: Examples) -> Tensor:
    targets = examples.targets
    return torch.empty(0) if targets is None else targets.cpu()
