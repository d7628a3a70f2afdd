"""Rows on disk give what a tensor gives, each once an epoch, and leave no thread behind."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import DataError, UsageError
from fitwell.core.machine import Memory
from fitwell.data import Batches, Chain, Crop, DiskRows, Examples, Flip, Schema, memory_budget
from fitwell.data._stream import Window, _memory, _rows, memory_limit, read_ahead

# A busy machine must not fail a test of algebra.
BRISK = settings(deadline=None, max_examples=40)
SHAPE = (3, 4, 4)
ROW = 48
SCHEMA = Schema(kind="images", input_shape=SHAPE, target_kind="class", class_names=("a", "b"))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail a test that leaves a thread of ours or a file open."""
    gc.collect()
    before = open_files()
    yield
    gc.collect()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("fitwell read ahead")]
    assert open_files() == before


def open_files() -> list[str]:
    links = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return sorted(link for link in links if link.endswith((".npy", ".bin")))


def write(path: Path, count: int) -> tuple[DiskRows, Tensor]:
    """Give rows on disk, and the same in memory; the first bytes are the number of the row."""
    values = np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    values.reshape(count, -1)[:, :4] = np.arange(count, dtype="<u4")[:, None].view(np.uint8)
    np.save(path, values)
    rows = DiskRows.of(np.load(path, mmap_mode="r"))
    assert rows is not None
    return rows, torch.from_numpy(values)


def both(path: Path, count: int) -> tuple[Examples, Examples]:
    """Give examples on disk, and the same in memory."""
    rows, values = write(path, count)
    targets = torch.arange(count) % 2
    return (
        Examples(inputs=rows, targets=targets, schema=SCHEMA),
        Examples(inputs=values, targets=targets, schema=SCHEMA),
    )


def numbers(batch: Tensor) -> list[int]:
    """Give the numbers of rows, as they are stored or as floats in [0, 1]."""
    if batch.is_floating_point():
        batch = (batch * 255).round().to(torch.uint8)
    return batch.flatten(1)[:, :4].contiguous().numpy().view("<u4")[:, 0].tolist()


KEYS = st.one_of(
    st.integers(-30, 29),
    st.slices(30),
    st.lists(st.integers(-30, 29)).map(lambda some: torch.tensor(some, dtype=torch.int64)),
    st.lists(st.booleans(), min_size=30, max_size=30).map(torch.tensor),
    st.tuples(st.slices(30), st.integers(0, 2)),
    st.tuples(st.integers(-30, 29), st.integers(0, 2)),
    st.tuples(st.slices(30), st.sampled_from([[0, 2], [1]])),
)


@BRISK
@given(key=KEYS, piece=st.integers(1, 400), gap=st.integers(0, 200))
def test_indexing_gives_what_a_tensor_gives(
    tmp_path_factory: pytest.TempPathFactory, key: object, piece: int, gap: int
) -> None:
    rows, values = write(tmp_path_factory.mktemp("rows") / "x.npy", 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "PIECE_BYTES", piece)
        patch.setattr(_rows, "_GAP_BYTES", gap)
        plain = key.numpy() if isinstance(key, Tensor) else key  # NumPy can slice backwards
        assert torch.equal(rows[key], torch.from_numpy(np.array(values.numpy()[plain])))


@BRISK
@given(first=st.lists(st.integers(0, 29), max_size=40), data=st.data())
def test_rows_of_rows(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], data: st.DataObject
) -> None:
    rows, values = write(tmp_path_factory.mktemp("rows") / "x.npy", 30)
    some = rows.take(first)
    assert some.shape == (len(first), *SHAPE)
    assert some.nbytes == len(first) * ROW
    assert torch.equal(some[:], values[first])
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=10)) if first else []
    assert torch.equal(some.take(second)[:], values[first][second])
    assert torch.equal(pickle.loads(pickle.dumps(some))[:], some[:])


def test_a_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    rows, _ = write(tmp_path / "x.npy", 5)
    for wrong in (5, -6, [0, 7]):
        with pytest.raises(IndexError, match="must be positions of 5 rows; got"):
            rows[wrong]
    assert len(list(rows)) == 5  # iteration ends by it


def test_maps_of_files_are_known(tmp_path: Path) -> None:
    write(tmp_path / "x.npy", 20)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array in (mapped, np.asarray(mapped), mapped[3:17], np.asarray(mapped)[4:][2:9]):
        rows = DiskRows.of(array)
        assert rows is not None
        assert torch.equal(rows[:], torch.from_numpy(array.copy()))
    numbers = np.arange(60, dtype=np.float32)
    numbers.tofile(tmp_path / "x.bin")
    shared = torch.from_file(str(tmp_path / "x.bin"), shared=True, size=60).reshape(20, 3)
    for tensor in (shared, shared[5:]):
        rows = DiskRows.of(tensor)
        assert rows is not None
        assert rows.is_floating_point()
        assert torch.equal(rows[:], tensor)


def test_what_is_no_plain_map_is_not_taken_for_one(tmp_path: Path) -> None:
    write(tmp_path / "x.npy", 20)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed[0] = 7  # in memory alone
    np.save(tmp_path / "swapped.npy", np.zeros((4, 2), dtype=">f4"))
    np.zeros(6, np.float32).tofile(tmp_path / "x.bin")
    private = torch.from_file(str(tmp_path / "x.bin"), shared=False, size=6)
    for value in (
        changed,
        mapped[::2],
        mapped[:, :1],
        mapped.transpose(0, 2, 3, 1),
        np.load(tmp_path / "swapped.npy", mmap_mode="r"),
        np.array(mapped),
        torch.zeros(4, 2),
        private,
    ):
        assert DiskRows.of(value) is None


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    rows, _ = write(path, 2000)
    batches = read_ahead(rows, torch.arange(2000), 10, bounds=[*range(0, 2001, 100)])
    next(batches)
    os.truncate(path, 5000)
    with pytest.raises(DataError, match=r"x\.npy: has become shorter while it was read"):
        list(batches)
    with pytest.raises(DataError, match=r"x\.npy: has changed while it was in use"):
        rows[0]
    with pytest.raises(DataError, match=r"must hold 2000 rows of 48 bytes; got 5000 bytes"):
        DiskRows(path, 2000, SHAPE, torch.uint8, 128)
    path.unlink()
    with pytest.raises(DataError, match=r"x\.npy: cannot be read \(No such file"):
        rows[0]


@pytest.mark.parametrize("share", [1.0, 0.7, 0.1])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_with_memory_for_all_the_batches_are_those_of_a_tensor(
    tmp_path: Path, share: float, drop_last: bool, shuffle: bool
) -> None:
    on_disk, in_memory = both(tmp_path / "x.npy", 300)
    part = np.sort(np.random.default_rng(1).permutation(300)[: round(share * 300)])
    on_disk, in_memory = on_disk.select(part), in_memory.select(part)
    assert on_disk.fingerprint == in_memory.fingerprint
    here = Batches(in_memory, 16, shuffle=shuffle, drop_last=drop_last, seed=3)
    there = Batches(on_disk, 16, shuffle=shuffle, drop_last=drop_last, seed=3)
    for _ in range(2):
        for want, got in zip(here, there, strict=True):
            assert torch.equal(want.inputs, got.inputs)
            assert torch.equal(want.targets, got.targets)


def endless(batches: Batches) -> Iterator[tuple[Tensor, Tensor | None]]:
    while True:
        yield from batches


@BRISK
@given(
    count=st.integers(1, 60),
    size=st.integers(1, 9),
    memory=st.integers(2 * ROW, 40 * ROW),
    stop=st.integers(0, 40),
    drop_last=st.booleans(),
    piece=st.integers(1, 400),
    gap=st.integers(0, 100),
)
def test_in_little_memory_only_the_order_differs(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    size: int,
    memory: int,
    stop: int,
    drop_last: bool,
    piece: int,
    gap: int,
) -> None:
    """A tensor in the same order gives the same, from any point of an epoch on."""
    size = min(size, count)
    on_disk, in_memory = both(tmp_path_factory.mktemp("rows") / "x.npy", count)
    part = range(0, count, 2) if count > 20 else range(count)
    on_disk, in_memory = on_disk.select(part), in_memory.select(part)
    chain = Chain((Flip(), Crop(padding=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "PIECE_BYTES", piece)
        patch.setattr(_rows, "_GAP_BYTES", gap)
        there = Batches(
            on_disk, size, shuffle=True, drop_last=drop_last, augment=chain, memory=memory
        )
        stream = endless(there)
        for _ in range(stop):
            next(stream)
        here = Batches(in_memory, size, shuffle=True, drop_last=drop_last, augment=chain, seed=1)
        here.load_state_dict(there.state_dict())
        again = Batches(on_disk, size, shuffle=True, drop_last=drop_last, augment=chain, seed=2)
        again.load_state_dict(there.state_dict())
        others = zip(endless(here), endless(again), strict=True)
        for got, (want, resumed) in islice(zip(stream, others, strict=False), 2 * len(there) + 1):
            for other in (want, resumed):
                assert torch.equal(got.inputs, other.inputs)
                assert torch.equal(got.targets, other.targets)
    stream.close()


def test_each_example_comes_once_an_epoch_in_new_orders(tmp_path: Path) -> None:
    on_disk, _ = both(tmp_path / "x.npy", 1000)
    batches = Batches(on_disk, 32, shuffle=True, memory=200 * ROW)
    epochs = [[n for batch in batches for n in numbers(batch.inputs)] for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(1000))
    assert epochs[0] != epochs[1] != epochs[2]


def test_what_was_passed_over_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk, _ = both(tmp_path / "x.npy", 1000)
    monkeypatch.setattr(_rows, "_GAP_BYTES", 0)
    seen: list[int] = []
    read = _rows._read

    def note(file: object, offset: int, out: np.ndarray) -> None:
        seen.extend(range((offset - 128) // ROW, (offset - 128 + out.nbytes) // ROW))
        read(file, offset, out)

    monkeypatch.setattr(_rows, "_read", note)
    batches = Batches(on_disk, 10, shuffle=True, memory=200 * ROW)
    passed = [n for batch in islice(batches, 63) for n in numbers(batch.inputs)]
    resumed = Batches(on_disk, 10, shuffle=True, memory=200 * ROW)
    resumed.load_state_dict(batches.state_dict())
    seen.clear()
    left = [n for batch in resumed for n in numbers(batch.inputs)]
    assert sorted(passed + left) == list(range(1000))
    assert sorted(seen) == sorted(left)


def test_at_most_two_windows_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk, _ = both(tmp_path / "x.npy", 1000)
    made: list[int] = []
    empty = torch.empty

    def note(*size: object, **more: object) -> Tensor:
        tensor = empty(*size, **more)
        made.append(tensor.nbytes)
        return tensor

    monkeypatch.setattr(torch, "empty", note)
    for memory in (2 * ROW, 100 * ROW, 999 * ROW):
        made.clear()
        for _ in Batches(on_disk, 1, shuffle=True, memory=memory):
            pass
        windows = [size for size in made if size > 8]
        assert len(windows) == 2
        assert sum(windows) <= memory


@pytest.mark.parametrize("how", ["break", "close", "error", "forgotten", "state"])
def test_an_early_end_leaves_nothing_behind(tmp_path: Path, how: str) -> None:
    """What is left would be found by the fixture."""
    on_disk, _ = both(tmp_path / "x.npy", 1000)
    batches = Batches(on_disk, 10, shuffle=True, memory=100 * ROW)
    iterator = iter(batches)
    next(iterator)
    assert [t for t in threading.enumerate() if t.name.startswith("fitwell read ahead")]
    assert len(open_files()) == 1
    if how == "break":
        del iterator
        for _ in batches:
            break
    elif how == "close":
        iterator.close()
    elif how == "error":
        with pytest.raises(RuntimeError, match="thrown"):
            iterator.throw(RuntimeError("thrown"))
    elif how == "state":
        batches.load_state_dict(batches.state_dict())
        del iterator


def test_memory_must_hold_two_examples(tmp_path: Path) -> None:
    on_disk, in_memory = both(tmp_path / "x.npy", 10)
    with pytest.raises(UsageError, match="must hold at least two examples of 48 bytes; got 95"):
        Batches(on_disk, 2, memory=95)
    assert len(list(Batches(on_disk, 2, memory=96, shuffle=True))) == 5
    assert len(list(Batches(in_memory, 2, memory=0))) == 5  # it takes no memory of its own


# How well windows shuffle.


@BRISK
@given(count=st.integers(1, 300), block=st.integers(1, 40), rows=st.integers(1, 200))
def test_an_order_is_a_permutation_that_keeps_blocks_close(
    count: int, block: int, rows: int
) -> None:
    window = Window(block, rows)
    order = window.order(count, torch.Generator().manual_seed(count))
    assert order.sort().values.tolist() == list(range(count))
    bounds = window.bounds(count)
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert max(b - a for a, b in pairwise(bounds)) <= rows
    where = torch.bucketize(order.argsort(), torch.tensor(bounds[1:]), right=True)
    if block <= min(b - a for a, b in pairwise(bounds)):
        for start in range(0, count, block):
            some = where[start : start + block]
            assert some.max() - some.min() <= 1


def test_one_window_for_all_gives_every_permutation_alike() -> None:
    generator, draws = torch.Generator().manual_seed(0), 6000
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(draws):
        found = tuple(Window(2, 4).order(4, generator).tolist())
        counts[found] = counts.get(found, 0) + 1
    assert len(counts) == 24
    # 23 degrees of freedom: above 49.7 in one of a thousand tests of a fair order.
    assert sum((n - draws / 24) ** 2 for n in counts.values()) / (draws / 24) < 49.7


def test_place_in_the_file_says_little_about_place_in_the_epoch() -> None:
    """128 blocks, 8 windows: no drift over the epoch, all windows alike, neighbours torn apart."""
    count, block, epochs = 4096, 32, 200
    window, generator = Window(block, 512), torch.Generator().manual_seed(0)
    places = torch.stack([window.order(count, generator).argsort() for _ in range(epochs)]).double()
    file = torch.arange(count).double()
    drift = torch.stack([torch.corrcoef(torch.stack([file, row]))[0, 1] for row in places])
    # As 128 blocks are the units that are permuted, one epoch's correlation spreads by 1/√127.
    assert drift.abs().mean() < 0.1
    assert drift.mean().abs() < 4 / (127 * epochs) ** 0.5
    share = (places // 512).long().flatten().bincount() / places.numel()
    assert torch.allclose(share, torch.full((8,), 1 / 8, dtype=share.dtype))
    each = torch.stack([(places // 512 == k).double().mean(0) for k in range(8)])
    # A row is in a given window in 25 of 200 epochs on average, with a spread of 4.7.
    assert (each * epochs - 25).abs().max() < 5.5 * 4.7
    beside = (places[:, 1:] - places[:, :-1]).abs() == 1
    assert beside.double().mean() < 3 * 2 / 512


# Memory.


def test_the_budget_is_a_quarter_of_the_smallest_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory_limit()
    assert free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(_memory, "read_memory", lambda: Memory(total=8000, limit=4000))
    assert memory_budget() == 1000
    monkeypatch.setattr(_memory, "_process_limits", lambda: [2000])
    assert memory_budget() == 500
    monkeypatch.setattr(_memory, "read_memory", Memory)
    assert memory_limit() == 2000


def test_limits_of_the_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    set_ = {resource.RLIMIT_AS: resource.RLIM_INFINITY, resource.RLIMIT_DATA: 10**9}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (set_[kind], 10**12))
    assert _memory._process_limits() == [10**9]
    set_[resource.RLIMIT_AS] = 10**8
    assert memory_limit() == 10**8
