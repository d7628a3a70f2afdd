"""Runs combined: shares of the members, and scores alone and together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
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
    """Give the run that is best on validation examples: common ones, or its own.

    Args:
        runs: The runs by name.
        outputs: Theirs for common validation examples.
        valid: Those examples.
    """
    metric = headline_metric(next(iter(runs.values())))
    if outputs is not None and valid is not None:
        targets = targets_of(valid)
        scores = {
            name: scores_of(run, own, targets)[metric]
            for (name, run), own in zip(runs.items(), outputs, strict=True)
        }
    else:
        scores = {
            name: run.result.get("valid", {}).get(metric, math.nan) for name, run in runs.items()
        }
    return best_of(runs, scores, metric)
