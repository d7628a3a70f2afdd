"""The verb `train`: data in, run out."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.records import versions
from ..core.runs import is_run
from ..data import DecodingProgress, OnBadRow
from ..tasks import ModelChoice, Source, open_source
from ..tasks import smoke as make_smaller
from ..train import Precision, Run, World, bring_back, check_copy, joined
from ._checks import check_same_data, check_same_settings
from ._choose import data_of, settings_of
from ._data_card import write_data_card
from ._open_run import open_run
from ._plan import plan_session
from ._recording import Recording
from ._session import Session
from ._tune import tuned
from ._workers import launch, must_launch

Split = Literal["auto", "random", "stratified", "grouped", "by_time", "given"]
Channels = Literal["auto", "gray", "rgb"]


def train(  # one parameter per option of the command line, on purpose in one place
    source: Any = None,
    path: str | Path | None = None,
    /,
    *,
    target: str | None = None,
    target_kind: Literal["auto", "class", "number"] | None = None,
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
    split_seed: int | None = None,
    on_bad_row: OnBadRow | None = None,
    model: ModelChoice | None = None,
    weights: str | Path | None = None,
    freeze: Sequence[str] | None = None,
    loss: str | None = None,
    metric: str | None = None,
    penalty: str | None = None,
    teacher: str | Path | None = None,
    distill: str | None = None,
    optimizer: str | None = None,
    lr: float | Literal["auto"] | None = None,
    lr_for_batch: int | None = None,
    layer_decay: float | None = None,
    unfreeze_every: int | None = None,
    schedule: str | None = None,
    augment: str | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    batch_size: int | Literal["auto"] | None = None,
    accumulate: int | None = None,
    patience: int | None = None,
    grad_clip_norm: float | None = None,
    average: str | None = None,
    precision: Precision | None = None,
    channels_last: bool | None = None,
    compile: bool | None = None,
    recompute: bool | None = None,
    speed: Literal["auto"] | None = None,
    device: str | None = None,
    workers: int | None = None,
    seed: int | None = None,
    run: str | Path | None = None,
    like: str | Path | None = None,
    resume: bool = False,
    smoke: bool = False,
    plan: bool = False,
    probe_seconds: float = 20.0,
    session_hours: float = 12.0,
    log_every: int = 50,
    checkpoint_seconds: float = 10.0,
    keep_best: int = 1,
    keep_every: int = 0,
    max_bytes: int | None = None,
    tensorboard: bool = False,
    csv: bool = False,
    wandb: str | None = None,
    mlflow: str | None = None,
    copy_to: str | None = None,
    copy_seconds: float = 60.0,
    predict: str | None = None,
    sample: str | None = None,
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
        target_kind: What the targets are; `auto` takes text, and up to 20 different whole numbers,
            for classes (tables and arrays).
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
        split_seed: Seed of the draw; runs that share it can be compared on one test part.
        on_bad_row: Stop at a bad row or file, or skip and count it.
        model: Such as `CNN(widths=(32, 64))`, or `file.py:Name` for your own module.
        weights: A run, or a file of weights, to start from; what does not fit, such as a last
            layer for other classes, starts anew and is named.
        freeze: Parameters that keep their first weights, such as `body.features`.
        loss: Such as `CrossEntropy(label_smoothing=0.1)` or `Focal(gamma=2)`.
        metric: Metric of the validation part that the best epoch is chosen by.
        penalty: What is added to the loss for large weights, such as `L1(0.0001)` or `L2(0.01)`.
        teacher: A finished run whose answers the model learns besides the targets, or `none`.
        distill: How it learns them, such as `Distillation(temperature=4, share=0.9)`.
        optimizer: Such as `AdamW(lr=0.001, weight_decay=0.05)`, `LAMB()`, or
            `Lookahead(optimizer=AdamW(lr=0.001), k=5)`; see `fitwell list methods optim`.
        lr: Learning rate, in place of the optimizer's own; `auto` tries rates from tiny to large
            and takes where the loss falls fastest, or a tenth of where it stops if that is less.
        lr_for_batch: Batch size that the rate is meant for; it is multiplied by how much larger
            the batches of all processes together are.
        layer_decay: Rate of each layer over that of the layer after it, such as 0.8, so that
            pretrained layers change less the earlier they are.
        unfreeze_every: Epochs after which one layer more learns, from the last one on.
        schedule: Such as `OneCycle()`, `Plateau()` or `WarmUp(steps=500, then=Cosine())`.
        augment: Such as `Flip(), Crop(padding=4), Mixup()`, or `none`; `auto` takes what keeps
            images of the kind plausible.
        epochs: Passes over the training part.
        max_steps: Updates at most.
        max_minutes: Minutes at most; the run can be resumed.
        batch_size: Examples per batch, in each process; `auto` takes the recipe's number, or as
            many as fit into memory, several batches to an update.
        accumulate: Batches per update.
        patience: Epochs without a better validation metric before training stops.
        grad_clip_norm: Largest norm of all gradients together.
        average: Average of the weights to keep and use, such as `EMA(decay=0.999)` or
            `SWA(start=0.75)`.
        precision: Of forward passes; weights stay float32.
        channels_last: Store images and filters channels last, often faster for convolutions.
        compile: Compile the model; pays only for long runs.
        recompute: Compute activations again in the backward pass, for less memory and more time.
        speed: `auto` takes a few steps in each precision and layout, and then the fastest way.
        device: `auto`, `cpu`, `cuda` ...
        workers: Processes on this machine that train together, each on batches of its own.
        seed: Seed of initial weights, order, dropout and augmentation.
        run: Folder of the run; runs/NAME-TIME if left out.
        like: A run whose settings are taken over where nothing else is chosen.
        resume: Go on with the run if the folder holds it or its copy, else start it; the same
            command does in every session of a machine that is taken away.
        smoke: Try the whole pipeline on a hundredth of the data, on the CPU, in seconds.
        plan: Do not train, but say from a short probe what it would take: time, memory, disk, and
            the commands that cut it into sessions.
        probe_seconds: Time to train for a plan; the longer, the closer.
        session_hours: Longest session that the machine grants, for a plan.
        log_every: Steps between losses in metrics.jsonl.
        checkpoint_seconds: Least time between checkpoints; 0 saves after every step.
        keep_best: How many of the best checkpoints stay.
        keep_every: Keep checkpoints at multiples of this step; 0 for none.
        max_bytes: Bytes that all checkpoints together may take.
        tensorboard: Write TensorBoard events too.
        csv: Write metrics.csv too, a row per epoch.
        wandb: Project of Weights & Biases that follows the run.
        mlflow: Experiment of MLflow that follows the run.
        copy_to: Folder on another disk where a copy of the run is kept up to date.
        copy_seconds: Time between looks for something new to copy.
        predict: Data to answer for once the run is finished, into predictions.csv.
        sample: A leaderboard's sample file that predictions.csv follows.
        report: Whether report.html is written at the end.
        quiet: Show no progress.

    Returns:
        The run, with `result`, `predict(x)` and `model()`; with `plan`, the plan instead.

    Raises:
        UsageError: An argument does not fit; nothing was written.
        DataError: The data is bad; nothing was written.
        TrainingError: The loss became infinite or NaN.

    Groups:
        Data: target, target_kind, labels, id_column, ignore, image_size, channels, valid, test,
            valid_path, test_path, split, split_by, split_seed, on_bad_row
        Model and loss: model, weights, freeze, loss, metric, penalty, teacher, distill
        Optimization: optimizer, lr, lr_for_batch, layer_decay, unfreeze_every, schedule, augment,
            epochs, max_steps, max_minutes, batch_size, accumulate, patience, grad_clip_norm,
            average, precision, channels_last, compile, recompute, speed, device, workers, seed
        Run: run, like, resume, smoke, plan, probe_seconds, session_hours, log_every,
            checkpoint_seconds, keep_best, keep_every, max_bytes, tensorboard, csv, wandb, mlflow,
            copy_to, copy_seconds, predict, sample, report, quiet
    """
    given, started = dict(locals()), time.perf_counter()
    if plan and (workers or 1) > 1:
        raise UsageError(f"train: `workers` must be 1 for a plan; got {workers}. Leave it out.")
    if must_launch(workers):
        return _launched(given, workers or 1)
    with joined() as world:
        session = _session(given, world)
        if plan:
            took = time.perf_counter() - started
            planned: Any = plan_session(
                session,
                probe_seconds=probe_seconds,
                session_hours=session_hours,
                startup_seconds=took,
            )
            return planned  # type: ignore[no-any-return]  # who asks for a plan gets one
        begun = Run(session.run.folder, world.by_leader(lambda: _begin(session, resume)))
        begun.task = session.task
        begun.own_model = session.choice if session.run.settings.model.own else None
        return replace(session, run=begun).finish(report, predict, sample)


def _session(given: dict[str, Any], world: World) -> Session:
    """Read the data and settle everything, writing nothing."""
    if given["resume"] and given["run"] is None:
        raise UsageError(
            "train: `run` must name the folder that `resume` goes on with; got None. Add --run"
            " FOLDER."
        )
    if given["copy_to"] is not None:
        given = {**given, "copy_to": str(Path(given["copy_to"]).resolve())}
    recording = Recording(**{name: given[name] for name in Recording.__dataclass_fields__})
    if given["resume"] and recording.copy_to is not None:
        copy, folder = recording.copy_to, given["run"]
        world.by_leader(lambda: bring_back(copy, folder))
    before = given["run"] if given["resume"] and is_run(given["run"]) else given["like"]
    old = None if before is None else Run.open(before).settings
    source, path, reader = data_of(given, old)
    told = None if given["quiet"] or not world.leads else DecodingProgress()
    data = world.after_leader(lambda: open_source(source, path, reader, progress=told))
    if given["smoke"] or (old is not None and old.loss.smoke):
        data = replace(data, splits=make_smaller(data.splits))
    batch_size = None if given["batch_size"] == "auto" else given["batch_size"]
    resolved = {**given, "workers": world.size, "batch_size": batch_size}
    settings, choice, mode = settings_of(resolved, data, old)
    manifest = {
        "task": data.task.name,
        "settings": settings.to_dict(),
        "best_mode": mode,
        "recording": asdict(recording),
        "schema": data.splits.schema.to_dict(),
        "scaling": data.task.fit_scaling(data.splits.schema, data.splits.train),
        "data": _data_card(data),
        "versions": versions(),
        "command": _command({**given, "workers": world.size if world.size > 1 else None}),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    session = Session(
        run=Run(_folder(given["run"], data), manifest),
        task=data.task,
        splits=data.splits,
        choice=choice,
        max_minutes=given["max_minutes"],
        quiet=given["quiet"],
        world=world,
    )
    session.check()
    if recording.copy_to is not None and not given["plan"]:
        if not Path(recording.copy_to).parent.is_dir():
            raise UsageError(
                "train: `copy_to` must lie in a folder that is there; got"
                f" {recording.copy_to}. Mount the drive, or make the folder."
            )
        check_copy(session.run.folder, recording.copy_to)
    return tuned(session, given)


def _begin(session: Session, resume: bool) -> dict[str, Any]:
    """Make the run's folder, or find in it the run to go on with; give its manifest."""
    folder, settings = session.run.folder, session.run.settings
    if not resume or not is_run(folder):
        created = Run.create(folder, session.run.manifest)
        created.save_split(session.splits)
        write_data_card(created, session.splits)
        return created.manifest
    opened = Run.open(folder)
    check_same_settings(opened, settings)
    check_same_data(opened, session.splits)
    recording = session.run.manifest["recording"]  # written when training starts, under the lock
    return {**opened.manifest, "settings": settings.to_dict(), "recording": recording}


def _launched(given: Mapping[str, Any], workers: int) -> Run:
    """Train in new processes."""
    for name in ("source", "path", "model"):
        if not isinstance(given[name], (str, Path, type(None))):
            raise UsageError(
                f"train: `workers` must be 1 when `{name}` is an object of this process; got"
                f" {workers}. Start your script with torchrun instead."
            )
    folder = _folder(given["run"], given["path"] or given["source"] or given["like"])
    words = shlex.split(_command({**given, "workers": None}))
    words += ["--run", str(folder), *(["--resume"] if given["resume"] else [])]
    for name in ("predict", "sample"):
        words += [f"--{name}", str(given[name])] if given[name] is not None else []
    launch(words[1:], workers, folder)
    return open_run(folder)


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


def _folder(run: str | Path | None, source: Source | str | Path) -> Path:
    if run is not None:
        return Path(run)
    if isinstance(source, Source):
        source = source.path or source.name
    place = Path(source)
    name = place.resolve().stem if place.exists() else re.sub("[:/]", "-", str(source))
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
        if name in _NOT_REPEATED or value == _DEFAULTS[name]:
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, (list, tuple)):
            words += [option, *map(str, value)]
        elif isinstance(value, (str, int, float, Path)):
            words += [option, str(value)]
    return shlex.join(words)


_NOT_REPEATED = (
    *("source", "path", "run", "resume", "predict", "sample"),
    *("plan", "probe_seconds", "session_hours"),
)
_DEFAULTS: Mapping[str, Any] = {
    name: None for name in train.__code__.co_varnames[: train.__code__.co_posonlyargcount]
} | dict(train.__kwdefaults__ or {})
