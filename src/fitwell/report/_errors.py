"""The lower half of the page: where the model is wrong."""

from __future__ import annotations

import base64
import binascii
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._figures import bars, heatmap, histogram, scatter
from ._numbers import count, percent, plain, short
from ._records import Records, mapping, number, sequence
from ._sections import share_text
from ._templates import figure

_TABLE_CLASSES: Final = 20
_LISTED_CLASSES: Final = 100
_LISTED_PAIRS: Final = 8
_PICTURES: Final = 24
_PICTURE_BYTES: Final = 900_000
"""Pictures of a page together, as base64; the page must stay small enough to mail."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SMALL_PICTURE: Final = 64


def classification(records: Records) -> dict[str, Any] | None:
    """Show the confusion matrix, the classes and the worst errors; None if there are none.

    Args:
        records: Records of the run.
    """
    evaluation = records.evaluation
    confusion = _matrix(evaluation.get("confusion"))
    classes = _per_class(evaluation)
    examples = _examples(evaluation)
    if not (confusion or classes or examples):
        return None
    names = _names(records, len(confusion) or len(classes))
    return {
        "part": {"valid": "validation"}.get(plain(evaluation.get("part")), "test"),
        "confusion": _confusion(confusion, names) if confusion else None,
        "pairs": _pairs(confusion, names),
        "errors": _error_count(confusion),
        "classes": classes[:_LISTED_CLASSES],
        "more_classes": max(0, len(classes) - _LISTED_CLASSES),
        "pictures": [example for example in examples if example["picture"]],
        "listed": [example for example in examples if not example["picture"]],
    }


def regression(records: Records) -> dict[str, Any] | None:
    """Show predictions against truth and the residuals; None if there are none.

    Args:
        records: Records of the run.
    """
    points = mapping(records.evaluation.get("regression"))
    pairs = zip(sequence(points.get("target")), sequence(points.get("prediction")), strict=False)
    known = [(number(true), number(guess)) for true, guess in pairs]
    found = [(true, guess) for true, guess in known if true is not None and guess is not None]
    if not found:
        return None
    targets, guesses = [pair[0] for pair in found], [pair[1] for pair in found]
    rest = [guess - true for true, guess in found]
    name = plain(mapping(records.run.get("schema")).get("target_name", "target"))
    half = statistics.median(abs(value) for value in rest)
    mean = math.fsum(rest) / len(rest)
    return {
        "part": {"valid": "validation"}.get(plain(records.evaluation.get("part")), "test"),
        "count": count(len(found)),
        "scatter": figure(
            scatter(
                targets,
                guesses,
                title=f"Predicted against true {name}",
                x_label=f"true {name}",
                y_label=f"predicted {name}",
                diagonal=True,
            )
        ),
        "residuals": figure(
            histogram(
                rest,
                title="Histogram of the residuals",
                x_label="predicted − true",
                bins=math.ceil(2 * len(rest) ** (1 / 3)),
                size=(360, 330),
            )
        ),
        "facts": f"Half of the predictions are within {short(half)};"
        f" the mean error is {short(mean)}.",
    }


def _names(records: Records, size: int) -> list[str]:
    names = sequence(records.evaluation.get("class_names"))
    names = names or sequence(mapping(records.run.get("schema")).get("class_names"))
    found = [plain(name) for name in names[:size]]
    return found + [str(index) for index in range(len(found), size)]


def _matrix(value: Any) -> list[list[int]]:
    rows = [[int(number(item) or 0) for item in sequence(row)] for row in sequence(value)]
    return rows if all(len(row) == len(rows) for row in rows) else []


def _confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    if len(matrix) > _TABLE_CLASSES:
        shares = [[_shade(n, sum(row)) for n in row] for row in matrix]
        svg = heatmap(
            shares, title="Confusion matrix", x_label="predicted class", y_label="true class"
        )
        return {"svg": figure(svg), "rows": [], "names": []}
    rows = []
    for true, row in enumerate(matrix):
        total = sum(row)
        cells = [_cell(true, guess, n, total, names) for guess, n in enumerate(row)]
        rows.append({"name": names[true], "cells": cells, "total": count(total)})
    return {"svg": None, "rows": rows, "names": list(names)}


def _shade(n: int, total: int) -> float:
    """Strength of colour: a single confusion among thousands must still be seen."""
    return 0.2 + 0.8 * math.sqrt(n / total) if n else 0.0


def _cell(true: int, guess: int, n: int, total: int, names: Sequence[str]) -> dict[str, str]:
    share = n / total if total else 0.0
    shown = 0.12 + 0.5 * share if true == guess else _shade(n, total)
    return {
        "text": count(n) if n else "",
        "kind": ("hit" if true == guess else "miss") if n else "none",
        "heat": f"{shown:.2f}" if n else "0",
        "words": f"{names[true]} read as {names[guess]}: {count(n)} ({share_text(n, total)})",
    }


def _pairs(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[dict[str, str]]:
    wrong = [
        (n, true, guess)
        for true, row in enumerate(matrix)
        for guess, n in enumerate(row)
        if n and true != guess
    ]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    worst = max((n for n, _, _ in wrong), default=1)
    return [
        {
            "true": names[true],
            "guess": names[guess],
            "words": f"{count(n)} of {count(sum(matrix[true]))}",
            "share": share_text(n, sum(matrix[true])),
            "width": f"{100 * n / worst:.0f}%",
        }
        for n, true, guess in wrong[:_LISTED_PAIRS]
    ]


def _error_count(matrix: Sequence[Sequence[int]]) -> str:
    total = sum(map(sum, matrix))
    wrong = total - sum(row[index] for index, row in enumerate(matrix))
    return f"{count(wrong)} of {count(total)} wrong" if total else ""


def _per_class(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for item in map(mapping, sequence(evaluation.get("per_class"))):
        scores = {key: number(item.get(key)) for key in ("precision", "recall", "f1")}
        low, high = _recall_interval(item)
        recall, support = scores["recall"], number(item.get("support"))
        band = None
        if recall is not None and low is not None and high is not None:
            band = {
                "left": f"{100 * low:.1f}%",
                "width": f"{100 * max(0.0, high - low):.1f}%",
                "dot": f"{100 * recall:.1f}%",
                "words": f"{percent(low)} to {percent(high)}",
            }
        rows.append(
            {
                "name": plain(item.get("name")),
                **{key: "–" if v is None else percent(v) for key, v in scores.items()},
                "support": "–" if support is None else count(int(support)),
                "band": band,
                "order": 2.0 if recall is None else recall,
            }
        )
    return sorted(rows, key=lambda row: float(row["order"]))


def _recall_interval(item: Mapping[str, Any]) -> tuple[float | None, float | None]:
    ends = sequence(item.get("recall_interval"))
    if len(ends) != 2:
        ends = (item.get("recall_low"), item.get("recall_high"))
    return number(ends[0]), number(ends[1])


def balance(records: Records) -> dict[str, Any] | None:
    """Draw the examples of each class: of the training part if recorded, else as evaluated.

    Args:
        records: Records of the run.
    """
    recorded = mapping(mapping(records.run.get("data")).get("balance")).get("train")
    part, sizes = "training", [number(size) or 0.0 for size in sequence(recorded)]
    names = _names(records, len(sizes))
    if not sizes:
        classes = [mapping(item) for item in sequence(records.evaluation.get("per_class"))]
        part = {"valid": "validation"}.get(plain(records.evaluation.get("part")), "test")
        sizes = [number(item.get("support")) or 0.0 for item in classes]
        names = [plain(item.get("name")) for item in classes]
    if not 1 < len(sizes) <= _TABLE_CLASSES or not any(sizes):
        return None
    svg = bars(names, sizes, title="Examples of each class", x_label="examples")
    return {"title": f"Class balance, {part} part", "svg": figure(svg)}


def _examples(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    found, budget = [], _PICTURE_BYTES
    for item in map(mapping, sequence(evaluation.get("examples"))[:_PICTURES]):
        picture, size = _picture(item.get("picture"))
        if len(picture) > budget:
            picture = ""
        budget -= len(picture)
        probability = number(item.get("probability"))
        found.append(
            {
                "id": plain(item.get("id")),
                "target": plain(item.get("target")),
                "prediction": plain(item.get("prediction")),
                "probability": "" if probability is None else percent(probability),
                "picture": picture,
                "pixels": 0 < size <= _SMALL_PICTURE,
            }
        )
    return found


def _picture(value: Any) -> tuple[str, int]:
    """Give the base64 text of a PNG and its width; an empty text if it is anything else."""
    if not isinstance(value, str):
        return "", 0
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "", 0
    if not content.startswith(_PNG) or len(content) < 24:
        return "", 0
    return value, int.from_bytes(content[16:20], "big")
