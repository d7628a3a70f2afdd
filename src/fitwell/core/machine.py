"""What this machine is: processor, memory, driver. Read from the system, never from torch.

Readers take the root of the file system, so that files of other machines can be given to them.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

ROOT = Path("/")
_SHOWN_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd")
_GPU_FIELDS = "index,name,memory.total,driver_version,compute_cap"
_NO_LIMIT = 2**60  # version 1 of control groups writes a number near 2**63 for "none"


@final
@dataclass(frozen=True, kw_only=True)
class Processor:
    """The processor, and how much of it this process may use.

    Args:
        model: Its name.
        cores: Logical cores of the machine.
        allowed: Cores the system lets this process run on.
        quota: Cores' worth of time a control group grants; None if it sets no limit.
        flags: Its instruction sets that matter for training.
    """

    model: str = ""
    cores: int = 1
    allowed: int = 1
    quota: float | None = None
    flags: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """Cores that can work at the same time: those allowed, or fewer if the quota is less."""
        return self.allowed if self.quota is None else min(self.allowed, math.ceil(self.quota))


@final
@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory in bytes; None where the system does not say.

    Args:
        total: Of the machine.
        available: Free, or freed on demand.
        limit: What a control group grants this process and its neighbours.
        shared: Size of ``/dev/shm``, through which worker processes hand over batches.
    """

    total: int | None = None
    available: int | None = None
    limit: int | None = None
    shared: int | None = None

    @property
    def usable(self) -> int | None:
        """What this process can have at most."""
        known = [size for size in (self.total, self.limit) if size is not None]
        return min(known, default=None)


@final
@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Args:
        index: Its number.
        name: Its name.
        memory: Its memory in bytes.
        capability: Compute capability such as ``9.0``; empty if not known.
    """

    index: int
    name: str
    memory: int
    capability: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Driver:
    """The NVIDIA driver and what it lists.

    Args:
        version: Its version; empty if it cannot be asked.
        cuda: The newest CUDA it is made for.
        gpus: The GPUs it lists.
        error: What it answers instead.
    """

    version: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    error: str = ""


def machine() -> dict[str, Any]:
    """Describe this machine: processor, usable cores, memory in GiB, accelerator if torch is up."""
    found = read_processor()
    total = read_memory().total
    described: dict[str, Any] = {
        "cpu": found.model,
        "cores": found.allowed,
        "memory_gib": None if total is None else round(total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def read_processor(root: Path = ROOT) -> Processor:
    """Read what the processor is and how much of it may be used.

    Args:
        root: Root of the file system.
    """
    text = _text(root / "proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    there = set(flags[1].split()) if flags else set()
    cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return Processor(
        model=model[1].strip() if model else platform.processor() or platform.machine(),
        cores=cores,
        allowed=allowed,
        quota=read_quota(root),
        flags=tuple(flag for flag in _SHOWN_FLAGS if flag in there),
    )


def read_quota(root: Path = ROOT) -> float | None:
    """Read how many cores' worth of time the control groups of this process grant.

    Args:
        root: Root of the file system.
    """
    found = []
    for folder in _groups(root):
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    old = root / "sys/fs/cgroup/cpu"
    quota, period = (_text(old / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit() and int(period):
        found.append(int(quota) / int(period))
    return min(found, default=None)


def read_memory(root: Path = ROOT) -> Memory:
    """Read how much memory there is and how much of it may be used.

    Args:
        root: Root of the file system.
    """
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    sizes = {name: int(size) * 1024 for name, size in lines}
    limits = [_text(folder / "memory.max").strip() for folder in _groups(root)]
    limits.append(_text(root / "sys/fs/cgroup/memory/memory.limit_in_bytes").strip())
    numbers = [int(limit) for limit in limits if limit.isdigit() and int(limit) < _NO_LIMIT]
    try:
        shared = shutil.disk_usage(root / "dev/shm").total
    except OSError:
        shared = None
    return Memory(
        total=sizes.get("MemTotal", _physical_memory() if root == ROOT else None),
        available=sizes.get("MemAvailable"),
        limit=min(numbers, default=None),
        shared=shared,
    )


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return None


def _groups(root: Path) -> Iterator[Path]:
    """Give the folders of this process' control group and those around it."""
    base = root / "sys/fs/cgroup"
    lines = _text(root / "proc/self/cgroup").splitlines()
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    parts = [part for part in own.split("/") if part not in ("", "..")]
    for size in range(len(parts) + 1):
        yield base.joinpath(*parts[:size])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


Ask = Callable[..., tuple[int, str]]


def ask_program(*words: str) -> tuple[int, str]:
    """Run a program and give its exit code and what it printed; 127 if it is not there.

    Args:
        words: The program and its arguments.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as err:
        return 127, str(err)
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def read_driver(ask: Ask = ask_program, root: Path = ROOT) -> Driver | None:
    """Ask the NVIDIA driver for its version and its GPUs; None where there is none.

    Args:
        ask: Runs a program.
        root: Root of the file system.
    """
    query = ("nvidia-smi", "--format=csv,noheader,nounits")
    code, answer = ask(*query, f"--query-gpu={_GPU_FIELDS}")
    if code not in (0, 127) and "compute_cap" in answer:  # drivers before 510 do not know it
        code, answer = ask(*query, f"--query-gpu={_GPU_FIELDS.removesuffix(',compute_cap')}")
    if code == 0:
        version, gpus = parse_gpus(answer)
        return Driver(version=version, cuda=parse_cuda_version(ask("nvidia-smi")[1]), gpus=gpus)
    text = _text(root / "proc/driver/nvidia/version")
    module = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    if code == 127:
        if module is None:
            return None
        return Driver(version=module[1], error="nvidia-smi is not there")
    if "couldn't communicate" in answer and module is None:
        return Driver(error="it is not loaded")
    return Driver(
        version=module[1] if module else "", error=(answer.strip().splitlines() or [""])[0]
    )


def parse_gpus(answer: str) -> tuple[str, tuple[Gpu, ...]]:
    """Read the driver's version and its GPUs from the CSV that ``nvidia-smi`` prints.

    Args:
        answer: Lines of index, name, MiB, driver version and, if known, compute capability.
    """
    version, gpus = "", []
    for row in csv.reader(answer.splitlines(), skipinitialspace=True):
        if len(row) < 4 or not row[0].isdigit():
            continue
        version = row[3]
        memory = int(row[2]) * 2**20 if row[2].isdigit() else 0  # "[N/A]" on unified memory
        capability = row[4] if len(row) > 4 else ""
        gpus.append(Gpu(index=int(row[0]), name=row[1], memory=memory, capability=capability))
    return version, tuple(gpus)


def parse_cuda_version(answer: str) -> str:
    """Read the newest CUDA that a driver is made for from what ``nvidia-smi`` prints.

    Args:
        answer: Its table.
    """
    found = re.search(r"CUDA (?:UMD )?Version:\s*(\d+\.\d+)", answer)
    return found[1] if found else ""


def read_toolkit(ask: Ask = ask_program) -> str:
    """Ask for the version of the installed CUDA toolkit; empty where there is none.

    Args:
        ask: Runs a program.
    """
    code, answer = ask("nvcc", "--version")
    found = re.search(r"release (\d+\.\d+)", answer)
    return found[1] if code == 0 and found else ""


def nvidia_cards(root: Path = ROOT) -> int:
    """Count NVIDIA display and compute cards on the bus, whatever drivers say.

    Args:
        root: Root of the file system.
    """
    return sum(
        _text(card / "vendor").strip() == "0x10de" and _text(card / "class").startswith("0x03")
        for card in (root / "sys/bus/pci/devices").glob("*")
    )


def is_colab() -> bool:
    """Say whether this process runs in a Google Colab notebook."""
    return "COLAB_RELEASE_TAG" in os.environ or "google.colab" in sys.modules


def is_kaggle() -> bool:
    """Say whether this process runs in a Kaggle notebook."""
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def service() -> str:
    """Name what lends this machine: ``colab``, ``kaggle``, ``slurm``, or nothing."""
    if is_colab():
        return "colab"
    if is_kaggle():
        return "kaggle"
    return "slurm" if "SLURM_JOB_ID" in os.environ else ""
