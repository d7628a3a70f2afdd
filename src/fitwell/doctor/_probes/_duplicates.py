"""Rows of one part of the data that are in another, exactly or nearly.

N rows, F features, C channels, H W height width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...core.errors import UsageError
from ...core.intervals import wilson_interval
from .._result import ProbeResult, draw_rows, percent
from .._rows import Data, Floats, Ints, drawn, fields, inputs_and_targets, taken
from .._sandbox import undisturbed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME: Final = "duplicates"
_SHOWN: Final = 20
_BLOCK: Final = 2048
_SHUFFLED: Final = 2000
_PART: Final = 1e-3  # of a column's spread, within which numbers are nearly the same


@final
@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What a part shares with the training part.

    Args:
        part: Name of the part.
        rows: Rows that were looked up.
        exact: How many of them are in the training part, value by value.
        near: How many of the others are nearly so.
        relabelled: How many of both have another target there.
        interval: 95% interval of the share of exact and near ones.
        pairs: Positions of some: in the part, in the training part.
    """

    part: str
    rows: int
    exact: int
    near: int
    relabelled: int
    interval: tuple[float, float]
    pairs: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        """Share of the rows that are in the training part, exactly or nearly."""
        return (self.exact + self.near) / self.rows


@final
@dataclass(frozen=True, kw_only=True)
class Duplicates(ProbeResult):
    """Which rows of held-out parts are in the training part.

    Args:
        value: Share of the rows of the worst part that are in the training part.
        interval: 95% interval of `value`.
        control: Share of such rows by chance: rows of that part with each column shuffled.
        found: Whether rows were held out that are in the training part.
        conclusion: One sentence.
        within: What rows of the training part share with other rows of it.
        overlaps: What each other part shares with the training part.
    """

    within: Overlap
    overlaps: tuple[Overlap, ...]

    def _draw(self, axes: Axes) -> None:
        rows = [(o.part, o.share, o.interval) for o in (*self.overlaps, self.within)]
        draw_rows(axes, [*rows, ("by chance", self.control, None)], "share of rows in `train`")
        axes.set_xlim(left=0)


@undisturbed
def duplicates(
    train: Data,
    valid: Data,
    test: Data | None = None,
    *,
    names: Sequence[str] = ("valid", "test"),
    similarity: float = 0.995,
    max_examples: int = 20_000,
    seed: int = 0,
) -> Duplicates:
    """Find rows of held-out parts that are in the training part, exactly or nearly.

    Before a validation score is believed: rows that were trained on are answered from memory.
    Exact ones are found by hash in all rows. Nearly the same are pictures whose means over
    8 x 8 fields are correlated (after their own mean is removed), and rows of tables whose numbers
    agree to a thousandth of a column's spread. Two controls: rows made by shuffling each column
    say how often chance alone makes such a match (coarse tables); rows of the training part and
    the rest of it say how often the data set repeats itself, in which case parts should be
    cut by group.

    Args:
        train: `Examples`, inputs (N, ...) or a pair of inputs and targets.
        valid: Held-out rows.
        test: More held-out rows.
        names: What to call `valid` and `test` in the result, if they are other parts or files.
        similarity: Smallest correlation of pictures that are nearly the same.
        max_examples: Rows of a held-out part that are compared at most; the training part is
            compared whole, in (N, 64 C) numbers.
        seed: Of these draws and the shuffling.

    Raises:
        UsageError: Rows of the parts have different shapes, or a value is out of range.

    Checked against: all pairs by brute force; planted copies, brightened and noisy ones.
    """
    if not 0 < similarity <= 1:
        raise UsageError(f"{_NAME}: `similarity` must lie in (0, 1]; got {similarity}. Use 0.995.")
    parts = (valid,) if test is None else (valid, test)
    if isinstance(names, str) or len({*names[: len(parts)]}) < len(parts):
        raise UsageError(
            f"{_NAME}: `names` must be a list with another name for each part; got {names!r}. Use"
            " ('valid', 'test')."
        )
    held_out = dict(zip(names, parts, strict=False))
    inputs, targets = inputs_and_targets(_NAME, train)
    known = _Known(inputs, targets, similarity)
    overlaps = []
    for name, part in held_out.items():
        rows, labels = inputs_and_targets(_NAME, part)
        if tuple(rows.shape[1:]) != tuple(inputs.shape[1:]):
            raise UsageError(
                f"{_NAME}: rows of `{name}` must have the shape of those of `train`,"
                f" {tuple(inputs.shape[1:])}; got {tuple(rows.shape[1:])}."
            )
        places = drawn(len(rows), max_examples, seed)
        overlaps.append(known.overlap(name, known.sign(rows), labels, places))
    own = drawn(len(inputs), max_examples, seed + 1)
    within = known.overlap("train itself", known.signed, targets, own, itself=True)
    worst = max(overlaps, key=lambda overlap: overlap.share)
    rows, _ = inputs_and_targets(_NAME, held_out[worst.part])
    chance = known.by_chance(taken(rows, drawn(len(rows), _SHUFFLED, seed)), seed)
    leaks = _verdict(worst, chance)
    return Duplicates(
        value=worst.share,
        interval=worst.interval,
        control=chance,
        found=leaks,
        conclusion=_sentence(leaks, worst, within, chance),
        within=within,
        overlaps=tuple(overlaps),
    )


@final
@dataclass(frozen=True)
class _Signed:
    """Rows as what they are compared by."""

    exact: list[bytes]
    near: Tensor | list[bytes]  # directions of pictures, digests of rounded rows of tables


@final
class _Known:
    """The training part, ready for rows to be looked up in it."""

    def __init__(self, inputs: Any, targets: Any, similarity: float) -> None:
        self.targets = targets
        self.similarity = similarity
        self._pictures = len(inputs.shape) == 4
        if not self._pictures:
            some = taken(inputs, drawn(len(inputs), _SHUFFLED, 0))
            spread = _spread(some.reshape(len(some), -1).double().numpy())
            self._step = np.where(spread > 0, _PART * spread, 1.0)
        self.signed = self.sign(inputs)
        self._exact = _places(self.signed.exact)
        self._near = {} if self._pictures else _places(self.signed.near)  # type: ignore[arg-type]

    def sign(self, rows: Any) -> _Signed:
        """Give what rows are compared by, reading a part of them at a time."""
        exact: list[bytes] = []
        rounded: list[bytes] = []
        directions = []
        for start in range(0, len(rows), _BLOCK):
            part = taken(rows, np.arange(start, min(start + _BLOCK, len(rows))))
            flat = part.reshape(len(part), -1)
            exact += _digests(flat.numpy())
            if self._pictures:
                directions.append(_directions(part))
            else:
                rounded += _digests(np.round(flat.double().numpy() / self._step))
        return _Signed(exact, torch.cat(directions) if self._pictures else rounded)

    def overlap(
        self, name: str, rows: _Signed, targets: Any, places: Ints, *, itself: bool = False
    ) -> Overlap:
        """Look rows up; those of the training part itself among its other rows."""
        wanted = places.tolist()
        twins = {n: _other(self._exact.get(rows.exact[n]), n, itself) for n in wanted}
        left = [n for n in wanted if twins[n] is None]
        if isinstance(rows.near, Tensor):
            twins.update(self._nearest(rows.near, left, itself))
        else:
            twins.update({n: _other(self._near.get(rows.near[n]), n, itself) for n in left})
        pairs = [(n, twin) for n, twin in twins.items() if twin is not None]
        relabelled = 0
        if targets is not None and self.targets is not None:
            relabelled = sum(bool(targets[n] != self.targets[twin]) for n, twin in pairs)
        return Overlap(
            part=name,
            rows=len(wanted),
            exact=len(wanted) - len(left),
            near=len(pairs) - len(wanted) + len(left),
            relabelled=relabelled,
            interval=wilson_interval(len(pairs), len(wanted)),
            pairs=tuple(pairs[:_SHOWN]),
        )

    def by_chance(self, rows: Tensor, seed: int) -> float:
        """Give the share of rows with each column shuffled that have a match."""
        random = np.random.default_rng(seed)
        flat = rows.reshape(len(rows), -1).numpy()
        shuffled = np.take_along_axis(flat, random.random(flat.shape).argsort(axis=0), axis=0)
        made = self.sign(torch.from_numpy(shuffled).reshape(rows.shape))
        return self.overlap("by chance", made, None, np.arange(len(rows))).share

    def _nearest(
        self, directions: Tensor, places: list[int], itself: bool
    ) -> dict[int, int | None]:
        """Give the most alike picture of each, if it is alike enough."""
        known = self.signed.near
        found: dict[int, int | None] = {}
        for start in range(0, len(places), _BLOCK):
            own = torch.tensor(places[start : start + _BLOCK])
            alike = directions[own] @ known.T  # type: ignore[union-attr]
            if itself:
                alike[torch.arange(len(own)), own] = -1.0
            best, place = alike.max(dim=1)
            for n, value, twin in zip(own.tolist(), best.tolist(), place.tolist(), strict=True):
                found[n] = twin if value >= self.similarity else None
        return found


def _spread(flat: Floats) -> Floats:
    """Give the deviation of each column; 0 for one without values."""
    known = ~np.isnan(flat)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, flat, 0.0)
    mean = filled.sum(axis=0) / count
    return np.asarray(np.sqrt((np.where(known, flat - mean, 0.0) ** 2).sum(axis=0) / count))


def _digests(rows: npt.NDArray[Any]) -> list[bytes]:
    """Give a digest of each row, with one kind of zero and of missing value."""
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), np.nan, rows) + 0.0
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _places(keys: list[bytes]) -> Mapping[bytes, tuple[int, int | None]]:
    """Give the first two places of each key."""
    found: dict[bytes, tuple[int, int | None]] = {}
    for place, key in enumerate(keys):
        if key not in found:
            found[key] = (place, None)
        elif found[key][1] is None:
            found[key] = (found[key][0], place)
    return found


def _other(places: tuple[int, int | None] | None, own: int, itself: bool) -> int | None:
    """Give a place, of the training part itself one that is not the row's own."""
    if places is None:
        return None
    return places[1] if itself and places[0] == own else places[0]


def _directions(pictures: Tensor) -> Tensor:
    """Give pictures as vectors of length 1 without their mean; constant ones are all zero."""
    flat = fields(pictures).flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-6, flat / length.clamp_min(1e-6), torch.zeros_like(flat))


def _verdict(worst: Overlap, chance: float) -> bool | None:
    if worst.share == 0:
        # Few rows may have none by luck.
        return False if worst.interval[1] <= 0.05 else None
    return True if worst.interval[0] > chance else None


def _sentence(leaks: bool | None, worst: Overlap, within: Overlap, chance: float) -> str:
    interval = f"95% interval {percent(worst.interval[0])} to {percent(worst.interval[1])}"
    counts = (
        f"{worst.exact} of {worst.rows} rows of {worst.part} are in the training part and"
        f" {worst.near} more nearly ({percent(worst.share)}, {interval}; by chance"
        f" {percent(chance)})"
    )
    if leaks:
        cause = (
            "; the training part repeats itself as much, so cut the parts by group"
            if within.share >= worst.interval[0]
            else "; remove them from one of the two"
        )
        return counts + cause + "."
    if leaks is None:
        return f"Insufficient evidence of a leak: {counts}."
    return f"No leak: {counts}."
