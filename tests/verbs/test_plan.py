"""Plans: arithmetic by hand, a probe under a clock that is told what things cost, real runs."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import fitwell
from fitwell.cli import main
from fitwell.core.errors import UsageError
from fitwell.train import Run, World
from fitwell.verbs import _plan
from fitwell.verbs._plan import Costs, plan_session
from fitwell.verbs._session import Session

from .runs import QUICK


def made(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> Session:
    """The session that `train` makes of its arguments, before anything is written."""
    caught: list[Session] = []

    class Caught(BaseException):
        pass

    def check(session: Session) -> None:
        caught.append(session)
        raise Caught

    with monkeypatch.context() as patch:
        patch.setattr(Session, "check", check)
        with pytest.raises(Caught):
            fitwell.train("digits", **{**QUICK, "run": folder, **changes})
    return caught[0]


class Clock:
    """Goes on when the model is used: by one cost in training, by another in measuring."""

    def __init__(self, step: float, example: float, first: float = 0.0) -> None:
        self.now = 0.0
        self.step = step
        self.example = example
        self.first = first

    def __call__(self) -> float:
        return self.now

    def __deepcopy__(self, memo: Any) -> Clock:
        return self  # time is one for all copies of a model

    def used(self, module: nn.Module, args: tuple[Tensor]) -> None:
        if module.training:
            self.now += self.step + self.first
            self.first = 0.0
        else:
            self.now += self.example * len(args[0])


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plan a session under a clock."""

    def plan(session: Session, clock: Clock, **options: Any) -> _plan.Plan:
        build = Session.build_model

        def watched(self: Session) -> nn.Module:
            model = build(self)
            model.register_forward_pre_hook(clock.used)
            return model

        monkeypatch.setattr(Session, "build_model", watched)
        return plan_session(session, clock=clock, **options)

    return plan


@given(
    step=st.floats(1e-3, 10),
    steps=st.integers(1, 10_000),
    epochs=st.integers(0, 100),
    validation=st.floats(0, 100),
    checkpoint=st.floats(0, 3),
)
def test_costs_add_up(
    step: float, steps: int, epochs: int, validation: float, checkpoint: float
) -> None:
    costs = Costs(step=step, validation=validation, checkpoint=checkpoint, warm_up=5.0)
    plain = 5 + steps * step + epochs * validation
    assert costs.fit(steps, epochs, 10**9) == pytest.approx(plain + checkpoint)
    assert costs.fit(steps, epochs, 0) == pytest.approx(plain + steps * checkpoint)
    often = costs.fit(steps, epochs, 20.0)
    assert plain + checkpoint <= often + 1e-9
    assert often <= plain * (1 + checkpoint / 20) + checkpoint + 1e-6


def fake_run(**more: Any) -> Run:
    manifest = {
        "settings": {
            "model": {"spec": "MLP()"},
            "loss": {"source": "digits"},
            "optimization": {"optimizer": "Adam()", "schedule": "Constant()"},
        },
        "command": "fitwell train digits --plan --run 'old one' --max-minutes 7 --lr 0.1",
    }
    for section, values in more.items():
        manifest["settings"][section] |= values  # type: ignore[index]
    return Run("runs/my run", manifest)


@given(
    hours=st.floats(0.5, 24),
    fit_hours=st.floats(0.01, 300),
    startup=st.floats(0, 100),
    final=st.floats(0, 100),
    validation=st.floats(0, 100),
)
def test_plat_08_sessions_suffice_and_each_keeps_within_its_hours(
    hours: float, fit_hours: float, startup: float, final: float, validation: float
) -> None:
    costs = Costs(startup=startup, final=final, validation=validation, step=0.1)
    fit = 3600 * fit_hours
    commands = _plan._commands(fake_run(), costs, fit, hours)
    limit = 3600 * hours
    if len(commands) == 1:
        assert "--max-minutes" not in commands[0]
        assert startup + fit + final <= limit
        return
    assert 0.95 * limit < startup + fit + final  # one session would not do
    minutes = {float(shlex.split(line)[-1]) for line in commands}
    (each,) = minutes
    assert startup + 60 * each + validation + final <= limit
    assert (len(commands) - 1) * 60 * each < fit <= len(commands) * 60 * each + 1e-6


def test_plat_08_commands_start_the_run_and_go_on_with_it() -> None:
    first, *more = _plan._commands(fake_run(), Costs(step=1.0), 25 * 3600, 12)
    words = "fitwell train digits --lr 0.1 --run 'runs/my run' --max-minutes 683.9"
    assert first == words
    assert more == ["fitwell resume 'runs/my run' --max-minutes 683.9"] * 2
    (only,) = _plan._commands(fake_run(), Costs(step=1.0), 3600, 12)
    assert only.endswith("--run 'runs/my run'")


def test_own_models_and_data_in_memory_are_given_again() -> None:
    own = fake_run(model={"spec": "net.py:Net(4)", "own": True})
    _, more = _plan._commands(own, Costs(step=1.0), 20 * 3600, 12)
    assert shlex.split(more)[:5] == ["fitwell", "resume", "runs/my run", "--model", "net.py:Net(4)"]
    memory = fake_run(loss={"source": "memory"})
    first, more = _plan._commands(memory, Costs(step=1.0), 20 * 3600, 12)
    assert first == "fitwell.train(..., run='runs/my run', max_minutes=683.9)"
    assert more == "fitwell.resume('runs/my run', ..., max_minutes=683.9)"


def test_plat_08_a_session_that_is_too_short_is_refused() -> None:
    costs = Costs(startup=30.0, final=20.0, validation=10.0, step=0.1)
    with pytest.raises(UsageError, match=r"`session_hours` must leave time .*; got 0\.015"):
        _plan._commands(fake_run(), costs, 1000.0, 0.015)


def test_plat_08_a_probe_under_a_known_clock_gives_the_known_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clocked: Any
) -> None:
    options: dict[str, Any] = {"epochs": 500, "batch_size": 32, "checkpoint_seconds": 1e9}
    session = made(monkeypatch, tmp_path / "run", **options)
    clock = Clock(step=0.5, example=0.01, first=7.0)
    plan = clocked(session, clock, probe_seconds=40.0, session_hours=1000.0, startup_seconds=3.0)
    train, valid, test = (len(part) for part in session.splits.parts().values())
    steps = 500 * math.ceil(train / 32)
    assert (plan.steps, plan.epochs) == (steps, 500)
    assert plan.costs.step == pytest.approx(0.5)
    assert plan.costs.warm_up == pytest.approx(7.0)
    final = 0.01 * (train + valid + 2 * test)
    wanted = 3.0 + 7.0 + 0.5 * steps + 500 * 0.01 * valid + final
    assert plan.seconds == pytest.approx(wanted, rel=1e-6)
    assert 60 <= plan.probe_steps <= 80
    (command,) = plan.commands
    typed = _plan._without_own_options(shlex.split(session.run.manifest["command"]))
    assert shlex.split(command) == [*typed, "--run", str(tmp_path / "run")]


def test_the_probe_of_a_short_run_ends_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clocked: Any
) -> None:
    session = made(monkeypatch, tmp_path / "run", epochs=None, max_steps=1)
    plan = clocked(session, Clock(step=2.0, example=0.1))
    assert (plan.steps, plan.probe_steps) == (1, 1)
    assert plan.costs.step == pytest.approx(2.0)


def test_a_plan_writes_nothing_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = module[1].weight.clone()
    session = made(monkeypatch, tmp_path / "deep" / "run", model=module)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    plan_session(session, probe_seconds=0.05)
    assert torch.equal(torch.rand(2), wanted)
    assert torch.equal(module[1].weight, before)
    assert all(p.grad is None for p in module.parameters())
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_a_real_run_holds_its_sizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = made(monkeypatch, tmp_path / "run", epochs=2)
    plan = plan_session(session, probe_seconds=0.2)
    run = fitwell.train("digits", **{**QUICK, "run": tmp_path / "run", "epochs": 2})
    assert (plan.steps, plan.epochs) == (run.result["steps"], 2)
    used = sum(f.stat().st_size for f in (run.folder / "checkpoints").rglob("*") if f.is_file())
    used += (run.folder / "model.safetensors").stat().st_size
    assert used <= plan.disk_bytes <= 4 * used
    assert 2**26 < plan.memory_bytes < 2**36
    text = str(plan)
    assert f"for {plan.steps} steps in 2 epochs" in text
    assert "sessions one session of at most 12 h:\n  fitwell train digits" in text
    data = json.loads(json.dumps(plan.to_dict()))
    assert data["sessions"] == 1
    assert data["costs"]["step"] > 0


def test_the_commands_of_a_plan_train_the_run_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = made(monkeypatch, tmp_path / "run", epochs=1)
    (command,) = plan_session(session, probe_seconds=0.05).commands
    assert main(shlex.split(command)[1:]) == 0
    assert Run.open(tmp_path / "run").status == "finished"


def test_checkpoints_are_counted_as_they_are_kept() -> None:
    recording = _plan.Recording(keep_best=2, keep_every=100)
    assert _plan._checkpoints_bytes(recording, 10, 1000) == 10 * (2 + 10 + 2)
    bounded = _plan.Recording(max_bytes=25)
    assert _plan._checkpoints_bytes(bounded, 10, 1000) == 25


@pytest.mark.parametrize("name", ["probe_seconds", "session_hours"])
def test_times_must_be_positive(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = made(monkeypatch, tmp_path / "run")
    with pytest.raises(UsageError, match=f"`{name}` must be positive; got 0"):
        plan_session(session, **{name: 0})


def test_several_processes_are_not_planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = replace(made(monkeypatch, tmp_path / "run"), world=World(rank=0, size=2))
    with pytest.raises(UsageError, match="`workers` must be 1 for a plan; got 2"):
        plan_session(session)
