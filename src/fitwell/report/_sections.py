"""The upper half of the page: the headline number with its interval, and the learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, final

from ..core.intervals import wilson_interval
from ..core.runs import LOWER_IS_BETTER
from ..core.significance import rmse_interval
from ._figures import Line, curves
from ._numbers import count, metric_label, metric_text, percent, short
from ._rate_range import rate_range
from ._records import Part, Records, mapping, number, numbers, sequence
from ._templates import figure

_CURVE_ROWS = 200
_PART_WORDS = {"train": "training", "valid": "validation", "test": "test"}
_INTERVAL_MATCH = 0.01
"""The listed points are the whole part if they reproduce the recorded metric this closely."""


@final
@dataclass(frozen=True, kw_only=True)
class Headline:
    """The number that stands for a run.

    Args:
        part: Part of the data it was measured on.
        metric: Its name in the records.
        value: Its value.
        examples: Number of examples behind it, if recorded.
        interval: 95% interval over draws of the examples, if it can be computed.
    """

    part: Part
    metric: str
    value: float
    examples: int | None = None
    interval: tuple[float, float] | None = None

    @property
    def words(self) -> str:
        """Name of the metric as words."""
        return metric_label(self.metric)

    @property
    def text(self) -> str:
        """The value as words."""
        return metric_text(self.metric, self.value)

    @property
    def title(self) -> str:
        """Such as "Test accuracy"."""
        return f"{_PART_WORDS[self.part].capitalize()} {self.words}"

    @property
    def interval_text(self) -> str:
        """The interval as words; empty if there is none."""
        if self.interval is None:
            return ""
        low, high = (metric_text(self.metric, end) for end in self.interval)
        return f"95% interval {low} to {high}"

    @property
    def band(self) -> dict[str, str] | None:
        """Where a small drawing of a share's interval begins, ends and has its dot, in percent."""
        if self.interval is None or self.metric != "accuracy":
            return None
        low, high = self.interval
        return {
            "left": f"{100 * low:.2f}%",
            "width": f"{100 * (high - low):.2f}%",
            "dot": f"{100 * self.value:.2f}%",
        }


def headline(records: Records) -> Headline | None:
    """Choose the number to show first: test if there is one, else validation, else training.

    Args:
        records: Records of the run.
    """
    metric = records.headline
    if metric is None:
        return None
    parts: Sequence[Part] = ("test", "valid", "train")
    for part in parts:
        value = records.metrics[part].get(metric)
        if value is not None:
            examples = records.count(part)
            return Headline(
                part=part,
                metric=metric,
                value=value,
                examples=examples,
                interval=interval(records, part, metric, value),
            )
    return None


def interval(records: Records, part: Part, metric: str, value: float) -> tuple[float, float] | None:
    """Give the 95% interval of a metric over draws of the examples, where records allow it.

    Accuracy needs the number of examples; RMSE needs every prediction of the part.

    Args:
        records: Records of the run.
        part: Part it was measured on.
        metric: Name of the metric.
        value: Its value.
    """
    examples = records.count(part)
    if part == "train":
        return None  # examples that shaped the model say nothing about new ones
    if metric == "accuracy" and examples and 0 <= value <= 1:
        return wilson_interval(value * examples, examples)
    if metric == "rmse" and records.evaluation.get("part") == part:
        points = mapping(records.evaluation.get("regression"))
        pairs = zip(
            sequence(points.get("target")), sequence(points.get("prediction")), strict=False
        )
        known = [(number(true), number(guess)) for true, guess in pairs]
        rest = [guess - true for true, guess in known if true is not None and guess is not None]
        if len(rest) > 1:
            again = math.sqrt(math.fsum(error * error for error in rest) / len(rest))
            if math.isclose(again, value, rel_tol=_INTERVAL_MATCH):
                return rmse_interval(rest)
    return None


def learning_curves(records: Records) -> list[dict[str, Any]]:
    """Draw loss, headline metric and learning rate over the training, and how the rate was found.

    Args:
        records: Records of the run.
    """
    drawn = [_loss(records), _metric(records), _lr(records), _found_rate(records)]
    return [item for item in drawn if item is not None]


def curve_table(records: Records) -> dict[str, Any] | None:
    """Give the curves as a table, a row per epoch; of long trainings every so many epochs.

    Args:
        records: Records of the run.
    """
    columns = list(
        dict.fromkeys(
            (part, name)
            for row in records.epochs
            for part in ("train", "valid")
            for name in numbers(row.get(part))
        )
    )
    if not columns:
        return None
    every = math.ceil(len(records.epochs) / _CURVE_ROWS)
    last = len(records.epochs) - 1
    return {
        "names": [f"{_PART_WORDS[part]} {metric_label(name)}" for part, name in columns],
        "rows": [
            {
                "epoch": count(row["epoch"]),
                "best": row["epoch"] == records.best_epoch,
                "cells": [
                    metric_text(name, numbers(row.get(part)).get(name)) for part, name in columns
                ],
            }
            for place, row in enumerate(records.epochs)
            if place % every == 0 or place == last or row["epoch"] == records.best_epoch
        ],
    }


def epoch_line(records: Records, part: Part, metric: str, **looks: Any) -> Line | None:
    """Give a metric of a part over the epochs; None if it was never recorded.

    Args:
        records: Records of the run.
        part: Part of the data.
        metric: Name of the metric.
        looks: What else `Line` takes.
    """
    values = [numbers(row.get(part)).get(metric) for row in records.epochs]
    if all(value is None for value in values):
        return None
    return Line(x=[row["epoch"] for row in records.epochs], y=values, **looks)


def _best(records: Records, metric: str) -> tuple[float, float, str] | None:
    best = records.best_epoch
    for row in records.epochs:
        value = numbers(row.get("valid")).get(metric)
        if row["epoch"] == best and value is not None:
            return float(row["epoch"]), value, f"best: epoch {best}"
    return None


def _loss(records: Records) -> dict[str, Any] | None:
    train = epoch_line(records, "train", "loss", label="training", series=0)
    valid = epoch_line(records, "valid", "loss", label="validation", series=1)
    found = [line for line in (train, valid) if line is not None]
    steps = [(row["step"], number(row.get("loss"))) for row in records.steps]
    per_epoch = _steps_per_epoch(records) if found else 1.0
    if per_epoch is not None and any(value is not None for _, value in steps):
        x, y = [step / per_epoch for step, _ in steps], [value for _, value in steps]
        words = "" if found else "training, each step"
        found.insert(0, Line(label=words, x=x, y=y, style="faint" if found else "solid"))
    if not found:
        return None
    values = [value for line in found for value in line.y if value is not None]
    wide = min(values, default=0.0) > 0 and max(values) > 20 * min(values)
    svg = curves(
        found,
        title="Loss over the training",
        x_label="epoch" if records.epochs else "step",
        log_y=wide,
        mark=_best(records, "loss"),
    )
    return {
        "title": "Loss" + (" (log scale)" if wide else ""),
        "svg": figure(svg),
        "caption": _gap(records),
    }


def _gap(records: Records) -> str:
    metrics = records.metrics
    train, valid = metrics["train"].get("loss"), metrics["valid"].get("loss")
    if train is None or valid is None:
        return ""
    where = "At the end" if records.result else "At the best epoch so far"
    return f"{where}: training {short(train)}, validation {short(valid)}."


def _steps_per_epoch(records: Records) -> float | None:
    for row in reversed(records.epochs):
        step = number(row.get("step"))
        if step and row["epoch"] > 0:
            return float(step / row["epoch"])
    return None


def _metric(records: Records) -> dict[str, Any] | None:
    names = dict.fromkeys(name for row in records.epochs for name in numbers(row.get("valid")))
    names.pop("loss", None)
    top = records.headline
    metric = top if top in names else next(iter(names), None)
    if metric is None:
        return None
    train = epoch_line(records, "train", metric, label="training", series=0)
    valid = epoch_line(records, "valid", metric, label="validation", series=1)
    lines = [line for line in (train, valid) if line is not None]
    share = metric == "accuracy"
    title = metric_label(metric)
    mark = _best(records, metric)
    best = f"Best epoch: validation {metric_text(metric, mark[1])}." if mark else ""
    direction = "Lower is better." if metric in LOWER_IS_BETTER else ""
    return {
        "title": title[0].upper() + title[1:],
        "svg": figure(
            curves(lines, title=f"{title} by epoch", x_label="epoch", percent=share, mark=mark)
        ),
        "caption": " ".join(filter(None, (best, direction))),
    }


def _lr(records: Records) -> dict[str, Any] | None:
    x, y = records.lr()
    if not x:
        return None
    line = Line(label="", x=x, y=y, series=2)
    return {
        "title": "Learning rate",
        "svg": figure(curves([line], title="Learning rate over the steps", x_label="step")),
        "caption": f"Highest logged {max(y):.3g}, over {count(x[-1])} steps.",
    }


def _found_rate(records: Records) -> dict[str, Any] | None:
    found = mapping(mapping(records.run.get("measured")).get("lr"))
    tried = [sequence(found.get(name)) for name in ("rates", "losses", "smoothed", "range")]
    if number(found.get("suggestion")) is None or not all(tried) or len(tried[3]) != 2:
        return None
    drawn: Any = SimpleNamespace(**found)
    return {
        "title": "How the learning rate was found",
        "svg": figure(rate_range(drawn, title="Loss of one step at each rate")),
        "caption": "A hundred rates before training, one step each; then all was put back.",
    }


def share_text(part: float, whole: float) -> str:
    """Write a part of a whole as percent; a dash for an empty whole.

    Args:
        part: The part.
        whole: The whole.
    """
    return percent(part / whole) if whole else "–"
