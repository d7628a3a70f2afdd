"""Run a training and append what it reached to ``records/recipes.jsonl``."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fitwell
from fitwell.core.records import append_record
from fitwell.data import Batches, Examples
from fitwell.losses import CrossEntropy
from fitwell.nn import count_parameters
from fitwell.optim import AdamW
from fitwell.optim import schedule as make_schedule
from fitwell.train import Run, Supervised, Trainer, outputs_of

RECORDS = Path(__file__).parent.parent / "records" / "recipes.jsonl"


def threads() -> int:
    """Give the threads that a recipe is allowed."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def accuracy_after(
    model: nn.Module,
    train: Examples,
    test: Examples,
    *,
    lr: float,
    epochs: int,
    seed: int,
    batch_size: int = 64,
    grad_clip_norm: float | None = None,
) -> float:
    """Train a classifier in one cycle of AdamW and give its accuracy on the test part."""
    trainer = Trainer(
        model,
        Supervised(CrossEntropy()),
        AdamW(model.parameters(), lr=lr),
        schedule=make_schedule("OneCycle()"),
        grad_clip_norm=grad_clip_norm,
    )
    trainer.fit(Batches(train, batch_size, shuffle=True, seed=seed), epochs=epochs)
    answers = outputs_of(model, Batches(test, 500)).argmax(dim=1)
    return float(torch.eq(answers, test.targets).double().mean())


def of_networks(
    networks: Mapping[str, Callable[[], nn.Module]],
    seeds: Sequence[int],
    measured: Callable[[nn.Module, int], float],
    what: str = "test accuracy",
) -> dict[str, Any]:
    """Measure every network with every seed, from first weights of that seed.

    Args:
        networks: What makes each, by name.
        seeds: Of first weights; given to `measured` too.
        measured: Trains a network and gives what is measured.
        what: Name of it.
    """
    found: dict[str, Any] = {}
    for name, make in networks.items():
        values = []
        for seed in seeds:
            torch.manual_seed(seed)
            model = make()
            values.append(measured(model, seed))
            print(f"{name}, seed {seed}: {what} {values[-1]:.4f}", flush=True)
        found[name] = {
            what: statistics.fmean(values),
            "of each seed": values,
            "weights": count_parameters(model),
        }
    return found


def record_views(run: Run, name: str, **settings: Any) -> None:
    """Measure a run with views at test time and record the result.

    Args:
        run: The run.
        name: Of the result.
        settings: Arguments of `fitwell.evaluate`: views, augment, plain_weight.
    """
    begun = time.perf_counter()
    measured = fitwell.evaluate(run, **settings)
    append_record(
        RECORDS,
        what=name,
        method=f"fitwell evaluate {run.folder.name} {settings}",
        result={part: gain.scores for part, gain in measured.views.items()},
        seeds=[run.settings.optimization.seed],
        seconds=time.perf_counter() - begun,
        threads=threads(),
        data=run.manifest["data"]["how"],
        fingerprint=run.manifest["data"]["fingerprint"],
    )
    print(measured)


def options() -> argparse.Namespace:
    """Read what a recipe is told on the command line."""
    parser = argparse.ArgumentParser(description="Reproduce a result; resumes if it was stopped.")
    parser.add_argument("--runs", default="runs", help="folder that the run's folder is in")
    parser.add_argument("--device", help="such as cpu or cuda")
    return parser.parse_args()


def reproduce(name: str, **settings: Any) -> Run:
    """Train with the given settings, or resume the run that is there, and record the result.

    Args:
        name: Of the result, and of the run's folder.
        settings: Arguments of `fitwell.train`; the source is under ``source``.
    """
    chosen = options()
    folder = Path(chosen.runs) / name
    if (folder / "run.json").exists():
        run = fitwell.resume(folder)
    else:
        source = settings.pop("source")
        run = fitwell.train(source, run=folder, device=chosen.device, **settings)
    optimization = run.settings.optimization
    append_record(
        RECORDS,
        what=name,
        method=run.manifest["command"],
        result={part: run.result[part] for part in ("train", "valid", "test")},
        seeds=[optimization.seed],
        seconds=run.result["seconds"],
        parameters=run.result["parameters"],
        epochs=run.result["epochs"],
        examples_per_second=run.result["examples_per_second"],
        threads=threads(),
        data=run.manifest["data"]["how"],
        fingerprint=run.manifest["data"]["fingerprint"],
    )
    print(run)
    return run
