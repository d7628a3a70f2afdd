"""Which checkpoints stay, and that a folder is whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import RunError, UsageError
from fitwell.train import Checkpoints, Entry, Retention

SIZE = 400_000


def state(step: int) -> dict[str, Any]:
    weights = {"w": torch.full((SIZE // 4,), float(step))}
    return {"model": weights, "average": None, "best": None, "step": step, "epoch": step}


def steps(checkpoints: Checkpoints) -> list[int]:
    return [entry.step for entry in checkpoints.entries()]


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=30),
    values=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=30, max_size=30),
    best=st.integers(0, 4),
    every=st.integers(0, 5),
    room=st.integers(200, 600),
)
def test_plat_11_the_byte_budget_is_never_exceeded(
    sizes: list[int], values: list[float | None], best: int, every: int, room: int
) -> None:
    policy = Retention(best=best, every=every, max_bytes=room)
    free = Retention(best=best, every=every)
    disk: list[Entry] = []
    for step, size in enumerate(sizes, start=1):
        surplus = policy.surplus(disk, size)
        disk = [entry for entry in disk if entry not in surplus]
        assert not disk or disk[-1].step == step - 1  # the newest is always there to resume from
        disk.append(Entry(step, size, values[step - 1]))
        assert sum(entry.size for entry in disk) <= room
    unlimited = free.surplus(disk, 1)
    measured = sorted((e.value, e.step) for e in disk if e.value is not None)
    for value, step in measured[:best]:
        assert (step, value) not in [(e.step, e.value) for e in unlimited]
    for entry in unlimited:
        assert entry.step != disk[-1].step
        assert not every or entry.step % every


def test_plat_11_the_folder_stays_within_its_budget(tmp_path: Path) -> None:
    room = 4 * SIZE
    checkpoints = Checkpoints(tmp_path, Retention(best=3, every=2, max_bytes=room))
    for step in range(1, 12):
        checkpoints.save(state(step), value=float(step))
        used = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
        assert used <= room
    assert steps(checkpoints)[-1] == 11


def test_last_best_and_periodic_ones_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Retention(best=1, every=5))
    for step, value in enumerate([0.5, 0.1, 0.9, 0.8, 0.7, 0.6, 0.4], start=1):
        checkpoints.save(state(step), value=value)
    assert steps(checkpoints) == [2, 5, 6, 7]  # the one before the last goes with the next save


def test_a_budget_too_small_for_two_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Retention(max_bytes=SIZE * 3 // 2))
    checkpoints.save(state(1))
    with pytest.raises(UsageError, match="`max_bytes` must hold two checkpoints"):
        checkpoints.save(state(2))
    assert steps(checkpoints) == [1]


def test_an_error_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match="has no room for a checkpoint"):
        checkpoints.save(state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_leftovers_of_a_killed_process_are_ignored_and_removed(tmp_path: Path) -> None:
    leftover = tmp_path / ".writing-abc"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    checkpoints.save(state(1))
    assert not leftover.exists()


def test_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no checkpoint"):
        Checkpoints(tmp_path).load()


def test_negative_values_are_refused() -> None:
    with pytest.raises(UsageError, match="must not be negative"):
        Retention(best=-1)
