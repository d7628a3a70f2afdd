"""Runs that are trained once and only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitwell.train import Run

from .runs import houses, quick


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick("digits", run=tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def house_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return houses(tmp_path_factory.mktemp("tables") / "houses.csv")


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory, house_file: Path) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "prices"
    return quick(
        "table", house_file, target="price", ignore=("kind",), run=folder, batch_size=16, epochs=30
    )


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory, house_file: Path) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "kinds"
    return quick("table", house_file, target="kind", ignore=("price",), run=folder)
