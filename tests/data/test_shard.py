"""Shares of several processes: together they are what one process gets."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.data import Batches, DiskRows, Examples, Schema, Share

SCHEMA = Schema(kind="tensor", input_shape=(2,), target_kind="class", class_names=("a", "b"))


def rows(count: int) -> Examples:
    inputs = torch.arange(2 * count, dtype=torch.float32).view(count, 2)
    return Examples(inputs=inputs, targets=torch.arange(count) % 2, schema=SCHEMA)


def numbers(batch: tuple[Tensor, Tensor | None]) -> list[int]:
    return (batch[0][:, 0] / 2).int().tolist()


@given(
    count=st.integers(1, 60),
    size=st.integers(1, 5),
    batch_size=st.integers(1, 7),
    shuffle=st.booleans(),
)
def test_shares_together_are_the_batches_of_one_process(
    count: int, size: int, batch_size: int, shuffle: bool
) -> None:
    """With global batch = processes x batch_size (FED-44), over two epochs, last ones too."""
    one = Batches(rows(count), size * batch_size, shuffle=shuffle, seed=3)
    many = [
        Batches(rows(count), batch_size, shuffle=shuffle, seed=3, shard=(rank, size))
        for rank in range(size)
    ]
    assert {len(batches) for batches in many} == {len(one)}
    for _ in range(2):
        for whole, *shares in zip(one, *many, strict=True):
            if size == 1:
                assert numbers(shares[0]) == numbers(whole)
                continue
            own = [numbers(share)[: share.own] for share in shares]
            assert list(itertools.chain(*own)) == numbers(whole)
            assert {share.whole for share in shares} == {len(whole.inputs)}
            assert shares[0].own > 0  # the first process's batch norm is the one that is kept
            assert max(map(len, own)) <= batch_size
            if len(whole.inputs) >= 2 and batch_size > 2:
                assert all(len(share.inputs) >= 2 for share in shares), "batch norm needs two"
                assert 1 not in map(len, own)
            if len(whole.inputs) >= 2 * size or batch_size == 1:
                assert max(map(len, own)) - min(map(len, own)) <= 1


def test_a_short_last_batch_can_be_left_out() -> None:
    many = [Batches(rows(11), 2, drop_last=True, shard=(rank, 2)) for rank in range(2)]
    assert [[numbers(b) for b in batches] for batches in many] == [
        [[0, 1], [4, 5]],
        [[2, 3], [6, 7]],
    ]


def test_a_share_goes_on_in_the_middle_of_an_epoch_with_the_same_noise() -> None:
    def noisy(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return inputs + torch.rand(inputs.shape, generator=generator)

    def made(rank: int) -> Batches:
        return Batches(rows(23), 3, shuffle=True, augment=noisy, seed=5, shard=(rank, 2))

    whole = made(1)
    epochs = [[b.inputs for b in whole] for _ in range(3)]
    leader = made(0)  # one process saves for all
    for _ in leader:
        pass
    for _ in itertools.islice(leader, 2):
        pass
    resumed = made(1)
    resumed.load_state_dict(leader.state_dict())
    later = [b.inputs for b in resumed] + [b.inputs for b in resumed]
    expected = epochs[1][2:] + epochs[2]
    assert all(torch.equal(a, b) for a, b in zip(later, expected, strict=True))
    assert not torch.equal(epochs[0][0], epochs[1][0])
    others = next(iter(made(0))).inputs
    assert not torch.equal(others % 1, epochs[0][0] % 1), "each process draws its own noise"


def test_noise_changes_from_epoch_to_epoch_without_shuffling_too() -> None:
    batches = Batches(
        rows(4), 2, augment=lambda x, g: torch.rand(x.shape, generator=g), shard=(0, 2)
    )
    first, second = (next(iter(batches)).inputs for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_of_rows_on_disk_are_those_of_the_window_order(
    shuffle: bool, tmp_path: Path
) -> None:
    count = 301
    inputs = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    np.save(tmp_path / "x.npy", inputs)
    on_disk = DiskRows.of(np.load(tmp_path / "x.npy", mmap_mode="r"))
    examples = Examples(inputs=on_disk, targets=torch.arange(count) % 2, schema=SCHEMA)
    memory = 80 * 8  # so that windows hold 40 rows
    one = Batches(examples, 21, shuffle=shuffle, memory=memory)
    many = [
        Batches(examples, 7, shuffle=shuffle, memory=memory, shard=(rank, 3)) for rank in range(3)
    ]
    for _ in range(2):
        seen: list[int] = []
        for whole, *shares in zip(one, *many, strict=True):
            assert isinstance(shares[0], Share)
            own = [numbers(share)[: share.own] for share in shares]
            assert list(itertools.chain(*own)) == numbers(whole)
            seen += numbers(whole)
        assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_process_outside_its_world_is_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"`shard` must be \(rank, size\)"):
        Batches(rows(4), 2, shard=shard)
