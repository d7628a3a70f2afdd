"""Weights on disk that would fit a model, found by the names and shapes in their headers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import nn

from ..core.errors import RunError
from ..core.runs import find_runs, is_run

Shapes = Mapping[str, tuple[int, ...]]


@final
@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Weights of a run.

    Args:
        file: The safetensors file.
        run: Folder of the run.
        step: Updates before them; None for the weights that the run is used with.
        saved: When they were written, in seconds since 1970.
    """

    file: Path
    run: Path
    step: int | None
    saved: float


def newest_compatible(folder: str | Path, model: nn.Module | str | Path) -> StoredWeights | None:
    """Find the newest weights below a folder whose names and shapes are those of a model.

    Only the headers of the files are read, so that a thousand checkpoints take no memory. Damaged
    files are passed over. That the shapes fit does not say that the weights are any good for the
    task; that is the caller's to know.

    Args:
        folder: A run, or a folder of runs.
        model: The model, or a run or a safetensors file that has its shapes.

    Raises:
        RunError: `model` is a path without weights.
    """
    wanted = _shapes_of(model)
    found = [stored for stored in stored_weights(folder) if _read_or_none(stored.file) == wanted]
    return max(found, key=lambda w: (w.saved, w.step or 0, str(w.file)), default=None)


def stored_weights(folder: str | Path) -> Iterator[StoredWeights]:
    """Give all weights of the runs below a folder: those in use, and those of the checkpoints.

    Args:
        folder: A run, or a folder of runs.
    """
    folder = Path(folder)
    for run in (folder,) if is_run(folder) else find_runs(folder):
        files: list[tuple[Path, int | None]] = [(run / "model.safetensors", None)]
        for file in (run / "checkpoints").glob("step-*/weights.safetensors"):
            digits = file.parent.name.removeprefix("step-")
            files += [(file, int(digits))] if digits.isdigit() else []
        for file, step in files:
            if file.is_file():
                yield StoredWeights(file=file, run=run, step=step, saved=file.stat().st_mtime)


def read_shapes(file: str | Path) -> dict[str, tuple[int, ...]]:
    """Read names and shapes from the header of a safetensors file, and nothing else of it.

    Args:
        file: The file.

    Raises:
        RunError: The file is missing or not whole.
    """
    file = Path(file)
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > size - 8:
                raise ValueError("it ends within its header")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        if (
            max((item["data_offsets"][1] for item in header.values()), default=0)
            != size - 8 - length
        ):
            raise ValueError("it does not end where its header says")
        return {name: tuple(item["shape"]) for name, item in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise RunError(f"{file}: is not a whole safetensors file ({err}).") from err


def _read_or_none(file: Path) -> Shapes | None:
    try:
        return read_shapes(file)
    except RunError:
        return None


def _shapes_of(model: nn.Module | str | Path) -> Shapes:
    if isinstance(model, nn.Module):
        return {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if Path(model).is_file():
        return read_shapes(model)
    newest = max(stored_weights(model), key=lambda w: w.saved, default=None)
    if newest is None:
        raise RunError(f"{model}: holds no weights. Train it first, or name another run.")
    return read_shapes(newest.file)
