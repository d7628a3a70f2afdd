"""Every setting of a run resolved: what was typed, else an old run's, else the recipe's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.runs import LOWER_IS_BETTER
from ..core.spec import parse
from ..data import Schema, suited_augment
from ..optim import linear_scaling
from ..optim import schedule as check_schedule
from ..tasks import ModelChoice, Source, optimizer_spec, rate_of
from ..train import (
    LossSettings,
    ModelSettings,
    OptimizationSettings,
    Recipe,
    Settings,
    average,
)
from ._own_model import resolve_model
from ._session import pick_device

_READER = (
    "target",
    "target_kind",
    "labels",
    "id_column",
    "ignore",
    "image_size",
    "channels",
    "valid",
    "test",
    "valid_path",
    "test_path",
    "split_by",
    "on_bad_row",
)


def data_of(given: Mapping[str, Any], old: Settings | None) -> tuple[Any, Any, dict[str, Any]]:
    """Give source, path and reader arguments.

    Args:
        given: Arguments of `train` by name.
        old: Settings of the run that the new one shall be like.

    Raises:
        UsageError: There is nothing to learn from.
    """
    reader = {name: given[name] for name in _READER if given[name] not in (None, ())}
    for option, name in (("split", "mode"), ("split_seed", "seed")):
        if given[option] is not None:
            reader[name] = given[option]
    if old is None:
        if given["source"] is None:
            raise UsageError(
                "train: `source` must name what to learn from. Try: fitwell train digits"
            )
        return given["source"], given["path"], reader
    reader = {**old.loss.reader, **reader}
    if given["source"] is not None:
        return given["source"], given["path"], reader
    if old.loss.source == "memory":
        raise UsageError("train: `source` must be given; the run was trained on data in memory.")
    return old.loss.source, old.loss.path, reader


def settings_of(
    given: Mapping[str, Any], data: Source, old: Settings | None
) -> tuple[Settings, ModelChoice, Literal["min", "max"]]:
    """Resolve every setting.

    Args:
        given: Arguments of `train` by name.
        data: What was read.
        old: Settings of the run that the new one shall be like.

    Returns:
        The settings, what makes the model, and whether less or more of the metric is better.

    Raises:
        UsageError: A value does not fit.
        UnknownName: No model, optimizer, schedule or augmentation of that name.
    """
    schema = data.splits.schema
    recipe = data.task.recipe(schema, len(data.splits.train))
    chosen_model = given["model"]
    if chosen_model is None:
        if old is not None and old.model.own and ".py:" not in old.model.spec:
            raise UsageError(
                f"train: `model` must be given again; the run {given['like']} was trained with"
                f" {old.model.spec}, a model of your own whose code is not kept in it."
            )
        chosen_model = recipe.model if old is None else old.model.spec
    choice, spec, own = resolve_model(chosen_model)
    loss = given["loss"] or (old.loss.loss if old else recipe.loss)
    metric = given["metric"] or (old.loss.metric if old else recipe.metric)
    small = bool(given["smoke"] or (old and old.loss.smoke))
    kept = old.model if old is not None and old.model.spec == spec else ModelSettings(spec=spec)
    settings = Settings(
        model=ModelSettings(
            spec=spec,
            own=own,
            weights=kept.weights if given["weights"] is None else str(given["weights"]),
            freeze=tuple(given["freeze"] or kept.freeze),
        ),
        loss=LossSettings(
            source=data.name,
            path=data.path,
            reader=dict(data.reader),
            loss=str(parse(loss)),
            metric=metric,
            smoke=small,
            **_loss_extras(given, old),
        ),
        optimization=_optimization(given, recipe, old, small, schema),
    )
    return settings, choice, _mode(metric, recipe)


def _loss_extras(given: Mapping[str, Any], old: Settings | None) -> dict[str, Any]:
    """Give what is added to the loss."""
    names = ("penalty", "teacher", "distill")
    values = {} if old is None else {name: getattr(old.loss, name) for name in names}
    values |= {name: str(given[name]) for name in names if given[name] is not None}
    if values.get("teacher") == "none":
        values |= {"teacher": None, "distill": None}
    if given["distill"] is not None and values.get("teacher") is None:
        raise UsageError(
            f"train: `teacher` must name a finished run to learn from by {given['distill']}; got"
            " None. Add --teacher RUN."
        )
    if values.get("teacher") is not None:
        values["distill"] = values.get("distill") or "Distillation()"
    return values


def _optimization(
    given: Mapping[str, Any], recipe: Recipe, old: Settings | None, small: bool, schema: Schema
) -> OptimizationSettings:
    names = [name for name in OptimizationSettings.__dataclass_fields__ if name != "compiled"]
    values = {name: given[name] for name in names if given[name] is not None}
    if given["compile"] is not None:
        values["compiled"] = given["compile"]
    proposed: dict[str, Any] = {
        "optimizer": recipe.optimizer,
        "schedule": recipe.schedule,
        "augment": recipe.augment,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs if given["max_steps"] is None else None,
        "patience": recipe.patience,
        "device": "auto",
    }
    if old is not None:
        proposed = dict(vars(old.optimization))
        if given["max_steps"] is not None and given["epochs"] is None:
            proposed["epochs"] = None
    values = {**proposed, **values}
    if small:
        values["device"] = "cpu"
    if given["smoke"]:
        values["epochs"] = given["epochs"] or 2
    values["optimizer"] = _optimizer(given, values, old)
    values["schedule"] = str(check_schedule(values["schedule"]))
    values["augment"] = suited_augment(values["augment"], schema)
    average(values.get("average", "none"))
    values["device"] = pick_device(values["device"])
    return OptimizationSettings(**values)


def _optimizer(given: Mapping[str, Any], values: Mapping[str, Any], old: Settings | None) -> str:
    """Give the optimizer with the rate that was asked for."""
    lr = None if given["lr"] == "auto" else given["lr"]
    spec = optimizer_spec(values["optimizer"], lr)
    meant = given["lr_for_batch"]
    taken_over = old is not None and given["optimizer"] is None and given["lr"] is None
    if meant is None or taken_over:  # a rate that was taken over is scaled already
        return str(spec)
    if given["lr"] == "auto":
        raise UsageError(
            f"train: `lr_for_batch` must be left out with lr='auto'; got {meant}. The rate is"
            " measured with the batches that are there."
        )
    if meant < 1:
        raise UsageError(f"train: `lr_for_batch` must be at least 1; got {meant}.")
    whole = values["batch_size"] * values.get("accumulate", 1) * values.get("workers", 1)
    return str(optimizer_spec(spec, linear_scaling(rate_of(spec), whole, meant)))


def _mode(metric: str, recipe: Recipe) -> Literal["min", "max"]:
    if metric == recipe.metric:
        return recipe.mode
    return "min" if metric in LOWER_IS_BETTER else "max"
