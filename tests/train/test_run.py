"""The run folder: made once, read back whole, never half-written, locked while it trains."""

from __future__ import annotations

import json
import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from fitwell.core.errors import RunError, UsageError
from fitwell.data import Schema
from fitwell.train import (
    LossSettings,
    ModelSettings,
    OptimizationSettings,
    Run,
    Settings,
)

SCHEMA = Schema(kind="tensor", input_shape=(4,), target_kind="class", class_names=("a", "b"))
SETTINGS = Settings(
    model=ModelSettings(spec="MLP()"),
    loss=LossSettings(source="memory", reader={"seed": 3}),
    optimization=OptimizationSettings(optimizer="AdamW()", schedule="Cosine()", epochs=3),
)


def make(folder: Path) -> Run:
    manifest = {"task": "tensor", "settings": SETTINGS.to_dict(), "schema": SCHEMA.to_dict()}
    return Run.create(folder, manifest)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = make(tmp_path / "run")
    made.update(status="running", number=math.pi)
    opened = Run.open(tmp_path / "run")
    assert opened.manifest == json.loads(json.dumps(made.manifest))
    assert opened.settings == SETTINGS
    assert opened.schema == SCHEMA
    assert opened.status == "running"
    assert opened.result == {}
    assert opened.to_dict() == {"run": str(tmp_path / "run"), "status": "running"}
    assert repr(opened) == f"Run({str(tmp_path / 'run')!r}, status='running')"


def test_the_settings_are_exactly_three_sections() -> None:
    assert list(SETTINGS.to_dict()) == ["model", "loss", "optimization"]
    assert Settings.from_dict(json.loads(json.dumps(SETTINGS.to_dict()))) == SETTINGS


@pytest.mark.parametrize(("before", "now"), [(None, "none"), (0.99, "EMA(decay=0.99)")])
def test_settings_of_older_runs_can_be_read(before: float | None, now: str) -> None:
    stored = SETTINGS.to_dict()
    del stored["optimization"]["average"]
    stored["optimization"]["ema_decay"] = before
    assert Settings.from_dict(stored).optimization.average == now


def test_a_new_run_takes_an_empty_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty").status == "new"
    with pytest.raises(RunError, match="must be new or empty"):
        make(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="must be new or empty"):
        make(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is not a run; it has no run\.json"),
        ("{", r"run\.json: cannot be read"),
        ("[]", r"is not the run\.json of a fitwell run"),
        ("{}", r"is not the run\.json of a fitwell run"),
        ('{"settings": {}, "format": 99}', "`format` must be 1; got 99. Use the version"),
        ("\xff", r"run\.json: cannot be read"),
    ],
)
def test_what_is_no_run_is_said(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=message):
        Run.open(tmp_path)


def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "run")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        run.update(status="running")
    monkeypatch.undo()
    assert Run.open(tmp_path / "run").status == "new"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_metrics_leave_out_a_torn_last_line(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert run.metrics() == []
    run.append({"kind": "step", "step": 1, "loss": 0.5})
    run.append({"kind": "step", "step": 2, "loss": math.nan})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert [line["step"] for line in run.metrics()] == [1, 2]
    assert run.metrics()[1]["loss"] is None  # JSON has no word for it


def test_rewinding_forgets_what_came_after(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.rewind(0)
    for step in range(1, 6):
        run.append({"kind": "step", "step": step, "loss": 1 / step})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"torn')
    run.rewind(3)
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]
    run.append({"kind": "step", "step": 4, "loss": 0.1})
    assert run.metrics()[-1] == {"kind": "step", "step": 4, "loss": 0.1}


def hold(folder: str, held: Any, release: Any) -> None:
    with Run.open(folder).locked():
        held.set()
        release.wait(30)


def test_a_run_is_trained_by_one_process(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(run.folder), held, release))
    process.start()
    assert held.wait(30)
    try:
        with (
            pytest.raises(RunError, match=f"is being trained by process {process.pid}"),
            run.locked(),
        ):
            pass
    finally:
        release.set()
        process.join()
    with run.locked():
        assert (run.folder / ".lock").exists()


def test_weights_are_the_final_ones_or_the_best_so_far(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with pytest.raises(RunError, match="holds no weights yet"):
        run.load_model()
    tensors = {name: {"w": torch.full((2,), value)} for name, value in (("m", 1.0), ("b", 2.0))}
    state = {"model": tensors["m"], "average": None, "best": None, "step": 1, "epoch": 1}
    run.checkpoints().save(state)
    assert run.load_model()["w"][0] == 1
    run.checkpoints().save({**state, "best": tensors["b"], "step": 2})
    assert run.load_model()["w"][0] == 2
    run.save_model({"w": torch.full((2,), 3.0)})
    assert run.load_model()["w"][0] == 3


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (run.folder / "result.json").write_text("{")
    with pytest.raises(RunError, match=r"result\.json: is damaged"):
        _ = run.result


def test_a_run_without_its_task_says_how_to_open_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="open_run"):
        make(tmp_path / "run").model()
