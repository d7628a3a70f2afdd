"""What mattered, against functions whose shares of variance are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from fitwell.verbs._sweep._importance import encoded, importance_of, taken_apart
from fitwell.verbs._sweep._read_space import read_space
from fitwell.verbs._sweep._rows import Row
from fitwell.verbs._sweep._space import Space

KNOWN = ("lr", "model", "batch_size", "seed", "optimizer")
CUBE = read_space(
    {
        "lr": "log(1e-4, 1)",
        "optimizer": "SGD(momentum=uniform(0, 1))",
        "batch_size": "choice(8, 16)",
    },
    KNOWN,
)
# Sums over 256 Sobol points instead of integrals.
CLOSE = 0.02


def rows_of(space: Space, score: Any, count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    found = []
    for number in range(count):
        point = space.point(lambda dimension: dimension.at(draw.random()))
        shares = encoded(space, point.values)
        found.append(
            Row(member=str(number), trial=number, values=point.values, valid=score(shares))
        )
    return found


def test_shares_of_an_additive_function_are_those_of_its_terms() -> None:
    """Variances of 6u, 3v and 2b: 36/12, 9/12 and 4/4, of 4.75 together."""

    def function(points: Sequence[Sequence[float]]) -> list[float]:
        return [6 * u + 3 * v + 2 * b for u, v, b in points]

    found = taken_apart(CUBE, function)
    assert list(found["shares"]) == ["lr", "batch_size", "optimizer.momentum"]
    assert list(found["shares"].values()) == pytest.approx(
        [3 / 4.75, 1 / 4.75, 0.75 / 4.75], abs=CLOSE
    )
    assert found["together"] == pytest.approx(0, abs=CLOSE)
    effect = found["effects"]["batch_size"]
    assert effect["at"] == [8, 16]
    assert effect["mean"] == pytest.approx([4.5, 6.5], abs=2 * CLOSE)


def test_what_settings_do_together_is_no_share_of_one() -> None:
    """Centred products vary although their mean along each factor is flat."""
    found = taken_apart(CUBE, lambda points: [(u - 0.5) * (v - 0.5) for u, v, _ in points])
    assert max(found["shares"].values()) < CLOSE
    assert found["together"] > 1 - 2 * CLOSE


def test_what_is_drawn_only_in_a_choice_counts_where_it_is_taken() -> None:
    """Half of the points have a momentum u, and only they vary: by 12 (u - 1/2)."""
    space = read_space({"optimizer": "choice(Adam(), SGD(momentum=uniform(0, 1)))"}, KNOWN)

    def function(points: Sequence[Sequence[float]]) -> list[float]:
        return [12 * (u - 0.5) if u >= 0 else 0.0 for _, u in points]

    found = taken_apart(space, function)
    assert found["shares"]["optimizer.SGD.momentum"] == pytest.approx(1, abs=0.05)


def test_a_forest_finds_the_planted_shares() -> None:
    rows = rows_of(CUBE, lambda x: 6 * x[0] + 3 * x[1] + 2 * x[2], 120)
    found = importance_of(CUBE, rows, "accuracy", "max")
    assert found["explained"] > 0.9
    planted = {"lr": 3 / 4.75, "batch_size": 1 / 4.75, "optimizer.momentum": 0.75 / 4.75}
    for name, share in planted.items():  # a forest of 120 points rounds the corners
        assert found["shares"][name] == pytest.approx(share, abs=0.08)


def test_noise_is_not_explained() -> None:
    draw = random.Random(1)
    found = importance_of(CUBE, rows_of(CUBE, lambda _: draw.random(), 60), "accuracy", "max")
    assert found["explained"] < 0.2


def test_nothing_is_said_of_few_members_or_of_equal_scores() -> None:
    assert importance_of(CUBE, rows_of(CUBE, lambda x: x[0], 7), "accuracy", "max") == {}
    assert importance_of(CUBE, rows_of(CUBE, lambda _: 1.0, 20), "accuracy", "max") == {}


def test_what_has_no_score_counts_as_the_worst() -> None:
    """Members without a score are those with high rates, so the mean falls along the rate."""
    rows = rows_of(CUBE, lambda x: None if x[0] > 0.5 else 1.0 - x[2] / 1000, 60)
    found = importance_of(CUBE, rows, "accuracy", "max")
    assert next(iter(found["shares"])) == "lr"
    mean = found["effects"]["lr"]["mean"]
    assert mean[0] > mean[-1]
    assert min(mean) >= 0.999 - 1e-9  # not below the worst that was measured
