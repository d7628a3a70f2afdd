"""The learning curve: planted laws are found, promises are kept, flat curves promise nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit
from torch import nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.data import Batches, Examples, Schema
from fitwell.doctor import Twin, fit_power_law, learning_curve, state_digest
from fitwell.doctor._twins._learning_curve import _concluded
from fitwell.doctor._twins._twin import Build
from fitwell.train import Member, Supervised

SIZES = (50, 100, 200, 400, 800)


@pytest.mark.parametrize(
    ("a", "b", "c"), [(0.5, 10.0, 0.5), (0.0, 3.0, 0.3), (2.0, 100.0, 1.0), (1.0, 0.0, 1.0)]
)
def test_a_planted_law_is_found(a: float, b: float, c: float) -> None:
    law = fit_power_law(SIZES, [a + b * n**-c for n in SIZES])
    assert law.at(1600) == pytest.approx(a + b * 1600**-c, rel=1e-4)
    low, high = law.interval(1600)
    assert low == pytest.approx(high, rel=1e-3)
    if b > 0:
        assert law.a == pytest.approx(a, abs=5e-3)
        assert law.c == pytest.approx(c, rel=5e-3)


def test_the_fit_equals_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    sizes = np.repeat(SIZES, 3).astype(float)
    losses = 0.4 + 6 * sizes**-0.6 + 0.02 * random.normal(size=len(sizes))

    def form(n: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return a + b * n**-c

    expected, _ = curve_fit(form, sizes, losses, p0=(0.4, 6, 0.6), bounds=(0, [5, 1000, 3]))
    law = fit_power_law(sizes.tolist(), losses.tolist())
    ours = ((form(sizes, law.a, law.b, law.c) - losses) ** 2).sum()
    best = ((form(sizes, *expected) - losses) ** 2).sum()
    assert ours == pytest.approx(best, rel=1e-4)
    assert law.at(1600) == pytest.approx(form(np.array(1600.0), *expected), rel=5e-3)


def ridge_loss(dims: int, noise: float, size: int, seed: int) -> float:
    """Give the exact expected squared error of ridge regression fitted to so many rows."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=dims) / np.sqrt(dims)
    x = random.normal(size=(size, dims))
    y = x @ truth + noise * random.normal(size=size)
    found = np.linalg.solve(x.T @ x + np.eye(dims), x.T @ y)
    return float(((found - truth) ** 2).sum() + noise**2)


def test_tune_06_the_loss_at_twice_the_data_lies_within_its_band_in_18_of_20_tasks() -> None:
    kept = 0
    widths = []
    for task in range(20):
        dims, noise = (5, 10, 20, 30)[task % 4], (0.1, 0.3, 0.5, 1.0, 2.0)[task % 5]
        sizes = [n for n in SIZES for _ in range(4)]
        losses = [ridge_loss(dims, noise, n, 1000 * task + k) for k, n in enumerate(sizes)]
        law = fit_power_law(sizes, losses)
        low, high = law.interval(1600, level=0.9)
        kept += low <= ridge_loss(dims, noise, 1600, 77 + task) <= high
        widths.append((high - low) / (max(losses) - min(losses)))
    assert kept >= 18
    assert np.median(widths) < 0.5  # a band as wide as the curve would promise nothing


def linear_data(count: int, seed: int, noise: float) -> Examples:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 12, generator=random)
    y = x.sum(dim=1) / 4 + noise * torch.randn(count, generator=random)
    schema = Schema(kind="tensor", input_shape=(12,), target_kind="number")
    return Examples(inputs=x, targets=y, schema=schema)


VALID = linear_data(400, 1, 0.3)


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.flatten() - targets).square().mean()


def build_with(train: Examples, lr: float = 0.05) -> Build:
    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        model = nn.Linear(12, 1)
        examples = twin.examples(train)
        return Member(
            model=model,
            objective=Supervised(squared),
            optimizer=torch.optim.SGD(model.parameters(), lr=lr),
            train=Batches(examples, 16, shuffle=True, seed=seed),
            valid=Batches(VALID, 400),
            epochs=max(1, 1200 // len(examples)),
            seed=seed,
        )

    return build


def test_tune_06_more_data_help_a_model_that_has_too_few() -> None:
    build = build_with(linear_data(40, 0, 0.3))
    before = state_digest()
    found = learning_curve(build, shares=(0.3, 0.6, 1.0), seeds=2, stack=1)
    assert state_digest() == before
    assert found.ahead == 80
    assert found.law.sizes == (12, 12, 24, 24, 40, 40)
    assert len(found.law.losses) == 6
    assert found.value < found.control
    assert found.found is None  # six trainings leave a wide interval
    assert found.interval[0] <= found.value <= found.interval[1]
    # Least squares leaves 0.09 + 0.09 · 12 / (n - 13) or so; 0.1 with 80 rows.
    assert 0.09 * 0.8 < found.value < 0.16
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["conclusion"] == str(found)
    assert found.figure().axes[0].get_xscale() == "log"


def test_parts_train_for_as_many_steps_where_build_asks_for_the_epochs() -> None:
    plain = build_with(linear_data(40, 0, 0.3))
    given: dict[int, int] = {}

    def build(twin: Twin, seed: int) -> Member:
        member = plain(twin, seed)
        member.epochs = twin.epochs(3)
        given[len(member.train.examples)] = member.epochs  # type: ignore[attr-defined]
        return member

    learning_curve(build, shares=(0.25, 0.5, 1.0), seeds=2, stack=1)
    assert given == {10: 12, 20: 6, 40: 3}


def test_a_curve_that_falls_promises_a_gain() -> None:
    sizes = [float(n) for n in SIZES for _ in range(2)]
    noise = np.random.default_rng(0).normal(scale=0.002, size=len(sizes))
    found = _concluded(sizes, [3 * n**-0.3 + e for n, e in zip(sizes, noise, strict=True)], 1600)
    assert found.found is True
    assert str(found).startswith("More data would help")


def test_parts_of_a_seed_lie_within_each_other_and_differ_between_seeds() -> None:
    data = linear_data(40, 0, 0.3)
    plain = build_with(data)
    given: dict[tuple[int, int], set[float]] = {}

    def build(twin: Twin, seed: int) -> Member:
        member = plain(twin, seed)
        examples = member.train.examples  # type: ignore[attr-defined]
        given[seed, len(examples)] = set(examples.targets.tolist())
        return member

    seen: list[int] = []
    learning_curve(build, shares=(0.3, 0.6, 1.0), seeds=2, seed=5, watch=lambda p: seen.append(0))
    assert sorted(given) == [(5, 12), (5, 24), (5, 40), (6, 12), (6, 24), (6, 40)]
    for seed in (5, 6):
        assert given[seed, 12] < given[seed, 24] < given[seed, 40]
    assert given[5, 12] != given[6, 12]
    assert seen


def test_a_model_that_cannot_use_more_data_is_not_promised_any_gain() -> None:
    plain = build_with(linear_data(60, 0, 0.3), lr=0.0)

    def blind(twin: Twin, seed: int) -> Member:
        member = plain(twin, seed)
        with torch.no_grad():
            for p in member.model.parameters():
                p.zero_()
        return member

    found = learning_curve(blind, shares=(0.3, 0.6, 1.0), seeds=2, stack=1)
    assert found.found is False
    assert "hardly help" in found.conclusion


def test_wrong_arguments() -> None:
    data = linear_data(20, 0, 0.3)
    build = build_with(data)
    with pytest.raises(UsageError, match="at least three parts"):
        learning_curve(build, shares=(0.5, 1.0))
    with pytest.raises(UsageError, match="`ahead` must be above 1"):
        learning_curve(build, ahead=1.0)
    with pytest.raises(UsageError, match="four trainings and three sizes"):
        fit_power_law([1, 2, 3], [3, 2, 1])
    with pytest.raises(UsageError, match="must be finite and not negative"):
        fit_power_law([1, 2, 3, 4], [3, 2, 1, float("nan")])
    with pytest.raises(UsageError, match="must be finite and not negative"):
        fit_power_law([1, 2, 3, 4], [3, 2, 1, -0.1])
    with pytest.raises(UsageError, match="at least four trainings"):
        learning_curve(build, shares=(0.3, 0.6, 1.0), seeds=1)
    with pytest.raises(UsageError, match=r"three parts of other sizes; got .* of 20 examples"):
        learning_curve(build, shares=(0.02, 0.04, 1.0), seeds=2)
    with pytest.raises(TrainingError, match="every training must end with a finite loss"):
        learning_curve(build_with(data, lr=1e9), seeds=1)

    def unmeasured(twin: Twin, seed: int) -> Member:
        member = build(twin, seed)
        member.valid = None
        return member

    with pytest.raises(UsageError, match="`build` must set `valid`"):
        learning_curve(unmeasured, seeds=1)

    def stubborn(twin: Twin, seed: int) -> Member:
        return build(Twin(), seed)

    with pytest.raises(UsageError, match=r"must ask the twin for its examples"):
        learning_curve(stubborn, seeds=1)
