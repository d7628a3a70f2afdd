"""What memory is there and what is taken, against sizes known beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fitwell.train import available_memory, is_out_of_memory
from fitwell.train._memory import LiveBytes, PeakResident

KB = 1024
FLOAT = 4


def test_live_bytes_count_what_is_alive_and_no_more() -> None:
    given = torch.ones(1000)
    with LiveBytes() as live:
        a = given * 2
        assert live.now == 1000 * FLOAT
        view = a[:10].view(2, 5)
        a.add_(1)
        assert (live.now, live.peak) == (1000 * FLOAT, 1000 * FLOAT)
        b = torch.cat([a, a])
        assert live.now == 3000 * FLOAT
        del a, b
        assert (live.now, live.peak) == (1000 * FLOAT, 3000 * FLOAT)  # the view keeps its storage
        del view
        assert (live.now, live.peak) == (0, 3000 * FLOAT)
    with live:
        c = given + 1
    assert live.now == 1000 * FLOAT
    del c
    assert live.now == 0


def test_live_bytes_see_the_backward_pass() -> None:
    weight = torch.ones(1000, requires_grad=True)
    with LiveBytes() as live:
        y = weight.exp()  # kept for the backward pass
        y.sum().backward()
        assert live.now >= 2000 * FLOAT  # it and the gradient
        assert live.peak >= live.now
        del y
    assert live.now == 1000 * FLOAT
    assert weight.grad is not None


def test_gradients_and_weights_that_were_there_do_not_count() -> None:
    layer = nn.Linear(100, 100)
    layer(torch.ones(1, 100)).sum().backward()
    with LiveBytes() as live:
        layer(torch.ones(1, 100)).sum().backward()  # adds to the gradients in place
    assert live.now == 0


def test_the_peak_of_the_process_grows_with_a_large_tensor() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not say")
    peak = PeakResident()
    x = torch.ones(64 * 2**20 // FLOAT)
    del x
    assert 0.9 * 64 * 2**20 < peak.growth() < 2 * 64 * 2**20


def files(root: Path, contents: dict[str, str]) -> Path:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\n"}


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    assert available_memory(files(tmp_path, MACHINE)) == 8000 * KB


def test_nothing_is_known_of_an_unknown_system(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


def test_a_group_around_the_own_one_decides_and_caches_are_free(tmp_path: Path) -> None:
    groups = "sys/fs/cgroup"
    root = files(
        tmp_path,
        {
            **MACHINE,
            "proc/self/cgroup": "0::/pod/box\n",
            f"{groups}/pod/memory.max": f"{5000 * KB}\n",
            f"{groups}/pod/memory.current": f"{3000 * KB}\n",
            f"{groups}/pod/memory.stat": f"anon 1\ninactive_file {500 * KB}\nfile 7\n",
            f"{groups}/pod/box/memory.max": "max\n",
            f"{groups}/pod/box/memory.current": f"{1000 * KB}\n",
        },
    )
    assert available_memory(root) == (5000 - 3000 + 500) * KB


def test_groups_of_the_first_version_are_read(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory"
    root = files(
        tmp_path,
        {
            **MACHINE,
            "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/not/mounted/here\n",
            f"{group}/memory.limit_in_bytes": f"{2000 * KB}\n",
            f"{group}/memory.usage_in_bytes": f"{1500 * KB}\n",
            f"{group}/memory.stat": f"inactive_file 9\ntotal_inactive_file {100 * KB}\n",
        },
    )
    assert available_memory(root) == 600 * KB


def test_no_limit_and_overuse_make_no_nonsense(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory"
    endless = {
        **MACHINE,
        "proc/self/cgroup": "4:memory:/\n",
        f"{group}/memory.limit_in_bytes": "9223372036854771712\n",
        f"{group}/memory.usage_in_bytes": "5\n",
    }
    assert available_memory(files(tmp_path / "a", endless)) == 8000 * KB
    over = {**endless, f"{group}/memory.limit_in_bytes": "3\n"}
    assert available_memory(files(tmp_path / "b", over)) == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    ],
)
def test_memory_errors_are_known(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_the_error_of_the_allocator_is_known() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as caught:
        torch.empty(2**60, dtype=torch.int8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("out of memory")])
def test_other_errors_are_not_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)
