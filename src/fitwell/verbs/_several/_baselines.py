"""The verb `baselines`: what simple models reach on the same parts of the data."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from ...core.errors import UsageError
from ...core.files import finite
from ...core.text import aligned
from ...data import Examples, OnBadRow, Splits
from ...doctor._baselines._models import (
    NAMES,
    Floats,
    Metric,
    fitted,
    flat_features,
    score_interval,
    score_of,
    simple_model,
)
from ...nn import TableEncoder
from ...report import Paired, pair_answers
from ...tasks import SupervisedTask
from ...train import Run
from .._open_run import open_run
from .._train import Split
from ._group import refuse_group
from ._outputs import better, outputs_on, targets_of
from ._pool import Pool, as_trained
from ._spread import Spread
from ._together import arguments, data_for

_PARTS: Final = ("valid", "test")


@final
@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a simple model reaches.

    Args:
        name: Of the model.
        model: Its printed form.
        scores: The metric by part; of folds, their mean.
        intervals: 95% intervals of the scores.
        seconds: Time of fitting and answering.
        settled: Whether the fit came to its end.
    """

    name: str
    model: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float] | None]
    seconds: float
    settled: bool = True


@final
@dataclass(frozen=True, kw_only=True)
class BaselinesResult:
    """What simple models reach, and how a run stands beside them.

    Args:
        metric: ``accuracy`` or ``rmse``.
        rows: Training rows that were used.
        of: Training rows that there are.
        baselines: The models, simplest first; a run that was given comes last.
        paired: The run against the best simple model on the test part; None without a run, and
            without a test part, since the validation part chose that model.
    """

    metric: Metric
    rows: int
    of: int
    baselines: tuple[Baseline, ...]
    paired: Paired | None = None

    @property
    def best(self) -> Baseline:
        """The simple model that is best on the validation part, or on the folds."""
        simple = [one for one in self.baselines if one.name in NAMES]
        return _best(simple, self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        plain: dict[str, Any] = finite(
            {
                "metric": self.metric,
                "rows": self.rows,
                "of": self.of,
                "best": self.best.name,
                "baselines": [dict(vars(one)) for one in self.baselines],
                "paired": None if self.paired is None else str(self.paired),
            }
        )
        return plain

    def __str__(self) -> str:
        parts = list(self.baselines[0].scores)
        rows = [
            [
                one.name,
                *(_cell(one, part) for part in parts),
                f"{one.seconds:.1f} s",
                one.model + ("" if one.settled else " (not at its end)"),
            ]
            for one in self.baselines
        ]
        heads = [f"{part} {self.metric}" for part in parts]
        lines = [aligned(["baseline", *heads, "time", "model"], rows), ""]
        if self.rows < self.of:
            lines.append(f"rows     {self.rows:,} of {self.of:,} training rows")
        if self.paired is not None:
            words = str(self.paired)
            lines.append(f"{words[0].upper()}{words[1:]}")
        elif self.baselines[-1].name == "run" and "test" not in parts:
            lines.append("note     no paired test: there is no test part, and validation chose")
        return "\n".join(lines).rstrip()


def _cell(one: Baseline, part: str) -> str:
    if part not in one.scores:
        return "-"
    ends = one.intervals.get(part)
    return f"{one.scores[part]:.4g}" + ("" if ends is None else f" ({ends[0]:.4g}–{ends[1]:.4g})")


def baselines(
    source: Any = None,
    path: str | Path | None = None,
    /,
    *,
    target: str | None = None,
    target_kind: Literal["auto", "class", "number"] | None = None,
    labels: str | None = None,
    id_column: str | None = None,
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    valid: float | None = None,
    test: float | None = None,
    split: Split | None = None,
    split_by: str | None = None,
    split_seed: int | None = None,
    on_bad_row: OnBadRow | None = None,
    only: Sequence[str] = (),
    folds: int = 0,
    rows: int = 10_000,
    seed: int = 0,
) -> BaselinesResult:
    """Fit simple models first: what a network has to beat, and a check of the data.

    The most frequent class or the mean, a linear model, nearest neighbors, a support vector
    machine, boosted trees and a network of one layer, all scikit-learn's with its own defaults, on
    the parts that `train` would use. A training that does worse than these has a fault. Name a
    run, and it is measured beside them on its own parts.

    Args:
        source: As for `train`; or the folder of a run.
        path: As for `train`.
        target: Column to predict (tables).
        target_kind: What the targets are.
        labels: CSV file with file names and labels, for a folder without a subfolder per class.
        id_column: Column with the names of the rows (tables).
        ignore: Columns to leave out (tables).
        image_size: Side that images are resized to, in pixels.
        valid: Share of the data for the validation part.
        test: Share of the data for the test part; 0 makes none.
        split: How rows are dealt to the parts.
        split_by: Column with the group, the time or the part of each row.
        split_seed: Seed of the draw.
        on_bad_row: Stop at a bad row or file, or skip and count it.
        only: The models to fit, of constant, linear, neighbors, svm, boosting and net; all if left
            out.
        folds: Hold out each of so many folds of the training and validation part, in place of the
            parts; 0 takes the parts.
        rows: Training rows at most, drawn at random; some of the models are slow on many.
        seed: Of what the models draw.

    Raises:
        UsageError: An argument does not fit.
        DataError: The data is bad.

    Source: cortes1995support, for the support vector machine.

    Groups:
        Data: target, target_kind, labels, id_column, ignore, image_size, valid, test, split,
            split_by, split_seed, on_bad_row
        Models: only, folds, rows, seed
    """
    given = dict(locals())
    for name in only:
        if name not in NAMES:
            raise UsageError(f"baselines: `only` must be of {', '.join(NAMES)}; got {name!r}.")
    if rows < 1 or folds < 0 or folds == 1:
        raise UsageError(
            f"baselines: `rows` must be positive and `folds` 0 or at least 2; got {rows} and"
            f" {folds}."
        )
    refuse_group("baselines", source)
    about = {name: given.pop(name) for name in ("only", "folds", "rows", "seed")}
    reading = {k: v for k, v in given.items() if k not in ("source", "path") and v is not None}
    asked = arguments(source, path, reading)
    run = None if asked["like"] is None else open_run(asked["like"])
    data = data_for(asked)
    splits = data.splits if run is None else as_trained(run, data.splits)
    chosen = tuple(only) or NAMES
    fewer = _Fewer(about["rows"], about["seed"])
    if folds:
        if run is not None:
            raise UsageError(
                f"baselines: `folds` must be 0 for a run, which has parts of its own; got {folds}."
            )
        pool = Pool.of(data, split, int(data.reader.get("seed", 0)))
        most = max(len(stays) for stays, _ in pool.folds(folds))
        each = [_over_folds(name, data.task, pool, folds, fewer) for name in chosen]
        return _result(splits, each, min(rows, most), most)
    found: list[Baseline] = []
    answers: dict[str, dict[str, Floats]] = {}
    train = fewer(splits.train)
    for name in chosen:
        one, answers[name] = _on_parts(name, data.task, train, splits, about["seed"])
        found.append(one)
    paired = None
    if run is not None:
        own, said = _of_run(run, splits)
        paired = _compared(run, splits, found, answers, said)
        found.append(own)
    return _result(splits, found, len(train), len(splits.train), paired)


@final
@dataclass(frozen=True)
class _Fewer:
    """Keeps some rows at random, in the order that they had."""

    most: int
    seed: int

    def __call__(self, examples: Examples) -> Examples:
        if len(examples) <= self.most:
            return examples
        order = np.random.RandomState(self.seed).permutation(len(examples))[: self.most]
        return examples.select(torch.from_numpy(np.sort(order)))


def _metric(examples: Examples) -> Metric:
    return "accuracy" if examples.schema.target_kind == "class" else "rmse"


def _fit(
    name: str, task: SupervisedTask, train: Examples, seed: int, parts: Mapping[str, Examples]
) -> tuple[Any, dict[str, Floats], float, bool]:
    """Fit a model and let it answer; give it, its answers by part, the time, and if it ended."""
    model = simple_model(name, train.schema.target_kind, seed)
    started = time.perf_counter()
    encoder = None
    if task.name == "table":
        encoder = TableEncoder(**task.fit_scaling(train.schema, train)["inputs"])
    settled = fitted(model, _features(train, encoder), targets_of(train).numpy())
    answers = {part: model.predict(_features(some, encoder)) for part, some in parts.items()}
    return model, answers, time.perf_counter() - started, settled


def _features(examples: Examples, encoder: TableEncoder | None) -> Floats:
    if not isinstance(examples.inputs, Tensor):
        raise UsageError(
            "baselines: `source` must fit in memory; this one is read from disk. Use a part of it."
        )
    return flat_features(examples.inputs, encoder)


def _on_parts(
    name: str, task: SupervisedTask, train: Examples, splits: Splits, seed: int
) -> tuple[Baseline, dict[str, Floats]]:
    parts = {part: found for part, found in splits.parts().items() if part in _PARTS}
    model, answers, seconds, settled = _fit(name, task, train, seed, parts)
    return _measured(name, _printed(model), parts, answers, seconds, settled), answers


def _measured(
    name: str,
    model: str,
    parts: Mapping[str, Examples],
    answers: Mapping[str, Floats],
    seconds: float,
    settled: bool = True,
) -> Baseline:
    truth = {part: targets_of(examples).numpy() for part, examples in parts.items()}
    metric = _metric(next(iter(parts.values())))
    return Baseline(
        name=name,
        model=model,
        scores={part: score_of(answers[part], truth[part], metric) for part in parts},
        intervals={part: score_interval(answers[part], truth[part], metric) for part in parts},
        seconds=seconds,
        settled=settled,
    )


def _over_folds(name: str, task: SupervisedTask, pool: Pool, folds: int, fewer: _Fewer) -> Baseline:
    metric, scores, seconds, settled, model = _metric(pool.examples), [], 0.0, True, None
    plan = pool.folds(folds)
    for stays, held in plan:
        train = fewer(pool.examples.select(torch.from_numpy(stays)))
        out = pool.examples.select(torch.from_numpy(held))
        model, answers, took, ended = _fit(name, task, train, fewer.seed, {"held": out})
        scores.append(score_of(answers["held"], targets_of(out).numpy(), metric))
        seconds, settled = seconds + took, settled and ended
    ratio = sum(len(held) for _, held in plan) / sum(len(stays) for stays, _ in plan)
    found = Spread.of(metric, scores, ratio)
    return Baseline(
        name=name,
        model=_printed(model),
        scores={"held-out": found.mean},
        intervals={"held-out": found.interval},
        seconds=seconds,
        settled=settled,
    )


def _printed(model: Any) -> str:
    return " ".join(str(getattr(model, "regressor", model)).split())


def _of_run(run: Run, splits: Splits) -> tuple[Baseline, dict[str, Floats]]:
    parts = {part: found for part, found in splits.parts().items() if part in _PARTS}
    answers = {}
    for part, examples in parts.items():
        outputs = outputs_on(run, examples)
        answers[part] = run.known_task.describe(outputs, run.schema).values.numpy()
    seconds = float(run.result.get("seconds", 0.0))
    own = _measured("run", run.settings.model.spec, parts, answers, seconds)
    return own, answers


def _compared(
    run: Run,
    splits: Splits,
    found: Sequence[Baseline],
    answers: Mapping[str, Mapping[str, Floats]],
    said: Mapping[str, Floats],
) -> Paired | None:
    """Test the run against the model that is best on the validation part, on the test part."""
    if splits.test is None:
        return None
    best = _best(found, _metric(splits.test)).name
    return pair_answers(
        ("the run", best),
        "test",
        target=targets_of(splits.test).tolist(),
        first=said["test"].tolist(),
        second=answers[best]["test"].tolist(),
        by_number=run.schema.target_kind == "number",
    )


def _best(found: Sequence[Baseline], metric: str) -> Baseline:
    best = found[0]
    for one in found:
        if better(metric, _first(one), _first(best)):
            best = one
    return best


def _first(one: Baseline) -> float:
    return next(iter(one.scores.values()))


def _result(
    splits: Splits,
    found: Sequence[Baseline],
    rows: int,
    of: int,
    paired: Paired | None = None,
) -> BaselinesResult:
    return BaselinesResult(
        metric=_metric(splits.train), rows=rows, of=of, baselines=tuple(found), paired=paired
    )
