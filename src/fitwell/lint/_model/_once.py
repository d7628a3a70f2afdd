"""Answers about a file or a whole project, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

from ._file import File
from ._project import Project

About = TypeVar("About", File, Project)
Answer = TypeVar("Answer")


def once(ask: Callable[[About], Answer]) -> Callable[[About], Answer]:
    """Make a function of a file or project keep its answer there.

    Args:
        ask: The function.
    """

    @wraps(ask)
    def asked(about: About) -> Answer:
        if ask not in about.answers:
            about.answers[ask] = ask(about)
        return cast("Answer", about.answers[ask])

    return asked
