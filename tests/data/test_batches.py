"""The order of batches is that of a `DataLoader`, and a stop in mid-epoch changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Chain, Crop, Examples, Flip, Schema, _batches

# A busy machine must not fail a test of algebra.
BRISK = settings(deadline=None, max_examples=40)


def rows(count: int) -> Examples:
    schema = Schema(
        kind="tensor", input_shape=(2,), target_kind="class", class_names=("a", "b", "c")
    )
    inputs = torch.arange(2.0 * count).reshape(count, 2)
    return Examples(inputs=inputs, targets=torch.arange(count) % 3, schema=schema)


def pictures(count: int) -> Examples:
    schema = Schema(
        kind="images", input_shape=(1, 4, 4), target_kind="class", class_names=("a", "b")
    )
    pixels = torch.randint(256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    return Examples(inputs=pixels.to(torch.uint8), targets=torch.arange(count) % 2, schema=schema)


def stream(batches: Batches) -> Iterator[tuple[Tensor, Tensor | None]]:
    while True:
        yield from batches


@pytest.mark.parametrize("gather", [False, True], ids=["permuted", "gathered"])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("count", "size"), [(10, 3), (12, 4), (7, 1), (5, 5), (1, 1), (101, 32)])
def test_batches_equal_those_of_a_data_loader(
    monkeypatch, count: int, size: int, shuffle: bool, drop_last: bool, gather: bool
) -> None:
    if gather:
        monkeypatch.setattr(_batches, "_PERMUTE_BYTES", 0)
    examples = rows(count)
    loader = DataLoader(
        TensorDataset(examples.inputs, examples.targets),
        batch_size=size,
        shuffle=shuffle,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(7),
    )
    batches = Batches(examples, size, shuffle=shuffle, seed=7, drop_last=drop_last)
    assert len(batches) == len(loader)
    for _ in range(3):
        for ours, theirs in zip(batches, loader, strict=True):
            assert torch.equal(ours.inputs, theirs[0])
            assert torch.equal(ours.targets, theirs[1])


def test_ten_thousand_rows_in_tens_are_a_thousand_updates_and_each_row_once() -> None:
    epoch = list(Batches(rows(10_000), 10, shuffle=True))
    assert len(epoch) == 1000
    seen = torch.cat([batch.inputs[:, 0] for batch in epoch]) / 2
    assert torch.equal(seen.sort().values, torch.arange(10_000.0))


def test_epochs_have_different_orders_and_the_seed_decides_them() -> None:
    orders = {}
    for seed in (0, 0, 1):
        batches = Batches(rows(50), 50, shuffle=True, seed=seed)
        orders.setdefault(seed, []).append([next(iter(batches)).inputs for _ in range(2)])
    (first, again), (other,) = orders[0], orders[1]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("gather", [False, True], ids=["permuted", "gathered"])
@pytest.mark.parametrize("drop_last", [False, True])
@BRISK
@given(
    count=st.integers(1, 30),
    size=st.integers(1, 9),
    stop=st.integers(0, 40),
    shuffle=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_going_on_from_a_saved_state_equals_not_stopping(
    gather: bool, drop_last: bool, count: int, size: int, stop: int, shuffle: bool, seed: int
) -> None:
    size = min(size, count)
    with pytest.MonkeyPatch.context() as patch:
        if gather:
            patch.setattr(_batches, "_PERMUTE_BYTES", 0)
        examples = pictures(count)

        def make(seed: int) -> Batches:
            chain = Chain((Flip(), Crop(padding=1)))
            return Batches(
                examples, size, shuffle=shuffle, seed=seed, drop_last=drop_last, augment=chain
            )

        whole, resumed = make(seed), make(seed + 1)
        wanted = stream(whole)
        for _ in range(stop):
            next(wanted)
        resumed.load_state_dict(whole.state_dict())
        going_on = stream(resumed)
        for _ in range(2 * len(whole) + 1):
            want, got = next(wanted), next(going_on)
            assert torch.equal(want.inputs, got.inputs)
            assert torch.equal(want.targets, got.targets)


def test_a_saved_state_survives_torch_save(tmp_path) -> None:
    batches = Batches(rows(10), 3, shuffle=True)
    iterator = iter(batches)
    next(iterator)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    resumed = Batches(rows(10), 3, shuffle=True, seed=5)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for want, got in zip(iterator, resumed, strict=True):
        assert torch.equal(want.inputs, got.inputs)


def test_images_become_floats_in_zero_to_one_and_the_source_stays() -> None:
    examples = pictures(6)
    before = examples.inputs.clone()
    (batch,) = Batches(examples, 6, augment=Flip(p=1.0))
    assert batch.inputs.dtype == torch.float32
    assert torch.equal(batch.inputs, (before.float() / 255).flip(-1))
    assert torch.equal(examples.inputs, before)


def test_examples_without_targets_give_none() -> None:
    examples = Examples(inputs=rows(5).inputs, targets=None, schema=rows(5).schema)
    for shuffle in (False, True):
        assert [batch.targets for batch in Batches(examples, 2, shuffle=shuffle)] == [None] * 3


def test_batches_that_cannot_be_made_say_why() -> None:
    with pytest.raises(UsageError, match="`batch_size` must be at least 1; got 0"):
        Batches(rows(3), 0)
    with pytest.raises(UsageError, match="at least one batch; got 3 examples, batch_size=4"):
        Batches(rows(3), 4, drop_last=True)
    with pytest.raises(UsageError, match="got 0 examples"):
        Batches(rows(3).select([]), 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_batches_of_data_that_stays_on_the_cpu_arrive_on_the_gpu() -> None:
    data = rows(50)
    for here, there in zip(Batches(data, 16), Batches(data, 16, device="cuda"), strict=True):
        assert there.inputs.is_cuda
        assert there.targets.is_cuda
        assert torch.equal(here.inputs, there.inputs.cpu())
        assert torch.equal(here.targets, there.targets.cpu())
