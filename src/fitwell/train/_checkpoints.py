"""Checkpoints on disk: written whole or not at all, kept by a policy, loaded without running code.

A checkpoint is a folder ``step-000000123`` with ``weights.safetensors`` (and ``average``, ``best``
beside it where they exist), ``state.pt`` (readable with ``weights_only``) and ``info.json``.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from ..core.errors import RunError, UsageError
from ..core.files import sync

_HEADERS = 65536  # those of the files are a few kilobytes on top of the tensors
_WEIGHTS = {"model": "weights", "average": "average", "best": "best"}


@final
@dataclass(frozen=True)
class Entry:
    """A checkpoint that is on disk.

    Args:
        step: Updates before it.
        size: Bytes on disk.
        value: What it is ranked by, less is better; None if it was not measured.
    """

    step: int
    size: int
    value: float | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Retention:
    """Which checkpoints stay: the last one always, and of the others as many as fit.

    Args:
        best: How many of the best to keep.
        every: Keep those whose step is a multiple of this; 0 keeps none for that reason.
        max_bytes: Bytes that all checkpoints together may take, also while one is being written;
            None sets no limit. The least that works is room for two.

    Raises:
        UsageError: A value is negative.

    Source: prechelt1998early, for keeping the best.
    Checked against: brute force over random histories.
    """

    best: int = 1
    every: int = 0
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.best < 0 or self.every < 0 or (self.max_bytes is not None and self.max_bytes < 1):
            raise UsageError(f"Retention: values must not be negative; got {self}.")

    def surplus(self, entries: Sequence[Entry], incoming: int) -> list[Entry]:
        """Give the checkpoints to delete before one of `incoming` bytes is written.

        Args:
            entries: What is on disk.
            incoming: Bytes about to be written.

        Raises:
            UsageError: The newest checkpoint and the incoming one do not fit together.
        """
        if not entries:
            self._check_room(incoming)
            return []
        newest = max(entries, key=lambda entry: entry.step)
        measured = [entry for entry in entries if entry.value is not None]
        ranked = sorted(measured, key=lambda entry: (entry.value, entry.step))
        best = ranked[: self.best]
        periodic = [e for e in entries if self.every and e.step % self.every == 0]
        periodic.sort(key=lambda entry: -entry.step)
        kept = list(dict.fromkeys([newest, *best, *periodic]))
        if self.max_bytes is not None:
            self._check_room(newest.size + incoming)
            while sum(entry.size for entry in kept) + incoming > self.max_bytes:
                kept.pop()
        return [entry for entry in entries if entry not in kept]

    def _check_room(self, needed: int) -> None:
        if self.max_bytes is not None and needed > self.max_bytes:
            raise UsageError(
                f"Retention: `max_bytes` must hold two checkpoints, here {needed} bytes;"
                f" got {self.max_bytes}. Allow more, or train a smaller model."
            )


@final
class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: Where they live; made when the first is saved.
        retention: Which of them stay.
    """

    def __init__(self, folder: str | Path, retention: Retention | None = None) -> None:
        self.folder = Path(folder)
        self.retention = retention or Retention()

    def entries(self) -> list[Entry]:
        """Give the whole checkpoints on disk, oldest first."""
        found = []
        for path in sorted(self.folder.glob("step-*")):
            try:
                info = json.loads((path / "info.json").read_text())
                found.append(Entry(int(info["step"]), int(info["size"]), info["value"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not one of ours; `load` says so if it is asked for
        return found

    def save(self, state: Mapping[str, Any], *, value: float | None = None) -> Path:
        """Write a checkpoint, after making room for it.

        Args:
            state: Of the trainer, with weights under ``model``, ``average`` and ``best``.
            value: What it is ranked by, less is better.

        Returns:
            Its folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        target = self.folder / f"step-{state['step']:09d}"
        if self._holds(target, state["epoch"]):
            return target  # the same state; to write it again would leave a moment without it
        weights = {key: state.get(key) for key in _WEIGHTS}
        rest = {key: item for key, item in state.items() if key not in _WEIGHTS}
        rest["present"] = [key for key, tensors in weights.items() if tensors is not None]
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
        needed = _bytes(weights) + _bytes(rest)
        try:
            self._make_room(needed, keep=target.name)
            for key, tensors in weights.items():
                if tensors is not None:
                    save_weights(temporary / f"{_WEIGHTS[key]}.safetensors", tensors)
            torch.save(rest, temporary / "state.pt")
            size = sum(path.stat().st_size for path in temporary.iterdir())
            info = {"step": state["step"], "epoch": state["epoch"], "size": size, "value": value}
            (temporary / "info.json").write_text(json.dumps(info))
            for path in temporary.iterdir():
                sync(path)
            if target.exists():
                shutil.rmtree(target)
            os.rename(temporary, target)
            sync(self.folder)
        except Exception as err:  # each library has its own words for a full disk
            free = shutil.disk_usage(self.folder).free
            if getattr(err, "errno", None) != errno.ENOSPC and free > needed + _HEADERS:
                raise
            raise RunError(
                f"{self.folder}: has no room for a checkpoint of {needed:,} bytes; {free:,} are"
                f" free. Make room, then go on with: fitwell resume {self.folder.parent}"
            ) from err
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    @staticmethod
    def _holds(path: Path, epoch: int) -> bool:
        try:
            return bool(json.loads((path / "info.json").read_text())["epoch"] == epoch)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _make_room(self, incoming: int, keep: str) -> None:
        for entry in self.retention.surplus(self.entries(), incoming + _HEADERS):
            if f"step-{entry.step:09d}" != keep:
                shutil.rmtree(self.folder / f"step-{entry.step:09d}", ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".writing-*"):
            shutil.rmtree(path, ignore_errors=True)

    def newest(self) -> int | None:
        """Give the step of the newest checkpoint, or None."""
        return max((entry.step for entry in self.entries()), default=None)

    def load(self, step: int | None = None) -> dict[str, Any]:
        """Read a checkpoint back.

        Args:
            step: Which one; the newest if None.

        Raises:
            RunError: There is none, or it is damaged or foreign.
        """
        step = self.newest() if step is None else step
        if step is None:
            raise RunError(f"{self.folder}: there is no checkpoint. Train the run first.")
        path = self.folder / f"step-{step:09d}"
        try:
            state: dict[str, Any] = torch.load(
                path / "state.pt", map_location="cpu", weights_only=True
            )
            if not isinstance(state, dict) or "present" not in state:
                raise RunError(f"{path / 'state.pt'}: is not a checkpoint of fitwell.")
        except FileNotFoundError as err:
            raise RunError(f"{path}: the checkpoint lacks {err.filename}.") from err
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as err:
            if isinstance(err, RunError):
                raise
            raise RunError(
                f"{path / 'state.pt'}: is damaged, or holds code, which is never run."
                " Delete this checkpoint's folder to resume from the one before."
            ) from err
        present = ["average" if key == "ema" else key for key in state["present"]]  # older ones
        for key, name in _WEIGHTS.items():
            wanted = key in present
            state[key] = load_weights(path / f"{name}.safetensors") if wanted else None
        del state["present"]
        return state


def save_weights(path: str | Path, weights: Mapping[str, Any]) -> None:
    """Write tensors as safetensors; shared or strided ones are written out in full.

    Args:
        path: The file.
        weights: Tensors by name.
    """
    from safetensors.torch import save_file

    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        tensor = torch.as_tensor(value).detach().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    save_file(plain, path)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Read safetensors.

    Args:
        path: The file.

    Raises:
        RunError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as err:
        raise RunError(f"{path}: the file is missing. Train the run first.") from err
    except (SafetensorError, OSError) as err:
        raise RunError(
            f"{path}: is not a whole safetensors file ({err}). Restore it from a copy."
        ) from err


def load_into(model: torch.nn.Module, weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Load weights into a model, naming what does not fit.

    Args:
        model: The model.
        weights: Tensors by name.
        where: Their file, for the message.

    Raises:
        RunError: Names or shapes differ.
    """
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    foreign = sorted(weights.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & weights.keys())
        if weights[name].shape != wanted[name].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for what, names in (("missing", missing), ("unknown", foreign), ("other shape", shapes))
        if names
    ]
    if problems:
        raise RunError(
            f"{where}: the weights do not fit the model; {'; '.join(problems)}."
            " Build the model with the settings it was trained with."
        )
    model.load_state_dict(dict(weights))


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes(item) for item in value) if len(value) < 10_000 else 16 * len(value)
    return 16
