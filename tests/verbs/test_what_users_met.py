"""What people ran into who tried fitwell for the first time, each once."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.losses import CrossEntropy
from fitwell.train import Checkpoints, EarlyStopping, Run, Supervised, Trainer

from .runs import call, copied, manifest, quick


def table_of(path: Path, targets: list[int]) -> Path:
    rows = "".join(f"{n},{n % 7},{y}\n" for n, y in enumerate(targets))
    path.write_text("id,x,k\n" + rows)
    return path


def test_whole_numbers_can_be_said_to_be_numbers(tmp_path: Path, capsys: Any) -> None:
    file = table_of(tmp_path / "k.csv", [n % 12 for n in range(120)])
    words = ("train", "table", file, "--target", "k", "--max-steps", "2", "--no-report", "--quiet")
    assert call(capsys, *words, "--run", tmp_path / "auto")[0] == 0
    assert Run.open(tmp_path / "auto").schema.target_kind == "class"
    code, _, err = call(capsys, *words, "--target-kind", "number", "--run", tmp_path / "number")
    assert code == 0, err
    assert Run.open(tmp_path / "number").schema.target_kind == "number"
    again = fitwell.train(
        like=tmp_path / "number", run=tmp_path / "again", report=False, quiet=True
    )
    assert again.schema.target_kind == "number"


@pytest.mark.slow
def test_every_process_of_a_script_gets_the_finished_run(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, fitwell\n"
        "run = fitwell.train('digits', model='MLP(hidden=(8,))', max_steps=3, run='run',"
        " quiet=True)\n"
        "rank = os.environ['RANK']\n"
        "open(f'seen{rank}', 'w').write(f'{run.status} {run.result[\"test\"][\"accuracy\"]}')\n"
        "assert os.path.exists('run/report.html')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"}
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)],
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    first, second = ((tmp_path / f"seen{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith("finished 0.")


def test_a_full_disk_is_said_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)

    def broken(*args: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos")

    monkeypatch.setattr(torch, "save", broken)
    state = {"step": 1, "epoch": 0, "model": {"w": torch.zeros(100)}, "average": None, "best": None}
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    with pytest.raises(RuntimeError, match="inline_container"):
        checkpoints.save(state)  # there is room, so it is something else
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(RunError, match=r"has no room for a checkpoint of \d+ bytes; 10 are free"):
        checkpoints.save(state)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_finished_run_without_checkpoints_is_not_trained_anew(
    digits: Run, tmp_path: Path
) -> None:
    run = copied(digits, tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(RunError, match="is finished and has no checkpoint to go on from"):
        fitwell.resume(run, epochs=5, quiet=True)
    assert (run / "model.safetensors").read_bytes() == before


def test_starting_again_is_said(digits: Run, tmp_path: Path, capsys: Any) -> None:
    run = copied(digits, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    (run / "run.json").write_text(json.dumps({**manifest(run), "status": "stopped"}))
    fitwell.resume(run, quiet=True, report=False)
    assert "no checkpoint; starts again at epoch 1" in capsys.readouterr().err


def test_a_copy_needs_a_folder_to_lie_in(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`copy_to` must lie in a folder that is there"):
        quick("digits", run=tmp_path / "run", copy_to=str(tmp_path / "drive" / "run"))
    assert not (tmp_path / "run").exists()


def test_of_equal_epochs_the_one_with_the_lower_loss_is_kept() -> None:
    class Trained:
        def __init__(self) -> None:
            self.history = type("History", (), {"epochs": []})()
            self.measured_model = nn.Linear(1, 1)

    trained: Any = Trained()
    best = EarlyStopping("accuracy", "max")
    for epoch, (accuracy, loss) in enumerate([(0.5, 1.1), (0.5, 0.9), (0.5, 1.0), (0.4, 0.1)], 1):
        record = {"epoch": epoch, "step": epoch, "valid": {"accuracy": accuracy, "loss": loss}}
        trained.history.epochs.append(record)
        best.on_epoch(trained)
    assert best.best_epoch == 2
    again = EarlyStopping("accuracy", "max")
    again.load_state_dict(best.state_dict())
    trained.history.epochs.append({"epoch": 5, "step": 5, "valid": {"accuracy": 0.5, "loss": 1.0}})
    again.on_epoch(trained)
    assert again.best_epoch == 2


def test_the_command_of_a_longer_run_has_its_length(digits: Run, tmp_path: Path) -> None:
    run = copied(digits, tmp_path / "run")
    assert "--epochs 2" in manifest(run)["command"]
    fitwell.resume(run, epochs=3, quiet=True, report=False)
    assert "--epochs 3" in manifest(run)["command"]
    assert "--epochs 2" not in manifest(run)["command"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def forward(self, x): return (x.flatten(1)[:, :10], x)",
            "must give one tensor; got a t",
        ),
        ("def forward(self, x): return x.nothing", r"has no attribute 'nothing' \(own\.py:\d+\)"),
        ("def forward(self, x): return self.head(x)", r"own\.py"),
    ],
)
def test_mistakes_in_ones_own_module_name_its_line(code: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        f"        super().__init__()\n        self.head = nn.Linear(3, 2)\n\n    {code}\n"
    )
    with pytest.raises(UsageError, match=message):
        quick("digits", model=f"{file}:Net", run=tmp_path / "run")


def test_a_module_without_its_first_call_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        self.head = nn.Linear(64, 10)\n"
    )
    with pytest.raises(UsageError, match=r"super\(\)\.__init__\(\)"):
        quick("digits", model=f"{file}:Net", run=tmp_path / "run")


def test_a_width_alone_is_no_list_of_widths() -> None:
    with pytest.raises(UsageError, match=r"got 64. Use \(64,\)"):
        fitwell.nn.MLP(2, 2, hidden=64)


def parts() -> tuple[nn.Module, Supervised, torch.optim.Optimizer]:
    model = nn.Linear(2, 2)
    return model, Supervised(CrossEntropy()), torch.optim.SGD(model.parameters(), lr=0.1)


def test_parts_that_do_not_belong_into_a_trainer_are_named() -> None:
    model, objective, optimizer = parts()
    with pytest.raises(UsageError, match=r"Wrap it: Supervised\(CrossEntropyLoss\(\)\)"):
        Trainer(model, nn.CrossEntropyLoss(), optimizer)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"`optimizer` must be an optimizer .*; got SGD"):
        Trainer(model, objective, torch.optim.SGD)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="so that nothing would be learned"):
        Trainer(model, objective, parts()[2])
    data = TensorDataset(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UsageError, match="got a Dataset, which gives single examples"):
        Trainer(model, objective, optimizer).fit(data, epochs=1)
    once = ((torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)) for _ in range(2))
    with pytest.raises(UsageError, match="It can be iterated only once"):
        Trainer(model, objective, optimizer).fit(once, max_steps=5)


def test_a_verb_with_the_name_of_a_subpackage_is_both() -> None:
    assert fitwell.train.Trainer is Trainer
    assert fitwell.report.curves
    assert "source" in inspect.signature(fitwell.train).parameters
    import fitwell.train as family

    assert family.CopyOut
    assert callable(family)


@pytest.mark.parametrize("verb", ["list", "ui"])
def test_a_misspelt_folder_is_not_an_empty_one(verb: str, tmp_path: Path, capsys: Any) -> None:
    code, result, _ = call(capsys, verb, tmp_path / "runz")
    assert code == 2
    assert "is not there" in result["error"]["message"]


def test_only_what_is_typed_has_to_agree_when_a_run_is_gone_on_with(
    tmp_path: Path, capsys: Any
) -> None:
    words = ("train", "digits", "--run", tmp_path / "run", "--resume", "--no-report", "--quiet")
    model = ("--model", "MLP(hidden=(8,))", "--batch-size", "50", "--max-steps", "3")
    assert call(capsys, *words, *model)[0] == 0
    code, _, err = call(capsys, *words, "--max-steps", "5")
    assert code == 0, err
    assert Run.open(tmp_path / "run").result["steps"] == 5
    code, _, err = call(capsys, words[0], *words[2:], "--max-steps", "6")
    assert code == 0, err
    code, result, _ = call(capsys, *words, "--batch-size", "32")
    assert code == 2
    assert "batch_size was 50, is 32" in result["error"]["message"]
