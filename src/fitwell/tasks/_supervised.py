"""Supervised tasks: images, tables and plain tensors, with classes or numbers as targets.

Axes: B batch, N examples, C channels, F features, K classes.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from .. import losses, metrics
from .. import nn as models
from ..core.errors import UsageError
from ..core.spec import Spec, build, lookup, parse
from ..data import Examples, OnBadRow, Schema, read_images, read_table
from ..train import Recipe, Supervised

ModelChoice = str | nn.Module | Callable[..., nn.Module]


@final
@dataclass(frozen=True)
class Answers:
    """A model's answers for examples in their order.

    Args:
        values: Class indices or numbers; (N,).
        probs: Probability of each class; (N, K), or None for numbers.
        class_names: Names of the classes; empty for numbers.
    """

    values: Tensor
    probs: Tensor | None
    class_names: tuple[str, ...] = ()

    def words(self, labels: Literal["names", "indices"] = "names") -> list[str]:
        """Give the answers as they are written to a file.

        Args:
            labels: Whether classes are written by name or by index.
        """
        values = self.values.tolist()
        if self.probs is None:
            return [format(value, ".9g") for value in values]
        if labels == "indices":
            return [str(value) for value in values]
        return [self.class_names[value] for value in values]


@final
@dataclass(frozen=True)
class SupervisedTask:
    """A kind of data with targets: how it is modeled, measured and read.

    Args:
        name: ``images``, ``table`` or ``tensor``.
    """

    name: Literal["images", "table", "tensor"]

    def recipe(self, schema: Schema, count: int) -> Recipe:
        """Propose settings that train well within minutes on two cores.

        Args:
            schema: Of the data.
            count: Number of training examples.
        """
        classes = schema.target_kind == "class"
        batch_size = 16 if count < 500 else 32 if count < 5_000 else 128
        images = self.name == "images"
        # Small sets need many passes for enough updates, large ones few: about 4,000 updates.
        most = 40 if images and count >= 1_000 else 100
        epochs = round(min(max(4_000 * batch_size / count, 10), most))
        return Recipe(
            model="CNN()" if images else "MLP()",
            loss="CrossEntropy()" if classes else "MSE()",
            metric="accuracy" if classes else "mse",
            mode="max" if classes else "min",
            optimizer="AdamW(lr=0.003, weight_decay=0.05)" if images else "AdamW(lr=0.001)",
            schedule="OneCycle()",
            augment="none",
            epochs=epochs,
            batch_size=batch_size,
            patience=None,
        )

    def fit_scaling(self, schema: Schema, train: Examples) -> dict[str, Any]:
        """Measure what normalization needs, on the training part alone.

        Args:
            schema: Of the data.
            train: The training part.

        Returns:
            Plain data for `build_model`, stored in the run.
        """
        fitted: dict[str, Any] = {}
        if self.name == "table":
            sizes = [len(c.categories) + 1 if c.kind == "category" else 0 for c in schema.columns]
            fitted["inputs"] = models.TableEncoder.fit(train.inputs, sizes).settings()
        elif train.inputs.is_floating_point() or train.inputs.dtype == torch.uint8:
            scaling = models.Normalize.fit(train.inputs)
            fitted["inputs"] = {"mean": scaling.mean.tolist(), "std": scaling.std.tolist()}
        if schema.target_kind == "number" and train.targets is not None:
            unscale = models.Unscale.fit(train.targets)
            fitted["targets"] = {"mean": unscale.mean.item(), "std": unscale.std.item()}
        return fitted

    def build_model(
        self, choice: ModelChoice, schema: Schema, fitted: Mapping[str, Any]
    ) -> nn.Module:
        """Build a model that takes raw inputs and gives logits or numbers in their own unit.

        A module of the user's own gets images as floats in [0, 1] and tensors as they are; of a
        table it gets the encoded columns.

        Args:
            choice: Printed form of a model, a module, or something that makes one.
            schema: Of the data.
            fitted: What `fit_scaling` gave.

        Raises:
            UnknownName: No model or argument of that name.
            UsageError: The model does not fit the data.
        """
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        shape = schema.input_shape
        if self.name == "table":
            encoder = models.TableEncoder(**fitted["inputs"])
            parts["prepare"] = encoder
            shape = (encoder.out_features,)
        elif "inputs" in fitted and isinstance(choice, str):
            parts["prepare"] = models.Normalize(**fitted["inputs"])
        body = _body(choice, shape, schema.num_outputs)
        if not parts and schema.target_kind == "class":
            return body
        parts["body"] = body
        if schema.target_kind == "number":
            parts["scale"] = models.Unscale(**fitted["targets"])
        return nn.Sequential(parts)

    def objective(self, loss: str, schema: Schema, fitted: Mapping[str, Any]) -> Supervised:
        """Build what is minimized and measured.

        Args:
            loss: Printed form of the loss.
            schema: Of the data.
            fitted: What `fit_scaling` gave; numbers are compared in units of their spread.
        """
        function = build(loss, losses.LOSSES, owner="train", what="loss")
        if schema.target_kind == "class":
            return Supervised(function, partial(_classification, schema.num_classes))
        return Supervised(_InUnits(function, fitted["targets"]["std"]), _regression)

    def read(self, path: str | Path, schema: Schema, *, on_bad_row: OnBadRow = "stop") -> Examples:
        """Read more data of the same kind.

        Args:
            path: A folder of images, or a table file.
            schema: What it must be.
            on_bad_row: Whether a bad row stops the reading.

        Raises:
            UsageError: This kind of data is not read from files.
        """
        if self.name == "images":
            return read_images(path, schema, on_bad_row=on_bad_row)
        if self.name == "table":
            return read_table(path, schema, on_bad_row=on_bad_row)
        raise UsageError(
            "predict: inputs of kind 'tensor' must be given as an array from Python:"
            " fitwell.Run.predict(x)."
        )

    def describe(self, outputs: Tensor, schema: Schema) -> Answers:
        """Turn a model's outputs into answers.

        Args:
            outputs: Logits (N, K) or numbers (N,).
            schema: Of the data.
        """
        if schema.target_kind == "number":
            return Answers(outputs, None)
        probs = outputs.softmax(dim=1)
        return Answers(outputs.argmax(dim=1), probs, schema.class_names)


@final
@dataclass(frozen=True)
class _InUnits:
    """A loss of numbers measured in units of the targets' spread, so that rates fit any unit."""

    loss: Callable[[Tensor, Tensor], Tensor]
    unit: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs / self.unit, targets / self.unit)


def _classification(num_classes: int, device: torch.device) -> metrics.Classification:
    return metrics.Classification(num_classes, device=device)


def _regression(device: torch.device) -> metrics.Regression:
    return metrics.Regression(device=device)


def _body(choice: ModelChoice, shape: tuple[int, ...], outputs: int) -> nn.Module:
    if isinstance(choice, nn.Module):
        return choice
    features = 1
    for size in shape:
        features *= size
    offered: dict[str, Any] = {"in_features": features, "out_features": outputs}
    if len(shape) == 3:
        offered |= {"in_channels": shape[0], "image_size": shape[1:]}
    if callable(choice):
        taken = inspect.signature(choice).parameters
        module = choice(**{name: value for name, value in offered.items() if name in taken})
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"train: `model` must give a torch.nn.Module; got {type(module).__name__}."
            )
        return module
    spec: Spec = parse(choice)
    _, made = lookup(spec.name, models.MODELS, owner="train", what="model")
    if len(shape) != 3 and "in_channels" in inspect.signature(made).parameters:
        raise UsageError(
            f"train: `model` must fit inputs of shape {shape}; got {spec}, which is for images."
            " Use MLP()."
        )
    module = build(spec, models.MODELS, owner="train", what="model", **offered)
    if not isinstance(module, nn.Module):
        raise UsageError(f"train: `model` must be a model; got {spec}.")
    return module


IMAGES = SupervisedTask("images")
TABLE = SupervisedTask("table")
TENSOR = SupervisedTask("tensor")
TASKS: Mapping[str, SupervisedTask] = {task.name: task for task in (IMAGES, TABLE, TENSOR)}
