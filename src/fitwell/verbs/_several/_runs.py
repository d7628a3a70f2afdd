"""Runs that were trained before, and the parts of the data that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import RunError, UsageError
from ...core.groups import remedy
from ...data import Examples, Schema, Splits
from ...tasks import ModelChoice, Source
from ...train import Run
from .._checks import check_same_data
from .._open_run import open_run, splits_again
from ._pool import as_trained


def open_members(
    folders: Mapping[str, Path], *, model: ModelChoice | None = None
) -> dict[str, Run]:
    """Open runs that are to answer together.

    Args:
        folders: Their folders by name.
        model: The model again, for runs of your own module.

    Raises:
        UsageError: Fewer than two, they answer different questions, or a model is given that none
            of them needs.
        RunError: One is not finished.
    """
    runs = {name: open_run(folder, model=model) for name, folder in folders.items()}
    if len({run.folder.resolve() for run in runs.values()}) < 2:
        raise UsageError(
            f"ensemble: `sources` must be at least two different runs; got {len(runs)}. Name the"
            " runs one after the other."
        )
    if model is not None and not any(run.settings.model.own for run in runs.values()):
        raise UsageError(
            f"ensemble: `model` must be left out for runs that are trained already; got {model!r}."
            " It is only for runs of your own module."
        )
    first = next(iter(runs.values()))
    for run in runs.values():
        if run.status != "finished":
            raise RunError(
                f"{run.folder}: must be finished to answer with others; it is {run.status}. Go on"
                f" with: {remedy(run.folder)}"
            )
        for name, (one, other) in _facts(first.schema, run.schema).items():
            if one != other:
                raise UsageError(
                    f"ensemble: `sources` must have the same {name}; got {one} in {first.folder}"
                    f" and {other} in {run.folder}. Combine runs of one question."
                )
    return runs


def _facts(one: Schema, other: Schema) -> dict[str, tuple[Any, Any]]:
    return {
        "kind of data": (one.kind, other.kind),
        "kind of target": (one.target_kind, other.target_kind),
        "classes": (one.class_names, other.class_names),
        "shape of inputs": (one.input_shape, other.input_shape),
    }


def common_parts(
    runs: Mapping[str, Run], data: Any = None, *, owner: str = "ensemble"
) -> dict[str, Examples]:
    """Give the parts that runs can be compared on: what none of them was trained on.

    Args:
        runs: The runs by name.
        data: The data again, if it was in memory or is somewhere else now; or a `Source`.
        owner: The verb, for messages.

    Returns:
        The validation part, unless some were trained on it, and the test part if there is one.

    Raises:
        UsageError: Their test parts differ, they have nothing in common, or the data was in memory
            and is not given.
        RunError: The data has changed since.
    """
    first, *others = runs.values()
    seen: dict[str, Splits] = {}
    splits = _splits_of(first, data, seen, owner)
    shared = not any("fold" in run.manifest for run in runs.values())
    for run in others:
        mine = _splits_of(run, data, seen, owner)
        if mine is splits:
            continue
        shared = False
        prints = [None if s.test is None else s.test.fingerprint for s in (splits, mine)]
        if prints[0] != prints[1]:
            raise UsageError(
                f"{owner}: runs must have the same test part; those of {first.folder} and"
                f" {run.folder} differ. Train them with the same --split-seed and --test."
            )
    parts = {"valid": splits.valid} if shared else {}
    if splits.test is not None:
        parts["test"] = splits.test
    if not parts:
        raise UsageError(
            f"{owner}: runs must share examples that none was trained on; these share neither test"
            " nor validation part. Give new data, or train them with --test 0.15."
        )
    return parts


def _splits_of(run: Run, data: Any, seen: dict[str, Splits], owner: str) -> Splits:
    """Read the source of a run, each once, and check that it is what it was."""
    if isinstance(data, Source):
        return data.splits
    chosen = run.settings.loss
    key = repr((chosen.source, chosen.path, sorted(chosen.reader.items()), chosen.smoke))
    if key not in seen:
        seen[key] = splits_again(run, data, owner=owner)
    check_same_data(run, as_trained(run, seen[key]))
    return seen[key]
