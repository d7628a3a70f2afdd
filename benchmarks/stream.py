"""An epoch over a file larger than memory, against reading the same file from end to end.

Contestants: ``read`` reads the file in order, 4 MiB at a time, and does nothing with it;
``ahead`` gives shuffled rows as they are stored; ``fitwell`` is `Batches`, which also make floats
in [0, 1] of them; ``rows`` is what `Batches` do without windows, each row read from its own place.
Before each turn the file is dropped from the system's cache; a virtual machine's host may still
hold it. Times are wall time.

    python benchmarks/stream.py --gib 4 --rounds 7
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import harness

SHAPE = (3, 64, 64)
BATCH_SIZE = 128


def write(path: Path, count: int) -> None:
    """Fill a .npy file with random images, and wait until it is on the disk."""
    import numpy as np

    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))
    step = 4096
    some = np.random.default_rng(0).integers(0, 256, (step, *SHAPE), dtype=np.uint8)
    for start in range(0, count, step):
        pixels[start : start + step] = some[: count - start]
    pixels.flush()
    forget(path)


def forget(path: Path) -> None:
    """Drop the file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def raw(path: Path) -> Iterable[int]:
    buffer = bytearray(4 * 2**20)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield count


def contestants(path: Path, memory: int) -> dict[str, Callable[[], Iterable[object]]]:
    import numpy as np
    import torch

    from fitwell.data import Batches, DiskRows, Examples, Schema
    from fitwell.data._stream import Window, read_ahead

    rows = DiskRows.of(np.load(path, mmap_mode="r"))
    if rows is None:
        raise SystemExit(f"{path} is no map of a file")
    schema = Schema(kind="images", input_shape=SHAPE, target_kind="class", class_names=("a", "b"))
    examples = Examples(inputs=rows, targets=torch.arange(len(rows)) % 2, schema=schema)
    batches = Batches(examples, BATCH_SIZE, shuffle=True, memory=memory)
    one_by_one = Batches(examples, BATCH_SIZE, shuffle=True, memory=rows.nbytes)
    window, generator = Window.within(memory, rows.row_bytes), torch.Generator().manual_seed(0)

    def ahead() -> Iterable[object]:
        order = window.order(len(rows), generator)
        bounds = window.bounds(len(rows))
        return read_ahead(rows, order, BATCH_SIZE, bounds=bounds, forget=True)

    return {
        harness.OURS: lambda: batches,
        "ahead": ahead,
        "read": lambda: raw(path),
        "rows": lambda: one_by_one,
    }


def main() -> None:
    parser = harness.arguments(__doc__, "records/stream.jsonl")
    parser.add_argument("--gib", type=float, default=4.0, help="size of the file")
    parser.add_argument("--memory", type=float, default=0.1, help="share of it that is allowed")
    parser.add_argument("--threads", type=int, default=1, help="of arithmetic")
    parser.add_argument("--folder", type=Path, help="where the file is made")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    gib, rounds = (0.05, 2) if options.quick else (options.gib, options.rounds)
    import torch

    from fitwell.core.records import append_record

    torch.set_num_threads(options.threads)
    count = int(gib * 2**30) // (SHAPE[0] * SHAPE[1] * SHAPE[2])
    memory = int(options.memory * gib * 2**30)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "x.npy"
        write(path, count)

        def timed(epoch: Callable[[], Iterable[object]]) -> Callable[[], float]:
            def turn() -> float:
                forget(path)
                start = time.perf_counter()
                for _ in epoch():
                    pass
                return time.perf_counter() - start

            return turn

        racers = contestants(path, memory)
        names = harness.chosen(list(racers), options.only)
        comparison = harness.compare(
            {name: timed(racers[name]) for name in names}, rounds, progress=print
        )
        size = path.stat().st_size
    print(harness.table(comparison))
    speeds = {name: size / 1e6 / comparison.median(name) for name in names}
    print("MB/s:", {name: round(speed) for name, speed in speeds.items()})
    if options.quick:
        return
    append_record(
        options.record,
        what="epoch over a file larger than memory",
        method=f"Batches(examples, {BATCH_SIZE}, shuffle=True, memory={memory})",
        result={"megabytes_per_second": speeds, "contestants": comparison.to_dict()},
        seeds=[0],
        seconds=time.perf_counter() - begun,
        file_bytes=size,
        rounds=rounds,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
