"""Runs combined: shares of the members, and scores alone and together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ...core.groups import group_of, read_group
from ...data import Examples
from ...train import Combine, Run, combine_outputs, greedy_weights
from .._measure import evaluation
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
from ._runs import common_parts


@final
@dataclass(frozen=True, kw_only=True)
class Combined:
    """Runs as one.

    Args:
        weights: Share of each member by name.
        parts: The members alone and together by part.
        selected_on: The part that chose the members; None if nothing was chosen.
        record: Where they are right and wrong together, as plain data for the report.
    """

    weights: Mapping[str, float]
    parts: Mapping[str, Together]
    selected_on: str | None
    record: Mapping[str, Any]


def combine_runs(runs: Mapping[str, Run], data: Any, *, combine: Combine, greedy: bool) -> Combined:
    """Settle the shares of runs on the validation part, and measure on every part they share.

    Args:
        runs: The runs by name.
        data: The data again, if it was in memory or is somewhere else now; or a `Source`.
        combine: What of the outputs is averaged.
        greedy: Choose the members by the validation part.

    Raises:
        UsageError: The runs have no examples in common that none was trained on.
    """
    parts = common_parts(runs, data)
    first = next(iter(runs.values()))
    if greedy and "valid" not in parts:
        raise UsageError(
            "ensemble: `select` must be 'all' for runs without a common validation part; got"
            " 'greedy'. Train them with the same --split-seed."
        )
    outputs = {
        part: torch.stack([outputs_on(run, examples) for run in runs.values()])
        for part, examples in parts.items()
    }
    weights = torch.full((len(runs),), 1 / len(runs))
    if greedy:
        targets = targets_of(parts["valid"])
        weights = greedy_weights(outputs["valid"], targets, combine=combine, owner="ensemble")
    best = best_run(runs, outputs.get("valid"), parts.get("valid"))
    judged = {
        part: judge(
            runs,
            outputs[part],
            examples,
            part=part,
            combine=combine,
            weights=weights,
            best=best,
            fair=part != "valid",
        )
        for part, examples in parts.items()
    }
    last = next(reversed(parts))
    together = combine_outputs(outputs[last], combine=combine, weights=weights, owner="ensemble")
    record = evaluation(last, parts[last], task_of(first), together)
    record["disputed"] = disputed(list(runs), outputs[last], parts[last])
    return Combined(
        weights=dict(zip(runs, weights.tolist(), strict=True)),
        parts=judged,
        selected_on="valid" if greedy else None,
        record=record,
    )


def best_run(
    runs: Mapping[str, Run], outputs: Tensor | None = None, valid: Examples | None = None
) -> str:
    """Give the run that is best on validation examples that all share, or on rows of its own.

    Those are the held-out rows of a fold, as in `crossval`; the tenth inside that chose its epoch
    would flatter it. Losses on rows of their own are compared only in one cross-validation, which
    measured all in one unit; elsewhere the error is.

    Args:
        runs: The runs by name.
        outputs: Theirs for common validation examples.
        valid: Those examples.
    """
    first = next(iter(runs.values()))
    metric = headline_metric(first)
    if outputs is not None and valid is not None:
        targets = targets_of(valid)
        scores = {
            name: scores_of(first, own, targets)[metric]
            for name, own in zip(runs, outputs, strict=True)
        }
        return best_of(runs, scores, metric)
    held_out = _losses_of_folds(runs) if metric == "loss" else None
    if held_out is None:
        if metric == "loss":
            metric = "rmse" if first.schema.target_kind == "number" else "accuracy"
        held_out = {name: _on_rows_of_its_own(run, metric) for name, run in runs.items()}
    return best_of(runs, held_out, metric)


def _on_rows_of_its_own(run: Run, metric: str) -> float:
    part = run.manifest.get("fold", {}).get("held_out", "valid")
    score = run.result.get(part, {}).get(metric)
    return math.nan if score is None else float(score)


def _losses_of_folds(runs: Mapping[str, Run]) -> dict[str, float] | None:
    """Give the losses on held-out rows that a cross-validation found; None for other runs."""
    places = {group_of(run.folder) if "fold" in run.manifest else None for run in runs.values()}
    place = places.pop()
    if places or place is None:
        return None
    found = (read_group(place).get("result") or {}).get("scores", {}).get("loss")
    values = [] if found is None else found["values"]
    numbers = [run.manifest["fold"]["number"] for run in runs.values()]
    if not values or max(numbers) > len(values):
        return None
    return {
        name: math.nan if (value := values[number - 1]) is None else float(value)
        for name, number in zip(runs, numbers, strict=True)
    }
