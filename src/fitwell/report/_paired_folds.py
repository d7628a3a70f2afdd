"""Cross-validations side by side: which settings score better on the same folds, and how surely."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from ..core.groups import is_group, read_group
from ..core.intervals import corrected_t_interval
from ..core.text import aligned


@final
@dataclass(frozen=True, kw_only=True)
class FoldComparison:
    """Cross-validations on the same folds; each is tested against the first.

    Args:
        names: Their folders.
        metric: What is compared.
        means: Mean over folds of each.
        intervals: 95% interval of each mean; None of a single fold.
        differences: Mean difference to the first, fold by fold, of each other one.
        difference_intervals: Its 95% interval, that of the corrected resampled t-test.
    """

    names: tuple[str, ...]
    metric: str
    means: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    differences: tuple[float, ...]
    difference_intervals: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            [name, f"{mean:.4g}", *(["-", "-"] if ends is None else [f"{end:.4g}" for end in ends])]
            for name, mean, ends in zip(self.names, self.means, self.intervals, strict=True)
        ]
        lines = [aligned(["group", f"held-out {self.metric}", "95% from", "to"], rows), ""]
        for name, gap, (low, high) in zip(
            self.names[1:], self.differences, self.difference_intervals, strict=True
        ):
            verdict = (
                "This may well be chance." if low <= 0 <= high else "Chance does not explain it."
            )
            lines.append(
                f"{name} minus {self.names[0]} on the same folds: {gap:+.4g}, 95% interval"
                f" {low:+.4g} to {high:+.4g} (corrected resampled t-test). {verdict}"
            )
        return "\n".join(lines)


def compare_folds(folders: Sequence[Path]) -> FoldComparison | None:
    """Compare cross-validations fold by fold; None unless all are such, on the same folds.

    Args:
        folders: What the user named.

    Source: nadeau2003inference, section 3, on the differences of pairs.
    """
    if len(folders) < 2 or not all(map(is_group, folders)):
        return None
    facts = [read_group(folder) for folder in folders]
    results = [one.get("result") or {} for one in facts]
    if any(one["kind"] != "crossval" for one in facts) or not all(results):
        return None
    metric = str(results[0]["metric"])
    dealt = [_dealt(folder) for folder in folders]
    spreads = [result["scores"].get(metric) for result in results]
    if any(one != dealt[0] for one in dealt) or not all(map(_is_whole, spreads)):
        return None
    first, *others = [spread["values"] for spread in spreads]
    pairs = [[b - a for a, b in zip(first, other, strict=True)] for other in others]
    ratio = _held_out_ratio(dealt[0], results[0])
    return FoldComparison(
        names=tuple(map(str, folders)),
        metric=metric,
        means=tuple(spread["mean"] for spread in spreads),
        intervals=tuple(tuple(s["interval"]) if s["interval"] else None for s in spreads),
        differences=tuple(sum(pair) / len(pair) for pair in pairs),
        difference_intervals=tuple(corrected_t_interval(pair, ratio) for pair in pairs),
    )


def _is_whole(spread: Mapping[str, Any] | None) -> bool:
    return spread is not None and len(spread["values"]) > 1 and None not in spread["values"]


def _dealt(folder: Path) -> list[tuple[str, ...]]:
    """Give id, repeat, fold and target of each held-out row."""
    try:
        with (folder / "out_of_fold.csv").open(encoding="utf-8", newline="") as file:
            return [tuple(row[:4]) for row in list(csv.reader(file))[1:]]
    except OSError:
        return [(str(folder),)]  # like no other


def _held_out_ratio(dealt: Sequence[tuple[str, ...]], result: Mapping[str, Any]) -> float:
    """Give the rows held out over the rows trained on."""
    if result["mode"] != "by_time":
        return float(1 / (result["folds"] - 1))
    sizes = Counter(int(row[2]) for row in dealt)
    later, trained = 0, 0
    for fold in sorted(sizes, reverse=True):
        later += sizes[fold]
        trained += int(result["rows"]) - later
    return len(dealt) / trained
