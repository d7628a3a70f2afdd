"""Write the page of a group."""

from __future__ import annotations

from pathlib import Path

from ...core.files import write_text
from ...report import render_group
from ._group import Group


def write_group_page(group: Group) -> Path:
    """Write ``report.html`` of a group and give its place.

    Args:
        group: The group, finished.
    """
    path = group.folder / "report.html"
    write_text(path, render_group(group.folder))
    return path
