"""HW1, COVID-19 cases: a ladder from the default network to an ensemble on chosen features.

Rows are overlapping windows of five days: what one row has to predict stands as an earlier day in
another row. A random cut, which the course's sample makes, is therefore optimistic, so each rung
is measured on two cuts:

    random   one fifth of the windows, by the sample's own permutation; the best epoch is chosen on
             the same windows that are reported, as the sample does
    states   one fifth of the states for the best epoch, another fifth for the number; windows of
             different states share no days

The course's ladder is about the hidden targets of other days of these states, which nobody can
measure here; the numbers of this recipe are on labelled rows and not comparable to the digit.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import RECORDS, threads
from torch import Tensor

import fitwell
from fitwell.core.files import atomic_path
from fitwell.core.records import append_record
from fitwell.data import Examples, Splits, cut, load_builtin, open_unlabelled
from fitwell.train import Run

STATES = 37  # the first columns: one-hot codes of the states
SAMPLE_SEED = 5201314  # of the course's sample, which also holds out one fifth
COURSE_2022 = {"simple": 2.28371, "medium": 1.49430, "strong": 1.05728, "boss": 0.86161}
EARLIER_DAYS = tuple(f"tested_positive.{day}" for day in (1, 2, 3, 4))


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step of the ladder.

    Args:
        features: How many features by F-score, besides the earlier days of the target; 0 for all.
        change: Whether the networks answer the change since the fourth day.
        seeds: One network for each; their answers are averaged.
        settings: Of the training, where they differ from the default.
    """

    features: int
    change: bool = False
    seeds: tuple[int, ...]
    settings: dict[str, Any]


# Widths, decay and numbers of features were chosen on the validation states of the second cut.
LADDER = {
    "simple": Rung(features=0, seeds=(0,), settings={}),
    "medium": Rung(features=12, seeds=(0,), settings={}),
    "strong": Rung(
        features=28,
        seeds=(0,),
        settings={
            "model": "MLP(hidden=(32, 16), activation='silu')",
            "optimizer": "AdamW(lr=0.005, weight_decay=0.01)",
            "batch_size": 64,
            "epochs": 60,
        },
    ),
    "boss": Rung(
        features=28,
        change=True,
        seeds=(0, 1, 2, 3, 4),
        settings={
            "model": "MLP(hidden=(32, 16), activation='silu', dropout=0.1)",
            "optimizer": "AdamW(lr=0.005, weight_decay=0.5)",
            "batch_size": 64,
            "epochs": 60,
        },
    ),
}


def labelled() -> Examples:
    """Read all labelled rows in the order of the file; ids are no features."""
    parts = load_builtin("covid_survey", valid=0.5, test=0)
    order = torch.tensor([*parts.indices["train"], *parts.indices["valid"]]).argsort()
    targets = [part.targets for part in (parts.train, parts.valid) if part.targets is not None]
    inputs = torch.cat([parts.train.inputs, parts.valid.inputs])[order]
    whole = replace(parts.train, inputs=inputs, targets=torch.cat(targets)[order], ids=None)
    if len(whole) != 2699 or whole.schema.columns[STATES].name != "cli.1":
        raise ValueError("covid_survey: is not the file of 2022, with 2,699 rows and 37 states.")
    return whole


def random_cut(examples: Examples) -> Splits:
    """Hold out one fifth of the windows with the permutation of the course's sample."""
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    order = torch.randperm(len(examples), generator=generator)
    held = len(examples) // 5
    return Splits(
        train=examples.select(order[:-held]),
        valid=examples.select(order[-held:]),
        how=f"random fifth, seed {SAMPLE_SEED}",
    )


def states_cut(examples: Examples) -> Splits:
    """Hold out whole states: one fifth for the best epoch, one fifth for the number."""
    state = examples.inputs[:, :STATES].argmax(dim=1).numpy()
    parts = cut(len(examples), mode="grouped", valid=0.2, test=0.2, seed=0, keys=state)
    made = {name: examples.select(torch.from_numpy(rows)) for name, rows in parts.items()}
    return Splits(**made, how="whole states, a fifth each for validation and test, seed 0")


def choose(train: Examples, count: int) -> list[int]:
    """Give the earlier days of the target and the features of highest F-score, by training rows."""
    from sklearn.feature_selection import f_regression

    names = [column.name for column in train.schema.columns]
    if not count:
        return list(range(len(names)))
    with np.errstate(invalid="ignore", divide="ignore"):  # states that are not in this part
        scores, _ = f_regression(train.inputs.numpy(), np.asarray(train.targets))
    best = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")
    days = [names.index(day) for day in EARLIER_DAYS]
    return days + [place for place in best.tolist() if place not in days][:count]


def only(examples: Examples, columns: Sequence[int]) -> Examples:
    """Keep some features.

    Args:
        examples: With all features.
        columns: Places of those that stay.
    """
    kept = tuple(examples.schema.columns[place] for place in columns)
    schema = replace(examples.schema, columns=kept, input_shape=(len(kept),))
    return replace(examples, inputs=examples.inputs[:, list(columns)], schema=schema)


def climb(rung: Rung, splits: Splits, folder: Path) -> tuple[list[Run], list[int]]:
    """Train the networks of a rung.

    Args:
        rung: The rung.
        splits: All features.
        folder: Where the runs go.
    """
    columns = choose(splits.train, rung.features)
    parts = {name: only(part, columns) for name, part in splits.parts().items()}
    if rung.change:
        parts = {
            name: replace(part, targets=part.targets - fourth_day(part))
            for name, part in parts.items()
            if part.targets is not None
        }
    data = Splits(**parts, how=splits.how)
    runs = []
    for seed in rung.seeds:
        run = folder / f"seed{seed}"
        runs.append(fitwell.train(data, run=run, seed=seed, report=False, **rung.settings))
    return runs, columns


def answers(rung: Rung, runs: Sequence[Run], examples: Examples, columns: Sequence[int]) -> Tensor:
    """Average what the networks of a rung say."""
    inputs = only(examples, columns)
    values = torch.stack([run.predict(inputs).values for run in runs]).mean(dim=0)
    return values + fourth_day(examples) if rung.change else values


def fourth_day(examples: Examples) -> Tensor:
    """Give the target of the day before the one to predict."""
    names = [column.name for column in examples.schema.columns]
    return examples.inputs[:, names.index(EARLIER_DAYS[-1])]


def references(splits: Splits) -> dict[str, float]:
    """Give the errors of the fourth day as the answer, and of least squares on the chosen ones."""
    last = splits.test or splits.valid
    columns = choose(splits.train, 28)
    sides = []
    for part in (splits.train, last):
        rows = part.inputs[:, columns].double()
        sides.append(torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1))
    targets = splits.train.targets
    weights = np.linalg.lstsq(sides[0].numpy(), np.asarray(targets, dtype=np.float64), rcond=None)
    fitted = sides[1] @ torch.from_numpy(weights[0])
    return {
        "fourth day": mse(fourth_day(last), last),
        "least squares": mse(fitted, last),
    }


def mse(values: Tensor, examples: Examples) -> float:
    """Give the mean squared error in percent squared, as the leaderboard does."""
    if examples.targets is None:
        raise ValueError("mse: `examples` must have targets.")
    return (values.double() - examples.targets.double()).square().mean().item()


def write_submission(path: Path, values: Tensor, ids: Sequence[str]) -> None:
    """Write answers in the leaderboard's form."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "tested_positive"])
        writer.writerows(zip(ids, (f"{value:.6g}" for value in values.tolist()), strict=True))


def measure(cut_name: str, splits: Splits, folder: Path, ladder: dict[str, Rung]) -> None:
    """Climb the ladder on one cut and record it.

    Args:
        cut_name: Of the cut.
        splits: The cut.
        folder: Where runs and answers go.
        ladder: The rungs.
    """
    started = time.perf_counter()
    last = splits.test or splits.valid
    result: dict[str, Any] = {"references": references(splits)}
    unlabelled = open_unlabelled("covid_survey")
    for name, rung in ladder.items():
        runs, columns = climb(rung, splits, folder / cut_name / name)
        result[name] = {
            "mse": mse(answers(rung, runs, last, columns), last),
            "mse_each": [mse(answers(rung, [run], last, columns), last) for run in runs],
            "features": len(columns),
            "parameters": runs[0].result["parameters"],
            "course 2022, hidden targets": COURSE_2022[name],
        }
        values = answers(rung, runs, unlabelled, columns)
        write_submission(
            folder / cut_name / name / "submission.csv", values, unlabelled.named_ids()
        )
        print(f"{cut_name:<8} {name:<8} mse {result[name]['mse']:.4f}", flush=True)
    append_record(
        RECORDS,
        what=f"covid_hw1 {cut_name}",
        method="; ".join(f"{name}: {rung}" for name, rung in ladder.items()),
        result=result,
        seeds=sorted({seed for rung in ladder.values() for seed in rung.seeds}),
        seconds=time.perf_counter() - started,
        threads=threads(),
        data=splits.how,
        counts={part: len(examples) for part, examples in splits.parts().items()},
        fingerprint=splits.fingerprint,
        compared=(
            "mean squared error on held-out labelled rows; the course's numbers are on hidden"
            " targets of other days of the same states, so they are a landmark and no rank"
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Climb the ladder of HW1 on two cuts.")
    parser.add_argument("--runs", default="runs", help="folder that the runs' folder is in")
    options = parser.parse_args()
    place = Path(options.runs) / "covid_hw1"
    everything = labelled()
    measure("random", random_cut(everything), place, LADDER)
    measure("states", states_cut(everything), place, LADDER)
