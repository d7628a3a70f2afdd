"""Progress: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fitwell.data import Batches
from fitwell.optim import SGD
from fitwell.train import Progress, Trainer

from .problems import batches, examples, network, objective

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        module = sys.modules[Progress.__module__]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr("rich.console.monotonic", lambda: self.now)


class Tick:
    """Lets every step take some seconds of the clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def on_step(self, trainer: Trainer) -> None:
        self.clock.now += self.seconds


class Fake:
    """As much of a trainer as a progress display looks at."""

    def __init__(self, total: int) -> None:
        self.step, self.epoch, self.total_steps = 0, 0, total
        self.history = type("History", (), {"epochs": [], "stopped": None})()


def fit(stream: io.StringIO, clock: Clock, epochs: int, seconds: float) -> Trainer:
    model = network()
    observers = [Tick(clock, seconds), Progress(stream)]
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.1), observers=observers)
    trainer.fit(batches(), Batches(examples(), 50), epochs=epochs)
    return trainer


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("wide")
def test_pt_30_rate_and_remaining_time_are_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, clock = Terminal(), Clock(monkeypatch)
    fit(stream, clock, epochs=3, seconds=0.5)
    text = ESCAPES.sub("", stream.getvalue())
    assert "2 steps/s" in text
    assert "100%" in text
    assert "0:00:03 < 0:00:03" in text  # halfway through twelve steps of half a second
    assert re.search(r"train loss \d\.\d+ +valid loss \d\.\d+ +[\d,]+ examples/s", text)
    assert text.count("\n") <= 1  # one line, written over again and again


def test_pt_30_plain_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), Clock(monkeypatch)
    fit(stream, clock, epochs=4, seconds=0.5)  # four steps an epoch: two seconds
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    form = r"epoch \d  train loss \d\.\d+  valid loss \d\.\d+  [\d,]+ examples/s  \d+:\d\d left"
    for line in lines:
        assert re.fullmatch(form, line), line
    assert lines[0].endswith("0:06 left")
    assert lines[-1].endswith("0:00 left")
    assert stream.getvalue().replace("\n", "").isprintable()


def test_pt_30_short_epochs_give_a_line_a_second_and_always_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, clock = io.StringIO(), Clock(monkeypatch)
    fit(stream, clock, epochs=41, seconds=1 / 32)  # an epoch takes an eighth of a second
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("epoch 1 ")
    assert lines[-1].startswith("epoch 41 ")


@pytest.mark.usefixtures("wide")
def test_pt_30_a_hundred_thousand_steps_format_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten seconds of 10⁵ steps: what costs time is done 5 times a second, not at each step."""
    clock = Clock(monkeypatch)
    progress = Progress(Terminal())
    trainer: Any = Fake(100_000)
    progress.on_fit_start(trainer)
    calls = {"update": 0, "refresh": 0, "rate": 0}

    def counted(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return real(*args, **kwargs)

        return call

    bar = progress._bar
    monkeypatch.setattr(bar, "update", counted("update", bar.update))
    monkeypatch.setattr(bar, "refresh", counted("refresh", lambda: None))
    monkeypatch.setattr(progress, "_rate", counted("rate", progress._rate))
    for step in range(1, 100_001):
        trainer.step = step
        clock.now += 1e-4
        progress.on_step(trainer)
    assert 45 <= calls["refresh"] <= 51
    assert calls["update"] == calls["rate"] == calls["refresh"]
    bar.stop()


def test_pt_30_nothing_is_formatted_where_there_is_no_terminal() -> None:
    progress = Progress(io.StringIO())
    trainer: Any = Fake(1000)
    progress.on_fit_start(trainer)
    assert progress._bar is None
    progress._rate = None  # type: ignore[assignment,method-assign]  # any use would fail
    for step in range(1000):
        trainer.step = step
        progress.on_step(trainer)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_why_training_ended_early_is_said(stream: io.StringIO, wide: None) -> None:
    class Stop:
        def on_step(self, trainer: Trainer) -> None:
            trainer.stop("enough")

    model = network()
    trainer = Trainer(
        model, objective(), SGD(model.parameters()), observers=[Stop(), Progress(stream)]
    )
    trainer.fit(batches(), epochs=3)
    assert "stopped at step 1: enough" in stream.getvalue()


def test_hours_are_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), Clock(monkeypatch)
    fit(stream, clock, epochs=2, seconds=1000)
    assert "1:06:40 left" in stream.getvalue()
