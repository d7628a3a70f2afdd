"""Run folders as plain files: enough to list, show and cite them without torch.

Reading weights and going on with a run is `fitwell.train.Run`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from .errors import RunError, UsageError
from .spec import Spec, parse

RUN_FILE = "run.json"
LOWER_IS_BETTER = frozenset({"loss", "mse", "rmse", "mae", "error", "nll", "ece", "brier"})
"""Metrics, by name, of which less is better; of all others more is."""

_MAIN_METRICS = ("accuracy", "mse", "mae", "loss")


@final
@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What the JSON files of a run folder say.

    Args:
        folder: The run's folder.
        run: Content of ``run.json``.
        result: Content of ``result.json``; empty while there is none.
        epochs: The epoch lines of ``metrics.jsonl``.
    """

    folder: Path
    run: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings the run can be repeated from."""
        return _mapping(self.run.get("settings"))

    @property
    def model(self) -> str | None:
        """Printed form of the model."""
        model = self.settings.get("model")
        spec = model.get("spec") if isinstance(model, Mapping) else model
        return None if spec is None else str(spec)

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        done = self.result.get("epochs", len(self.epochs))
        return done if isinstance(done, int) else len(self.epochs)

    @property
    def valid(self) -> Mapping[str, Any]:
        """Validation metrics: of the result if there is one, else of the last epoch."""
        last = self.epochs[-1] if self.epochs else {}
        return _mapping(self.result.get("valid") or last.get("valid"))

    @property
    def main_metric(self) -> tuple[str, float] | None:
        """Name and value of the validation metric to show when there is room for one."""
        for name in _MAIN_METRICS:
            value = self.valid.get(name)
            if isinstance(value, (int, float)):
                return name, float(value)
        return None


def is_run(folder: str | Path) -> bool:
    """Say whether a folder is a run.

    Args:
        folder: The folder.
    """
    return (Path(folder) / RUN_FILE).is_file()


def read_run(folder: str | Path, *, owner: str = "runs") -> RunFiles:
    """Read the JSON files of a run folder.

    Args:
        folder: The run's folder.
        owner: Who reads, for messages.

    Raises:
        RunError: It is not a run folder, or a file in it is damaged.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise RunError(
            f"{owner}: `run` must be a run folder; got {str(folder)!r}, which has no {RUN_FILE}."
            " See: fitwell list"
        )
    result = folder / "result.json"
    return RunFiles(
        folder=folder,
        run=_read_object(folder / RUN_FILE),
        result=_read_object(result) if result.is_file() else {},
        epochs=tuple(_epoch_lines(folder / "metrics.jsonl")),
    )


def find_runs(folder: str | Path) -> tuple[Path, ...]:
    """Give the run folders below a folder, newest first; runs inside runs are not looked for.

    Args:
        folder: Where runs are kept.
    """
    folder = Path(folder)
    found = {
        file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{RUN_FILE}")
    }
    outer = [path for path in found if path.parent not in found]
    return tuple(sorted(outer, key=lambda p: ((p / RUN_FILE).stat().st_mtime, p), reverse=True))


def methods_used(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give the setting and the name of every spec in some settings, and of the specs in specs.

    Any word parses as a spec, so that choices such as ``"cpu"`` are given as well.

    Args:
        settings: Settings made of dicts, lists, strings and numbers.
        name: The setting that `settings` is the value of.
    """
    if isinstance(settings, Spec):
        yield name, settings.name
        yield from methods_used([*settings.args, *settings.kwargs.values()], name)
    elif isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from methods_used(value, key)
    elif isinstance(settings, (list, tuple)):
        for item in settings:
            yield from methods_used(item, name)
    elif isinstance(settings, str):
        try:  # within a call, a list of specs is a spec as well
            within = parse(f"settings({settings})")
        except UsageError:
            return
        yield from methods_used(list(within.args), name)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise RunError(f"runs: {file} cannot be read ({err}). Restore it from a copy.") from err
    if not isinstance(value, dict):
        raise RunError(f"runs: {file} must hold a JSON object; got {type(value).__name__}.")
    return value


def _epoch_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"epoch"' not in line:
                continue
            try:
                value = json.loads(line)
            except ValueError:  # the last line of a run that was killed while it wrote
                continue
            if isinstance(value, dict) and value.get("kind") == "epoch":
                yield value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
