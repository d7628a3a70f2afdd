"""`fitwell env`: what it reads, what it says does not go together, and when it refuses."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fitwell
from fitwell.core.environment import MINIMUM_DRIVER, Facts, TorchBuild, findings
from fitwell.core.errors import UnknownName, UsageError
from fitwell.core.machine import (
    Driver,
    Gpu,
    Memory,
    Processor,
    machine,
    nvidia_cards,
    parse_cuda_version,
    parse_gpus,
    read_driver,
    read_memory,
    read_processor,
    read_quota,
    read_toolkit,
    service,
)
from fitwell.core.packages import Requirement, numbers, read_extras, read_requirements
from fitwell.verbs._env import Need, env, list_devices, reach, read_facts, read_torch

from .runs import call

H200 = Gpu(index=0, name="NVIDIA H200", memory=143_771 * 2**20, capability="9.0")
HEALTHY = Facts(
    processor=Processor(model="A", cores=16, allowed=16, flags=("avx2",)),
    memory=Memory(total=2**37, available=2**36, shared=2**36),
    disk={"/home": 2**40},
    torch=TorchBuild(
        version="2.13.0+cu130",
        cuda="13.0",
        cudnn="91900",
        architectures=("sm_80", "sm_90", "compute_90"),
        devices=(H200,),
        capability="AVX2",
        threads=16,
        interop_threads=8,
    ),
    driver=Driver(version="580.95.05", cuda="13.0", gpus=(H200,)),
    cards=1,
    toolkit="13.0",
    versions={"fitwell": "0.1.0", "torch": "2.13.0+cu130", "numpy": "2.4.6"},
    requirements=(Requirement("fitwell", "torch", ">=", "2.8"),),
)

QUERY = """\
0, NVIDIA H200, 143771, 580.95.05, 9.0
1, Tesla T4, 15360, 580.95.05, 7.5
"""
TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |
+-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
"""
MISMATCH = """\
Failed to initialize NVML: Driver/library version mismatch
NVML library version: 580.95
"""
ASLEEP = """\
NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the \
latest NVIDIA driver is installed and running.
"""
MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    "GCC version:  gcc version 13.3.0\n"
)


def with_torch(**changes: Any) -> Facts:
    return replace(HEALTHY, torch=replace(HEALTHY.torch, **changes))


def pairs(facts: Facts) -> list[str]:
    return [finding.pair for finding in findings(facts)]


def test_pt_28_a_healthy_machine_is_silent() -> None:
    assert findings(HEALTHY) == ()
    assert findings(replace(HEALTHY, driver=None, cards=0, torch=HEALTHY.torch)) == ()


CPU_BUILD: Mapping[str, Any] = {"version": "2.13.0+cpu", "cuda": "", "devices": ()}
OLD = Driver(version="535.104.05", cuda="12.2", gpus=(H200,))

ILL: dict[str, tuple[Facts, str, str]] = {
    "cpu build beside a driver": (
        with_torch(**CPU_BUILD),
        "torch and driver",
        "torch 2.13.0+cpu was built without CUDA, and there is an NVIDIA driver 580.95.05",
    ),
    "driver too old": (
        replace(with_torch(devices=()), driver=OLD),
        "driver and CUDA of torch",
        "The driver is 535.104.05, and torch was built for CUDA 13.0, which needs 580 or newer",
    ),
    "no driver": (
        replace(with_torch(**CPU_BUILD), driver=None),
        "NVIDIA card and driver",
        "1 NVIDIA card(s) are on the bus, and there is no driver",
    ),
    "driver updated while loaded": (
        replace(with_torch(devices=()), driver=Driver(error=MISMATCH.splitlines()[0])),
        "driver and system",
        "restart the machine",
    ),
    "container without GPUs": (
        replace(with_torch(devices=()), driver=Driver(version="580.95.05", error="no nvidia-smi")),
        "driver and system",
        "--gpus all",
    ),
    "GPUs hidden": (
        replace(with_torch(devices=()), environment={"CUDA_VISIBLE_DEVICES": ""}),
        "CUDA_VISIBLE_DEVICES and GPUs",
        "CUDA_VISIBLE_DEVICES='' hides all 1 GPU(s)",
    ),
    "torch sees none": (
        with_torch(devices=(), error="CUDA unknown error"),
        "torch and driver",
        "The driver lists 1 GPU(s), and torch sees none (CUDA unknown error)",
    ),
    "no code for the GPU": (
        with_torch(devices=(replace(H200, name="Tesla K80", capability="3.7"),)),
        "torch and GPU",
        "Tesla K80 has compute capability 3.7, and torch 2.13.0+cu130 has code for sm_80, sm_90",
    ),
    "another cuDNN": (
        with_torch(cudnn="", cudnn_error="cuDNN version incompatibility: compiled against 9.19"),
        "cuDNN and torch",
        "take its folder out of LD_LIBRARY_PATH",
    ),
    "another toolkit": (
        replace(HEALTHY, toolkit="11.8"),
        "CUDA toolkit and CUDA of torch",
        "The toolkit is 11.8, and torch was built for CUDA 13.0",
    ),
    "torch cannot be imported": (
        replace(HEALTHY, torch=TorchBuild(error="libcudart.so.13: cannot open")),
        "torch and this system",
        "torch cannot be imported (libcudart.so.13: cannot open)",
    ),
    "two copies of torch": (
        with_torch(version="2.9.0+cu130"),
        "torch and torch",
        "Python imports torch 2.9.0+cu130, and the installed package is 2.13.0+cu130",
    ),
    "torchvision for another torch": (
        replace(
            HEALTHY,
            versions={**HEALTHY.versions, "torchvision": "0.15.2"},
            requirements=(Requirement("torchvision", "torch", "==", "2.0.1"),),
        ),
        "torchvision and torch",
        "torchvision 0.15.2 needs torch==2.0.1, and 2.13.0+cu130 is installed",
    ),
    "torchvision of the other index": (
        replace(
            with_torch(**CPU_BUILD),
            driver=None,
            cards=0,
            versions={"torch": "2.13.0+cpu", "torchvision": "0.28.0"},
            requirements=(Requirement("torchvision", "torch", "==", "2.13.0"),),
        ),
        "torchvision and torch",
        "torchvision 0.28.0 and torch 2.13.0+cpu are not builds for the same processor",
    ),
    "cuDNN package": (
        replace(
            HEALTHY,
            versions={**HEALTHY.versions, "nvidia-cudnn-cu13": "9.1.0.70"},
            requirements=(Requirement("torch", "nvidia-cudnn-cu13", "==", "9.19.0.56"),),
        ),
        "torch and nvidia-cudnn-cu13",
        "torch 2.13.0+cu130 needs nvidia-cudnn-cu13==9.19.0.56, and 9.1.0.70 is installed",
    ),
    "fitwell needs more": (
        replace(HEALTHY, requirements=(Requirement("fitwell", "pillow", ">=", "11"),)),
        "fitwell and pillow",
        "pip install 'pillow>=11'",
    ),
    "built before NumPy 2": (
        replace(HEALTHY, versions={**HEALTHY.versions, "pandas": "2.1.4"}),
        "pandas and NumPy",
        "pandas 2.1.4 was built before NumPy 2, and NumPy is 2.4.6",
    ),
    "more threads than cores": (
        replace(
            HEALTHY,
            processor=replace(HEALTHY.processor, quota=2.0),
            environment={"OMP_NUM_THREADS": "16"},
        ),
        "threads and cores",
        "OMP_NUM_THREADS=16, and 2 core(s) may be used (a control group grants 2 cores' worth",
    ),
    "one thread": (with_torch(threads=1), "threads and cores", "OMP_NUM_THREADS=16"),
    "spinning threads": (
        replace(HEALTHY, environment={"OMP_WAIT_POLICY": "ACTIVE"}),
        "OMP_WAIT_POLICY and cores",
        "unset OMP_WAIT_POLICY",
    ),
    "pinned to one core": (
        replace(with_torch(threads=1), processor=replace(HEALTHY.processor, allowed=1)),
        "processor and process",
        "may run on 1 of 16 cores",
    ),
    "AVX2 unused": (
        replace(with_torch(capability="DEFAULT"), environment={"ATEN_CPU_CAPABILITY": "default"}),
        "torch and processor",
        "unset ATEN_CPU_CAPABILITY",
    ),
    "nothing compiled is kept": (
        replace(HEALTHY, environment={"PYTHONDONTWRITEBYTECODE": "1"}),
        "PYTHONDONTWRITEBYTECODE and starts",
        "unset PYTHONDONTWRITEBYTECODE",
    ),
    "small shared memory": (
        replace(HEALTHY, memory=replace(HEALTHY.memory, shared=2**26)),
        "/dev/shm and worker processes",
        "/dev/shm has 64 MiB",
    ),
    "full disk": (
        replace(HEALTHY, disk={"/home": 2**27}),
        "disk and checkpoints",
        "/home has 128 MiB left",
    ),
}


@pytest.mark.parametrize("name", ILL)
def test_pt_28_each_inconsistent_pair_is_named_alone(name: str) -> None:
    facts, pair, words = ILL[name]
    (finding,) = findings(facts)
    assert finding.pair == pair
    assert words in str(finding)
    assert finding.remedy.strip()


@pytest.mark.parametrize(
    ("cuda", "driver", "fits"),
    [
        ("13.0", "580.65.06", True),
        ("13.0", "575.57.08", False),
        ("12.6", "525.60.13", True),
        ("12.6", "520.61.05", False),
        ("11.8", "450.80.02", True),
        ("11.8", "450.51.06", False),
        ("12.6", "580.95.05", True),
        ("14.1", "580.95.05", True),  # not in the table: nothing is claimed
    ],
)
def test_pt_28_driver_and_cuda_follow_the_table(cuda: str, driver: str, fits: bool) -> None:
    facts = with_torch(cuda=cuda, devices=())
    facts = replace(facts, driver=Driver(version=driver), toolkit="")
    assert ("driver and CUDA of torch" not in pairs(facts)) is fits
    assert set(MINIMUM_DRIVER) == {11, 12, 13}
    # With NVIDIA's compatibility package torch sees its GPUs, and then the driver is good enough.
    assert pairs(replace(facts, torch=replace(facts.torch, devices=(H200,)))) == []


@pytest.mark.parametrize(
    ("architectures", "capability", "fits"),
    [
        (("sm_80", "sm_86"), "8.9", True),
        (("sm_86",), "8.0", False),
        (("sm_90",), "10.0", False),
        (("sm_90", "compute_90"), "12.0", True),
        (("sm_90a",), "9.0", True),
        (("sm_100", "sm_120"), "12.0", True),
        (("sm_120",), "9.0", False),
    ],
)
def test_code_for_a_gpu(architectures: tuple[str, ...], capability: str, fits: bool) -> None:
    gpu = replace(H200, capability=capability)
    facts = with_torch(architectures=architectures, devices=(gpu,))
    assert (pairs(facts) == []) is fits


def answers(known: dict[str, tuple[int, str]]) -> Any:
    """Play programs: the first key that is in the command line answers."""

    def ask(*words: str) -> tuple[int, str]:
        line = " ".join(words)
        return next((known[key] for key in known if key in line), (127, "not found"))

    return ask


def test_pt_28_nvidia_smi_is_read() -> None:
    driver = read_driver(answers({"--query-gpu": (0, QUERY), "nvidia-smi": (0, TABLE)}))
    assert driver is not None
    assert (driver.version, driver.cuda, driver.error) == ("580.95.05", "13.0", "")
    assert [(g.index, g.name, g.memory >> 20, g.capability) for g in driver.gpus] == [
        (0, "NVIDIA H200", 143_771, "9.0"),
        (1, "Tesla T4", 15_360, "7.5"),
    ]
    assert parse_gpus("0, NVIDIA GB10, [N/A], 580.95.05, 12.1\n")[1][0].memory == 0
    assert parse_gpus("No devices were found\n") == ("", ())
    assert parse_cuda_version("no table") == ""
    assert read_toolkit(answers({"nvcc": (0, "Cuda tools, release 12.4, V12.4.131")})) == "12.4"
    assert read_toolkit(answers({})) == ""


def test_pt_28_old_drivers_are_asked_again_without_capability(tmp_path: Path) -> None:
    refused = (2, 'Field "compute_cap" is not a valid field to query.')
    known = {"compute_cap": refused, "--query-gpu": (0, "0, Tesla P100, 16280, 470.82.01\n")}
    driver = read_driver(answers(known), tmp_path)
    assert driver is not None
    assert driver.version == "470.82.01"
    assert driver.gpus[0].capability == ""


@pytest.mark.parametrize(
    ("known", "module", "driver"),
    [
        ({}, "", None),
        ({}, MODULE, Driver(version="570.86.15", error="nvidia-smi is not there")),
        ({"nvidia-smi": (18, MISMATCH)}, "", Driver(error=MISMATCH.splitlines()[0])),
        ({"nvidia-smi": (9, ASLEEP)}, "", Driver(error="it is not loaded")),
    ],
)
def test_pt_28_a_driver_that_does_not_answer_is_read(
    known: dict[str, tuple[int, str]], module: str, driver: Driver | None, tmp_path: Path
) -> None:
    if module:
        (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/version").write_text(module)
    assert read_driver(answers(known), tmp_path) == driver


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            },
            2.0,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4.0,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
    ],
)
def test_quotas_of_both_versions_are_read(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert read_quota(tree(tmp_path, files)) == quota


def test_memory_and_its_limit_are_read(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n",
        "sys/fs/cgroup/memory.max": "409600\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = read_memory(tree(tmp_path, files))
    assert (found.total, found.available, found.limit) == (1_024_000, 614_400, 409_600)
    assert found.usable == 409_600
    assert Memory(total=5).usable == 5
    assert Memory().usable is None


def test_processor_is_read(tmp_path: Path) -> None:
    text = "model name\t: Some Chip\nflags\t\t: fpu avx avx2 avx512_bf16 amx_bf16 sse\n"
    found = read_processor(tree(tmp_path, {"proc/cpuinfo": text}))
    assert found.model == "Some Chip"
    assert found.flags == ("avx", "avx2", "avx512_bf16", "amx_bf16")
    assert found.allowed == len(os.sched_getaffinity(0))
    assert replace(found, allowed=8, quota=1.5).usable == 2
    assert machine()["cores"] == read_processor().allowed


def test_cards_on_the_bus_are_counted(tmp_path: Path) -> None:
    bus = "sys/bus/pci/devices"
    files = {
        f"{bus}/1/vendor": "0x10de\n",
        f"{bus}/1/class": "0x030200\n",
        f"{bus}/2/vendor": "0x10de\n",
        f"{bus}/2/class": "0x040300\n",  # the sound of a display card
        f"{bus}/3/vendor": "0x8086\n",
        f"{bus}/3/class": "0x030000\n",
    }
    assert nvidia_cards(tree(tmp_path, files)) == 1


LINES = {
    "fitwell": [
        "torch>=2.8",
        "numpy (>=2.1)",
        "onnx>=1.17; extra == 'onnx'",
        'x>=1; extra == "dev"',
    ],
    "torch": ["sympy>=1.13", 'nvidia-cudnn-cu13==9.19.0.56; platform_system == "Linux"'],
    "torchvision": ["numpy", "torch==2.13.0", "pillow!=8.3.*,>=5.3.0"],
}


def test_requirements_and_extras_are_read() -> None:
    def lines_of(name: str) -> list[str]:
        return LINES.get(name, [])

    found = [f"{r.owner} {r.package}{r.operator}{r.version}" for r in read_requirements(lines_of)]
    assert found == [
        "fitwell torch>=2.8",
        "fitwell numpy>=2.1",
        "torch nvidia-cudnn-cu13==9.19.0.56",
        "torchvision torch==2.13.0",
    ]
    assert read_extras(lambda name: None, lines_of) == {"onnx": ("onnx",)}
    assert read_extras(lambda name: "1", lines_of) == {"onnx": ()}
    assert numbers("2.13.0+cpu") == (2, 13, 0)
    assert numbers("unknown") == ()
    assert Requirement("a", "b", "==", "2.0").is_met_by("2.0.1+cu126")
    assert not Requirement("a", "b", "==", "2.0.1").is_met_by("2.0")


@dataclass
class FakeCuda:
    """What torch.cuda answers on a machine with some GPUs."""

    names: tuple[str, ...]

    def is_available(self) -> bool:
        return bool(self.names)

    def device_count(self) -> int:
        return len(self.names)

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(name=self.names[index], total_memory=10**9, major=8, minor=index)

    def get_arch_list(self) -> list[str]:
        return ["sm_80"]


def fake_torch(names: tuple[str, ...]) -> Any:
    return SimpleNamespace(
        __version__="2.13.0+cu130",
        version=SimpleNamespace(cuda="13.0", hip=None),
        cuda=FakeCuda(names),
        backends=SimpleNamespace(
            cudnn=SimpleNamespace(version=lambda: 91900),
            cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX512"),
        ),
        get_num_threads=lambda: 3,
        get_num_interop_threads=lambda: 2,
    )


@pytest.mark.parametrize("names", [(), ("A",), ("A", "B", "A")])
def test_fed_42_devices_are_those_of_torch_and_each_is_a_replica(names: tuple[str, ...]) -> None:
    build = read_torch(fake_torch(names))
    assert tuple(gpu.name for gpu in build.devices) == names
    assert [gpu.index for gpu in build.devices] == list(range(len(names)))
    assert [gpu.capability for gpu in build.devices] == [f"8.{i}" for i in range(len(names))]
    assert Facts(torch=build).replicas == max(len(names), 1)
    assert build.cudnn == "91900"


def test_fed_42_here_devices_equal_those_of_torch() -> None:
    facts = read_facts()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assert len(facts.torch.devices) == count
    assert facts.replicas == max(count, 1)
    for gpu, listed in zip(facts.torch.devices, list_devices(torch.cuda), strict=True):
        assert gpu.name == torch.cuda.get_device_name(gpu.index) == listed.name
        assert gpu.capability == "{}.{}".format(*torch.cuda.get_device_capability(gpu.index))
    if facts.driver is not None and "CUDA_VISIBLE_DEVICES" not in os.environ and count:
        assert [gpu.name for gpu in facts.driver.gpus] == [gpu.name for gpu in facts.torch.devices]


def test_what_torch_says_about_cuda_and_cudnn_is_kept() -> None:
    def warn() -> bool:
        import warnings

        warnings.warn("CUDA initialization:\n driver too old", UserWarning, stacklevel=1)
        return False

    def fail() -> int:
        raise RuntimeError("cuDNN version incompatibility:\ncompiled against 9")

    broken = fake_torch(("A",))
    broken.cuda.is_available = warn
    broken.backends.cudnn.version = fail
    build = read_torch(broken)
    assert build.error == "CUDA initialization: driver too old"
    assert build.cudnn_error == "cuDNN version incompatibility: compiled against 9"
    assert build.devices == ()


@pytest.mark.parametrize(
    ("text", "need"),
    [
        ("gpu", Need("gpu")),
        ("gpu=16GB", Need("gpu", 16e9)),
        ("memory=8GiB", Need("memory", 8 * 2**30)),
        ("disk=1.5 tb", Need("disk", 1.5e12)),
        ("memory=500m", Need("memory", 5e8)),
        ("cores=4", Need("cores", 4)),
        ("network", Need("network")),
        ("network=host:80", Need("network", host="host:80")),
    ],
)
def test_needs_are_read(text: str, need: Need) -> None:
    assert Need.parse(text) == need


@pytest.mark.parametrize("text", ["memory=8XB", "cores=many", "disk=GB", "gpu=two"])
def test_bad_amounts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must name an amount such as memory=8GB"):
        Need.parse(text)


def test_unknown_needs_are_refused() -> None:
    with pytest.raises(UnknownName, match="no need named 'gup'; nearest: 'gpu'"):
        Need.parse("gup")


NO_GPU = replace(with_torch(**CPU_BUILD), driver=None, cards=0)


@pytest.mark.parametrize(
    ("text", "facts", "sentence"),
    [
        ("gpu", HEALTHY, None),
        ("gpu=100GB", HEALTHY, None),
        ("gpu=200GB", HEALTHY, "gpu: 200.0 GB are needed; the largest has 150.8 GB."),
        ("gpu", NO_GPU, "gpu: torch sees none."),
        ("gpu", with_torch(**CPU_BUILD), "gpu: torch sees none. torch 2.13.0+cpu was built wit"),
        (
            "gpu",
            replace(NO_GPU, service="colab"),
            "gpu: torch sees none. Choose one: Runtime > Change runtime type > Hardware acc",
        ),
        (
            "gpu",
            replace(NO_GPU, service="kaggle"),
            "gpu: torch sees none. Choose one: Settings > Accelerator",
        ),
        ("gpu", replace(NO_GPU, service="slurm"), "gpu: torch sees none. Ask for one: sbatch"),
        ("memory=60GB", HEALTHY, None),
        ("memory=70GB", HEALTHY, "memory: 70.0 GB are needed; 68.7 GB are free."),
        ("memory=70GB", replace(HEALTHY, memory=Memory()), None),
        ("disk=2TB", HEALTHY, "disk: 2000.0 GB are needed; 1099.5 GB are free in /home."),
        ("cores=16", HEALTHY, None),
        ("cores=17", HEALTHY, "cores: 17 are needed; 16 may be used."),
        (
            "network=host:80",
            replace(HEALTHY, service="kaggle"),
            "network: host:80 does not answer (refused). Switch it on: Settings > Turn on int",
        ),
    ],
)
def test_plat_01_what_is_missing_is_said_with_the_way_to_it(
    text: str, facts: Facts, sentence: str | None
) -> None:
    found = Need.parse(text).unmet(facts, lambda host, port: "refused")
    assert found == sentence if sentence is None else (found or "").startswith(sentence)


def test_plat_01_the_network_is_tried_only_when_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: tried.append(a))
    env()
    assert tried == []


def test_plat_01_a_server_that_answers_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach("127.0.0.1", port) == ""
        assert Need.parse(f"network=127.0.0.1:{port}").unmet(HEALTHY, reach) is None
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert reach("far.example", 443) == ""
        monkeypatch.delenv("https_proxy")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "refused" in reach("127.0.0.1", port).lower()
    with pytest.raises(UsageError, match="network=HOST:PORT"):
        Need.parse("network=host:door").unmet(HEALTHY, reach)


def test_plat_01_the_command_fails_early_and_says_all(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr("fitwell.verbs._env.reach", lambda host, port: "no route")
    words = ("env", "--need", "gpu=900TB", "memory=900TB", "network", "cores=1")
    code, result, _ = call(capsys, *words)
    assert code == 1
    assert [sentence.partition(":")[0] for sentence in result["unmet"]] == [
        "gpu",
        "memory",
        "network",
    ]
    assert "Turn on internet" in result["unmet"][2]
    assert result["service"] == "kaggle"
    assert call(capsys, "env", "--need", "cores=1")[0] == 0
    assert call(capsys, "env", "--need", "gup")[0] == 2


def test_services_are_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert service() == ""
    for name, expected in (
        ("SLURM_JOB_ID", "slurm"),
        ("KAGGLE_KERNEL_RUN_TYPE", "kaggle"),
        ("COLAB_RELEASE_TAG", "colab"),
    ):
        monkeypatch.setenv(name, "1")
        assert service() == expected


def test_the_text_has_every_section_and_the_json_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = env()
    text = str(found)
    for words in (
        f"python      {sys.version.split()[0]}",
        f"fitwell {fitwell.__version__}",
        torch.__version__,
        f"{torch.get_num_threads()} in an operation",
        "Does not go together:",
        "Run: unset PYTHONDONTWRITEBYTECODE",
    ):
        assert words in text
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["torch"]["version"] == torch.__version__
    assert plain["replicas"] == found.facts.replicas
    assert plain["versions"]["numpy"]
    assert found.exit_code == 0


def test_the_text_of_a_machine_with_gpus() -> None:
    from fitwell.verbs._env import Environment

    two = (H200, replace(H200, index=1, name="Tesla T4"))
    text = str(Environment(facts=with_torch(devices=two)))
    assert "devices     cuda:0 NVIDIA H200, 150.8 GB, compute capability 9.0" in text
    assert "\n            cuda:1 Tesla T4" in text
    assert "driver      580.95.05, for CUDA up to 13.0, toolkit 13.0" in text
    assert "built for GPUs: CUDA 13.0, cuDNN 91900" in text
    assert text.endswith("Nothing that does not go together.")
