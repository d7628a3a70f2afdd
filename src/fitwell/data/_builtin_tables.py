"""Readers of the tables: Adult, the COVID survey, UCI regression and ADBench.

N examples, F features.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..core.errors import DataError
from ._builtin_source import Files, Source, numbers
from ._examples import Column, Examples, Schema

# Header of the Adult file as its documentation gives it.
ADULT = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
)
ADULT_NUMBERS = frozenset(
    ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
)
ADULT_CLASSES = ("<=50K", ">50K")

# Features and target of the UCI regression sets in the order of their columns.
UCI_COLUMNS = {
    "concrete": (
        ("cement", "slag", "fly_ash", "water", "superplasticizer", "coarse", "fine", "age"),
        "strength",
    ),
    "energy": (
        (
            "compactness",
            "surface_area",
            "wall_area",
            "roof_area",
            "height",
            "orientation",
            "glazing_area",
            "glazing_distribution",
        ),
        "heating_load",
    ),
    "kin8nm": (tuple(f"theta{joint}" for joint in range(1, 9)), "distance"),
    "naval-propulsion-plant": (
        (
            "lever_position",
            "ship_speed",
            "turbine_torque",
            "turbine_rate",
            "generator_rate",
            "starboard_torque",
            "port_torque",
            "turbine_exit_temperature",
            "inlet_temperature",
            "outlet_temperature",
            "turbine_exit_pressure",
            "inlet_pressure",
            "outlet_pressure",
            "exhaust_pressure",
            "injection_control",
            "fuel_flow",
        ),
        "compressor_decay",
    ),
    "power-plant": (("temperature", "vacuum", "pressure", "humidity"), "output"),
    "yacht": (
        ("buoyancy", "prismatic", "length_displacement", "beam_draught", "length_beam", "froude"),
        "resistance",
    ),
}


def _bytes(files: Files, name: str) -> bytes:
    """Give the content of a file that may be there compressed."""
    if name in files:
        return files[name].read_bytes()
    return gzip.decompress(files[f"{name}.gz"].read_bytes())


def load_adult(files: Files) -> Source:
    """Read Adult with its published test part; "?" is a missing category.

    Args:
        files: ``adult.data`` and ``adult.test`` by name, or both with ``.gz``.
    """
    train, test = (_adult_rows(_bytes(files, f"adult.{part}")) for part in ("data", "test"))
    columns = list(zip(*train, *test, strict=True))
    inputs = np.empty((len(train) + len(test), len(ADULT)), dtype=np.float32)
    schema: list[Column] = []
    for place, (name, texts) in enumerate(zip(ADULT, columns, strict=False)):
        if name in ADULT_NUMBERS:
            inputs[:, place] = np.array(texts, dtype=np.float32)
            schema.append(Column(name=name))
            continue
        categories = tuple(sorted(set(texts) - {"?"}))
        codes = {"?": 0, **{category: code for code, category in enumerate(categories, start=1)}}
        inputs[:, place] = [codes[text] for text in texts]
        schema.append(Column(name=name, kind="category", categories=categories))
    labels = [ADULT_CLASSES.index(text.rstrip(".")) for text in columns[-1]]
    examples = Examples(
        inputs=torch.from_numpy(inputs),
        targets=torch.tensor(labels),
        schema=Schema(
            kind="table",
            input_shape=(len(ADULT),),
            target_kind="class",
            class_names=ADULT_CLASSES,
            columns=tuple(schema),
            target_name="income",
        ),
    )
    return Source(examples=examples, tests=(np.arange(len(train), len(labels)),))


def _adult_rows(raw: bytes) -> list[list[str]]:
    # The original files end with an empty line, and the test file begins with a remark.
    lines = raw.decode("ascii").splitlines()
    return [line.split(", ") for line in lines if line and not line.startswith("|")]


def load_covid_survey(files: Files) -> Source:
    """Read the labelled rows of the COVID survey; the id is kept beside the features, not in them.

    Args:
        files: ``covid.train.csv`` by name, or with ``.gz``.
    """
    names, ids, values = _covid_rows(_bytes(files, "covid.train.csv"))
    examples = numbers(values[:, :-1], values[:, -1], names[:-1], target_name="tested_positive")
    return Source(examples=replace(examples, ids=ids))


def load_covid_unlabelled(files: Files) -> Examples:
    """Read the rows of the COVID survey whose targets were never published.

    Args:
        files: ``covid.test.csv`` by name, or with ``.gz``.
    """
    names, ids, values = _covid_rows(_bytes(files, "covid.test.csv"))
    examples = numbers(values, np.zeros(len(ids)), names, target_name="tested_positive")
    return replace(examples, targets=None, ids=ids)


def _covid_rows(raw: bytes) -> tuple[list[str], tuple[str, ...], npt.NDArray[np.float64]]:
    """Give the feature names with their day, the ids as text, and the values without ids."""
    lines = raw.decode("ascii").splitlines()
    names: list[str] = []
    header = lines[0].split(",")[1:]
    for place, name in enumerate(header):  # a survey value is named alike on each of the five days
        day = header[:place].count(name) + 1
        names.append(f"{name}.{day}" if header.count(name) > 1 else name)
    ids = tuple(line.partition(",")[0] for line in lines[1:])
    values = np.loadtxt(lines[1:], delimiter=",", usecols=range(1, len(header) + 1), ndmin=2)
    return names, ids, values


def load_uci(files: Files, *, name: str) -> Source:
    """Read a UCI regression set with its 20 published test parts.

    Args:
        files: The ``.npz`` file by name.
        name: Name of the set.
    """
    features, target = UCI_COLUMNS[name]
    with np.load(files[f"{name}.npz"]) as arrays:
        data = arrays["data"]
        values, targets = data[:, arrays["feature_columns"]], data[:, arrays["target_column"]]
        tests = tuple(arrays[f"test_order_{fold}"].astype(np.int64) for fold in range(20))
    return Source(examples=numbers(values, targets, features, target_name=target), tests=tests)


def load_adbench(files: Files, *, name: str) -> Source:
    """Read an anomaly-detection set of ADBench; class 1 is the anomaly.

    Args:
        files: The ``.npz`` file by name.
        name: Name of the file.

    Raises:
        DataError: The file holds other labels.
    """
    path: Path = files[name]
    with np.load(path) as arrays:
        values, labels = arrays["X"], arrays["y"]
    if not set(np.unique(labels).tolist()) <= {0, 1}:
        raise DataError(f"{path}: labels must be 0 or 1; got {np.unique(labels)[:5]}.")
    names = [f"x{place}" for place in range(1, values.shape[1] + 1)]
    return Source(
        examples=numbers(values, labels, names, class_names=("normal", "anomaly"), target_name="y")
    )
