"""Installed packages and what they say they need of each other, read without importing them."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import final

Metadata = Callable[[str], Iterable[str]]

WATCHED = (
    *("fitwell", "torch", "torchvision", "torchaudio", "numpy", "scipy", "scikit-learn", "pandas"),
    *("matplotlib", "pyarrow", "pillow", "safetensors"),
)
"""Packages whose versions say most when something does not work."""

_OWNERS = ("fitwell", "torch", "torchvision", "torchaudio")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*])?\s*\(?(==|>=)\s*([\w.]+)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")


@final
@dataclass(frozen=True)
class Requirement:
    """What one installed package says it needs of another.

    Args:
        owner: The package that says so.
        package: The package it needs.
        operator: ``==`` or ``>=``.
        version: The version it needs.
    """

    owner: str
    package: str
    operator: str
    version: str

    def is_met_by(self, version: str) -> bool:
        """Say whether a version is what is needed; the build after ``+`` does not count.

        Args:
            version: A version of the package.
        """
        have, want = numbers(version), numbers(self.version)
        return have >= want if self.operator == ">=" else have[: len(want)] == want


def numbers(version: str) -> tuple[int, ...]:
    """Give the leading numbers of a version, such as (2, 13, 0) of ``2.13.0+cpu``.

    Args:
        version: A version.
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def read_requirements(lines_of: Metadata | None = None) -> tuple[Requirement, ...]:
    """Read what fitwell, torch and torch's companions need, extras left out.

    Args:
        lines_of: Gives the requirement lines of a package; None reads the installed ones.
    """
    found = []
    for owner in _OWNERS:
        for line in (lines_of or _lines)(owner):
            match = _REQUIREMENT.match(line)
            if match and not _EXTRA.search(line) and _is_ours(owner, match[1]):
                found.append(Requirement(owner, match[1].lower(), match[2], match[3]))
    return tuple(found)


def _is_ours(owner: str, package: str) -> bool:
    """Say whether a need is one whose breach shows late; pip looks after the others."""
    return owner == "fitwell" or package == "torch" or package.startswith("nvidia-")


def read_extras(
    versions: Callable[[str], str | None] | None = None, lines_of: Metadata | None = None
) -> dict[str, tuple[str, ...]]:
    """Read which packages each extra of fitwell lacks; ``dev`` and ``bench`` are left out.

    Args:
        versions: Gives the version of a package, or None.
        lines_of: Gives the requirement lines of a package; None reads the installed ones.
    """
    lacking: dict[str, tuple[str, ...]] = {}
    for line in (lines_of or _lines)("fitwell"):
        extra, match = _EXTRA.search(line), _REQUIREMENT.match(line)
        if extra and match and extra[1] not in ("dev", "bench"):
            there = (versions or version_of)(match[1]) is not None
            lacking[extra[1]] = lacking.get(extra[1], ()) + (() if there else (match[1],))
    return lacking


def read_versions(requirements: Iterable[Requirement] = ()) -> Mapping[str, str]:
    """Read the versions of the watched packages that are installed.

    Args:
        requirements: What names more packages to look at.
    """
    names = dict.fromkeys([*WATCHED, *(need.package for need in requirements)])
    found = {name: version_of(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def version_of(package: str) -> str | None:
    """Give the version of an installed package, or None.

    Args:
        package: Its name.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lines(package: str) -> list[str]:
    try:
        return importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return []
