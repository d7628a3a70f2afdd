"""Group folders as plain files: several runs that were trained or combined together.

``GROUP/group.json`` says what they are; the members are runs, in ``GROUP/members`` unless they
were there before. Training and using them is `fitwell.open_group`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import RunError
from .runs import RUN_FILE

GROUP_FILE = "group.json"
FORMAT = 1


def is_group(folder: str | Path) -> bool:
    """Say whether a folder is a group of runs.

    Args:
        folder: The folder.
    """
    return (Path(folder) / GROUP_FILE).is_file()


def find_groups(folder: str | Path) -> tuple[Path, ...]:
    """Give the group folders below a folder, newest first.

    Args:
        folder: Where groups are kept; they may lie one folder deeper.
    """
    folder = Path(folder)
    found = [
        file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{GROUP_FILE}")
    ]
    return tuple(sorted(found, key=lambda p: ((p / GROUP_FILE).stat().st_mtime, p), reverse=True))


def read_group(folder: str | Path) -> dict[str, Any]:
    """Read ``group.json``.

    Args:
        folder: Folder of the group.

    Raises:
        RunError: It is not a group, is damaged, or comes from a newer fitwell.
    """
    path = Path(folder) / GROUP_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise RunError(
            f"{folder}: is not a group of runs; it has no {GROUP_FILE}. Make one:"
            " fitwell crossval digits"
        ) from err
    except (OSError, ValueError) as err:
        raise RunError(f"{path}: cannot be read ({err}). Restore it from a copy.") from err
    if not isinstance(facts, dict) or "kind" not in facts:
        raise RunError(f"{path}: is not the {GROUP_FILE} of a fitwell group.")
    if facts.get("format") != FORMAT:
        raise RunError(
            f"{path}: `format` must be {FORMAT}; got {facts.get('format')!r}. Use the version of"
            " fitwell that made the group."
        )
    return facts


def member_folders(folder: str | Path, facts: Mapping[str, Any]) -> dict[str, Path]:
    """Give the folder of each member by its name, in their order.

    Args:
        folder: Folder of the group.
        facts: From `read_group`; its ``members`` name runs that lie elsewhere. Without it, members
            are the runs in ``members``, fold-2 before fold-10, and those that the result is of.
    """
    listed = facts.get("members")
    if isinstance(listed, Mapping):
        return {str(name): Path(folder) / str(place) for name, place in listed.items()}
    if names := _judged(facts):
        return {name: Path(folder) / "members" / name for name in names}
    runs = [file.parent for file in (Path(folder) / "members").glob(f"*/{RUN_FILE}")]
    return {run.name: run for run in sorted(runs, key=lambda run: _natural(run.name))}


def _judged(facts: Mapping[str, Any]) -> list[str]:
    """Give the names of the members that the result is of; none before there is one."""
    if isinstance(shares := facts.get("weights"), Mapping):
        return [str(name) for name in shares]
    result = facts.get("result")
    scores = result.get("scores") if isinstance(result, Mapping) else None
    if facts.get("kind") != "crossval" or not isinstance(scores, Mapping):
        return []
    values = [one["values"] for one in scores.values() if isinstance(one, Mapping)]
    return [f"fold-{number}" for number in range(1, len(values[0]) + 1)] if values else []


def missing_members(folder: str | Path, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names of members that are no longer where they were.

    Args:
        folder: Folder of the group.
        facts: From `read_group`.
    """
    places = member_folders(folder, facts)
    return tuple(name for name, place in places.items() if not (place / RUN_FILE).is_file())


def going_on(folder: str | Path, facts: Mapping[str, Any]) -> str:
    """Give the command that goes on with a group: the one that made it, with ``--resume``.

    Args:
        folder: Folder of the group.
        facts: From `read_group`.
    """
    words = shlex.split(str(facts.get("command") or f"fitwell {facts['kind']} ..."))
    if "--group" in words:
        place = words.index("--group")
        del words[place : place + 2]
    kept = [word for word in words if word != "--resume"]
    ends = f"--group {shlex.quote(str(folder))} --resume"
    return f"{shlex.join(kept)} {ends}"


def group_of(run: str | Path) -> Path | None:
    """Give the folder of the group whose members include a run; None if it is on its own.

    Args:
        run: Folder of the run.
    """
    members = Path(run).parent
    if members.name != "members":
        return None
    for folder in (members.parent, members.parent.parent):  # trainings inside folds lie deeper
        if is_group(folder):
            return folder
    return None


def remedy(run: str | Path) -> str:
    """Give the command that goes on with a run that was stopped, or with the group that it is of.

    Args:
        run: Folder of the run.
    """
    group = group_of(run)
    if group is None:
        return f"fitwell resume {shlex.quote(str(run))}"
    try:
        return going_on(group, read_group(group))
    except RunError:
        return f"fitwell resume {shlex.quote(str(run))}"


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Give what to sort by, so that numbers in names count as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
