"""`fitwell coverage`: how much of the course works, by chapter."""

from __future__ import annotations

from ...core.coverage import Coverage, read_coverage


def coverage() -> Coverage:
    """Count what works of the course, by chapter: works, partial, stopped at a limit, open."""
    return read_coverage()
