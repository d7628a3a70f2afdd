"""Fixtures for the whole suite. Real data sets are found through FITWELL_DATA; without it the
tests that need them are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fitwell", deadline=None)  # how long a case takes is no test here
settings.load_profile("fitwell")

os.environ.setdefault("MPLBACKEND", "Agg")
# Several processes test at a time; with more threads than cores they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the cache of decoded images and downloads of the tests out of the user's home."""
    if "FITWELL_CACHE" not in os.environ:
        folder = tmp_path_factory.getbasetemp() / "cache"
        monkeypatch.setenv("FITWELL_CACHE", str(folder))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets."""
    value = os.environ.get("FITWELL_DATA")
    if not value:
        pytest.skip("needs the real data sets: set FITWELL_DATA")
    return Path(value)
