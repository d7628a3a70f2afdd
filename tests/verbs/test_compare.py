from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitwell.core.errors import UsageError
from fitwell.report import render_comparison
from fitwell.verbs._compare import compare

from ..report.run_factory import make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_run(folder / "first", pictures=False),
        make_run(folder / "second", seed=5, skill=0.7, lr=0.001, pictures=False),
    ]


def test_table_and_page(runs: list[Path], tmp_path: Path) -> None:
    result = compare(*runs, output=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render_comparison(runs)
    lines = str(result).splitlines()
    assert lines[0].split() == ["setting", "first", "second"]
    assert lines[2].startswith("optimization: optimizer  AdamW(lr=0.003")
    assert any(line.split()[:3] == ["test", "accuracy", "90.8%"] for line in lines)
    assert "exact McNemar test on 360 test examples" in str(result)
    assert lines[-1] == f"Page: {tmp_path / 'page.html'}"


def test_default_page_stands_in_the_working_folder(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare(*runs).path == Path("comparison.html")
    assert (tmp_path / "comparison.html").is_file()


def test_result_is_plain_data(runs: list[Path]) -> None:
    value = json.loads(json.dumps(compare(*runs, output=None).to_dict(), allow_nan=False))
    assert value["page"] is None
    assert value["names"] == ["first", "second"]
    assert value["settings"][0]["name"] == "optimizer"
    assert value["paired"][0]["examples"] == 360
    assert "first is right on" in value["paired"][0]["words"]


def test_equal_settings_are_said(runs: list[Path], tmp_path: Path) -> None:
    twin = make_run(tmp_path / "twin", pictures=False)
    assert "The settings are the same." in str(compare(runs[0], twin, output=None))


def test_one_run_is_too_few(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two different run folders; got 1"):
        compare(runs[0], output=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
