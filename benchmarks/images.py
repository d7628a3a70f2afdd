"""A folder of JPEGs: images per second in the first epoch and in later ones, against a DataLoader.

The peer is what most people write: a ``Dataset`` that opens a file with Pillow, converts, resizes
and turns it into a tensor, in a ``DataLoader`` with worker processes. Both give batches of floats
in [0, 1]. The first epoch of fitwell is decoding the folder into an empty cache and going over the
batches once; the first epoch of the peer is the one after its workers have started (they are kept).
``exact`` is the same peer, and fitwell, on files that need no resizing: there the work per file is
the same on both sides.

    python benchmarks/images.py --images 2000 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fitwell.core.records import append_record
from fitwell.data import Batches, Splits, load_images

BATCH_SIZE = 64
CLASSES = 10


def make_photos(root: Path, count: int, side: int) -> list[Path]:
    """Write smooth noisy JPEGs, valid part and training part alike, so that nothing is cut."""
    random = np.random.default_rng(0)
    paths = []
    for i in range(count):
        part = "valid" if i % 10 == 9 else "train"
        path = root / part / str(i // 10 % CLASSES) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
        noisy = np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, quality=90)
        paths.append(path)
    return paths


class Files(Dataset[tuple[Tensor, int]]):
    """What a tutorial writes."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        with Image.open(path) as image:
            small = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div_(255), int(path.parent.name)


def seconds(epoch: Callable[[], Iterable[object]]) -> float:
    start = time.perf_counter()
    for _ in epoch():
        pass
    return time.perf_counter() - start


def measure(root: Path, count: int, side: int, size: int, workers: int, repeats: int) -> dict:
    paths = make_photos(root, count, side)
    loader = DataLoader(
        Files(paths, size),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    seconds(lambda: loader)  # starts the workers
    times: dict[str, list[float]] = {"first": [], "later": [], "second run": [], "DataLoader": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:

            def read(cache: str = cache) -> Splits:
                return load_images(root, image_size=size, workers=workers, cache=Path(cache))

            start = time.perf_counter()
            splits = read()
            batches = [Batches(part, BATCH_SIZE, shuffle=True) for part in splits.parts().values()]
            first = time.perf_counter() - start
            first += sum(seconds(lambda part=part: part) for part in batches)
            times["first"].append(first)
            times["later"].append(sum(seconds(lambda part=part: part) for part in batches))
            start = time.perf_counter()
            read()
            times["second run"].append(time.perf_counter() - start)
        times["DataLoader"].append(seconds(lambda: loader))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "first_epoch_images_per_second": count / medians["first"],
        "later_epochs_images_per_second": count / medians["later"],
        "second_run_start_seconds": medians["second run"],
        "dataloader_images_per_second": count / medians["DataLoader"],
        "first_epoch_over_dataloader": medians["DataLoader"] / medians["first"],
        "later_epochs_over_dataloader": medians["DataLoader"] / medians["later"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256, help="of the files")
    parser.add_argument("--size", type=int, default=64, help="that they are brought to")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", type=Path, default=Path("records/images.jsonl"))
    options = parser.parse_args()
    start = time.perf_counter()
    for name, side in (("resized", options.side), ("exact", options.size)):
        with tempfile.TemporaryDirectory() as folder:
            result = measure(
                Path(folder), options.images, side, options.size, options.workers, options.repeats
            )
        record = append_record(
            options.record,
            what=f"image folder throughput, {name}",
            method=f"load_images(image_size={options.size}, workers={options.workers})",
            result=result,
            seeds=[0],
            seconds=time.perf_counter() - start,
            images=options.images,
            side_of_files=side,
            batch_size=BATCH_SIZE,
            repeats=options.repeats,
        )
        print(record["what"], {key: round(value, 2) for key, value in result.items()})


if __name__ == "__main__":
    main()
