"""`fitwell env`: versions, processor, threads, memory, driver, and what does not go together."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from ..core.environment import Facts, Finding, TorchBuild, findings
from ..core.errors import UsageError, unknown_name
from ..core.files import cache_dir
from ..core.machine import (
    Gpu,
    nvidia_cards,
    read_driver,
    read_memory,
    read_processor,
    read_toolkit,
    service,
)
from ..core.packages import read_extras, read_requirements, read_versions

Reach = Callable[[str, int], str]

_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "MKL_NUM_THREADS", "GOMP_SPINCOUNT"),
    *("ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "LD_LIBRARY_PATH"),
    *("PYTHONDONTWRITEBYTECODE", "FITWELL_DATA", "FITWELL_CACHE"),
)
_UNITS = {
    **{"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}
_NEEDS = ("gpu", "memory", "disk", "cores", "network")
_ASK_FOR = {
    ("colab", "gpu"): "Choose one: Runtime > Change runtime type > Hardware accelerator.",
    ("colab", "memory"): "Choose more: Runtime > Change runtime type > High-RAM.",
    ("kaggle", "gpu"): "Choose one: Settings > Accelerator, in the notebook's menu.",
    ("kaggle", "network"): "Switch it on: Settings > Turn on internet, in the notebook's menu;"
    " the account needs a verified phone number.",
    ("slurm", "gpu"): "Ask for one: sbatch --gres=gpu:1.",
    ("slurm", "memory"): "Ask for more: sbatch --mem.",
    ("slurm", "cores"): "Ask for more: sbatch --cpus-per-task.",
}
"""Where a service that lends machines lets its user choose; menus as of 2025."""


@final
@dataclass(frozen=True)
class Need:
    """Something that must be there before a training starts.

    Args:
        name: One of gpu, memory, disk, cores and network.
        amount: Bytes or cores at least; 0 for any.
        host: Name and port of a server that must answer.
    """

    name: str
    amount: float = 0
    host: str = "pypi.org:443"

    @classmethod
    def parse(cls, text: str) -> Need:
        """Read a need as it is typed, such as ``gpu``, ``memory=8GB`` or ``network=HOST:PORT``.

        Args:
            text: Name and, after ``=``, what is needed at least.

        Raises:
            UnknownName: Nothing of that name can be needed.
            UsageError: The amount is no number with a unit.
        """
        name, _, value = text.partition("=")
        if name not in _NEEDS:
            raise unknown_name("env", "need", name, _NEEDS)
        if name == "network":
            return cls(name, host=value or cls.host)
        digits = value.rstrip("BKMGTIbkmgti ")
        unit = value[len(digits) :].strip().upper()
        unit += "B" if unit in ("K", "M", "G", "T") else ""
        try:
            amount = float(digits) * (1 if name == "cores" else _UNITS[unit]) if value else 0.0
        except (ValueError, KeyError) as err:
            raise UsageError(
                f"env: `need` must name an amount such as memory=8GB or cores=4; got {text!r}."
            ) from err
        return cls(name, amount)

    def unmet(self, facts: Facts, reach: Reach) -> str | None:
        """Say in one sentence what is missing, and where to get it; None if it is there.

        Args:
            facts: Of this machine.
            reach: Says why a server does not answer; empty if it does.
        """
        what = getattr(self, f"_{self.name}")(facts, reach)
        if what is None:
            return None
        return f"{self.name}: {what} {_ASK_FOR.get((facts.service, self.name), '')}".rstrip()

    def _gpu(self, facts: Facts, reach: Reach) -> str | None:
        devices = facts.torch.devices
        if not devices:
            first = next((f for f in findings(facts) if f.pair.startswith(("torch", "d"))), None)
            return f"torch sees none. {first.what if first else ''}".rstrip()
        largest = max(device.memory for device in devices)
        if largest < self.amount:
            return f"{_size(self.amount)} are needed; the largest has {_size(largest)}."
        return None

    def _memory(self, facts: Facts, reach: Reach) -> str | None:
        known = (facts.memory.available, facts.memory.usable)
        there = min((size for size in known if size is not None), default=None)
        if there is None or there >= self.amount:
            return None
        return f"{_size(self.amount)} are needed; {_size(there)} are free."

    def _disk(self, facts: Facts, reach: Reach) -> str | None:
        folder, free = next(iter(facts.disk.items()), ("", 0))
        if free >= self.amount:
            return None
        return f"{_size(self.amount)} are needed; {_size(free)} are free in {folder}."

    def _cores(self, facts: Facts, reach: Reach) -> str | None:
        there = facts.processor.usable
        return None if there >= self.amount else f"{self.amount:g} are needed; {there} may be used."

    def _network(self, facts: Facts, reach: Reach) -> str | None:
        host, _, port = self.host.rpartition(":") if ":" in self.host else (self.host, "", "443")
        if not port.isdigit():
            raise UsageError(f"env: `need` must be network=HOST:PORT; got {self.host!r}.")
        reason = reach(host, int(port))
        return f"{host}:{port} does not answer ({reason})." if reason else None


@final
@dataclass(frozen=True, kw_only=True)
class Environment:
    """What is here, what does not go together, and what is missing.

    Args:
        facts: What is installed and what it runs on.
        findings: What does not go together.
        unmet: A sentence for each need that is not met.
    """

    facts: Facts
    findings: tuple[Finding, ...] = ()
    unmet: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a need is not met."""
        return int(bool(self.unmet))

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        processor = {**asdict(self.facts.processor), "usable": self.facts.processor.usable}
        return {
            **asdict(self.facts),
            "processor": processor,
            "replicas": self.facts.replicas,
            "findings": [asdict(finding) for finding in self.findings],
            "unmet": list(self.unmet),
        }

    def __str__(self) -> str:
        lines = [f"{name:<12}{value}" for name, value in self._rows()]
        if self.findings:
            lines += ["", "Does not go together:"]
            lines += [f"  {f.pair}: {f.what}\n      {f.remedy}" for f in self.findings]
        else:
            lines += ["", "Nothing that does not go together."]
        if self.unmet:
            lines += ["", "Missing:", *(f"  {sentence}" for sentence in self.unmet)]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str]]:
        facts, torch = self.facts, self.facts.torch
        named = [f"{name} {version}" for name, version in facts.versions.items() if name in _SHOWN]
        build = f"CUDA {torch.cuda}" if torch.cuda else f"ROCm {torch.hip}" if torch.hip else "none"
        parts = [torch.version or f"cannot be imported: {torch.error}", f"built for GPUs: {build}"]
        parts += [f"cuDNN {torch.cudnn}"] if torch.cudnn else []
        lacking = [
            f"{extra} ({', '.join(names)})" for extra, names in facts.extras.items() if names
        ]
        processor, memory = facts.processor, facts.memory
        quota = "" if processor.quota is None else f", time for {processor.quota:g}"
        flags = " ".join(processor.flags)
        here = [f"{k}={v}" for k, v in facts.environment.items() if k != "LD_LIBRARY_PATH"]
        return [
            ("python", f"{facts.versions.get('python', '')}, {', '.join(named)}"),
            ("torch", ", ".join(parts)),
            ("extras", "all here" if not lacking else f"lacking {', '.join(lacking)}"),
            (
                "processor",
                f"{processor.model}: {processor.allowed} of {processor.cores} cores{quota}",
            ),
            ("", f"{flags}; torch uses {torch.capability or 'unknown'}"),
            ("threads", f"{torch.threads} in an operation, {torch.interop_threads} between them"),
            ("variables", ", ".join(here) or "none that matter"),
            (
                "memory",
                f"{_size(memory.total)}, {_size(memory.available)} free, limit"
                f" {_size(memory.limit)}, shared {_size(memory.shared)}",
            ),
            (
                "disk",
                ", ".join(f"{_size(free)} free in {folder}" for folder, free in facts.disk.items()),
            ),
            ("driver", _driver_text(facts)),
            *self._device_rows(),
        ]

    def _device_rows(self) -> list[tuple[str, str]]:
        devices, count = self.facts.torch.devices, self.facts.replicas
        if not devices:
            return [("devices", f"cpu; {count} process")]
        return [
            (
                "" if number else "devices",
                f"cuda:{device.index} {device.name}, {_size(device.memory)}, compute capability"
                f" {device.capability}",
            )
            for number, device in enumerate(devices)
        ]


_SHOWN = ("fitwell", "numpy", "scikit-learn", "torchvision", "torchaudio")


def env(*, need: Sequence[str] = ()) -> Environment:
    """Show versions, processor, threads, memory, disks, driver and GPUs, and what does not fit.

    With `need` it is a check to put before a long training, such as in the first cell of a
    notebook: it exits with 1 and one sentence for each need that is not met. Nothing is sent to the
    network unless `network` is needed.

    Args:
        need: What must be there: `gpu` or `gpu=16GB`, `memory=8GB`, `disk=20GB`, `cores=4`,
            `network` or `network=HOST:PORT`; several with spaces between.

    Raises:
        UnknownName: Nothing of that name can be needed.
        UsageError: An amount is no number with a unit.
    """
    needs = [Need.parse(text) for text in need]
    facts = read_facts()
    sentences = (wanted.unmet(facts, reach) for wanted in needs)
    return Environment(
        facts=facts,
        findings=findings(facts),
        unmet=tuple(sentence for sentence in sentences if sentence is not None),
    )


def read_facts() -> Facts:
    """Read everything about this machine; imports torch and starts CUDA if there is any."""
    requirements = read_requirements()
    versions = {"python": ".".join(map(str, sys.version_info[:3])), **read_versions(requirements)}
    return Facts(
        processor=read_processor(),
        memory=read_memory(),
        disk={str(folder): free for folder in _folders() if (free := _free(folder)) is not None},
        torch=_import_torch(),
        driver=read_driver(),
        cards=nvidia_cards(),
        toolkit=read_toolkit(),
        versions=versions,
        requirements=requirements,
        extras=read_extras(),
        environment={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        service=service(),
    )


def _folders() -> list[Path]:
    cache = cache_dir()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return list(dict.fromkeys([Path.cwd(), there.resolve()]))


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _import_torch() -> TorchBuild:
    try:
        import torch
    except (ImportError, OSError) as err:
        return TorchBuild(error=" ".join(str(err).split()) or type(err).__name__)
    return read_torch(torch)


def read_torch(torch: Any) -> TorchBuild:
    """Ask torch what it was built for and which GPUs it sees.

    Args:
        torch: The module.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()  # says by a warning why it is not
    cudnn, cudnn_error = "", ""
    try:
        cudnn = str(torch.backends.cudnn.version() or "")
    except RuntimeError as err:
        cudnn_error = " ".join(str(err).split())
    return TorchBuild(
        version=str(torch.__version__),
        error=" ".join(str(caught[0].message).split()) if caught and not available else "",
        cuda=torch.version.cuda or "",
        hip=getattr(torch.version, "hip", None) or "",
        cudnn=cudnn,
        cudnn_error=cudnn_error,
        architectures=tuple(torch.cuda.get_arch_list()) if available else (),
        devices=list_devices(torch.cuda) if available else (),
        capability=str(torch.backends.cpu.get_cpu_capability()),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
    )


def list_devices(cuda: Any) -> tuple[Gpu, ...]:
    """List the GPUs that torch sees, by the numbers it gives them.

    Args:
        cuda: The module ``torch.cuda``.
    """
    found = []
    for index in range(cuda.device_count()):
        device = cuda.get_device_properties(index)
        capability = f"{device.major}.{device.minor}"
        found.append(
            Gpu(index=index, name=device.name, memory=device.total_memory, capability=capability)
        )
    return tuple(found)


def reach(host: str, port: int, timeout: float = 5.0) -> str:
    """Connect to a server, or to the proxy that leads there, and say why that fails.

    Args:
        host: Its name.
        port: Its port.
        timeout: Seconds to wait.

    Returns:
        Nothing if it answers.
    """
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https")
    if proxy:
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = parts.hostname or host, parts.port or port
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError as err:
        return err.strerror or str(err) or type(err).__name__
    return ""


def _driver_text(facts: Facts) -> str:
    driver = facts.driver
    if driver is None:
        return "none"
    parts = [driver.version or "unknown", f"for CUDA up to {driver.cuda}" if driver.cuda else ""]
    parts += [driver.error, f"toolkit {facts.toolkit}" if facts.toolkit else ""]
    return ", ".join(part for part in parts if part)


def _size(count: float | None) -> str:
    if count is None:
        return "none"
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
