"""Settings left to be measured: how large a batch fits, which way is fastest, which rate works."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..core.errors import UsageError
from ..core.runs import is_run
from ..data import Batches
from ..tasks import make_optimizer, optimizer_spec, rate_of
from ..train import ALONE, Run, Way, World, find_batch_size, lr_range_test, measure_speed
from ._session import Session

_WAY = ("precision", "channels_last", "compiled")
_BATCH = ("batch_size", "accumulate")


def tuned(session: Session, given: Mapping[str, Any]) -> Session:
    """Measure what `batch_size`, `speed` and `lr` leave open, and put it into the settings.

    A run that is gone on with keeps what was measured when it began.

    Args:
        session: Whose settings are the recipe's where they are open.
        given: Arguments of `train` by name.

    Raises:
        UsageError: Not even one example fits into memory, or no rate makes the loss fall.
    """
    opened = (
        *(_BATCH if given["batch_size"] == "auto" else ()),
        *(_WAY if given["speed"] else ()),
        *(("optimizer",) if given["lr"] == "auto" else ()),
    )
    if not opened:
        return session

    def measured() -> tuple[dict[str, Any], dict[str, Any]]:
        if given["resume"] and is_run(session.run.folder):
            before = Run.open(session.run.folder)
            kept = before.settings.optimization
            return {n: getattr(kept, n) for n in opened}, before.manifest.get("measured", {})
        changes: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        alone = replace(session, world=ALONE)  # one process measures for all
        if given["batch_size"] == "auto":
            changes, facts["batch_size"] = _fitting_batch(alone)
        if given["speed"]:
            typed = {**given, "compiled": given["compile"]}
            keep = {name for name in _WAY if typed[name] is not None}
            way, facts["speed"] = _fastest(alone.with_settings(**changes), keep, session.world)
            changes |= way
        if given["lr"] == "auto":
            found, facts["lr"] = _working_rate(alone.with_settings(**changes))
            changes |= found
        return changes, facts

    changes, facts = session.world.by_leader(measured)
    return session.with_settings(**changes).with_facts(measured=facts)


def _say(session: Session, text: object) -> None:
    if not session.quiet:
        print(text, file=sys.stderr)


def _fitting_batch(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keep the batch size if it fits, else take the largest that does, several to a step."""
    chosen, train = session.run.settings.optimization, session.splits.train
    wanted = min(chosen.batch_size, len(train))
    model = copy.deepcopy(session.build_model())
    found = find_batch_size(
        model,
        session.objective(),
        make_optimizer(chosen.optimizer, model),
        lambda count: next(iter(session.batches(train.select(range(count)), count))),
        limit=wanted,
        wanted=wanted,
        precision=chosen.precision,
    )
    if found.batch_size == 0:
        raise UsageError(f"train: `model` must fit into memory with one example. {found}")
    _say(session, f"batch size: {found}")
    if found.batch_size >= wanted or found.limited_by != "memory":
        return {}, found.to_dict()
    parts = math.ceil(wanted * chosen.accumulate / found.batch_size)
    size = math.ceil(wanted * chosen.accumulate / parts)  # so that the update stays what it was
    return {"batch_size": size, "accumulate": parts}, found.to_dict()


def _fastest(
    session: Session, keep: set[str], world: World
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a few steps each way; the number of threads stays, since a run goes on with as many."""
    chosen = session.run.settings.optimization
    train: Batches = session.batches(session.splits.train, chosen.batch_size, training=True)
    per_epoch = math.ceil(len(train) / world.size / chosen.accumulate)
    steps = (chosen.epochs or math.inf) * per_epoch
    found = measure_speed(
        session.build_model(),
        session.objective(),
        lambda model: make_optimizer(chosen.optimizer, model),
        next(iter(train)),
        planned_steps=int(min(steps, chosen.max_steps or math.inf)),
        base=Way(
            precision=chosen.precision,
            channels_last=chosen.channels_last,
            compiled=chosen.compiled,
        ),
        keep=(*keep, "threads"),  # type: ignore[arg-type]
    )
    _say(session, f"speed: {found}")
    return {name: getattr(found.way, name) for name in _WAY}, found.to_dict()


def _working_rate(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """Try rates from tiny to large for some steps, and take the one that the test suggests."""
    chosen = session.run.settings.optimization
    torch.manual_seed(chosen.seed)
    model = session.build_model()
    session.start(model)
    optimizer = make_optimizer(chosen.optimizer, model, chosen.layer_decay)
    before = rate_of(chosen.optimizer)
    share = float(optimizer.param_groups[0]["lr"]) / before if before else 1.0
    found = lr_range_test(
        model,
        session.objective(),
        optimizer,
        session.batches(session.splits.train, chosen.batch_size, training=True),
    )
    if found.suggestion is None:
        raise UsageError(f"train: `lr` must be given, since no rate was found. {found}")
    _say(session, f"lr: {found}")
    rate = float(f"{found.suggestion / share:.2g}")  # the test tells that of the first layer
    return {"optimizer": str(optimizer_spec(chosen.optimizer, rate))}, found.to_dict()
