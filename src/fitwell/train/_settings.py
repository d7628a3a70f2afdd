"""The settings of a run in the three steps of learning, as stored in ``run.json`` to replay it.

A function with unknowns, what makes it good, and the search for the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, final

from ._passes import Precision


@final
@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Step one: the set of functions.

    Args:
        spec: Printed form of the model, or ``file.py:Name(...)`` of the user's own.
        own: Whether the model is the user's own and cannot be built without their code.
        weights: The run or file whose weights it started from; None for new ones.
        freeze: Patterns of the parameters that kept their first weights.
    """

    spec: str
    own: bool = False
    weights: str | None = None
    freeze: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Step two: the goodness of a function, that is data, loss and metric.

    Args:
        source: Name of a built-in set, or the kind of the user's own data.
        path: Where the user's own data is; None for a built-in set.
        reader: Arguments of the reader.
        loss: Printed form of the loss.
        metric: The metric of the validation part that the best epoch is chosen by.
        penalty: Printed form of what is added for large weights, or ``none``.
        teacher: The run whose answers the model learns too; None for none.
        distill: Printed form of how it learns from the teacher; None without one.
        smoke: Whether only a hundredth of the data is used.
    """

    source: str
    path: str | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "CrossEntropy()"
    metric: str = "loss"
    penalty: str = "none"
    teacher: str | None = None
    distill: str | None = None
    smoke: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """Step three: the search for the best function.

    Args:
        optimizer: Printed form of the optimizer.
        schedule: Printed form of the schedule.
        augment: Printed form of the augmentations, or ``none``.
        epochs: Passes over the training part.
        max_steps: Updates at most.
        batch_size: Examples per batch.
        accumulate: Batches per step.
        patience: Epochs without improvement before training stops.
        grad_clip_norm: Largest norm of the gradients.
        average: Printed form of the average of the weights, or ``none``.
        layer_decay: Rate of each layer over that of the layer after it; None for one rate.
        unfreeze_every: Epochs after which one layer more learns, from the last one on; None lets
            all learn at once.
        precision: Of forward passes.
        channels_last: Whether images and filters are stored channels last.
        compiled: Whether the model is compiled.
        recompute: Whether activations are computed again in the backward pass, not kept.
        device: What it trains on.
        workers: Processes that train together, each on batches of `batch_size`.
        seed: Of initial weights, order, dropout and augmentation.
    """

    optimizer: str
    schedule: str
    augment: str = "none"
    epochs: int | None = None
    max_steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    patience: int | None = None
    grad_clip_norm: float | None = None
    average: str = "none"
    layer_decay: float | None = None
    unfreeze_every: int | None = None
    precision: Precision = "float32"
    channels_last: bool = False
    compiled: bool = False
    recompute: bool = False
    device: str = "cpu"
    workers: int = 1
    seed: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides what a run does, in three sections.

    Args:
        model: The set of functions.
        loss: The goodness of a function.
        optimization: The search for the best one.
    """

    model: ModelSettings
    loss: LossSettings
    optimization: OptimizationSettings

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain data."""
        settings = asdict(self)
        settings["model"]["freeze"] = list(self.model.freeze)  # as JSON gives it back
        return settings

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Settings:
        """Read the settings back.

        Args:
            value: What `to_dict` gave.
        """
        model, search = dict(value["model"]), dict(value["optimization"])
        decay = search.pop("ema_decay", None)  # of runs from before there were other averages
        if decay is not None:
            search["average"] = f"EMA(decay={decay})"
        return cls(
            model=ModelSettings(**{**model, "freeze": tuple(model.get("freeze", ()))}),
            loss=LossSettings(**value["loss"]),
            optimization=OptimizationSettings(**search),
        )


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a task proposes for data of a size; the user's own choices come first.

    Args:
        model: Printed form of the model.
        loss: Printed form of the loss.
        metric: What the best epoch is chosen by.
        mode: Whether less or more of it is better.
        optimizer: Printed form of the optimizer.
        schedule: Printed form of the schedule.
        augment: Printed form of the augmentations.
        epochs: Passes over the training part.
        batch_size: Examples per batch.
        patience: Epochs without improvement before training stops.
    """

    model: str
    loss: str
    metric: str
    mode: Literal["min", "max"]
    optimizer: str
    schedule: str
    augment: str
    epochs: int
    batch_size: int
    patience: int | None
