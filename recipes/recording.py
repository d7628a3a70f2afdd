"""Run a training and append what it reached to ``records/recipes.jsonl``."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import fitwell
from fitwell.core.records import append_record
from fitwell.train import Run

RECORDS = Path(__file__).parent.parent / "records" / "recipes.jsonl"


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
        threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
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
        threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        data=run.manifest["data"]["how"],
        fingerprint=run.manifest["data"]["fingerprint"],
    )
    print(run)
    return run
