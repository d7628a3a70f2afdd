"""The group: a folder that holds what several runs have in common, and what they say together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import RunError, UsageError
from ...core.files import write_json
from ...core.groups import (
    FORMAT,
    GROUP_FILE,
    going_on,
    is_group,
    member_folders,
    missing_members,
    read_group,
)
from ...core.records import versions
from ...data import Examples
from ...tasks import ModelChoice
from ...train import Combine, Run, combine_outputs
from ...train._task import Predictions
from .._open_run import open_run
from ._outputs import outputs_on


def as_group(value: Any) -> Group | None:
    """Open a group, or the folder of one; None if it is anything else.

    Args:
        value: What the user gave.

    Raises:
        RunError: The group is damaged.
    """
    if isinstance(value, Group):
        return value
    return Group.open(value) if isinstance(value, (str, Path)) and is_group(value) else None


def refuse_views(owner: str, views: int) -> None:
    """Refuse views of images where several members look at the plain one.

    Args:
        owner: Who asks, for messages.
        views: How many were asked for.

    Raises:
        UsageError: Views were asked for.
    """
    if views:
        raise UsageError(
            f"{owner}: `views` must be left out for a group, whose members look at the plain"
            f" images; got {views}. Name a run."
        )


def refuse_group(owner: str, source: Any) -> None:
    """Refuse a group where data or a run is learned from.

    Args:
        owner: The verb.
        source: What the user gave.

    Raises:
        UsageError: It is a group.
    """
    group = as_group(source)
    if group is not None:
        raise UsageError(
            f"{owner}: `source` must be data or a run; got {group.folder}, which is a group of kind"
            f" {group.kind}. Name one of {group.folder / 'members'}, or use fitwell ensemble,"
            " evaluate, predict, compare or report with it."
        )


@final
class Group:
    """A folder with ``group.json``, the runs in ``members/``, and what was made of their answers.

    Args:
        folder: The folder.
        facts: Content of ``group.json``.
    """

    def __init__(self, folder: str | Path, facts: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.facts = dict(facts)

    def __repr__(self) -> str:
        return f"Group({str(self.folder)!r}, kind={self.kind!r}, status={self.status!r})"

    def __fspath__(self) -> str:
        return str(self.folder)

    @classmethod
    def create(
        cls, folder: str | Path, kind: str, command: str, settings: Mapping[str, Any]
    ) -> Group:
        """Start a group in a folder that is new or empty.

        Args:
            folder: The folder.
            kind: What its members are, such as ``crossval``.
            command: The command line that makes it.
            settings: What decides what its members are.

        Raises:
            RunError: The folder holds something already.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(
                f"{folder}: must be new or empty for a new group. Choose another folder with"
                " --group."
            )
        group = cls(folder, {"format": FORMAT, "kind": kind, "status": "running"})
        group.update(
            command=command,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            settings=dict(settings),
            versions=versions(),
        )
        return group

    @classmethod
    def open(cls, folder: str | Path) -> Group:
        """Open a group that exists.

        Args:
            folder: The folder.

        Raises:
            RunError: It is not a group, is damaged, or comes from a newer fitwell.
        """
        return cls(folder, read_group(folder))

    def update(self, **facts: Any) -> None:
        """Change entries of ``group.json``.

        Args:
            facts: The new entries.
        """
        self.facts.update(facts)
        write_json(self.folder / GROUP_FILE, self.facts)

    @property
    def kind(self) -> str:
        """What the members are, such as ``crossval``, ``ensemble`` or ``sweep``."""
        return str(self.facts["kind"])

    @property
    def status(self) -> str:
        """``running`` until all members and the result are there, then ``finished``."""
        return str(self.facts.get("status", "running"))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides what the members are."""
        return dict(self.facts.get("settings") or {})

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the group; empty before it is finished."""
        return dict(self.facts.get("result") or {})

    def folders(self) -> dict[str, Path]:
        """Give the folders of the members by name, in their order."""
        return member_folders(self.folder, self.facts)

    def members(self, *, model: ModelChoice | None = None) -> list[Run]:
        """Open the members, in their order, ready to predict.

        Args:
            model: The model again, for members of your own module.

        Raises:
            RunError: One is gone, or cannot be read.
        """
        self.check_complete()
        return [open_run(folder, model=model) for folder in self.folders().values()]

    @property
    def best_member(self) -> str | None:
        """Name of the member that answers for a sweep; None of other groups, where all do."""
        best = self.result.get("best")
        return str(best["member"]) if self.kind == "sweep" and best else None

    def stand_in(self) -> tuple[Run, str] | None:
        """Give the run that answers for a sweep, and say so in words; None of other groups.

        Raises:
            RunError: It is gone, or cannot be read.
        """
        if self.kind != "sweep":
            return None
        (run,) = self.runs().values()
        return run, f"{self.folder} is a sweep; its best member, {self.best_member}, answers for it"

    def check_complete(self) -> None:
        """Refuse to go on without members whose answers the result is of.

        Raises:
            RunError: One is gone.
        """
        missing = missing_members(self.folder, self.facts)
        if self.best_member is not None:
            missing = tuple(name for name in missing if name == self.best_member)
        if missing:
            again = (
                "make the group anew"
                if self.facts.get("members")
                else f"train it again: {going_on(self.folder, self.facts)}"
            )
            raise RunError(
                f"{self.folder}: must have all its members; {', '.join(missing)} is missing, and"
                f" {self.folders()[missing[0]]} is no run. Restore it from a copy, or {again}"
            )

    @property
    def combine(self) -> Combine:
        """What of the members' outputs is averaged when they answer together."""
        chosen: Combine = self.facts.get("combine") or "probs"
        return chosen

    def outputs(
        self,
        examples: Examples,
        *,
        device: str | None = None,
        batch_size: int = 256,
        model: ModelChoice | None = None,
    ) -> Tensor:
        """Give the members' outputs for examples as one, on the CPU.

        Args:
            examples: The examples.
            device: Where to compute; where the members were trained if left out.
            batch_size: Examples per forward pass.
            model: The model again, for members of your own module.

        Raises:
            RunError: There are no members, or one has no weights.
        """
        runs = self.runs(model=model)
        outputs = [
            outputs_on(run, examples, device=device, batch_size=batch_size) for run in runs.values()
        ]
        return combine_outputs(
            torch.stack(outputs),
            combine=self.combine,
            weights=self.weights(runs),
            owner="ensemble",
        )

    def runs(self, *, model: ModelChoice | None = None) -> dict[str, Run]:
        """Open the members that answer, by name: all but those whose share is nothing.

        Of a sweep, whose members are good and hopeless ones, it is the best alone.

        Args:
            model: The model again, for members of your own module.

        Raises:
            RunError: There are none, or one is gone or not finished.
        """
        self.check_complete()
        shares, best = self.facts.get("weights") or {}, self.best_member
        found = {
            name: open_run(folder, model=model)
            for name, folder in self.folders().items()
            if (shares.get(name, 0 if shares else 1) if best is None else name == best)
        }
        if not found or any(run.status != "finished" for run in found.values()):
            raise RunError(
                f"{self.folder}: has no members that could answer, or some are not finished. Go on"
                f" with: {going_on(self.folder, self.facts)}"
            )
        return found

    def weights(self, names: Iterable[str]) -> Tensor:
        """Give the shares of members; all the same unless they were settled.

        Args:
            names: Of the members.
        """
        shares = self.facts.get("weights") or {}
        found = torch.tensor([float(shares.get(name, 1.0)) for name in names])
        return found / found.sum()

    def predict(
        self, inputs: Any, *, batch_size: int = 256, model: ModelChoice | None = None
    ) -> Predictions:
        """Answer for new inputs as one.

        Args:
            inputs: As for `Run.predict`.
            batch_size: Examples per forward pass.
            model: The model again, for members of your own module.

        Raises:
            RunError: There are no members, or one has no weights.
            DataError: A file is bad.
            UsageError: The shape is not that of the training inputs.
        """
        first = next(iter(self.runs().values()))
        outputs = self.outputs(first.read(inputs), batch_size=batch_size, model=model)
        return first.known_task.describe(outputs, first.schema)

    def list_members(self, folders: Mapping[str, Path]) -> None:
        """Say which runs are the members, where they are not just those in ``members/``.

        Args:
            folders: Their folders by name; kept relative to the group.
        """
        base = self.folder.resolve()
        self.update(
            members={
                name: os.path.relpath(Path(folder).resolve(), base)
                for name, folder in folders.items()
            }
        )
