"""From the arguments of `train` to a session that is ready to begin."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ...core.records import versions
from ...core.runs import is_run
from ...data import DecodingProgress
from ...tasks import Source, open_source
from ...tasks import smoke as make_smaller
from ...train import ALONE, Run, Settings, World, bring_back, check_copy
from .._checks import check_same_data, check_same_settings
from .._choose import data_of, settings_of
from .._data_card import write_data_card
from .._recording import Recording
from .._session import Session
from .._tune import tuned
from ._command import command


def prepare(given: dict[str, Any], world: World = ALONE, data: Source | None = None) -> Session:
    """Read the data and settle everything, writing nothing.

    Args:
        given: Arguments of `train` by name.
        world: The processes that train together.
        data: What was read before; None reads it.

    Raises:
        UsageError: An argument does not fit.
        DataError: The data is bad.
    """
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
    data = read_data(given, old, world) if data is None else data
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
        "command": command("train", {**given, "workers": world.size if world.size > 1 else None}),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    session = Session(
        run=Run(run_folder(given["run"], data), manifest),
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


def read_data(given: dict[str, Any], old: Settings | None, world: World = ALONE) -> Source:
    """Read the data that the arguments name, or that another run was trained on.

    Args:
        given: Arguments of `train` by name.
        old: Settings of the other run.
        world: The processes that train together.

    Raises:
        UsageError: An argument does not fit the source.
        DataError: The data is bad.
    """
    source, path, reader = data_of(given, old)
    told = None if given["quiet"] or not world.leads else DecodingProgress()
    data = world.after_leader(lambda: open_source(source, path, reader, progress=told))
    if given["smoke"] or (old is not None and old.loss.smoke):
        data = replace(data, splits=make_smaller(data.splits))
    return data


def begin(session: Session, resume: bool) -> dict[str, Any]:
    """Make the run's folder, or find in it the run to go on with; give its manifest.

    Args:
        session: What is to be trained.
        resume: Whether a run that is there is gone on with.
    """
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


def run_folder(run: str | Path | None, source: Source | str | Path) -> Path:
    """Give the folder of a run that is to be made: the one that is named, or a new one in runs/.

    Args:
        run: What the user named.
        source: What the run learns from.
    """
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
