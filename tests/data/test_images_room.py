"""The cache of decoded images stays within its limit, and says how far the decoding is."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fitwell.data import DecodingProgress, load_images
from fitwell.data._images import _cache, _room

from .image_factory import class_folders

ENTRY = 10_000


def make_entry(cache: Path, name: str, days_ago: float) -> Path:
    folder = cache / "decoded" / name
    folder.mkdir(parents=True)
    (folder / "pixels.npy").write_bytes(bytes(ENTRY))
    now = folder.stat().st_mtime
    os.utime(folder, (now - days_ago * 86_400,) * 2)
    return folder


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "decoded").iterdir())


def mark(cache: Path, name: str, host: str, process: int) -> Path:
    path = cache / "in-use" / f"{name}.{host}.{process}"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def ended_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [(4 * ENTRY, "abcd"), (4 * ENTRY - 1, "acd"), (2 * ENTRY, "ac"), (1, "")],
)
def test_the_longest_unused_go_first(tmp_path: Path, limit: int, wanted: str) -> None:
    for name, days in {"a": 1, "b": 4, "c": 2, "d": 3}.items():
        make_entry(tmp_path, name, days)
    _room.make_room(tmp_path, limit)
    assert left(tmp_path) == list(wanted)


def test_use_makes_an_entry_new_and_keeps_it(tmp_path: Path) -> None:
    for name, days in {"a": 3, "b": 2, "c": 1}.items():
        make_entry(tmp_path, name, days)
    _room.mark_used(tmp_path, "a")
    _room.make_room(tmp_path, 2 * ENTRY)
    assert left(tmp_path) == ["a", "c"]
    _room.make_room(tmp_path, 0)
    assert left(tmp_path) == ["a"]


def test_only_a_process_that_runs_keeps_an_entry(tmp_path: Path) -> None:
    for name in "abcd":
        make_entry(tmp_path, name, 1)
    gone = mark(tmp_path, "a", socket.gethostname(), ended_process())
    mark(tmp_path, "b", socket.gethostname(), os.getppid())
    mark(tmp_path, "c", "another.example.org", 1)
    old = mark(tmp_path, "d", "another.example.org", 2)
    os.utime(old, (1, 1))
    _room.make_room(tmp_path, 0)
    assert left(tmp_path) == ["b", "c"]
    assert not gone.exists()
    assert not old.exists()


def test_an_entry_that_comes_into_use_meanwhile_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(tmp_path, "a", 1)
    answers = iter([False, True])
    monkeypatch.setattr(_room, "_is_used", lambda folder, key: next(answers))
    _room.make_room(tmp_path, 0)
    assert left(tmp_path) == ["a"]


def test_a_new_entry_drives_out_old_ones_but_not_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, cache = class_folders(tmp_path / "photos", each=4), tmp_path / "c"
    make_entry(cache, "old", 5)
    monkeypatch.setattr(_room, "DISK_SHARE", 10**18)  # of any disk nothing
    first = load_images(photos, cache=cache)
    (entry,) = left(cache)
    assert entry != "old"
    monkeypatch.setattr(_cache.ImageCache, "_decode", None)  # it is found again
    again = load_images(photos, cache=cache)
    assert torch.equal(again.train.inputs[:], first.train.inputs[:])


# Progress.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, seconds_per_image: float, total: int, step: int) -> str:
    now = [100.0]
    progress = DecodingProgress(stream, clock=lambda: now[0])
    for done in range(0, total + 1, step):
        now[0] = 100 + done * seconds_per_image
        progress(done, total)
    return stream.getvalue()


def test_progress_in_a_log_is_a_line_each_half_minute() -> None:
    lines = shown(io.StringIO(), 0.002, 60_000, 32).splitlines()
    assert lines[0] == "decoding 1,024 of 60,000 images, 1:58 left"
    assert len(lines) == 5
    assert lines[-1] == "decoded 60,000 images in 2:00"


def test_progress_on_a_terminal_is_one_line() -> None:
    text = shown(Terminal(), 0.2, 20_000, 1000)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "\rdecoding 1,000 of 20,000 images, 1:03:20 left" in text


def test_what_is_done_soon_is_not_worth_a_word() -> None:
    assert shown(io.StringIO(), 0.0001, 10_000, 100) == ""


def test_decoding_tells_how_far_it_is_and_the_cache_is_silent(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", each=40)
    told: list[tuple[int, int]] = []
    for _ in range(2):
        load_images(photos, cache=tmp_path / "c", progress=lambda *now: told.append(now))
    assert told == [(0, 80), (32, 80), (64, 80), (80, 80)]
