"""What `fitwell surface` gives: the losses, what is worth knowing of them, where they are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from ...core.files import finite
from ...doctor import LossLine, LossPlane

Kind = Literal["slice", "line", "trajectory", "interpolation", "plane"]
Mode = Literal["eval", "batch", "train"]

_MODES: dict[Mode, str] = {"batch": "batch norm by batches", "train": "training mode"}

_TITLES: dict[str, str] = {
    "slice": "Surface around {0}",
    "line": "Line through {0}",
    "trajectory": "The way of {0}",
    "interpolation": "From {0} to {1}",
    "plane": "Plane through {0}, {1} and {2}",
}


@final
@dataclass(frozen=True, kw_only=True)
class SurfaceResult:
    """Losses on a line or a plane through the weights of runs.

    Args:
        run: Folder of the first run, whose data they were measured on.
        kind: What was laid through the weights.
        names: The runs, in words.
        surface: The losses.
        barriers: How far the loss rises between two runs, by their names.
        part: Part of the data.
        examples: How many of it.
        mode: As the model was measured.
        seed: Of the examples, the directions and the dropout noise.
        seconds: Time it took.
        files: Page, picture and numbers.
        notes: What to know about the numbers.
    """

    run: Path
    kind: Kind
    names: tuple[str, ...]
    surface: LossLine | LossPlane
    barriers: dict[str, float]
    part: str
    examples: int
    mode: Mode
    seed: int
    seconds: float
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What was measured, as a heading."""
        return _TITLES[self.kind].format(*self.names)

    @property
    def size(self) -> str:
        """How many points were measured, in words."""
        found = self.surface
        if isinstance(found, LossLine):
            return f"{len(found.positions)} points"
        return f"{len(found.x)} by {len(found.y)} points"

    @property
    def subtitle(self) -> tuple[str, ...]:
        """What it was measured on, in words."""
        words = (self.size, f"{self.examples:,} examples of {self.part}")
        return (*words, _MODES[self.mode]) if self.mode in _MODES else words

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is worth knowing of the losses: names and words."""
        found = self.surface
        rows: list[tuple[str, str]] = []
        if self.kind in ("slice", "line"):
            rows.append(("weights", f"loss {_loss(found.centre)} at the weights themselves"))
            end = found.x[-1] if isinstance(found, LossPlane) else found.positions[-1]
            rows += [("valley", _valley(found.reach(), end))] if found.centre > 0 else []
        if self.kind == "interpolation" and isinstance(found, LossLine):
            ends = (found.at(0.0), found.at(1.0))
            rows += [
                (name, f"loss {_loss(loss)}") for name, loss in zip(self.names, ends, strict=True)
            ]
        if isinstance(found, LossPlane) and self.kind == "plane":
            rows += [(mark.name, f"loss {_loss(mark.loss)}") for mark in found.marks]
        if isinstance(found, LossPlane) and self.kind == "trajectory":
            first, last = found.marks[0], found.marks[-1]
            rows.append(
                (
                    "path",
                    f"loss {_loss(first.loss)} at {first.name}, {_loss(last.loss)} at {last.name};"
                    f" {sum(found.explained):.1%} of its spread lies on the plane",
                )
            )
        rows += [
            ("barrier", f"{_loss(rise)} above the straight line from {pair}")
            for pair, rise in self.barriers.items()
        ]
        return (*rows, ("lowest", self._extreme("lowest")), ("highest", self._extreme("highest")))

    def _extreme(self, which: Literal["lowest", "highest"]) -> str:
        found = self.surface
        place: Any = getattr(found, which)
        loss = found.at(place) if isinstance(found, LossLine) else found.at(*place)
        places = (place,) if isinstance(found, LossLine) else place
        return f"loss {_loss(loss)} at {', '.join(map(_number, places))}"

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON."""
        found = self.surface
        kept: dict[str, Any] = finite(
            {
                "run": str(self.run),
                "kind": self.kind,
                "names": self.names,
                "part": self.part,
                "examples": self.examples,
                "mode": self.mode,
                "seed": self.seed,
                "seconds": self.seconds,
                "facts": dict(self.facts),
                "barriers": self.barriers,
                "notes": self.notes,
                "files": [str(path) for path in self.files],
                "surface": found.to_dict(),
            }
        )
        return kept

    def __str__(self) -> str:
        rows = [
            ("surface", f"{self.title}: {', '.join(self.subtitle)}, {self.seconds:.1f} s"),
            *self.facts,
            *(("note", note) for note in self.notes),
            *(("page", str(path)) for path in self.files if path.suffix == ".html"),
        ]
        wide = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{wide}}  {words}" for name, words in rows)


def _loss(value: float) -> str:
    return _number(value) if math.isfinite(value) else "that is not finite"


def _valley(reach: Sequence[float], end: float) -> str:
    """Say how far one can go until the loss has doubled; lengths are those of the filters."""
    inside = [distance for distance in reach if math.isfinite(distance)]
    beyond = len(reach) - len(inside)
    if not inside:
        return f"the loss does not double within {_number(end)} filter lengths"
    low, high = _number(min(inside)), _number(max(inside))
    words = low if low == high else f"{low} to {high}"
    rest = f"; in {beyond} of {len(reach)} directions not within {_number(end)}" if beyond else ""
    return f"the loss doubles {words} filter lengths away{rest}"


def _number(value: float) -> str:
    return f"{value:.4g}"
