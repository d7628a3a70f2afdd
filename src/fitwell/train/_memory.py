"""How much memory a computation takes, and how much there is."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..core.machine import ROOT, read_memory

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on the CPU.

    Args:
        error: What was raised.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _OUT_OF_MEMORY)


@final
class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of tensors made inside a ``with`` block, those alive now and at the peak.

    It sees every operation, also those of the backward pass on a CPU, but not the scratch memory
    inside of one. It may be entered again and goes on counting.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it made."""
        self._known.update(_storages((args, kwargs)))
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage not in self._known:  # neither an input nor a view of one
                self._known.add(storage)
                size = storage.nbytes()
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, size).atexit = False
        return result

    def _free(self, size: int) -> None:
        self.now -= size


def _storages(value: Any) -> Iterator[torch.UntypedStorage]:
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
            yield leaf.untyped_storage()


def available_memory(root: Path = ROOT) -> int | None:
    """Give the bytes that this process can still take before the system ends some process.

    That is what the machine can free at once, or less if a control group of this process or one
    around it grants less; file caches are not counted as used. None where the system does not say.

    Args:
        root: Root of the file system.
    """
    known = [*_left_in_groups(root), read_memory(root).available]
    return min((max(size, 0) for size in known if size is not None), default=None)


def _left_in_groups(root: Path) -> Iterator[int]:
    base = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if number == "0":
            top, names = base, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = base / "memory"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for size in range(len(parts) + 1):
            yield from _left(top.joinpath(*parts[:size]), *names)


def _left(group: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    granted, taken = "".join(_lines(group / limit)), "".join(_lines(group / used))
    if granted.isdigit() and taken.isdigit():  # "max" is no limit
        words = [line.split() for line in _lines(group / "memory.stat")]
        cached = sum(int(word[1]) for word in words if word[:1] == [cache])
        yield int(granted) - int(taken) + cached


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []


@final
class PeakResident:
    """The most memory that the system has counted for this process since this object was made."""

    def __init__(self) -> None:
        self._before = _status("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        except OSError:
            pass
        self._peak_before = _status("VmHWM")

    def growth(self) -> int:
        """Give the peak above what was taken at the start; 0 where the system does not say."""
        peak = _status("VmHWM")
        return max(peak - self._before, 0) if peak > self._peak_before else 0


def _status(name: str) -> int:
    text = "\n".join(_lines(Path("/proc/self/status")))
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
