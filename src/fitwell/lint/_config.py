"""Settings of a project: ``[tool.fitwell.lint]`` in the nearest ``pyproject.toml``."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, final

from ..core.errors import DataError, unknown_name
from ._rule import Rule
from .rules import rules, themes

_TABLE: Final = "tool.fitwell.lint"


@final
@dataclass(frozen=True)
class Config:
    """What is asked, and where.

    Args:
        select: Rules and themes to ask; empty asks all.
        ignore: Rules and themes not to ask.
        exclude: Patterns of files and folders to pass over.
        hints: Whether hints are shown.
        per_file_ignores: Rules and themes not to ask in files whose path matches a pattern.
        source: The file that it was read from.
        folder: Where patterns of paths begin.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hints: bool = False
    per_file_ignores: Mapping[str, Sequence[str]] = field(default_factory=dict)
    source: str = ""
    folder: Path = Path()

    def rules(self) -> list[Rule]:
        """Give the rules that are asked.

        Raises:
            UnknownName: There is no rule or theme of a name.
        """
        wanted = _named(self.select, self.source) if self.select else set(rules())
        wanted -= _named(self.ignore, self.source)
        return [rule for rule in rules().values() if rule.name in wanted]

    def ignored_in(self, path: str) -> set[str]:
        """Give the names of the rules that are not asked in a file.

        Args:
            path: Of the file.
        """
        found: set[str] = set()
        for pattern, names in self.per_file_ignores.items():
            resolved = Path(path).resolve()
            near = resolved
            if resolved.is_relative_to(self.folder.resolve()):
                near = resolved.relative_to(self.folder.resolve())
            texts = (resolved.name, near.as_posix(), resolved.as_posix())
            if any(fnmatch.fnmatch(text, pattern) for text in texts):
                found |= _named(names, self.source)
        return found


def _named(names: Sequence[str], source: str) -> set[str]:
    """Give the rules that names of rules and themes stand for."""
    found: set[str] = set()
    for name in names:
        if name in themes():
            found |= {rule.name for rule in themes()[name][1]}
        elif name in rules():
            found.add(name)
        else:
            owner = f"lint: {source}" if source else "lint"
            raise unknown_name(owner, "rule or theme", name, [*rules(), *themes()])
    return found


def read_config(start: Path) -> Config:
    """Read the settings of the project that a path belongs to.

    Args:
        start: A file or folder; its ``pyproject.toml``, or the nearest above with such a table,
            counts.

    Raises:
        DataError: The file or an entry of it is wrong.
        UnknownName: It names a rule that is not there.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise DataError(f"lint: {file} is not valid TOML: {err}.") from err
        table = content.get("tool", {}).get("fitwell", {}).get("lint")
        if table is not None:
            config = _from_table(table, file)
            config.rules()
            for names in config.per_file_ignores.values():
                _named(names, config.source)
            return config
    return Config()


def _from_table(table: Any, file: Path) -> Config:
    if not isinstance(table, dict):
        raise DataError(f"lint: {file}: [{_TABLE}] must be a table; got {table!r}.")
    known = {one.name.replace("_", "-") for one in fields(Config)} - {"source", "folder"}
    taken: dict[str, Any] = {}
    for name, value in table.items():
        if name.replace("_", "-") not in known:
            raise unknown_name(f"lint: {file}: [{_TABLE}]", "setting", name, known)
        taken[name.replace("-", "_")] = _checked(name, value, file)
    return Config(**taken, source=str(file), folder=file.parent)


def _checked(name: str, value: Any, file: Path) -> Any:
    def texts(one: Any) -> bool:
        return isinstance(one, list) and all(isinstance(item, str) for item in one)

    if name == "hints":
        fits, wanted = isinstance(value, bool), "true or false"
    elif name.replace("_", "-") == "per-file-ignores":
        fits = isinstance(value, dict) and all(texts(one) for one in value.values())
        wanted = 'a table such as {"tests/*" = ["cuda-hard-coded"]}'
    else:
        fits, wanted = texts(value), "a list of texts"
    if not fits:
        raise DataError(f"lint: {file}: [{_TABLE}] {name} must be {wanted}; got {value!r}.")
    return tuple(value) if isinstance(value, list) else value
