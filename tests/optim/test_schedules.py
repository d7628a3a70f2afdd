"""Schedules are torch's as functions of the step, at every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from fitwell.core.errors import UnknownName, UsageError
from fitwell.optim import (
    SCHEDULES,
    Constant,
    Cosine,
    Linear,
    OneCycle,
    Schedule,
    Step,
    WarmUp,
    schedule,
)

RATE = 0.3
TOTAL = 60
# torch's recursions multiply rounded factors step by step; ours are closed forms in float64.
RECURSION = 1e-12


def rates_of(make: Any) -> list[float]:
    """The rate of every step of a run, as torch's scheduler sets it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for step in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < TOTAL - 1:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (Cosine(), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
        (Cosine(end=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1 * RATE)),
        (Linear(), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, TOTAL)),
        (Linear(end=0.2), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, TOTAL)),
        (Step(), lambda o: lr_scheduler.MultiStepLR(o, [30, 45], 0.1)),
        (Step(at=(0.1, 0.99), gamma=0.5), lambda o: lr_scheduler.MultiStepLR(o, [6, 60], 0.5)),
        (OneCycle(), lambda o: lr_scheduler.OneCycleLR(o, RATE, total_steps=TOTAL)),
        (
            OneCycle(rise=0.25, start=0.1, end=1e-3),
            lambda o: lr_scheduler.OneCycleLR(
                o, RATE, total_steps=TOTAL, pct_start=0.25, div_factor=10, final_div_factor=100
            ),
        ),
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    ],
    ids=lambda value: (
        "torch" if callable(value) and not hasattr(value, "__dataclass_fields__") else str(value)
    ),
)
def test_equal_to_torch_at_every_step(ours: Schedule, torchs: Any) -> None:
    mine = [RATE * ours(step, TOTAL) for step in range(TOTAL)]
    assert mine == pytest.approx(rates_of(torchs), rel=RECURSION, abs=RECURSION)


def test_warm_up_is_a_line_joined_to_the_other_schedule() -> None:
    made = WarmUp(steps=5, then=Linear(end=0.5))
    assert [made(step, 15) for step in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [made(step, 15) for step in range(5, 15)] == [Linear(end=0.5)(k, 10) for k in range(10)]
    assert made(5, 15) == 1.0


def test_warm_up_without_steps_is_the_other_schedule() -> None:
    assert [WarmUp(steps=0)(k, 9) for k in range(9)] == [Cosine()(k, 9) for k in range(9)]


def test_warm_up_longer_than_the_run_only_rises() -> None:
    assert [WarmUp(steps=10)(k, 4) for k in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])


@given(
    made=st.sampled_from([Constant(), Cosine(), Linear(), OneCycle(), Step(), WarmUp(steps=3)]),
    total=st.integers(1, 200),
)
def test_factors_lie_between_0_and_1_at_every_length(made: Schedule, total: int) -> None:
    assert all(-1e-12 <= made(step, total) <= 1 + 1e-12 for step in range(total + 1))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_printed_form_builds_the_schedule(name: str) -> None:
    made = SCHEDULES[name]()
    assert schedule(name) == schedule(f"{name.lower()}()") == schedule(repr(made)) == made


def test_schedules_nest_in_text() -> None:
    made = schedule("WarmUp(steps=5, then=WarmUp(steps=2, then=Cosine(end=0.1)))")
    assert made == WarmUp(steps=5, then=WarmUp(steps=2, then=Cosine(end=0.1)))
    assert schedule("WarmUp(steps=5, then=Linear)") == WarmUp(steps=5, then=Linear())


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("Cosin()", UnknownName, "no schedule named 'Cosin'; nearest: 'Cosine'"),
        ("Cosine(ende=0.1)", UnknownName, "no argument named 'ende'; nearest: 'end'"),
        ("WarmUp(then=Cosin())", UnknownName, "no schedule named 'Cosin'; nearest: 'Cosine'"),
        ("WarmUp(then='Cosine')", UsageError, r"`then` must be a schedule such as Cosine\(\)"),
        ("Cosine(", UsageError, "must be a name with literal arguments"),
        ("Cosine(0.1)", UsageError, "Cosine"),
    ],
)
def test_wrong_text_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        schedule(text)
