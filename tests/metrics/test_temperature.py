from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.metrics import calibration, fit_temperature

SAME = 1e-12  # float64 sums in another order


def draw(seed: int, count: int, classes: int, true: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits whose softmax at the temperature `true` is the chance of each class."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, dtype=torch.float64, generator=generator)
    probs = (logits / true).softmax(1)
    return logits, torch.multinomial(probs, 1, generator=generator).squeeze(1)


def log_loss(logits: Tensor, targets: Tensor, temperature: float) -> float:
    return torch.nn.functional.cross_entropy(logits / temperature, targets).item()


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_temperature_that_was_planted_is_found(true: float) -> None:
    logits, targets = draw(0, 20_000, 5, true)
    found = fit_temperature(logits, targets)
    assert found.value == pytest.approx(true, rel=0.05)  # some standard errors of 20,000 draws
    assert calibration(found.probs(logits), targets).ece < 0.01
    if true != 1:
        assert calibration(logits.softmax(1), targets).ece > 0.05


@pytest.mark.parametrize("seed", range(5))
def test_temperature_equals_the_minimum_that_scipy_finds(seed: int) -> None:
    from scipy.optimize import minimize_scalar

    logits, targets = draw(seed, 60, 4, true=2.0)
    found = fit_temperature(logits, targets)
    theirs = minimize_scalar(
        lambda cold: log_loss(logits, targets, 1 / cold),
        bounds=(1e-3, 1e3),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert found.value == pytest.approx(1 / theirs.x, rel=1e-6)
    assert found.loss_after == pytest.approx(theirs.fun, rel=SAME)
    assert found.loss_before == pytest.approx(log_loss(logits, targets, 1.0), rel=SAME)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 30),
    classes=st.integers(1, 5),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 30.0, 1e4]),
    single=st.booleans(),
)
def test_loss_never_rises_and_answers_never_change(
    seed: int, count: int, classes: int, scale: float, single: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, classes, dtype=torch.float64, generator=generator)
    logits = logits.float() if single else logits
    targets = torch.randint(classes, (count,), generator=generator)
    found = fit_temperature(logits, targets)
    assert 1e-3 * (1 - SAME) <= found.value <= 1e3 * (1 + SAME)
    assert found.loss_after <= found.loss_before
    probs = found.probs(logits)
    chosen = probs.gather(1, logits.argmax(1, keepdim=True))
    assert torch.equal(chosen, probs.max(1, keepdim=True).values)
    for value in (0.5, 0.99, 1.01, 2.0):  # no better one is near
        near = min(max(found.value * value, 1e-3), 1e3)
        if found.value != 1:
            assert log_loss(logits.double(), targets, near) >= found.loss_after * (1 - SAME) - SAME


def test_all_right_cannot_tell_and_stays_at_one() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    found = fit_temperature(logits, torch.tensor([0, 1]))
    assert (found.value, found.count) == (1.0, 2)
    assert found.loss_after == found.loss_before


def test_worse_than_guessing_becomes_as_unsure_as_allowed() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    found = fit_temperature(logits, torch.tensor([1, 0]))
    assert found.value == pytest.approx(1e3, rel=1e-6)
    assert found.loss_after == pytest.approx(math.log(2), abs=1e-3)


def test_result_is_plain_data() -> None:
    found = fit_temperature(*draw(0, 30, 3))
    assert json.loads(json.dumps(found.to_dict())) == {
        "value": found.value,
        "count": 30,
        "loss_before": found.loss_before,
        "loss_after": found.loss_after,
    }


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        (torch.ones(3), torch.zeros(3).long(), r"shapes \(N, K\) and \(N,\)"),
        (torch.ones(0, 2), torch.zeros(0).long(), "N at least 1"),
        (torch.tensor([[math.nan, 1.0], [0, 1]]), torch.zeros(2).long(), "finite; .* in 1 rows"),
        (torch.ones(2, 2), torch.zeros(2), "class indices from 0 to 1; got torch.float32"),
        (torch.ones(2, 2), torch.tensor([0, 2]), "from 0 to 1; got torch.int64 from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(logits: Any, targets: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit_temperature(logits, targets)
