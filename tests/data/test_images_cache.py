"""The decoded cache: what is decoded again and what is not, and that it is never half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from fitwell.core.errors import DataError, UsageError
from fitwell.data import Batches, DiskRows, load_images
from fitwell.data._images import _cache, _decode, _pixels, _worker

from .image_factory import class_folders, encoded, photo, write


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a file was read and how often one was decoded."""
    counts: Counter[str] = Counter()

    def counted(name: str):
        original = getattr(_decode, name)

        def wrapper(*args: object) -> object:
            counts[name] += 1
            return original(*args)

        monkeypatch.setattr(_decode, name, wrapper)

    for name in ("read_bytes", "decode", "read_header"):
        counted(name)
    return counts


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "photos", each=10)


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "decoded").iterdir())


def test_a_miss_reads_each_file_once(photos: Path, tmp_path: Path, calls: Counter[str]) -> None:
    load_images(photos, image_size=16, channels="rgb", cache=tmp_path / "c")
    assert calls == {"read_bytes": 20, "decode": 20}


def test_later_epochs_and_runs_decode_nothing(
    photos: Path, tmp_path: Path, calls: Counter[str]
) -> None:
    first = load_images(photos, cache=tmp_path / "c")
    batches = Batches(first.train, 4, shuffle=True)
    for _ in range(2):
        list(batches)
    assert calls["decode"] == 20
    calls.clear()
    second = load_images(photos, cache=tmp_path / "c")
    assert not calls
    assert second.fingerprint == first.fingerprint
    assert second.how == first.how
    assert second.schema == first.schema
    assert len(entries(tmp_path / "c")) == 1


def test_another_size_is_another_entry(photos: Path, tmp_path: Path, calls: Counter[str]) -> None:
    small = load_images(photos, image_size=8, cache=tmp_path / "c")
    large = load_images(photos, image_size=(10, 12), cache=tmp_path / "c")
    assert small.schema.input_shape == (3, 8, 8)
    assert large.schema.input_shape == (3, 10, 12)
    assert calls["decode"] == 40


def test_a_touched_file_is_read_but_not_decoded(
    photos: Path, tmp_path: Path, calls: Counter[str]
) -> None:
    load_images(photos, cache=tmp_path / "c")
    calls.clear()
    os.utime(photos / "cat" / "3.png", (1, 1))
    load_images(photos, cache=tmp_path / "c")
    assert calls["decode"] == 0
    assert calls["read_bytes"] == 1
    calls.clear()
    load_images(photos, cache=tmp_path / "c")
    assert not calls


def test_a_moved_folder_is_not_decoded(photos: Path, tmp_path: Path, calls: Counter[str]) -> None:
    first = load_images(photos, cache=tmp_path / "c")
    calls.clear()
    second = load_images(photos.rename(tmp_path / "moved"), cache=tmp_path / "c")
    assert calls["decode"] == 0
    assert second.fingerprint == first.fingerprint


def test_changed_bytes_of_equal_size_and_time_are_decoded(
    tmp_path: Path, calls: Counter[str]
) -> None:
    photos = tmp_path / "photos"
    bitmaps = {
        f"{name}/{i}.bmp": encoded(photo(8, 8, seed=i), "BMP") for name in "ab" for i in range(9)
    }
    write(photos, bitmaps)
    first = load_images(photos, cache=tmp_path / "c", test=0)
    path = photos / "a" / "0.bmp"
    stat = path.stat()
    time.sleep(0.02)  # the clock of the file system is coarse
    path.write_bytes(encoded(photo(8, 8, seed=99), "BMP"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    second = load_images(photos, cache=tmp_path / "c", test=0)
    assert second.fingerprint != first.fingerprint
    assert len(entries(tmp_path / "c")) == 2


def test_the_entry_is_a_numpy_file_with_a_description(photos: Path, tmp_path: Path) -> None:
    splits = load_images(photos, cache=tmp_path / "c")
    (entry,) = entries(tmp_path / "c")
    pixels = np.load(entry / "pixels.npy")
    about = json.loads((entry / "about.json").read_text())
    assert pixels.shape == tuple(about["shape"]) == (20, 3, 24, 32)
    rows = list(splits.indices["train"])
    assert np.array_equal(splits.train.inputs.numpy(), pixels[rows])
    assert "may be deleted" in (tmp_path / "c" / "README.txt").read_text()


@pytest.mark.parametrize("damage", ["short", "missing", "foreign", "no description"])
def test_a_damaged_entry_is_made_again(
    photos: Path, tmp_path: Path, calls: Counter[str], damage: str
) -> None:
    first = load_images(photos, cache=tmp_path / "c")
    (entry,) = entries(tmp_path / "c")
    pixels = entry / "pixels.npy"
    if damage == "short":
        os.truncate(pixels, pixels.stat().st_size - 1)
    elif damage == "missing":
        pixels.unlink()
    elif damage == "foreign":
        (entry / "about.json").write_text('{"format": "something else"}')
    else:
        (entry / "about.json").unlink()
    calls.clear()
    second = load_images(photos, cache=tmp_path / "c")
    assert calls["decode"] == 20
    assert second.fingerprint == first.fingerprint


def test_damaged_memory_of_a_folder_costs_only_time(photos: Path, tmp_path: Path) -> None:
    first = load_images(photos, cache=tmp_path / "c")
    (memory,) = (tmp_path / "c" / "folders").iterdir()
    memory.write_text("{")
    assert load_images(photos, cache=tmp_path / "c").fingerprint == first.fingerprint


def test_a_failure_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    write(photos, {"dog/9.png": b"no image"})
    with pytest.raises(DataError, match=r"9\.png: is not an image"):
        load_images(photos, image_size=8, cache=tmp_path / "c")
    assert entries(tmp_path / "c") == []


_KILLED = """
import os, sys
from pathlib import Path
from fitwell.data import load_images
from fitwell.data._images import _cache
original = _cache._decode_chunk
def dies(files, form):
    if files[0].name != "cat/0.png":
        os.kill(os.getpid(), 9)
    return original(files, form)
_cache._decode_chunk = dies
_cache._CHUNK = 4
load_images(sys.argv[1], cache=Path(sys.argv[2]), workers=1)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_no_entry(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    command = [sys.executable, "-c", _KILLED, str(photos), str(cache)]
    assert subprocess.run(command, check=False).returncode == -9
    left = entries(cache)
    assert [path.name[:4] for path in left] == ["tmp-"]
    os.utime(left[0], (1, 1))
    load_images(photos, cache=cache)
    assert [path.name[:4] == "tmp-" for path in entries(cache)] == [False]


_TWO_AT_ONCE = """
import os, sys
from pathlib import Path
from fitwell.data import load_images
child = os.fork()
print(load_images(sys.argv[1], cache=Path(sys.argv[2])).fingerprint, flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_two_processes_at_once_share_one_entry(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TWO_AT_ONCE, str(photos), str(tmp_path / "c")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    answers = done.stdout.split()
    assert len(answers) == 2
    assert len(set(answers)) == 1
    assert len(entries(tmp_path / "c")) == 1


def test_two_threads_at_once_leave_the_filters_of_warnings_alone(
    photos: Path, tmp_path: Path
) -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        sizes = [
            pool.submit(load_images, photos, image_size=n, cache=tmp_path) for n in (4, 5, 6, 7)
        ]
        assert [job.result().schema.input_shape[1] for job in sizes] == [4, 5, 6, 7]
    assert warnings.filters == before


def test_losing_the_race_uses_the_entry_of_the_winner(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "c"
    first = load_images(photos, cache=cache)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))  # nothing there when we looked
    (cache / "folders" / next(iter(os.listdir(cache / "folders")))).unlink()
    assert load_images(photos, cache=cache).fingerprint == first.fingerprint


def test_writing_to_the_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    parts = {
        f"{part}/{name}/{i}.png": photo(8, 8, seed=i)
        for part in ("train", "valid")
        for name in "ab"
        for i in range(3)
    }
    photos = write(tmp_path / "photos", parts)
    first = load_images(photos, cache=tmp_path / "c")
    fingerprint = first.fingerprint
    first.train.inputs.fill_(7)
    assert load_images(photos, cache=tmp_path / "c").fingerprint == fingerprint


def test_parts_larger_than_memory_stay_on_disk(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_images(photos, cache=tmp_path / "c")
    (entry,) = entries(tmp_path / "c")
    files = sorted(os.listdir(entry))
    monkeypatch.setattr(_pixels, "memory_budget", lambda: 1)
    on_disk = load_images(photos, cache=tmp_path / "c")
    assert on_disk.fingerprint == first.fingerprint
    for name, part in on_disk.parts().items():
        assert isinstance(part.inputs, DiskRows)
        here, there = Batches(first.parts()[name], 4), Batches(part, 4)
        for want, got in zip(here, there, strict=True):
            assert torch.equal(want.inputs, got.inputs)
            assert torch.equal(want.targets, got.targets)
    assert sorted(os.listdir(entry)) == files


def test_any_number_of_workers_gives_the_same(photos: Path, tmp_path: Path) -> None:
    prints = {
        load_images(photos, cache=tmp_path / str(n), workers=n).fingerprint for n in (1, 2, 5)
    }
    assert len(prints) == 1
    with pytest.raises(UsageError, match="`workers` must be at least 1; got 0"):
        load_images(photos, cache=tmp_path / "c", workers=0)


@pytest.mark.parametrize("dies", [False, True])
def test_processes_give_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Counter[str], dies: bool
) -> None:
    write(photos, {"cat/bad.png": b"no image", "dog/empty.png": b""})
    first = load_images(photos, on_bad_row="skip", cache=tmp_path / "a")
    calls.clear()
    monkeypatch.setattr(_cache, "_MANY", 1)
    monkeypatch.setattr(_cache, "_CHUNK", 4)
    if dies:
        monkeypatch.setattr(_worker, "__file__", str(tmp_path / "nothing"))
    second = load_images(photos, on_bad_row="skip", cache=tmp_path / "b", workers=2)
    assert second.fingerprint == first.fingerprint
    assert second.schema.source["skipped"] == 2
    assert second.schema == first.schema
    assert calls["decode"] == (22 if dies else 0)  # here; the processes count for themselves


def test_processes_do_not_load_torch() -> None:
    code = (
        "import sys, runpy; sys.stdin = open('/dev/null');"
        f"runpy.run_path({_worker.__file__!r}, run_name='__main__'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_cache_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="`cache` must be a folder that can be written to"):
        load_images(photos, cache=tmp_path / "file")


def test_the_cache_of_fitwell_is_the_usual_place(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "home"))
    load_images(photos)
    assert len(entries(tmp_path / "home" / "images")) == 1


def test_many_chunks_keep_the_order(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_images(photos, cache=tmp_path / "a")
    monkeypatch.setattr(_cache, "_CHUNK", 3)
    assert load_images(photos, cache=tmp_path / "b").fingerprint == whole.fingerprint
