"""What fitwell raises. Few classes, each also a built-in kind, all with one-sentence messages.

    FitwellError
    ├── UsageError    (ValueError)        an argument is wrong; nothing was computed
    ├── DataError     (ValueError)        a file or a row of the user's data is wrong
    ├── UnknownName   (LookupError)       a name that is not there; lists the nearest ones
    ├── RunError      (RuntimeError)      a run folder is missing, damaged or not fit for the verb
    ├── TrainingError (ArithmeticError)   training itself failed, such as a loss that became NaN
    └── MissingExtra  (ImportError)       an optional package is not installed

Message form: ``Owner: `argument` must be <requirement>; got <value>. <What to do.>``
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FitwellError(Exception):
    """Base of all errors that fitwell raises on purpose.

    Attributes:
        told: Whether another process has told the user the same.
    """

    told = False


class UsageError(FitwellError, ValueError):
    """An argument is wrong; raised before anything is computed or written."""


class DataError(FitwellError, ValueError):
    """A file or a row of the user's data is wrong; the message names both."""


class UnknownName(FitwellError, LookupError):
    """A name that is not there; the message lists the nearest ones."""


class RunError(FitwellError, RuntimeError):
    """A run folder is missing, damaged, foreign, or not fit for what was asked."""


class TrainingError(FitwellError, ArithmeticError):
    """Training failed, such as a loss that became NaN."""


class MissingExtra(FitwellError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""


def unknown_name(owner: str, what: str, name: str, known: Iterable[str]) -> UnknownName:
    """Build the error for a failed look-up, naming the nearest known names (all, if few).

    Args:
        owner: Who looked, for the start of the sentence.
        what: What kind of thing was looked for, such as ``"model"``.
        name: The name that was not found.
        known: Every name that would have been found.
    """
    options = sorted(known)
    lowered = {option.lower(): option for option in options}
    near = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if near:
        hint = "nearest: " + ", ".join(repr(n) for n in near)
    else:
        hint = "known: " + ", ".join(options[:20]) + (" ..." if len(options) > 20 else "")
    return UnknownName(f"{owner}: no {what} named {name!r}; {hint}.")


def missing_extra(owner: str, package: str, extra: str) -> MissingExtra:
    """Build the error for an optional package that is not installed.

    Args:
        owner: Who needs the package.
        package: Name of the package.
        extra: Name of the extra of fitwell that brings it.
    """
    return MissingExtra(
        f"{owner}: needs the package {package!r}, which is not installed."
        f" Run: pip install 'fitwell[{extra}]'"
    )
