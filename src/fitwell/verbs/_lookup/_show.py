"""`fitwell show`: the card of a method, or the state of a run."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ...core.catalog import Entry, find
from ...core.errors import UnknownName
from ...core.groups import is_group, member_folders, missing_members, read_group
from ...core.runs import RunFiles, is_run, read_run

_WIDTH = 92


@final
@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A public name with its card, for reading.

    Args:
        entry: The name.
    """

    entry: Entry

    def to_dict(self) -> dict[str, Any]:
        """Give the card as plain data, ready for JSON."""
        return self.entry.to_dict()

    def __str__(self) -> str:
        entry, card = self.entry, self.entry.card
        call = entry.signature or entry.name
        parts = [f"{entry.family}.{call}", _wrap(card.summary)]
        parts += [_wrap(paragraph) for paragraph in card.use.split("\n\n") if paragraph]
        parts.append(textwrap.indent(card.formula, "    "))
        parts += [_section(title, getattr(card, title.lower())) for title in ("Args", "Shapes")]
        parts.append(_wrap(f"Returns: {card.returns}") if card.returns else "")
        parts.append(_section("Raises", card.raises))
        facts = {
            "Source": card.source,
            "Differs": card.differs,
            "Reduces to": card.reduces_to,
            "Checked against": card.checked_against,
        }
        parts.append("\n".join(_wrap(f"{k}: {v}", "    ") for k, v in facts.items() if v))
        parts.append(textwrap.indent(card.example, "    "))
        cite = f"\nfitwell cite {entry.path}" if card.keys else ""
        parts.append(f"{entry.file}:{entry.line}{cite}")
        return "\n\n".join(part for part in parts if part)


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _section(title: str, items: Mapping[str, str]) -> str:
    lines = [textwrap.indent(_wrap(f"{k}: {v}", "    "), "    ") for k, v in items.items()]
    return "\n".join([f"{title}:", *lines]) if lines else ""


@final
@dataclass(frozen=True, kw_only=True)
class RunCard:
    """The settings and the result of a run, for reading.

    Args:
        files: What the run's files say.
    """

    files: RunFiles

    def to_dict(self) -> dict[str, Any]:
        """Give settings and result as plain data, ready for JSON."""
        run = {**self.files.run, "epochs": self.files.epochs_done, "valid": dict(self.files.valid)}
        return {"run": str(self.files.folder), **run, "result": dict(self.files.result) or None}

    def __str__(self) -> str:
        files = self.files
        head = {"task": files.run.get("task"), "status": files.run.get("status")}
        parts = [str(files.folder), _values({**head, "epochs done": files.epochs_done})]
        for title, value in (
            ("Settings", files.settings),
            ("Data", files.run.get("data")),
            ("Result", files.result or {"valid": dict(files.valid)}),
        ):
            if isinstance(value, Mapping) and value:
                parts.append(f"{title}\n{_values(value)}")
        report = files.folder / "report.html"
        if report.is_file():
            parts.append(f"Report: {report}")
        return "\n\n".join(parts)


@final
@dataclass(frozen=True, kw_only=True)
class GroupCard:
    """The settings and the members of a group, for reading.

    Args:
        folder: Of the group.
        facts: What ``group.json`` says.
    """

    folder: Path
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Give all facts as plain data, ready for JSON."""
        members = {name: str(place) for name, place in self._members().items()}
        return {**self.facts, "group": str(self.folder), "members": members}

    def __str__(self) -> str:
        facts, missing = self.facts, missing_members(self.folder, self.facts)
        head = {"kind": facts["kind"], "status": facts.get("status")}
        head |= {"command": facts.get("command"), "missing": ", ".join(missing) or None}
        settings = dict(facts.get("settings") or {})
        training = settings.pop("training", None)
        parts = [f"{self.folder}: a group of runs", _values(head)]
        for title, value in (
            ("Members", {name: str(place) for name, place in self._members().items()}),
            ("Settings", settings),
            ("Training", training),
        ):
            if value:
                parts.append(f"{title}\n{_values(value)}")
        parts.append(f"Numbers: fitwell evaluate {self.folder}")
        report = self.folder / "report.html"
        if report.is_file():
            parts.append(f"Report: {report}")
        return "\n\n".join(parts)

    def _members(self) -> dict[str, Path]:
        return member_folders(self.folder, self.facts)


def _values(values: Mapping[str, Any], depth: int = 1) -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{'  ' * depth}{name}", _values(value, depth + 1)]
        elif value is not None and value != {}:
            text = value if isinstance(value, str) else _number(value)
            lines.append(f"{'  ' * depth}{name:<{max(4, 22 - 2 * depth)}}  {text}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)


def show(name: str, /) -> MethodCard | RunCard | GroupCard:
    """Show the card of a method (what, when, formula, source), or the state of a run or a group.

    Args:
        name: A method such as `optim.AdamW` or `adamw`, or the folder of a run or of a group.

    Raises:
        UnknownName: There is neither a method of that name nor a run in that place.
        RunError: The run's files are damaged, or the folder is not a run.
    """
    if is_group(name):
        return GroupCard(folder=Path(name), facts=read_group(name))
    if is_run(name):
        return RunCard(files=read_run(name, owner="show"))
    try:
        return MethodCard(entry=find(name, owner="show"))
    except UnknownName:
        if Path(name).is_dir():
            read_run(name, owner="show")  # says what the folder lacks
        raise
