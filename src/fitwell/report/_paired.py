"""Two runs on the same examples: which is better on more of them, and may that be chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

from ..core.significance import holm, mcnemar, signed_rank
from ._numbers import count, metric_label, p_text, percent, short
from ._records import Records, mapping
from ._significance import accuracy_difference, rmse_difference

_CHANCE: Final = 0.05
_PARTS: Final = (("test", "test"), ("valid", "validation"))


@final
@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a run predicted for each example of a part.

    Args:
        part: The part, as words.
        ids: Id of each example, as text.
        target: True class or number.
        prediction: Predicted class or number.
    """

    part: str
    ids: tuple[str, ...]
    target: tuple[Any, ...]
    prediction: tuple[Any, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two models on the same examples.

    Args:
        first: Name of the one run.
        second: Name of the other.
        part: Part of the data, as words.
        examples: Number of common examples.
        metric: What the difference is of.
        first_better: Examples that only the first gets right, or on which it is closer.
        second_better: Likewise for the second.
        difference: Metric of the first minus that of the second.
        interval: Its 95% interval over draws of the examples, by paired bootstrap.
        p: Exact McNemar p-value of classes, Wilcoxon signed-rank p-value of squared errors; after
            Holm if there are several pairs.
        pairs: Number of pairs that were tested.
    """

    first: str
    second: str
    part: str
    examples: int
    metric: Literal["accuracy", "rmse"]
    first_better: int
    second_better: int
    difference: float
    interval: tuple[float, float]
    p: float
    pairs: int = 1

    def __str__(self) -> str:
        if self.first_better == self.second_better == 0:
            return f"{self._alike()} Nothing tells them apart here."
        verdict = (
            f"Chance in the choice of {self.part} examples does not explain this well."
            if self.p < _CHANCE
            else "This may well be chance."
        )
        return f"{self._facts()} {self._interval()} {verdict}"

    def _alike(self) -> str:
        how = "right and wrong alike" if self.metric == "accuracy" else "equally close"
        where = f"on {count(self.examples)} {self.part} examples"
        return f"{self.first} and {self.second} are {how} {where}."

    def _facts(self) -> str:
        better, worse, won, lost = self.first, self.second, self.first_better, self.second_better
        if lost > won:
            better, worse, won, lost = worse, better, lost, won
        after = f", Holm-corrected for {self.pairs} pairs" if self.pairs > 1 else ""
        where = f"on {count(self.examples)} {self.part} examples{after}: {p_text(self.p)}"
        if self.metric == "accuracy":
            return (
                f"{better} is right on {_examples(won)} that {worse} gets wrong, and wrong on"
                f" {count(lost)} that {worse} gets right (exact McNemar test {where})."
            )
        return (
            f"{better} is closer on {_examples(won)}, {worse} on {count(lost)} (Wilcoxon"
            f" signed-rank test of the squared errors {where})."
        )

    def _interval(self) -> str:
        ends = (self.difference, *self.interval)
        difference, low, high = (_signed(self.metric, end) for end in ends)
        unit = " points" if self.metric == "accuracy" else ""
        return (
            f"Difference in {metric_label(self.metric)}, {self.first} minus {self.second}:"
            f" {difference}{unit}, 95% interval {low} to {high}{unit}."
        )


def _examples(number: int) -> str:
    return f"{count(number)} example{'s' * (number != 1)}"


def compare_pairs(runs: Sequence[Records], names: Sequence[str]) -> list[Paired]:
    """Test the first run against each other one that predicted the same examples.

    Args:
        runs: Records of the runs.
        names: Their names.
    """
    for part, words in _PARTS:
        first = read_predictions(runs[0].folder, part, words)
        if first is not None:
            break
    else:
        return []
    by_number = _is_regression(runs[0])
    found = []
    for name, run in zip(names[1:], runs[1:], strict=True):
        other = read_predictions(run.folder, part, words)
        rows = None if other is None or _is_regression(run) != by_number else _same(first, other)
        if other is None or rows is None:
            continue
        ours = [first.prediction[row] for row, _ in rows]
        theirs = [other.prediction[row] for _, row in rows]
        wanted = [first.target[row] for row, _ in rows]
        test = _numbers if by_number else _classes
        facts = test(wanted, ours, theirs)
        if facts is not None:
            found.append({"second": name, "part": words, "examples": len(rows), **facts})
    p_values = holm([facts["p"] for facts in found])
    return [
        Paired(**{**facts, "first": names[0], "p": p, "pairs": len(found)})
        for facts, p in zip(found, p_values, strict=True)
    ]


def pair_answers(
    names: tuple[str, str],
    part: str,
    *,
    target: Sequence[Any],
    first: Sequence[Any],
    second: Sequence[Any],
    by_number: bool,
) -> Paired | None:
    """Test two models against each other on their answers for the same examples.

    Args:
        names: Of the two.
        part: Part of the data, as words.
        target: True class or number of each example.
        first: Answers of the first.
        second: Answers of the second.
        by_number: Whether answers are numbers rather than classes.

    Returns:
        None for numbers that are not finite.
    """
    test = _numbers if by_number else _classes
    facts = test(list(target), list(first), list(second))
    if facts is None:
        return None
    return Paired(**facts, first=names[0], second=names[1], part=part, examples=len(target))


def read_predictions(folder: Path, part: str, words: str) -> Predictions | None:
    """Read the predictions of a run for a part; None if they are missing or cannot be read.

    Args:
        folder: Folder of the run.
        part: The part, as in the name of the file.
        words: The part, as words.
    """
    import numpy as np

    try:
        with np.load(folder / f"predictions_{part}.npz", allow_pickle=False) as file:
            ids, target, prediction = (file[key] for key in ("ids", "target", "prediction"))
    except (OSError, ValueError, KeyError, EOFError):
        return None
    if not (ids.ndim == target.ndim == prediction.ndim == 1):
        return None
    if not (0 < len(ids) == len(target) == len(prediction)):
        return None
    return Predictions(
        part=words,
        ids=tuple(str(name) for name in ids.tolist()),
        target=tuple(target.tolist()),
        prediction=tuple(prediction.tolist()),
    )


def _is_regression(run: Records) -> bool:
    return mapping(run.run.get("schema")).get("target_kind") == "number"


def _same(first: Predictions, second: Predictions) -> list[tuple[int, int]] | None:
    """Give the rows of each example in both; None unless both hold the same examples and truth."""
    ours = {name: row for row, name in enumerate(first.ids)}
    theirs = {name: row for row, name in enumerate(second.ids)}
    lengths = {len(ours), len(theirs), len(first.ids), len(second.ids)}
    if ours.keys() != theirs.keys() or len(lengths) > 1:
        return None
    rows = [(row, theirs[name]) for name, row in ours.items()]
    if any(first.target[a] != second.target[b] for a, b in rows):
        return None
    return rows


def _classes(wanted: list[Any], ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    right = [(a == y, b == y) for y, a, b in zip(wanted, ours, theirs, strict=True)]
    won, lost = sum(a and not b for a, b in right), sum(b and not a for a, b in right)
    return {
        "metric": "accuracy",
        "first_better": won,
        "second_better": lost,
        "difference": (won - lost) / len(right),
        "interval": accuracy_difference(won, lost, len(right)),
        "p": mcnemar(won, lost),
    }


def _numbers(wanted: list[Any], ours: list[Any], theirs: list[Any]) -> dict[str, Any] | None:
    try:
        one = [(float(a) - float(y)) ** 2 for y, a in zip(wanted, ours, strict=True)]
        two = [(float(b) - float(y)) ** 2 for y, b in zip(wanted, theirs, strict=True)]
    except (TypeError, ValueError):
        return None
    if not all(map(math.isfinite, (*one, *two))):
        return None
    return {
        "metric": "rmse",
        "first_better": sum(a < b for a, b in zip(one, two, strict=True)),
        "second_better": sum(b < a for a, b in zip(one, two, strict=True)),
        "difference": math.sqrt(math.fsum(one) / len(one)) - math.sqrt(math.fsum(two) / len(two)),
        "interval": rmse_difference(one, two),
        "p": signed_rank([a - b for a, b in zip(one, two, strict=True)]),
    }


def _signed(metric: str, value: float) -> str:
    """Write a difference with its sign; of shares in percentage points."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    size = abs(value)
    return sign + (percent(size).removesuffix("%") if metric == "accuracy" else short(size))
