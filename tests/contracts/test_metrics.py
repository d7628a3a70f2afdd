"""What every accumulator of `fitwell.metrics` keeps to."""

from __future__ import annotations

import inspect
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell import metrics
from fitwell.core.errors import UsageError
from fitwell.metrics import Classification, Regression

Metric = Classification | Regression
MAKERS = {"Classification": lambda: Classification(4), "Regression": Regression}
LOWER_IS_BETTER = {"loss", "error", "mse", "rmse", "mae"}
# float64 sums in another order.
TOLERANCE = 1e-12


def batch(name: str, seed: int, count: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    if name == "Classification":
        return outputs, torch.randint(0, 4, (count,), generator=generator)
    return outputs[:, 0], outputs[:, 1]


def test_every_public_accumulator_is_tested() -> None:
    public = {n for n, v in vars(metrics).items() if inspect.isclass(v) and hasattr(v, "merge")}
    assert public == set(MAKERS)


@pytest.mark.parametrize("name", sorted(MAKERS))
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 30))
def test_two_parts_merged_equal_the_whole(name: str, seed: int, cut: int) -> None:
    outputs, targets = batch(name, seed)
    whole: Metric = MAKERS[name]()
    whole.update(outputs, targets)
    first, second = MAKERS[name](), MAKERS[name]()
    first.update(outputs[:cut], targets[:cut])
    second.update(outputs[cut:], targets[cut:])
    first.merge(second)  # type: ignore[arg-type]
    assert first.compute() == pytest.approx(whole.compute(), abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_perfect_prediction_has_the_best_scores(name: str) -> None:
    _, targets = batch(name, 0)
    outputs = targets
    if name == "Classification":
        outputs = torch.nn.functional.one_hot(targets, 4).double() * 1e3
    metric: Metric = MAKERS[name]()
    metric.update(outputs, targets)
    for key, value in metric.compute().items():
        assert value == (0 if key in LOWER_IS_BETTER else 1), key


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_order_of_examples_does_not_matter(name: str) -> None:
    outputs, targets = batch(name, 1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    one, other = MAKERS[name](), MAKERS[name]()
    one.update(outputs, targets)
    other.update(outputs[order], targets[order])
    assert one.compute() == pytest.approx(other.compute(), abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_scores_are_finite_and_fit_into_json(name: str) -> None:
    metric: Metric = MAKERS[name]()
    metric.update(*batch(name, 3))
    scores = metric.compute()
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert json.loads(json.dumps(scores)) == scores
    assert metric.compute() == scores


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_reset_forgets_and_nothing_gives_no_score(name: str) -> None:
    metric: Metric = MAKERS[name]()
    metric.update(*batch(name, 4))
    metric.reset()
    with pytest.raises(UsageError, match=rf"{name}: `update` must come before `compute`"):
        metric.compute()
    metric.update(*batch(name, 5))
    fresh: Metric = MAKERS[name]()
    fresh.update(*batch(name, 5))
    assert metric.compute() == fresh.compute()
