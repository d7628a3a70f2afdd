"""Training on ten times the memory it is allowed: it finishes, and reading all of it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ALLOWANCE = 48 * 2**20
SHAPE = (3, 64, 64)
COUNT = 10 * ALLOWANCE // (3 * 64 * 64)

TRAINING = """
import resource, sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fitwell.data import Batches, DiskRows, Examples, Schema
from fitwell.train import Supervised, Trainer

path, how, allowance = sys.argv[1], sys.argv[2], int(sys.argv[3])


def examples(inputs):
    schema = Schema(
        kind="images", input_shape=tuple(inputs.shape[1:]), target_kind="class",
        class_names=("a", "b"),
    )
    return Examples(inputs=inputs, targets=torch.arange(len(inputs)) % 2, schema=schema)


def trained(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    trainer = Trainer(model, Supervised(nn.CrossEntropyLoss()), optimizer)
    trainer.fit(batches, epochs=1)
    return trainer.step


def anonymous():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024


mapped = np.load(path, mmap_mode="r")
few = DiskRows.of(mapped[:256])
assert trained(Batches(examples(few), 64, shuffle=True, memory=few.nbytes // 4)) == 4
limit = anonymous() + allowance
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
if how == "disk":
    times = torch.zeros(len(mapped), dtype=torch.int64)

    def note(x, generator):
        numbers = (x[:, 0, 0, :4] * 255).round() @ torch.tensor([1.0, 256.0, 65536.0, 0.0])
        times.index_add_(0, numbers.long(), torch.ones(len(x), dtype=torch.int64))
        return x

    inputs = DiskRows.of(mapped)
    batches = Batches(examples(inputs), 64, shuffle=True, memory=allowance // 3, augment=note)
    print("steps", trained(batches), "each example once", bool((times == 1).all()))
else:
    inputs = torch.from_numpy(np.array(mapped))
    print("steps", trained(Batches(examples(inputs), 64, shuffle=True)))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of images, mostly holes; the first bytes of each are its number."""
    path = tmp_path_factory.mktemp("large") / "x.npy"
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (COUNT, *SHAPE))
    pixels.reshape(COUNT, -1)[:, :4] = np.arange(COUNT, dtype="<u4")[:, None].view(np.uint8)
    pixels.flush()
    return path


def run(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TRAINING, str(path), how, str(ALLOWANCE)],
        capture_output=True,
        text=True,
        # Large blocks go back to the system when they are freed, else the sum of all is by chance.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_ten_times_the_memory_trains_from_disk(large: Path) -> None:
    assert large.stat().st_size > 9.99 * ALLOWANCE
    done = run(large, "disk")
    assert done.returncode == 0, done.stderr
    steps = -(-COUNT // 64)
    assert done.stdout == f"steps {steps} each example once True\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_it_does_not_fit_in_memory(large: Path) -> None:
    """Shows that the limit holds and that the test above can fail."""
    done = run(large, "memory")
    assert done.returncode != 0
    assert "MemoryError" in done.stderr
