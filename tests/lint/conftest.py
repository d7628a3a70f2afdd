"""In the tests the error of a rule is raised."""

from __future__ import annotations

import pytest

from fitwell.lint import _engine


@pytest.fixture(autouse=True)
def _errors_of_rules_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "strict", True)
