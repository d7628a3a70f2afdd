"""The lower half of the page of a classifier: what is taken for what, how often, how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._examples import errors
from ._model_figures import heatmap
from ._numbers import count, percent, plain
from ._records import Records, mapping, number, sequence
from ._reliability import reliability_card
from ._sections import share_text
from ._templates import figure

TABLE_CLASSES: Final = 20
"""Classes up to which a matrix or a balance is shown class by class."""
_NARROW_CLASSES: Final = 12
_LISTED_CLASSES: Final = 100
_LISTED_PAIRS: Final = 8
_ALL_PAIRS: Final = 200


def classification(records: Records) -> dict[str, Any] | None:
    """Show the confusion matrix, the classes and the worst errors; None if there are none.

    Args:
        records: Records of the run.
    """
    evaluation = records.evaluation
    confusion = _matrix(evaluation.get("confusion"))
    classes = _per_class(evaluation)
    wrong = errors(records) if evaluation.get("regression") is None else None
    if not (confusion or classes or wrong):
        return None
    names = class_names(records, len(confusion) or len(classes))
    pairs = _pairs(confusion, names)
    return {
        "part": records.part,
        "confusion": _confusion(confusion, names) if confusion else None,
        "pairs": pairs[:_LISTED_PAIRS],
        "all_pairs": pairs[:_ALL_PAIRS] if len(confusion) > TABLE_CLASSES else [],
        "errors": _error_count(confusion),
        "classes": classes[:_LISTED_CLASSES],
        "more_classes": max(0, len(classes) - _LISTED_CLASSES),
        "wrong": wrong,
        "calibration": reliability_card(records),
    }


def class_names(records: Records, size: int) -> list[str]:
    """Give the names of the classes; their numbers where they have none.

    Args:
        records: Records of the run.
        size: Number of classes.
    """
    names = sequence(records.evaluation.get("class_names"))
    names = names or sequence(mapping(records.run.get("schema")).get("class_names"))
    found = [plain(name) for name in names[:size]]
    return found + [str(index) for index in range(len(found), size)]


def _matrix(value: Any) -> list[list[int]]:
    rows = [[int(number(item) or 0) for item in sequence(row)] for row in sequence(value)]
    return rows if all(len(row) == len(rows) for row in rows) else []


def _confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    wide = len(matrix) > _NARROW_CLASSES
    if len(matrix) > TABLE_CLASSES:
        shares = [[_shade(n, sum(row)) for n in row] for row in matrix]
        svg = heatmap(
            shares,
            title="Confusion matrix",
            x_label="predicted class",
            y_label="true class",
            diagonal=True,
            size=(460, 430),
        )
        return {"svg": figure(svg), "rows": [], "names": [], "wide": False}
    rows = []
    for true, row in enumerate(matrix):
        total = sum(row)
        cells = [_cell(true, guess, n, total, names) for guess, n in enumerate(row)]
        rows.append({"name": names[true], "cells": cells, "total": count(total)})
    return {"svg": None, "rows": rows, "names": list(names), "wide": wide}


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
        for n, true, guess in wrong
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
