"""The six steps of a notebook service as one command, the same in every session (PLAT-12).

A session may end at any moment and its disk may be gone: the run is brought back from its copy,
gone on with, and copied out again; when it is finished, the predictions are written.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fitwell.train import Run

from .runs import call, curve, houses, rows_of, weights


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    rows = houses(tmp_path / "houses.csv", 200)
    bare = houses(tmp_path / "test.csv", 20, 900, ("price", "kind"))
    sample = tmp_path / "sample.csv"
    sample.write_text("id,price\n" + "".join(f"{n:04d},0\n" for n in range(900, 920)))
    (tmp_path / "drive").mkdir()
    return [
        *("train", "table", rows, "--target", "price", "--ignore", "kind"),
        *("--epochs", "3", "--batch-size", "32", "--log-every", "1", "--no-report", "--quiet"),
        *("--run", tmp_path / "run", "--resume", "--copy-to", tmp_path / "drive" / "run"),
        *("--predict", bare, "--sample", sample),
    ]


def test_plat_12_one_command_does_the_six_steps(
    words: list[str | Path], tmp_path: Path, capsys: Any
) -> None:
    sessions = 0
    while True:
        code, _, err = call(capsys, *words, "--max-minutes", "0.00001")
        assert code == 0, err
        sessions += 1
        copy = Run.open(tmp_path / "drive" / "run")
        if copy.status == "finished":
            break
        assert not (tmp_path / "drive" / "run" / "predictions.csv").exists()
        shutil.rmtree(tmp_path / "run")  # the session and its disk are gone
        assert sessions < 40
    assert sessions > 2

    whole = [tmp_path / "whole" if word == tmp_path / "run" else word for word in words]
    whole = [tmp_path / "drive" / "whole" if w == tmp_path / "drive" / "run" else w for w in whole]
    code, _, err = call(capsys, *whole)
    assert code == 0, err
    for folder in (tmp_path / "run", tmp_path / "drive" / "run"):
        assert curve(folder) == curve(tmp_path / "whole")
        assert weights(folder) == weights(tmp_path / "whole")
        assert len(rows_of(folder / "predictions.csv")) == 21
    predictions = (tmp_path / "run" / "predictions.csv").read_bytes()
    assert predictions == (tmp_path / "whole" / "predictions.csv").read_bytes()
    code, result, _ = call(
        capsys, "check-submission", tmp_path / "run/predictions.csv", tmp_path / "sample.csv"
    )
    assert code == 0
    assert result["right"]


def test_plat_12_a_finished_run_stays_as_it_is(
    words: list[str | Path], tmp_path: Path, capsys: Any
) -> None:
    assert call(capsys, *words)[0] == 0
    before = curve(tmp_path / "run"), weights(tmp_path / "run")
    assert call(capsys, *words)[0] == 0
    assert (curve(tmp_path / "run"), weights(tmp_path / "run")) == before


def test_plat_12_other_settings_are_not_mixed_into_a_run(
    words: list[str | Path], tmp_path: Path, capsys: Any
) -> None:
    assert call(capsys, *words)[0] == 0
    code, result, _ = call(capsys, *words, "--batch-size", "64")
    assert code == 2
    assert "batch_size" in result["error"]["message"]
    code, _, err = call(capsys, *[w for w in words if w not in ("--run", tmp_path / "run")])
    assert code == 2
    assert "`run` must name the folder" in err


def test_a_run_of_an_older_version_without_the_newer_settings_goes_on(
    words: list[str | Path], tmp_path: Path, capsys: Any
) -> None:
    assert call(capsys, *words, "--max-minutes", "0.00001")[0] == 0
    file = tmp_path / "run" / "run.json"
    manifest = json.loads(file.read_text())
    for name in ("workers", "recompute"):
        del manifest["settings"]["optimization"][name]
    file.write_text(json.dumps(manifest))
    code, _, err = call(capsys, *words)
    assert code == 0, err
    assert Run.open(tmp_path / "run").status == "finished"
