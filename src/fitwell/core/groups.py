"""Group folders as plain files: several runs that were trained or combined together.

``GROUP/group.json`` says what they are; the members are runs, in ``GROUP/members`` unless they
were there before. Training and using them is `fitwell.open_group`.
"""

from __future__ import annotations

import json
import re
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
            are the runs in ``members``, fold-2 before fold-10.
    """
    listed = facts.get("members")
    if isinstance(listed, Mapping):
        return {str(name): Path(folder) / str(place) for name, place in listed.items()}
    runs = [file.parent for file in (Path(folder) / "members").glob(f"*/{RUN_FILE}")]
    return {run.name: run for run in sorted(runs, key=lambda run: _natural(run.name))}


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Give what to sort by, so that numbers in names count as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
