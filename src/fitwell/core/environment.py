"""Facts about the machine and the installed packages, and which of them do not go together.

`findings` is a pure function of `Facts`; reading them is `core.machine` and ``fitwell env``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

from .machine import Driver, Gpu, Memory, Processor
from .packages import Requirement, numbers

MINIMUM_DRIVER = {11: (450, 80), 12: (525,), 13: (580,)}
"""Oldest driver that runs programs built for a CUDA, by the major version of CUDA.

https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, table 1.
"""

FIRST_FOR_NUMPY_2 = {
    "torch": "2.3",
    "scipy": "1.13",
    "pandas": "2.2.2",
    "scikit-learn": "1.4.2",
    "matplotlib": "3.8.4",
    "pyarrow": "16.0",
}
"""First versions that were built to work with NumPy 2: https://github.com/numpy/numpy/issues/26191"""

_LITTLE_SHARED = 2**28  # Docker's default is 64 MiB, which a few batches of images fill
_LITTLE_DISK = 2**30
_GET_TORCH = "Get one from https://pytorch.org/get-started/locally/"


@final
@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """What torch was built for and what it sees here.

    Args:
        version: What the imported torch says; empty if it cannot be imported.
        error: Why it cannot be imported, or why it cannot start CUDA.
        cuda: CUDA it was built for; empty for a build without.
        hip: ROCm it was built for; empty for a build without.
        cudnn: Version of the cuDNN it loads; empty if none.
        cudnn_error: What it says about that cuDNN.
        architectures: GPU architectures it has code for, such as ``sm_90``.
        devices: The GPUs it sees, in its own order.
        capability: The instruction set it uses on this processor, such as ``AVX2``.
        threads: Threads within an operation.
        interop_threads: Threads between operations.
    """

    version: str = ""
    error: str = ""
    cuda: str = ""
    hip: str = ""
    cudnn: str = ""
    cudnn_error: str = ""
    architectures: tuple[str, ...] = ()
    devices: tuple[Gpu, ...] = ()
    capability: str = ""
    threads: int = 1
    interop_threads: int = 1


@final
@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is installed and what it runs on.

    Args:
        processor: The processor.
        memory: The memory.
        disk: Free bytes by folder.
        torch: The imported torch.
        driver: The NVIDIA driver; None if there is none.
        cards: NVIDIA cards on the bus.
        toolkit: Version of the CUDA toolkit; empty if there is none.
        versions: Versions of installed packages.
        requirements: What these packages say they need of each other.
        extras: Packages that each extra of fitwell lacks.
        environment: Environment variables that matter.
        service: What lends this machine: ``colab``, ``kaggle``, ``slurm`` or nothing.
    """

    processor: Processor = field(default_factory=Processor)
    memory: Memory = field(default_factory=Memory)
    disk: Mapping[str, int] = field(default_factory=dict)
    torch: TorchBuild = field(default_factory=TorchBuild)
    driver: Driver | None = None
    cards: int = 0
    toolkit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    service: str = ""

    @property
    def replicas(self) -> int:
        """Processes that data-parallel training would start: one per GPU, or one on the CPU."""
        return max(len(self.torch.devices), 1)


@final
@dataclass(frozen=True)
class Finding:
    """Two facts that do not go together.

    Args:
        pair: What the two are, such as ``torch and driver``.
        what: What is wrong, with the values.
        remedy: What to do.
    """

    pair: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.pair}: {self.what} {self.remedy}"


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Say what does not go together, the hard causes first.

    Args:
        facts: Of a machine.
    """
    checks = (_torch, _gpu_build, _gpu_use, _cudnn, _packages, _numpy, _threads, _processor, _room)
    return tuple(finding for check in checks for finding in check(facts))


def _is_older(version: str, other: str) -> bool:
    return bool(numbers(version)) and numbers(version) < numbers(other)


def _torch(facts: Facts) -> Iterator[Finding]:
    torch = facts.torch
    if not torch.version and torch.error:
        yield Finding(
            "torch and this system",
            f"torch cannot be imported ({torch.error}).",
            f"Install it again. {_GET_TORCH}.",
        )
    installed = facts.versions.get("torch", "")
    if torch.version and installed and numbers(torch.version) != numbers(installed):
        yield Finding(
            "torch and torch",
            f"Python imports torch {torch.version}, and the installed package is {installed}.",
            "Two copies are on the path; look at torch.__file__ and uninstall the other one.",
        )


def _gpu_build(facts: Facts) -> Iterator[Finding]:
    """Compare driver and build of torch."""
    driver, torch = facts.driver, facts.torch
    if driver is None:
        if facts.cards:
            yield Finding(
                "NVIDIA card and driver",
                f"{facts.cards} NVIDIA card(s) are on the bus, and there is no driver.",
                "Install the driver; in a container, start it with --gpus all.",
            )
        return
    if driver.error:
        version = f" {driver.version}" if driver.version else ""
        remedy = "Install or load the driver again."
        if "mismatch" in driver.error:
            remedy = "The driver was updated while it was loaded: restart the machine."
        elif driver.version:
            remedy = "In a container, start it with --gpus all; else install the driver again."
        yield Finding("driver and system", f"The driver{version} says: {driver.error}.", remedy)
    if torch.version and not torch.cuda and not torch.hip:
        yield Finding(
            "torch and driver",
            f"torch {torch.version} was built without CUDA, and there is an NVIDIA driver"
            f"{f' {driver.version}' if driver.version else ''}; GPUs stay unused.",
            f"Install a CUDA build of torch. {_GET_TORCH}.",
        )
    minimum = MINIMUM_DRIVER.get(next(iter(numbers(torch.cuda)), 0), ())
    # With NVIDIA's compatibility package an older driver works, and then torch sees its GPUs.
    if driver.version and numbers(driver.version) < minimum and not torch.devices:
        least = ".".join(map(str, minimum))
        yield Finding(
            "driver and CUDA of torch",
            f"The driver is {driver.version}, and torch was built for CUDA {torch.cuda}, which"
            f" needs {least} or newer.",
            f"Update the driver, or install a build of torch for an older CUDA. {_GET_TORCH}.",
        )
    if facts.toolkit and torch.cuda and numbers(facts.toolkit)[:1] != numbers(torch.cuda)[:1]:
        yield Finding(
            "CUDA toolkit and CUDA of torch",
            f"The toolkit is {facts.toolkit}, and torch was built for CUDA {torch.cuda}.",
            "Only code that compiles its own CUDA kernels notices; give it a toolkit of"
            f" CUDA {numbers(torch.cuda)[0]} through CUDA_HOME.",
        )


def _gpu_use(facts: Facts) -> Iterator[Finding]:
    """Compare the GPUs that the driver lists with those that torch can use."""
    driver, torch = facts.driver, facts.torch
    visible = facts.environment.get("CUDA_VISIBLE_DEVICES")
    if driver is not None and driver.gpus and torch.cuda and not torch.devices:
        enough = numbers(driver.version) >= MINIMUM_DRIVER.get(numbers(torch.cuda)[0], ())
        if visible is not None:
            yield Finding(
                "CUDA_VISIBLE_DEVICES and GPUs",
                f"CUDA_VISIBLE_DEVICES={visible!r} hides all {len(driver.gpus)} GPU(s).",
                "Unset it, or give numbers from 0.",
            )
        elif enough:
            reason = f" ({torch.error})" if torch.error else ""
            yield Finding(
                "torch and driver",
                f"The driver lists {len(driver.gpus)} GPU(s), and torch sees none{reason}.",
                "Restart the machine or the notebook's runtime, then look at the output of"
                " python -c 'import torch; torch.cuda.init()'.",
            )
    for gpu in torch.devices if torch.cuda and torch.architectures else ():
        if gpu.capability and not _has_code(torch.architectures, numbers(gpu.capability)):
            yield Finding(
                "torch and GPU",
                f"{gpu.name} has compute capability {gpu.capability}, and torch {torch.version}"
                f" has code for {', '.join(torch.architectures)}.",
                f"Install a build of torch that has it. {_GET_TORCH}.",
            )


def _has_code(architectures: tuple[str, ...], capability: tuple[int, ...]) -> bool:
    """Say whether code for a GPU is there: of its generation, or as PTX of it or an older one."""
    for name in architectures:
        kind, _, digits = name.partition("_")
        digits = re.match(r"\d*", digits)[0]  # type: ignore[index]
        if len(digits) < 2:
            continue
        given = (int(digits[:-1]), int(digits[-1]))
        if given <= capability and (kind == "compute" or given[0] == capability[0]):
            return True
    return False


def _cudnn(facts: Facts) -> Iterator[Finding]:
    if facts.torch.cudnn_error:
        yield Finding(
            "cuDNN and torch",
            facts.torch.cudnn_error.rstrip(".") + ".",
            "An older cuDNN is found first; take its folder out of LD_LIBRARY_PATH.",
        )


def _packages(facts: Facts) -> Iterator[Finding]:
    """Compare installed packages with what others were built for."""
    for need in facts.requirements:
        there = facts.versions.get(need.package)
        pair, says = f"{need.owner} and {need.package}", f"{need.operator}{need.version}"
        if there is None:
            if need.owner == "fitwell":
                what = f"fitwell needs {need.package}{says}, which is not installed."
                yield Finding(pair, what, f"Run: pip install '{need.package}{says}'.")
            continue
        if not need.is_met_by(there):
            owner = f"{need.owner} {facts.versions.get(need.owner, '')}".strip()
            yield Finding(
                pair,
                f"{owner} needs {need.package}{says}, and {there} is installed.",
                _package_remedy(need),
            )
    built = facts.versions.get("torch", "")
    for name in ("torchvision", "torchaudio"):
        there = facts.versions.get(name, built)
        if _tag(there) != _tag(built) and "cpu" in (_tag(there), _tag(built)):
            yield Finding(
                f"{name} and torch",
                f"{name} {there} and torch {built} are not builds for the same processor; importing"
                f" {name} fails, and with it every library that tries to.",
                f"Run: pip uninstall {name} (fitwell does not need it), or take both from the same"
                " index.",
            )


def _package_remedy(need: Requirement) -> str:
    if need.owner in ("torchvision", "torchaudio"):
        return (
            "Importing it fails, and with it every library that tries to. Run: pip uninstall"
            f" {need.owner} (fitwell does not need it), or install the release for your torch."
        )
    return f"Run: pip install '{need.package}{need.operator}{need.version}'."


def _tag(version: str) -> str:
    """Give the build of a version: ``cpu``, ``cu126``; empty for what the package index has."""
    return version.partition("+")[2]


def _numpy(facts: Facts) -> Iterator[Finding]:
    if _is_older(facts.versions.get("numpy", ""), "2"):
        return
    for name, first in FIRST_FOR_NUMPY_2.items():
        there = facts.versions.get(name, "")
        if "numpy" in facts.versions and _is_older(there, first):
            yield Finding(
                f"{name} and NumPy",
                f"{name} {there} was built before NumPy 2, and NumPy is {facts.versions['numpy']}.",
                f"Run: pip install '{name}>={first}'.",
            )


def _threads(facts: Facts) -> Iterator[Finding]:
    usable, torch = facts.processor.usable, facts.torch
    wanted = facts.environment.get("OMP_NUM_THREADS")
    if torch.version and torch.threads > usable:
        reason = f"OMP_NUM_THREADS={wanted}" if wanted else f"torch takes {torch.threads} threads"
        quota = facts.processor.quota
        limit = "" if quota is None else f" (a control group grants {quota:g} cores' worth of time)"
        yield Finding(
            "threads and cores",
            f"{reason}, and {usable} core(s) may be used{limit}; threads wait for each other.",
            f"Run: export OMP_NUM_THREADS={usable}",
        )
    elif torch.version and torch.threads == 1 and usable >= 4:
        reason = f"OMP_NUM_THREADS={wanted}" if wanted else "torch takes one thread"
        yield Finding(
            "threads and cores",
            f"{reason}, and {usable} cores may be used.",
            f"Run: export OMP_NUM_THREADS={usable}, unless as many processes run side by side.",
        )
    if facts.environment.get("OMP_WAIT_POLICY", "").lower() == "active":
        yield Finding(
            "OMP_WAIT_POLICY and cores",
            "OMP_WAIT_POLICY=active keeps threads that have nothing to do spinning on their cores.",
            "Run: unset OMP_WAIT_POLICY",
        )


def _processor(facts: Facts) -> Iterator[Finding]:
    processor, torch = facts.processor, facts.torch
    if processor.allowed == 1 and processor.cores >= 4:
        yield Finding(
            "processor and process",
            f"This process may run on 1 of {processor.cores} cores.",
            "Start it without taskset, and without OMP_PROC_BIND and GOMP_CPU_AFFINITY.",
        )
    if torch.capability.upper() in ("DEFAULT", "NO AVX") and "avx2" in processor.flags:
        forced = facts.environment.get("ATEN_CPU_CAPABILITY")
        yield Finding(
            "torch and processor",
            "The processor has AVX2, and torch does not use it"
            f"{f' (ATEN_CPU_CAPABILITY={forced})' if forced else ''}.",
            "Run: unset ATEN_CPU_CAPABILITY" if forced else f"Install torch again. {_GET_TORCH}.",
        )
    if facts.environment.get("PYTHONDONTWRITEBYTECODE"):
        yield Finding(
            "PYTHONDONTWRITEBYTECODE and starts",
            "Python may not keep what it compiles, so every start compiles all imports again.",
            "Run: unset PYTHONDONTWRITEBYTECODE",
        )


def _room(facts: Facts) -> Iterator[Finding]:
    shared = facts.memory.shared
    if shared is not None and shared < _LITTLE_SHARED:
        yield Finding(
            "/dev/shm and worker processes",
            f"/dev/shm has {shared / 2**20:.0f} MiB, through which a DataLoader's workers hand over"
            " their batches; when it is full, they die with a bus error.",
            "Start the container with --ipc=host or --shm-size=2g, or use num_workers=0.",
        )
    for folder, free in facts.disk.items():
        if free < _LITTLE_DISK:
            yield Finding(
                "disk and checkpoints",
                f"{folder} has {free / 2**20:.0f} MiB left.",
                "Free some, or train with --max-bytes and --run on another disk.",
            )
