from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.metrics import (
    Conformal,
    SetScore,
    conformal,
    conformal_scores,
    score_sets,
    wilson_interval,
)

SCORES = ("lac", "aps")
ROUNDS, CALIBRATION, NEW = 150, 60, 50


def draw(generator: torch.Generator, count: int, sharp: float) -> tuple[Tensor, Tensor]:
    """Classes drawn from probabilities, and a model that is `sharp` times too sure of them."""
    logits = 2 * torch.randn(count, 6, dtype=torch.float64, generator=generator)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (sharp * logits).softmax(1), targets


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("sharp", [0.5, 3.0])
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_coverage_is_as_promised_however_wrong_the_model(
    score: Any, sharp: float, alpha: float
) -> None:
    generator = torch.Generator().manual_seed(5)
    shares = []
    for number in range(ROUNDS):
        rule = conformal(
            *draw(generator, CALIBRATION, sharp), alpha=alpha, score=score, seed=number
        )
        probs, targets = draw(generator, NEW, sharp)
        shares.append(score_sets(rule.sets(probs, generator=generator), targets).coverage)
    mean = sum(shares) / ROUNDS
    spread = (sum((share - mean) ** 2 for share in shares) / ROUNDS) ** 0.5
    noise = 4 * spread / ROUNDS**0.5  # four standard errors
    exact = math.ceil((CALIBRATION + 1) * (1 - alpha)) / (CALIBRATION + 1)
    assert exact >= 1 - alpha
    assert mean == pytest.approx(exact, abs=noise)  # scores have no ties: it is met exactly


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 60),
    percent=st.integers(1, 99),
    ties=st.booleans(),
)
def test_threshold_is_the_exact_quantile(seed: int, count: int, percent: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, dtype=torch.float64, generator=generator)
    scores = (scores * 4).round() / 4 if ties else scores
    rule = Conformal.from_scores(scores, alpha=percent / 100)
    # The least number with at least (n + 1)(1 - alpha) scores up to it, in whole numbers.
    wanted = Fraction(100 - percent, 100) * (count + 1)
    fitting = [s for s in scores.tolist() if int((scores <= s).sum()) >= wanted]
    assert rule.threshold == (min(fitting) if fitting else math.inf)
    assert rule.enough == (count >= 100 / percent - 1)


@pytest.mark.parametrize(("count", "place"), [(9, 9), (19, 18), (29, 27), (99, 90), (100, 91)])
def test_threshold_of_a_tenth_is_not_moved_by_rounding(count: int, place: int) -> None:
    scores = torch.arange(1, count + 1, dtype=torch.float64)
    assert Conformal.from_scores(scores, alpha=0.1).threshold == place


def test_too_few_examples_give_sets_of_all_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    probs, targets = draw(generator, 8, 1.0)
    rule = conformal(probs, targets, alpha=0.1)
    assert not rule.enough
    assert bool(rule.sets(probs).all())
    assert rule.to_dict() == {"score": "lac", "alpha": 0.1, "count": 8, "threshold": None}
    assert conformal(*draw(generator, 9, 1.0), alpha=0.1).enough


def test_scores_are_those_of_their_sources() -> None:
    generator = torch.Generator().manual_seed(0)
    probs, targets = draw(generator, 40, 1.0)
    share = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    aps = conformal_scores(probs, targets, score="aps", seed=3)
    lac = conformal_scores(probs, targets)
    for row, target, u, one, two in zip(probs, targets, share, lac, aps, strict=True):
        p = row[target]
        assert one == 1 - p
        assert two.item() == pytest.approx((row[row > p].sum() + u * p).item(), rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_sets_grow_as_alpha_falls_and_keep_the_order_of_the_probabilities(score: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = conformal_scores(*draw(generator, 200, 1.0), score=score)
    probs, _ = draw(generator, 100, 1.0)
    rules = [Conformal.from_scores(scores, alpha=a, score=score) for a in (0.4, 0.2, 0.05)]
    small, middle, large = (rule.sets(probs) for rule in rules)
    assert bool((small <= middle).all())
    assert bool((middle <= large).all())
    assert int(small.sum()) < int(middle.sum()) < int(large.sum())
    least = probs.masked_fill(~middle, 2).amin(1)
    most = probs.masked_fill(middle, -1).amax(1)
    assert bool((most <= least).all())


def test_lac_gives_smaller_sets_and_aps_covers_easy_and_hard_examples_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    probs, targets = draw(generator, 8_000, 1.0)
    fresh, right = draw(generator, 8_000, 1.0)
    confidence = fresh.amax(1)
    groups = [confidence < 0.5, (confidence >= 0.5) & (confidence < 0.8), confidence >= 0.8]
    sizes, apart = {}, {}
    for name in SCORES:
        sets = conformal(probs, targets, alpha=0.3, score=name).sets(fresh)  # type: ignore[arg-type]
        sizes[name] = score_sets(sets, right).mean_size
        shares = [score_sets(sets[group], right[group]).coverage for group in groups]
        apart[name] = max(shares) - min(shares)
    assert sizes["lac"] < sizes["aps"]
    assert apart["aps"] < 0.05 < 0.2 < apart["lac"]


def test_sets_are_scored_as_by_hand() -> None:
    sets = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]).bool()
    found = score_sets(sets, torch.tensor([0, 1, 2, 0]))
    assert found == SetScore(
        count=4,
        covered=2,
        coverage=0.5,
        coverage_interval=wilson_interval(2, 4),
        mean_size=1.0,
        empty=0.25,
        several=0.25,
        sure_accuracy=0.5,
    )
    assert found.abstained == 0.5
    plain = json.loads(json.dumps(found.to_dict()))
    assert (plain["abstained"], plain["mean_size"]) == (0.5, 1.0)
    assert score_sets(sets[1:2], torch.tensor([0])).sure_accuracy is None


def test_aps_is_the_same_for_the_same_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    probs, targets = draw(generator, 50, 1.0)
    one, other = (conformal(probs, targets, score="aps", seed=7) for _ in range(2))
    assert one == other
    assert torch.equal(one.sets(probs), other.sets(probs))
    assert one != conformal(probs, targets, score="aps", seed=8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Conformal.from_scores(torch.rand(9), alpha=0), r"`alpha` must lie in \(0, 1\)"),
        (lambda: Conformal.from_scores(torch.rand(0)), "`scores` must hold at least one number"),
        (lambda: conformal(torch.ones(3, 2), torch.zeros(3).long()), "add up to 1; got rows that"),
        (lambda: conformal(torch.eye(2), torch.arange(3)), r"got \(3,\) for \(2, 2\)"),
        (lambda: conformal(torch.eye(2)[0], torch.arange(2)), r"must have shape \(N, K\)"),
        (
            lambda: conformal(torch.eye(2), torch.arange(2), score="raps"),  # type: ignore[arg-type]
            "must be 'lac' or 'aps'; got 'raps'",
        ),
        (
            lambda: score_sets(torch.eye(2).bool(), torch.arange(3)),
            r"per row of `sets`; got \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
