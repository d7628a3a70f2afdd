"""What members of a cross-validation answer for the rows that they did not see."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...core.files import atomic_path, write_json
from ...train import Combine, Run
from .._measure import evaluation
from ._folds import held_out_scores
from ._group import Group
from ._outputs import (
    Together,
    best_of,
    disputed,
    headline_metric,
    judge,
    outputs_on,
    scores_of,
    targets_of,
    task_of,
)
from ._pool import Pool, Rows


@final
@dataclass(frozen=True, kw_only=True)
class FoldAnswers:
    """Scores of all held-out rows, and of the test part.

    Args:
        folds: Metrics of each member on its held-out rows, with the loss of the first for all.
        scores: Metrics over all held-out rows, averaged over repeats.
        test: The members on the test part; None if there is none.
    """

    folds: Sequence[Mapping[str, float]]
    scores: Mapping[str, float]
    test: Together | None


def write_fold_answers(
    group: Group,
    runs: Sequence[Run],
    pool: Pool,
    plan: Sequence[tuple[Rows, Rows]],
    folds: int,
    combine: Combine,
) -> FoldAnswers:
    """Write ``out_of_fold.csv`` and ``evaluation.json``, and measure the members together.

    Args:
        group: The group.
        runs: Its members.
        pool: What was dealt.
        plan: The rows that stay and those that are held out, for each member.
        folds: Folds of one repeat.
        combine: What of the outputs is averaged on the test part.
    """
    held = [torch.from_numpy(rows) for _, rows in plan]
    outputs = [
        outputs_on(run, pool.examples.select(rows)) for run, rows in zip(runs, held, strict=True)
    ]
    targets, first = targets_of(pool.examples), runs[0]
    by_fold = [
        _defined(
            {**held_out_scores(run), "loss": scores_of(first, own, targets[rows])["loss"]},
            targets[rows],
        )
        for run, own, rows in zip(runs, outputs, held, strict=True)
    ]
    scores = []
    for start in range(0, len(runs), folds):
        rows = torch.cat(held[start : start + folds])
        together = torch.cat(outputs[start : start + folds])
        scores.append(scores_of(first, together, targets[rows]))
    _write_rows(group, first, pool, held, outputs, folds)
    order = torch.cat(held).argsort(stable=True)
    rows, together = torch.cat(held)[order], torch.cat(outputs)[order]
    seen = pool.examples.select(rows)
    record = evaluation("valid", seen, task_of(first), together)
    test = _on_test(group, runs, by_fold, pool, combine, record)
    write_json(group.folder / "evaluation.json", record)
    mean = {
        metric: math.fsum(score[metric] for score in scores) / len(scores) for metric in scores[0]
    }
    return FoldAnswers(folds=by_fold, scores=mean, test=test)


def _defined(scores: dict[str, float], targets: Tensor) -> dict[str, float]:
    """Give scores without r2 where the targets do not vary, as those of a single row."""
    if "r2" in scores and bool((targets == targets[0]).all()):
        return {**scores, "r2": math.nan}
    return scores


def _write_rows(
    group: Group,
    run: Run,
    pool: Pool,
    held: Sequence[Tensor],
    outputs: Sequence[Tensor],
    folds: int,
) -> None:
    """Write the answer for each row from the member that did not see it."""
    schema, ids, targets = run.schema, pool.examples.named_ids(), targets_of(pool.examples)
    header = [schema.id_name, "repeat", "fold", "target", "prediction"]
    header += [f"p_{name}" for name in schema.class_names]
    lines: list[tuple[int, int, list[Any]]] = []
    for number, (rows, own) in enumerate(zip(held, outputs, strict=True)):
        answers = run.known_task.describe(own, schema)
        chances = [] if answers.probs is None else answers.probs.tolist()
        for place, (row, word) in enumerate(
            zip(rows.tolist(), answers.words("names"), strict=True)
        ):
            truth = targets[row].item()
            target = schema.class_names[int(truth)] if schema.class_names else f"{truth:.9g}"
            cells = [ids[row], number // folds + 1, number % folds + 1, target, word]
            cells += [f"{chance:.6g}" for chance in (chances[place] if chances else ())]
            lines.append((number // folds, row, cells))
    lines.sort(key=lambda line: line[:2])
    with (
        atomic_path(group.folder / "out_of_fold.csv") as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(cells for _, _, cells in lines)


def _on_test(
    group: Group,
    runs: Sequence[Run],
    by_fold: Sequence[Mapping[str, float]],
    pool: Pool,
    combine: Combine,
    record: dict[str, Any],
) -> Together | None:
    """Measure the members on the test part, and note where they differ most."""
    if pool.test is None:
        return None
    named = dict(zip(group.folders(), runs, strict=True))
    outputs = torch.stack([outputs_on(run, pool.test) for run in runs])
    metric = headline_metric(runs[0])
    scores = {name: own.get(metric, math.nan) for name, own in zip(named, by_fold, strict=True)}
    record["disputed"] = disputed(list(named), outputs, pool.test)
    return judge(
        named,
        outputs,
        pool.test,
        part="test",
        combine=combine,
        best=best_of(named, scores, metric),
    )
