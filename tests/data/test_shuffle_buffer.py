"""FED-44: the distribution of the shuffle buffer, against all possible draws."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import UsageError
from fitwell.data import shuffle_buffer

# A busy machine must not fail a test of algebra.
BRISK = settings(deadline=None, max_examples=60)
DRAWS = 20_000


def distribution(count: int, size: int) -> dict[tuple[int, ...], Fraction]:
    """Go through all draws of tf.data's shuffle, by its definition.

    The buffer is filled up from the stream; one of its items is drawn uniformly; and so on until
    the buffer is empty.
    """
    found: Counter[tuple[int, ...]] = Counter()

    def draw(
        buffer: tuple[int, ...], rest: tuple[int, ...], out: tuple[int, ...], p: Fraction
    ) -> None:
        missing = size - len(buffer)
        buffer, rest = buffer + rest[:missing], rest[missing:]
        if not buffer:
            found[out] += p  # type: ignore[assignment]
            return
        for place, item in enumerate(buffer):
            left = buffer[:place] + buffer[place + 1 :]
            draw(left, rest, (*out, item), p / len(buffer))

    draw((), tuple(range(count)), (), Fraction(1))
    return dict(found)  # type: ignore[arg-type]


def test_the_reference_is_a_distribution_with_its_known_limits() -> None:
    for count, size in itertools.product(range(6), range(1, 7)):
        assert sum(distribution(count, size).values()) == 1
    assert distribution(4, 1) == {(0, 1, 2, 3): 1}
    assert set(distribution(4, 4).values()) == {Fraction(1, 24)}
    assert distribution(3, 2)[0, 1, 2] == Fraction(1, 4)  # draws of 1/2 and 1/2, then one is left


@pytest.mark.parametrize(
    ("count", "size"), [(3, 2), (4, 2), (4, 3), (5, 2), (5, 3), (4, 4), (3, 9)]
)
def test_fed_44_orders_come_as_often_as_all_draws_say(count: int, size: int) -> None:
    wanted = distribution(count, size)
    stream = range(count)
    found = Counter(tuple(shuffle_buffer(stream, size, seed=seed)) for seed in range(DRAWS))
    assert set(found) <= set(wanted)
    distance = sum((found[o] - DRAWS * p) ** 2 / (DRAWS * p) for o, p in wanted.items())
    # Mean and variance of chi-square are its degrees of freedom and twice that.
    freedom = len(wanted) - 1
    assert float(distance) < freedom + 4 * (2 * freedom) ** 0.5


def test_the_comparison_finds_a_wrong_buffer() -> None:
    """Drawing from the buffer before the next item is in, with one place less, is found."""
    wanted = distribution(4, 3)
    found = Counter(tuple(shuffle_buffer(range(4), 2, seed=seed)) for seed in range(DRAWS))
    distance = sum((found[o] - DRAWS * p) ** 2 / (DRAWS * p) for o, p in wanted.items())
    freedom = len(wanted) - 1
    assert float(distance) > 10 * (freedom + 4 * (2 * freedom) ** 0.5)


@BRISK
@given(count=st.integers(0, 60), size=st.integers(1, 80), seed=st.integers(0, 1000))
def test_fed_44_each_item_once_and_none_too_early(count: int, size: int, seed: int) -> None:
    order = list(shuffle_buffer(iter(range(count)), size, seed=seed))
    assert sorted(order) == list(range(count))
    assert order == list(shuffle_buffer(range(count), size, seed=seed))
    for place, item in enumerate(order):
        assert item <= place + size - 1
    if size == 1:
        assert order == list(range(count))


def test_a_stream_without_end_is_shuffled() -> None:
    stream = itertools.count()
    some = list(itertools.islice(shuffle_buffer(stream, 100), 1000))
    assert len(set(some)) == 1000
    assert some != sorted(some)
    assert next(stream) <= 1101  # no more was taken than the buffer needs


def test_a_buffer_must_hold_something() -> None:
    with pytest.raises(UsageError, match="`buffer_size` must be at least 1; got 0"):
        shuffle_buffer(range(3), 0)
