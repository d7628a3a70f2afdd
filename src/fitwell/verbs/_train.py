"""The verb `train`: data in, run out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.spec import Spec, parse
from ..data import OnBadRow, augmentation
from ..optim import schedule as check_schedule
from ..tasks import ModelChoice, Source, open_source
from ..tasks import smoke as make_smaller
from ..train import (
    LossSettings,
    ModelSettings,
    OptimizationSettings,
    Precision,
    Recipe,
    Run,
    Settings,
)
from ._own_model import resolve_model
from ._session import Recording, Session, pick_device, settings_of, versions

Split = Literal["auto", "random", "stratified", "grouped", "by_time", "given"]
Channels = Literal["auto", "gray", "rgb"]


def train(  # one parameter per option of the command line, on purpose in one place
    source: Any = None,
    path: str | Path | None = None,
    /,
    *,
    target: str | None = None,
    labels: str | None = None,
    id_column: str | None = None,
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    channels: Channels | None = None,
    valid: float | None = None,
    test: float | None = None,
    valid_path: str | None = None,
    test_path: str | None = None,
    split: Split | None = None,
    split_by: str | None = None,
    on_bad_row: OnBadRow | None = None,
    model: ModelChoice | None = None,
    loss: str | None = None,
    metric: str | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    schedule: str | None = None,
    augment: str | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    patience: int | None = None,
    grad_clip_norm: float | None = None,
    ema_decay: float | None = None,
    precision: Precision | None = None,
    channels_last: bool | None = None,
    compile: bool | None = None,
    device: str | None = None,
    seed: int | None = None,
    run: str | Path | None = None,
    like: str | Path | None = None,
    smoke: bool = False,
    log_every: int = 50,
    checkpoint_seconds: float = 10.0,
    keep_best: int = 1,
    keep_every: int = 0,
    max_bytes: int | None = None,
    tensorboard: bool = False,
    report: bool = True,
    quiet: bool = False,
) -> Run:
    """Train a model and leave a run: weights, metrics, report, and all it takes to repeat it.

    Name a built-in data set (`fitwell data list`), or `images` and a folder, or `table` and a
    file with its target column. What is not chosen is chosen by a recipe for data of that kind
    and size, and written down in the run.

    Args:
        source: A built-in data set, `images`, `table` or `arrays`, or a path. From Python also
            `Splits`, a pair of arrays (x, y) or a map-style Dataset.
        path: The folder of images, or the file, after `images`, `table` or `arrays`.
        target: Column to predict (tables).
        labels: CSV file with file names and labels, for a folder without a subfolder per class.
        id_column: Column with the names of the rows; found by its name if left out (tables).
        ignore: Columns to leave out (tables).
        image_size: Side that images are resized to, in pixels.
        channels: Read images as gray or as rgb.
        valid: Share of the data for choosing the best epoch.
        test: Share of the data for the final numbers; 0 makes no test part.
        valid_path: Separate data for choosing the best epoch.
        test_path: Separate data for the final numbers.
        split: How rows are dealt to the parts.
        split_by: Column with the group, the time or the part of each row.
        on_bad_row: Stop at a bad row or file, or skip and count it.
        model: Such as `CNN(widths=(32, 64))`, or `file.py:Name` for your own module.
        loss: Such as `CrossEntropy(label_smoothing=0.1)`.
        metric: Metric of the validation part that the best epoch is chosen by.
        optimizer: Such as `AdamW(lr=0.001, weight_decay=0.05)`.
        lr: Learning rate, in place of the optimizer's own.
        schedule: Such as `OneCycle()` or `WarmUp(steps=500, then=Cosine())`.
        augment: Such as `Flip(), Crop(padding=4)`, or `none`.
        epochs: Passes over the training part.
        max_steps: Updates at most.
        max_minutes: Minutes at most; the run can be resumed.
        batch_size: Examples per batch.
        accumulate: Batches per update.
        patience: Epochs without a better validation metric before training stops.
        grad_clip_norm: Largest norm of all gradients together.
        ema_decay: Keep a moving average of the weights with this decay, and use it.
        precision: Of forward passes; weights stay float32.
        channels_last: Store images and filters channels last, often faster for convolutions.
        compile: Compile the model; pays only for long runs.
        device: `auto`, `cpu`, `cuda` ...
        seed: Seed of split, weights, order, dropout and augmentation.
        run: Folder of the run; runs/NAME-TIME if left out.
        like: A run whose settings are taken over where nothing else is chosen.
        smoke: Try the whole pipeline on a hundredth of the data, on the CPU, in seconds.
        log_every: Steps between losses in metrics.jsonl.
        checkpoint_seconds: Least time between checkpoints; 0 saves after every step.
        keep_best: How many of the best checkpoints stay.
        keep_every: Keep checkpoints at multiples of this step; 0 for none.
        max_bytes: Bytes that all checkpoints together may take.
        tensorboard: Write TensorBoard events too.
        report: Write report.html at the end.
        quiet: Show no progress.

    Returns:
        The run, with `result`, `predict(x)` and `model()`.

    Raises:
        UsageError: An argument does not fit; nothing was written.
        DataError: The data is bad; nothing was written.
        TrainingError: The loss became infinite or NaN.

    Groups:
        Data: target, labels, id_column, ignore, image_size, channels, valid, test, valid_path,
            test_path, split, split_by, on_bad_row
        Model and loss: model, loss, metric
        Optimization: optimizer, lr, schedule, augment, epochs, max_steps, max_minutes, batch_size,
            accumulate, patience, grad_clip_norm, ema_decay, precision, channels_last, compile,
            device, seed
        Run: run, like, smoke, log_every, checkpoint_seconds, keep_best, keep_every, max_bytes,
            tensorboard, report, quiet
    """
    given = dict(locals())
    typed = _command(given)
    recording = Recording(**{name: given[name] for name in Recording.__dataclass_fields__})
    old = None if like is None else Run.open(like).settings
    source, path, reader = _data_of(given, old)
    data = open_source(source, path, reader)
    if smoke or (old is not None and old.loss.smoke):
        data = _smaller(data)
    settings, choice, mode = _settings(given, data, old)
    scaling = data.task.fit_scaling(data.splits.schema, data.splits.train)
    name = Path(data.path).stem if data.path else data.name.replace(":", "-").replace("/", "-")
    manifest = {
        "task": data.task.name,
        "settings": settings.to_dict(),
        "best_mode": mode,
        "recording": settings_of(recording),
        "schema": data.splits.schema.to_dict(),
        "scaling": scaling,
        "data": _data_card(data),
        "versions": versions(),
        "command": typed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = _folder(run, name)
    session = Session(
        run=Run(folder, manifest),
        task=data.task,
        splits=data.splits,
        choice=choice,
        max_minutes=max_minutes,
        quiet=quiet,
    )
    session.check()
    created = Run.create(folder, manifest)
    created.save_split(data.splits)
    created.task, created.own_model = data.task, choice if settings.model.own else None
    return finish(replace(session, run=created), report)


def finish(session: Session, report: bool) -> Run:
    """Train a session to its end and write the report.

    Args:
        session: The run to train.
        report: Whether to write report.html.
    """
    done = session.execute()
    if report:
        from ._report import report as write_report

        write_report(str(done.folder))
    return done


_READER = (
    "target",
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
    "seed",
)


def _data_of(given: Mapping[str, Any], old: Settings | None) -> tuple[Any, Any, dict[str, Any]]:
    """Give source, path and reader arguments, from what was typed and the run it shall be like."""
    reader = {name: given[name] for name in _READER if given[name] not in (None, ())}
    if given["split"] is not None:
        reader["mode"] = given["split"]
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


def _smaller(data: Source) -> Source:
    return Source(
        task=data.task,
        splits=make_smaller(data.splits),
        name=data.name,
        path=data.path,
        reader=data.reader,
    )


def _settings(
    given: Mapping[str, Any], data: Source, old: Settings | None
) -> tuple[Settings, ModelChoice, Literal["min", "max"]]:
    """Resolve every setting: what was typed, else the old run's, else the recipe's."""
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
    settings = Settings(
        model=ModelSettings(spec=spec, own=own),
        loss=LossSettings(
            source=data.name,
            path=None if data.path is None else str(Path(data.path).resolve()),
            reader=dict(data.reader),
            loss=str(parse(loss)),
            metric=metric,
            smoke=small,
        ),
        optimization=_optimization(given, recipe, old, small),
    )
    return settings, choice, _mode(metric, recipe)


def _optimization(
    given: Mapping[str, Any], recipe: Recipe, old: Settings | None, small: bool
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
    optimizer = _capitalized(values["optimizer"])
    if given["lr"] is not None:
        optimizer = optimizer.but(lr=given["lr"])
    values["optimizer"] = str(optimizer)
    values["schedule"] = str(check_schedule(values["schedule"]))
    augmentation(values["augment"])
    values["device"] = pick_device(values["device"])
    return OptimizationSettings(**values)


def _capitalized(text: str | Spec) -> Spec:
    from ..core.spec import lookup
    from ..optim import OPTIMIZERS

    spec = parse(text)
    name, _ = lookup(spec.name, OPTIMIZERS, owner="train", what="optimizer")
    return Spec(name, spec.args, spec.kwargs)


def _mode(metric: str, recipe: Recipe) -> Literal["min", "max"]:
    if metric == recipe.metric:
        return recipe.mode
    return "min" if metric in ("loss", "mse", "rmse", "mae", "error") else "max"


def _data_card(data: Source) -> dict[str, Any]:
    parts = data.splits.parts()
    card: dict[str, Any] = {
        "source": data.path or data.name,
        "fingerprint": data.splits.fingerprint,
        "how": data.splits.how,
        "counts": {name: len(part) for name, part in parts.items()},
    }
    if data.splits.schema.target_kind == "class":
        size = data.splits.schema.num_classes
        card["balance"] = {
            name: part.targets.bincount(minlength=size).tolist()
            for name, part in parts.items()
            if part.targets is not None
        }
    return card


def _folder(run: str | Path | None, name: str) -> Path:
    if run is not None:
        return Path(run)
    base = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = base, 2
    while folder.exists():
        folder, number = base.with_name(f"{base.name}-{number}"), number + 1
    return folder


def _command(given: Mapping[str, Any]) -> str:
    """Give the command line that does the same, as far as its arguments can be typed."""
    words = ["fitwell", "train"]
    words += [
        str(given[name]) for name in ("source", "path") if isinstance(given[name], (str, Path))
    ]
    for name, value in given.items():
        if name in ("source", "path", "run") or value == _DEFAULTS[name]:
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, (list, tuple)):
            words += [option, *map(str, value)]
        elif isinstance(value, (str, int, float, Path)):
            words += [option, str(value)]
    return shlex.join(words)


_DEFAULTS: Mapping[str, Any] = {
    name: None for name in train.__code__.co_varnames[: train.__code__.co_posonlyargcount]
} | dict(train.__kwdefaults__ or {})
