"""The members of a group: their folder, their trainings, and what was trained before."""

from __future__ import annotations

import copy
import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from torch import nn

from ...core.errors import RunError, UsageError
from ...core.groups import going_on, group_of, is_group, read_group
from ...tasks import Source
from ...train import Run
from .._prepare import command, run_folder
from .._session import Session
from ._group import Group
from ._together import Variation, train_together

_TYPED: Final = 50
"""Entries of a list that anybody would type."""


def group_folder(group: str | Path | None, data: Source | str, kind: str) -> Path:
    """Give the folder of a group that is to be made: the one that is named, or a new one in runs/.

    Args:
        group: What the user named.
        data: What the members learn from, or a name for it.
        kind: What they are.
    """
    if group is not None:
        return Path(group)
    plain = run_folder(None, data)
    folder, number = plain.with_name(f"{kind}-{plain.name}"), 2
    while folder.exists():
        folder, number = folder.with_name(f"{kind}-{plain.name}-{number}"), number + 1
    return folder


def typed(verb: Callable[..., Any], given: Mapping[str, Any], *words: str | Path) -> str:
    """Give the command line that does the same, without what is the verb's default.

    Args:
        verb: The function.
        given: Its arguments by name.
        words: Further words at the end.
    """
    known = inspect.signature(verb).parameters
    kept = {
        name: value
        for name, value in given.items()
        if name in ("source", "path") or (_is_typed(value) and not same(value, known[name].default))
    }
    line = command(verb.__name__, {"source": None, "path": None, **kept})
    return " ".join([line, *(shlex.quote(str(word)) for word in words)])


def _is_typed(value: Any) -> bool:
    """Say whether a value can be typed on the command line."""
    if isinstance(value, (list, tuple)):
        return len(value) <= _TYPED and all(map(_is_typed, value))
    return isinstance(value, (str, int, float, Path))


def same(value: Any, default: Any) -> bool:
    """Say whether an argument is what it is if it is left out.

    Args:
        value: The argument.
        default: Its default.
    """
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return value is default or (isinstance(value, (str, int, float)) and value == default)


def begin_group(
    folder: Path, kind: str, command: str, settings: Mapping[str, Any], resume: bool
) -> Group:
    """Make the folder of a group, or find in it the group to go on with.

    Args:
        folder: The folder.
        kind: What the members are.
        command: The command line that makes it.
        settings: What decides what the members are.
        resume: Whether a group that is there is gone on with.

    Raises:
        RunError: The folder holds something else.
        UsageError: The group began with other settings.
    """
    if not (resume and is_group(folder)):
        return Group.create(folder, kind, command, settings)
    group = Group.open(folder)
    if group.kind != kind:
        raise RunError(f"{folder}: is a group of kind {group.kind}, not {kind}. Choose another.")
    now = json.loads(json.dumps(dict(settings)))
    differ = [
        f"{name} was {group.settings.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if group.settings.get(name) != value
    ]
    if differ:
        raise UsageError(
            f"{folder}: must go on with the settings that it began with; {'; '.join(differ)}."
            " Leave them out, or choose another folder with --group."
        )
    return group


@final
@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where members are trained.

    Args:
        workers: Processes that each train a part of them.
        cluster: Address of a Ray cluster; None is this machine.
        quiet: Show no progress.
    """

    workers: int = 1
    cluster: str | None = None
    quiet: bool = False


def train_members(members: Sequence[Session], launch: Launch) -> list[Run]:
    """Train the members that are not finished yet, and give the runs of all, ready to predict.

    Args:
        members: From `sessions`.
        launch: Where they are trained.

    Raises:
        RunError: The loss of one became infinite.
    """
    runs = try_members(members, launch)
    for run in runs:
        if run.status != "finished":
            raise RunError(
                f"{run.folder}: {run.manifest.get('error') or 'did not come to its end'}. Lower the"
                " rate, or clip the gradient with --grad-clip-norm."
            )
    return runs


def try_members(members: Sequence[Session], launch: Launch) -> list[Run]:
    """Train as `train_members` does, and leave it to the caller what becomes of those that failed.

    Args:
        members: From `sessions`.
        launch: Where they are trained.
    """
    try:
        return train_together(
            members, workers=launch.workers, cluster=launch.cluster, quiet=launch.quiet
        )
    except KeyboardInterrupt:
        group = members[0].run.folder.parent.parent
        raise KeyboardInterrupt(
            "stopped by Ctrl-C; members that ended are kept, the others start anew, since there"
            f" are no checkpoints within a group. Go on with: {_again(group)}"
        ) from None


def _again(group: Path) -> str:
    place = group_of(group / "members" / "one") or group
    return going_on(place, read_group(place))


def with_own_models(variations: Sequence[Variation], model: Any) -> list[Variation]:
    """Give each member a copy of a module that was given ready made, so that none shares weights.

    Args:
        variations: How the members differ.
        model: The choice of all.
    """
    if not isinstance(model, nn.Module):
        return list(variations)
    return [
        replace(one, settings={"model": copy.deepcopy(model), **one.settings}) for one in variations
    ]
