"""`fitwell probe`: put a question to a run."""

from __future__ import annotations

import difflib
import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ...core.errors import FitwellError, UnknownName, UsageError
from ...core.files import atomic_path, finite, write_json
from ...doctor import sandbox
from ...tasks import ModelChoice
from .._several._bar import Bar
from .._several._group import Group, as_group
from ._subject import Subject
from ._table import GROUPS, PROBES, Probe

if TYPE_CHECKING:
    from ...train import Run

_ALL: Final = "all"


@final
@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a probe said.

    Args:
        name: Of the probe.
        asks: Its question.
        result: What it gave; None if it could not be asked.
        seconds: Time it took.
        why: Why it could not be asked.
        files: Where result and picture are kept.
        notes: What to know about the numbers.
    """

    name: str
    asks: str
    result: Any
    seconds: float
    why: str = ""
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> bool | None:
        """Whether the fault is there that the probe looks for; None if it does not say."""
        found: bool | None = getattr(self.result, "found", None)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON."""
        result = {} if self.result is None else self.result.to_dict()
        plain: dict[str, Any] = finite(
            {
                "probe": self.name,
                "asks": self.asks,
                "found": self.found,
                "conclusion": str(self.result) if self.result is not None else self.why,
                "notes": self.notes,
                "seconds": self.seconds,
                "files": [str(path) for path in self.files],
                "result": result,
            }
        )
        return plain

    def __str__(self) -> str:
        if self.result is None:
            return f"{self.name}: not asked. {self.why}"
        return "\n".join([f"{self.name}: {self.result}", *(f"note: {note}" for note in self.notes)])


@final
@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What probes said of a run.

    Args:
        run: Its folder.
        findings: In the order in which they were asked.
    """

    run: Path
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON."""
        return {"run": str(self.run), "probes": [one.to_dict() for one in self.findings]}

    def __str__(self) -> str:
        files = [path for one in self.findings for path in one.files if path.suffix == ".png"]
        words = [str(one) for one in self.findings]
        if len(files) == 1:
            words.append(f"Picture: {files[0]}")
        elif files:
            words.append(f"Pictures: {files[0].parent}")
        return "\n".join(words)


@final
@dataclass(frozen=True, kw_only=True)
class ProbeList:
    """The probes there are.

    Args:
        probes: By name.
    """

    probes: Mapping[str, Probe] = field(default_factory=lambda: PROBES)

    def to_dict(self) -> dict[str, Any]:
        """Give names and questions as plain data, ready for JSON."""
        return {
            name: {"kind": probe.kind, "asks": probe.asks} for name, probe in self.probes.items()
        }

    def __str__(self) -> str:
        wide = max(map(len, self.probes))
        lines = []
        for kind, title in GROUPS.items():
            lines += [title]
            lines += [
                f"  {name:<{wide}}  {probe.asks}"
                for name, probe in self.probes.items()
                if probe.kind == kind
            ]
            lines += [""]
        lines.append(
            "Ask one: fitwell probe NAME RUN. Ask all that do not train: fitwell probe all RUN"
        )
        return "\n".join(lines)


def probe(
    name: str | None = None,
    run: str | Path | Run | None = None,
    /,
    *,
    data: Any = None,
    model: ModelChoice | None = None,
    against: str | None = None,
    rows: int = 2_000,
    seeds: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    output: str | Path | None = None,
    quiet: bool = False,
) -> ProbeReport | ProbeList:
    """Put a question to a run, answered by an experiment with a control and a 95% interval.

    Works on copies: weights, optimizer and random numbers of the run stay as they are. Result and
    picture are kept in the folder of the run or the sweep, and shown by `report`. Without a name
    the probes are listed. Some train twins of the run, which takes as many times as long as the
    run took.

    Args:
        name: Of the probe; several with commas between; `all` is all that do not train.
        run: Folder of the run.
        data: The data again, if it was in memory or is somewhere else now.
        model: The model again, for a run of your own module.
        against: What the training part is compared with: valid, test, or a file of new data.
        rows: Examples drawn of each part, for probes that do not train.
        seeds: Trainings of each twin; as the probe has it if left out.
        epochs: Passes of a twin; as many as the run took if left out.
        seed: Of what is drawn.
        device: Where to compute; where the run was trained if left out.
        output: Folder for results and pictures; ``probes`` in the run's folder if left out.
        quiet: Show no progress.

    Raises:
        UnknownName: No probe of that name.
        RunError: The folder is no run, or its data has changed.
        UsageError: An argument does not fit, or the probe does not fit the run.

    Groups:
        What is asked: against, rows, seeds, epochs, seed
        Where: data, model, device, output, quiet
    """
    given = dict(locals())
    if name is None:
        return ProbeList()
    names = _names(name)
    if run is None:
        raise UsageError(
            f"probe: `run` must be the folder of a run; got none. Write: fitwell probe {name} RUN"
        )
    _refuse_idle(names, given)
    folder = None if output is None else Path(output)
    group = as_group(run)
    if group is not None or any(PROBES[one].kind == "sweep" for one in names):
        return _of_group(names, group, run, folder)
    subject = Subject.of(
        run,
        data,
        owner="probe",
        model=model,
        rows=rows,
        seed=seed,
        epochs=epochs,
        seeds=seeds,
        against=against,
        device=device,
    )
    folder = folder or subject.run.folder / "probes"
    bar = Bar(quiet)
    subject = replace(subject, watch=bar.show)
    try:
        found = tuple(_ask(name, subject, folder, alone=len(names) == 1) for name in names)
    finally:
        bar.close()
    return ProbeReport(run=subject.run.folder, findings=found)


def _of_group(names: list[str], group: Group | None, run: Any, folder: Path | None) -> ProbeReport:
    """Ask what is asked of a sweep."""
    place = getattr(run, "folder", run)
    if group is None:
        (name, *_) = (name for name in names if PROBES[name].kind == "sweep")
        raise UsageError(
            f"probe: `run` must be a sweep for {name}; got {place}. Make one with fitwell sweep."
        )
    for name in names:
        if PROBES[name].kind != "sweep":
            raise UsageError(
                f"probe: `run` must be a run for {name}; got {place}. Name one of its members."
            )
    folder = folder or group.folder / "probes"
    found = tuple(_ask(name, group, folder, alone=True) for name in names)
    return ProbeReport(run=group.folder, findings=found)


def _refuse_idle(names: list[str], given: Mapping[str, Any]) -> None:
    """Refuse an argument that none of the probes uses, rather than drop it in silence."""
    usual = inspect.signature(probe).parameters
    for one in sorted({one for each in PROBES.values() for one in each.takes}):
        value, default = given[one], usual[one].default
        if value is default or (default is not None and value == default):
            continue
        users = [name for name, each in PROBES.items() if one in each.takes]
        if not set(users) & set(names):
            got = repr(value) if isinstance(value, (str, int)) else f"a {type(value).__name__}"
            raise UsageError(
                f"probe: `{one}` must be left out for {', '.join(names)}, which does not use it;"
                f" got {got}. It is for {', '.join(users)}."
            )


def _names(text: str) -> list[str]:
    """Read names of probes, with hyphens or underscores."""
    if text == _ALL:
        return [name for name, probe in PROBES.items() if probe.kind in ("model", "data")]
    names = [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(
            f"probe: `name` must be that of a probe; got {text!r}. List them with: fitwell probe"
        )
    for name in names:
        if name not in PROBES:
            near = difflib.get_close_matches(name, PROBES, n=3, cutoff=0.5)
            known = ", ".join(map(repr, near)) if near else ", ".join(PROBES)
            raise UnknownName(
                f"probe: no probe named {name!r}; {'nearest' if near else 'known'}: {known}. List"
                " them with: fitwell probe"
            )
    return list(dict.fromkeys(names))


def _ask(name: str, subject: Subject | Group, folder: Path, *, alone: bool) -> Finding:
    """Ask, and keep the answer; of several probes one that does not fit is passed over."""
    probe, started = PROBES[name], time.perf_counter()
    try:
        with sandbox():  # random generators are left as they were
            result = probe.ask(subject)
    except FitwellError as err:
        if alone:
            raise
        seconds = time.perf_counter() - started
        return Finding(name=name, asks=probe.asks, result=None, seconds=seconds, why=str(err))
    seconds = time.perf_counter() - started
    files = (folder / f"{name}.json", folder / f"{name}.png")
    notes: tuple[str, ...] = ()
    if probe.kind == "twins" and isinstance(subject, Subject):
        notes = subject.notes(name)
    one = Finding(
        name=name,
        asks=probe.asks,
        result=result,
        seconds=seconds,
        files=files,
        notes=notes,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(files[1]) as path:
        result.figure().savefig(path, dpi=120, format="png")
    write_json(files[0], one.to_dict())
    return one
