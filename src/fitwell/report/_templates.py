"""Filling the page templates; everything is escaped unless it is one of our own figures."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, /, **values: Any) -> str:
    """Fill a template of this package.

    Args:
        template: File name of the template.
        values: What the template shows; strings are escaped, `figure` results excepted.
    """
    return _environment().get_template(template).render(**values)


def figure(svg: str) -> Any:
    """Mark an SVG that `fitwell.report` drew as safe to stand in a page as it is.

    Args:
        svg: What a figure function returned.
    """
    from markupsafe import Markup

    return Markup(svg)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fitwell.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Any:
    """Escape a text and let a browser break it after ``(``, ``,``, ``=``, ``/`` and ``_``."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[(,=/_])", str(text)))
