"""Answers about a whole project, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from ._project import Project

Answer = TypeVar("Answer")


def per_project(ask: Callable[[Project], Answer]) -> Callable[[Project], Answer]:
    """Make a function of a project remember its answer, as long as the project is there.

    Args:
        ask: The function.
    """
    known: WeakKeyDictionary[Project, Answer] = WeakKeyDictionary()

    def asked(project: Project) -> Answer:
        if project not in known:
            known[project] = ask(project)
        return known[project]

    asked.__doc__ = ask.__doc__
    return asked
