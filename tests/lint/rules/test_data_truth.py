"""What the rules on data say is so: shown by running torch and scikit-learn."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    random_split,
)

NUMBERS = TensorDataset(torch.arange(10))


class Draws(Dataset[tuple[int, ...]]):
    """Draws from the global generators and from own ones."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[int, ...]:
        top = 2**31
        return (
            int(np.random.randint(top)),
            random.randrange(top),
            int(torch.randint(top, ())),
            int(self.rng.integers(top)),
            int(torch.randint(top, (), generator=self.generator)),
        )


class Twice(IterableDataset[int]):
    """Gives three numbers."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class NoLength(Dataset[int]):
    """Has no `__len__`."""

    def __getitem__(self, index: int) -> int:
        return index


class NoItems(Dataset[int]):
    """Has no `__getitem__`."""

    def __len__(self) -> int:
        return 2


def test_workers_seed_global_generators_apart_and_copy_others() -> None:
    loader = DataLoader(Draws(), batch_size=None, num_workers=2)
    (one, two), (again, _) = list(loader), list(loader)
    for place in range(3):
        assert len({one[place], two[place], again[place]}) == 3
    for place in (3, 4):
        assert one[place] == two[place] == again[place]


def test_each_worker_gives_all_of_an_iterable() -> None:
    got = list(DataLoader(Twice(), batch_size=None, num_workers=2))
    assert sorted(int(one) for one in got) == [0, 0, 1, 1, 2, 2]


def test_samplers_exclude_other_options() -> None:
    sampler = RandomSampler(NUMBERS)
    with pytest.raises(ValueError, match="mutually exclusive"):
        DataLoader(NUMBERS, sampler=sampler, shuffle=True)
    batches = BatchSampler(sampler, 2, drop_last=False)
    for options in ({"batch_size": 2}, {"shuffle": True}, {"drop_last": True}):
        with pytest.raises(ValueError, match="mutually exclusive"):
            DataLoader(NUMBERS, batch_sampler=batches, **options)


def test_what_a_data_set_must_have() -> None:
    with pytest.raises(TypeError, match=r"no len\(\)"):
        DataLoader(NoLength(), shuffle=True)
    with pytest.raises(TypeError, match=r"no len\(\)"):
        random_split(NoLength(), [0.5, 0.5])
    with pytest.raises(NotImplementedError):
        next(iter(DataLoader(NoItems())))
    with pytest.raises(ValueError, match="unspecified shuffle"):
        DataLoader(Twice(), shuffle=True)


def test_without_shuffling_all_epochs_are_the_same() -> None:
    plain = DataLoader(NUMBERS, batch_size=3)
    mixed = DataLoader(NUMBERS, batch_size=3, shuffle=True)
    torch.manual_seed(0)
    orders = [[torch.cat([b for (b,) in one]).tolist() for _ in range(2)] for one in (plain, mixed)]
    assert orders[0][0] == orders[0][1] == list(range(10))
    assert orders[1][0] != orders[1][1]


def test_a_pass_over_a_shuffled_loader_moves_the_global_generator() -> None:
    draws = []
    for shuffle in (False, True):
        torch.manual_seed(0)
        list(DataLoader(NUMBERS, shuffle=shuffle))
        draws.append(torch.rand(1))
    assert draws[0] != draws[1]


def test_drop_last_leaves_examples_out_and_may_leave_none() -> None:
    assert sum(len(b) for (b,) in DataLoader(NUMBERS, batch_size=4, drop_last=True)) == 8
    assert len(DataLoader(NUMBERS, batch_size=16, drop_last=True)) == 0


def test_a_distributed_sampler_repeats_its_order() -> None:
    sampler = DistributedSampler(NUMBERS, num_replicas=2, rank=0)
    first, second = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == second != list(sampler)


def test_next_iter_is_the_first_batch_again() -> None:
    loader = DataLoader(NUMBERS, batch_size=3)
    assert next(iter(loader))[0].tolist() == next(iter(loader))[0].tolist() == [0, 1, 2]


def test_an_iterator_is_empty_in_the_second_epoch() -> None:
    batches = iter(DataLoader(NUMBERS, batch_size=5))
    assert [sum(1 for _ in batches) for _ in range(2)] == [2, 0]


def test_both_parts_of_a_split_read_the_same_data_set() -> None:
    parts = random_split(NUMBERS, [0.5, 0.5], torch.Generator().manual_seed(0))
    assert parts[0].dataset is parts[1].dataset is NUMBERS
    assert Subset(NUMBERS, [0]).dataset is NUMBERS


def test_a_scaler_fitted_again_gives_the_same_value_another_scale() -> None:
    train, test = np.array([[0.0], [10.0]]), np.array([[10.0], [30.0]])
    scaler = StandardScaler()
    assert scaler.fit_transform(train)[1] == 1.0
    assert scaler.transform(test)[0] == 1.0
    assert scaler.fit_transform(test)[0] == -1.0


def test_a_selection_before_the_split_finds_signal_in_noise() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2000)), np.arange(80) % 2

    def score(x: np.ndarray) -> float:
        a, b, c, d = train_test_split(x, y, random_state=0, stratify=y)
        chosen = SelectKBest(k=20).fit(a, c)
        model = LogisticRegression().fit(chosen.transform(a), c)
        return float(model.score(chosen.transform(b), d))

    assert score(SelectKBest(k=20).fit_transform(x, y)) > 0.85
    assert score(x) < 0.7


def test_a_permutation_of_one_tensor_breaks_the_pairs() -> None:
    x = torch.arange(50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    pairs = TensorDataset(x[order], x)
    assert sum(bool(a == b) for a, b in pairs) < 5
