"""The verb `train`: data in, run out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..data import OnBadRow
from ..tasks import ModelChoice
from ..train import Precision, Run, joined
from ._open_run import open_run
from ._plan import plan_session
from ._prepare import begin, command, prepare, run_folder
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
    watch: bool = False,
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
        keep_every: Write and keep a checkpoint at multiples of this step; 0 for none.
        max_bytes: Bytes that all checkpoints together may take.
        tensorboard: Write TensorBoard events too.
        csv: Write metrics.csv too, a row per epoch.
        wandb: Project of Weights & Biases that follows the run.
        mlflow: Experiment of MLflow that follows the run.
        watch: Watch gradients, updates, activations and times, for some hundredths of the time at
            most; kept in watch.json, and shown in the report. On a CPU the first NaN ends the run.
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
            watch, copy_to, copy_seconds, predict, sample, report, quiet
    """
    given, started = dict(locals()), time.perf_counter()
    if plan and (workers or 1) > 1:
        raise UsageError(f"train: `workers` must be 1 for a plan; got {workers}. Leave it out.")
    if must_launch(workers):
        return _launched(given, workers or 1)
    with joined() as world:
        session = prepare(given, world)
        if plan:
            took = time.perf_counter() - started
            planned: Any = plan_session(
                session,
                probe_seconds=probe_seconds,
                session_hours=session_hours,
                startup_seconds=took,
            )
            return planned  # type: ignore[no-any-return]  # who asks for a plan gets one
        begun = Run(session.run.folder, world.by_leader(lambda: begin(session, resume)))
        begun.task = session.task
        begun.own_model = session.choice if session.run.settings.model.own else None
        return replace(session, run=begun).finish(report, predict, sample)


def _launched(given: Mapping[str, Any], workers: int) -> Run:
    """Train in new processes."""
    for name in ("source", "path", "model"):
        if not isinstance(given[name], (str, Path, type(None))):
            raise UsageError(
                f"train: `workers` must be 1 when `{name}` is an object of this process; got"
                f" {workers}. Start your script with torchrun instead."
            )
    folder = run_folder(given["run"], given["path"] or given["source"] or given["like"])
    words = shlex.split(command("train", {**given, "workers": None}))
    words += ["--run", str(folder), *(["--resume"] if given["resume"] else [])]
    for name in ("predict", "sample"):
        words += [f"--{name}", str(given[name])] if given[name] is not None else []
    launch(words[1:], workers, folder)
    return open_run(folder)
