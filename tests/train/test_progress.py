"""Progress: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fitwell.data import Batches
from fitwell.optim import SGD
from fitwell.train import Progress, Trainer
from fitwell.train._follow._progress import in_notebook

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


class Handle:
    """Stands for the place below a cell that IPython shows an object in."""

    def __init__(self, first: Any) -> None:
        self.shown = [first._repr_html_()]

    def update(self, bar: Any) -> None:
        self.shown.append(bar._repr_html_())


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """Put a notebook's kernel around this process; gives what it shows."""
    handles: list[Handle] = []

    class ZMQInteractiveShell:
        pass

    class Colab(ZMQInteractiveShell):
        pass

    def display(bar: Any, *, display_id: bool) -> Handle:
        assert display_id
        handles.append(Handle(bar))
        return handles[-1]

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = Colab  # type: ignore[attr-defined]
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return handles


def test_a_notebook_shows_one_bar_that_is_drawn_over(
    monkeypatch: pytest.MonkeyPatch, notebook: list[Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    model = network()
    observers = [Tick(clock, 0.25), Progress()]
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.1), observers=observers)
    trainer.fit(batches(), Batches(examples(), 50), epochs=4)  # 16 steps, 4 seconds
    (handle,) = notebook
    assert 8 <= len(handle.shown) <= 10  # twice a second, and at both ends
    assert '<progress value="0" max="16"></progress> epoch 1  0%' in handle.shown[0]
    halfway = next(text for text in handle.shown if 'value="9"' in text)
    assert "epoch 3  56%  4 steps/s  0:02 &lt; 0:02  train loss 0." in halfway
    assert '<progress value="16" max="16"></progress> epoch 4  100%' in handle.shown[-1]
    assert capsys.readouterr() == ("", "")


def test_a_notebook_says_why_training_ended_early(
    notebook: list[Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop:
        def on_step(self, trainer: Trainer) -> None:
            trainer.stop("<b>enough</b>")

    model = network()
    trainer = Trainer(model, objective(), SGD(model.parameters()), observers=[Stop(), Progress()])
    trainer.fit(batches(), epochs=3)
    assert "stopped at step 1: &lt;b&gt;enough&lt;/b&gt;</div>" in notebook[0].shown[-1]
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_was_asked_for_is_used_in_a_notebook_too(notebook: list[Handle]) -> None:
    stream = io.StringIO()
    progress, trainer = Progress(stream), Fake(10)
    progress.on_fit_start(trainer)  # type: ignore[arg-type]
    assert notebook == []
    assert progress._bar is None


@pytest.mark.parametrize("shell", [None, "TerminalInteractiveShell"])
def test_ipython_on_a_terminal_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch, shell: str | None
) -> None:
    package = ModuleType("IPython")
    package.get_ipython = lambda: shell and type(shell, (), {})()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    assert not in_notebook()


def test_ipython_is_not_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert "IPython" not in sys.modules


def test_ipython_itself_takes_the_bar(tmp_path: Path) -> None:
    """In a process of its own, with a real shell that stands for a kernel's."""
    pytest.importorskip("IPython", exc_type=ImportError)
    code = """
import io, sys
from IPython.core.interactiveshell import InteractiveShell
class ZMQInteractiveShell(InteractiveShell):
    pass
shell = ZMQInteractiveShell.instance()
sent = []
class Publisher(type(shell.display_pub)):
    def publish(self, data, metadata=None, *, transient=None, update=False, **more):
        sent.append((data["text/html"], data["text/plain"], transient["display_id"], update))
shell.display_pub = Publisher(shell=shell)
from tests.train.problems import batches, network, objective
from fitwell.optim import SGD
from fitwell.train import Progress, Trainer
model = network()
trainer = Trainer(model, objective(), SGD(model.parameters()), observers=[Progress()])
trainer.fit(batches(), epochs=2)
assert [update for *_, update in sent] == [False] + [True] * (len(sent) - 1), sent
assert len(sent) >= 2 and len({place for _, _, place, _ in sent}) == 1, sent
assert '<progress value="8" max="8">' in sent[-1][0] and "100%" in sent[-1][1], sent
print("shown", len(sent))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}",
            "IPYTHONDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shown")
