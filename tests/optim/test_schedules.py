"""Schedules are torch's as functions of the step, at every step."""

from __future__ import annotations

import math
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
    Exponential,
    Linear,
    Noam,
    OneCycle,
    Plateau,
    Polynomial,
    Restarts,
    Schedule,
    Step,
    Triangular,
    WarmUp,
    schedule,
)

RATE = 0.3
TOTAL = 60
# torch's recursions multiply rounded factors step by step; ours are closed forms in float64.
RECURSION = 1e-12


def name_of(value: Any) -> str:
    """Name a case by our schedule."""
    return str(value) if hasattr(value, "__dataclass_fields__") else "torch"


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
    ids=name_of,
)
def test_equal_to_torch_at_every_step(ours: Schedule, torchs: Any) -> None:
    mine = [RATE * ours(step, TOTAL) for step in range(TOTAL)]
    assert mine == pytest.approx(rates_of(torchs), rel=RECURSION, abs=RECURSION)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (Exponential(gamma=0.93), lambda o: lr_scheduler.ExponentialLR(o, 0.93)),
        (Exponential(), lambda o: lr_scheduler.ExponentialLR(o, 0.01 ** (1 / TOTAL))),
        (Polynomial(), lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 0.9)),
        (Polynomial(power=2.5), lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 2.5)),
        (Step(at=(7, 7, 31)), lambda o: lr_scheduler.MultiStepLR(o, [7, 7, 31], 0.1)),
        (Step(at=(20, 40), gamma=0.3), lambda o: lr_scheduler.StepLR(o, 20, 0.3)),
        (
            OneCycle(rise=20),
            lambda o: lr_scheduler.OneCycleLR(o, RATE, total_steps=TOTAL, pct_start=1 / 3),
        ),
    ],
    ids=name_of,
)
def test_tune_37_equal_to_torch_at_every_step(ours: Schedule, torchs: Any) -> None:
    mine = [RATE * ours(step, TOTAL) for step in range(TOTAL)]
    assert mine == pytest.approx(rates_of(torchs), rel=RECURSION, abs=RECURSION)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize(("rise", "fall"), [(5, None), (7, 4), (2, 9), (1, 1)])
def test_opt_15_equal_to_cyclic_lr_at_every_step(mode: Any, rise: int, fall: int | None) -> None:
    ours = Triangular(rise=rise, fall=fall, low=0.2, mode=mode, gamma=0.97)
    torchs = rates_of(
        lambda o: lr_scheduler.CyclicLR(
            o, 0.2 * RATE, RATE, rise, fall, mode, 0.97, cycle_momentum=False
        )
    )
    mine = [RATE * ours(step, TOTAL) for step in range(TOTAL)]
    assert mine == pytest.approx(torchs, rel=RECURSION)
    assert max(torchs) > 2 * min(torchs)  # the case moves at all


@pytest.mark.parametrize(("first", "multiply"), [(6, 1), (7, 1), (1, 2), (5, 2), (3, 3), (90, 2)])
@pytest.mark.parametrize("end", [0.0, 0.1])
def test_opt_16_equal_to_warm_restarts_at_every_step(first: int, multiply: int, end: float) -> None:
    ours = Restarts(first=first, multiply=multiply, end=end)
    torchs = rates_of(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, first, multiply, end * RATE)
    )
    mine = [RATE * ours(step, TOTAL) for step in range(TOTAL)]
    assert mine == pytest.approx(torchs, rel=RECURSION, abs=RECURSION)


@pytest.mark.parametrize(
    ("rise", "start", "end"), [(0.3, 0.04, 4e-6), (0.5, 0.2, 1e-3), (0.05, 1.0, 0.0)]
)
@pytest.mark.parametrize("total", [9, 60, 61])
def test_opt_17_equal_to_one_cycle_lr(rise: float, start: float, end: float, total: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE, momentum=0.9)
    torchs = lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=total, pct_start=rise, div_factor=1 / start,
        final_div_factor=start / end if end else math.inf,
    )  # fmt: skip
    ours = OneCycle(rise=rise, start=start, end=end)
    for step in range(total):
        if rise * total >= 1 or step > 0:  # torch starts on a rise that is over before step 0
            rate = optimizer.param_groups[0]["lr"]
            assert RATE * ours(step, total) == pytest.approx(rate, rel=RECURSION, abs=RECURSION)
        optimizer.step()
        if step < total - 1:
            torchs.step()


# Warm-up, against the formulas of transformers written out ---------------------------------------


def linear_with_warm_up(step: int, warm: int, total: int) -> float:
    if step < warm:
        return step / max(1, warm)
    return max(0.0, (total - step) / max(1, total - warm))


def cosine_with_warm_up(step: int, warm: int, total: int) -> float:
    if step < warm:
        return step / max(1, warm)
    progress = (step - warm) / max(1, total - warm)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * 0.5 * 2 * progress)))


def restarts_with_warm_up(step: int, warm: int, total: int) -> float:
    if step < warm:
        return step / max(1, warm)
    progress = (step - warm) / max(1, total - warm)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * ((4 * progress) % 1.0))))


def polynomial_with_warm_up(step: int, warm: int, total: int) -> float:
    if step < warm:
        return step / max(1, warm)
    left = 1 - (step - warm) / (total - warm)
    return (1 - 0.05) * left**2 + 0.05


def constant_with_warm_up(step: int, warm: int, total: int) -> float:
    return step / max(1, warm) if step < warm else 1.0


def inverse_root_with_warm_up(step: int, warm: int, total: int) -> float:
    return step / max(1, warm) if step < warm else 1 / math.sqrt(step / warm)


@pytest.mark.parametrize(
    ("then", "theirs"),
    [
        (Linear(), linear_with_warm_up),
        (Cosine(), cosine_with_warm_up),
        (Restarts(first=0.25), restarts_with_warm_up),
        (Polynomial(power=2, end=0.05), polynomial_with_warm_up),
        (Constant(), constant_with_warm_up),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("warm", [0, 1, 12])
def test_tune_38_warm_up_equals_that_of_transformers(then: Any, theirs: Any, warm: int) -> None:
    total = 60 + warm
    ours = WarmUp(steps=warm, then=then)
    # Theirs spends a step at rate 0 and is one step behind in the rise; the rest is at one place.
    assert [ours(k, total) for k in range(warm)] == pytest.approx(
        [theirs(k + 1, warm, total) for k in range(warm)], rel=RECURSION
    )
    assert [ours(k, total) for k in range(warm, total)] == pytest.approx(
        [theirs(k, warm, total) for k in range(warm, total)], rel=RECURSION, abs=RECURSION
    )


def test_tune_38_noam_equals_the_inverse_root_of_transformers_one_step_on() -> None:
    ours = [Noam(warmup_steps=12)(k, TOTAL) for k in range(TOTAL)]
    assert ours == pytest.approx(
        [inverse_root_with_warm_up(k + 1, 12, TOTAL) for k in range(TOTAL)], rel=RECURSION
    )


def test_hw5_09_noam_is_the_published_formula() -> None:
    width, warm = 512, 40
    for step in range(400):
        count = step + 1
        published = width**-0.5 * min(count**-0.5, count * warm**-1.5)
        made = Noam(warmup_steps=warm, embed_dim=width)(step, 1)
        assert made == pytest.approx(published, rel=RECURSION)


@given(warm=st.integers(1, 300), width=st.sampled_from([None, 1, 64, 1024]))
def test_hw5_09_the_peak_is_at_the_warm_up_step(warm: int, width: int | None) -> None:
    factors = [Noam(warmup_steps=warm, embed_dim=width)(k, 1) for k in range(3 * warm + 2)]
    assert factors.index(max(factors)) == warm - 1
    assert max(factors) == pytest.approx(1 if width is None else (width * warm) ** -0.5)
    assert factors[warm:] == sorted(factors[warm:], reverse=True)


def test_hw5_09_noam_is_the_inverse_root_of_fairseq_up_to_the_constant() -> None:
    peak, warm = 5e-4, 30

    def fairseq(updates: int) -> float:
        """Follow its rule: a line from 0, then the peak times the root of both counts."""
        if updates < warm:
            return 0.0 + updates * (peak / warm)
        return float(peak * warm**0.5 * updates**-0.5)

    theirs = [fairseq(updates) for updates in range(1, 200)]
    ours = [Noam(warmup_steps=warm, embed_dim=64)(k, 1) for k in range(199)]
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=RECURSION)
    scaled = [peak * Noam(warmup_steps=warm)(k, 1) for k in range(199)]
    assert scaled == pytest.approx(theirs, rel=RECURSION)


def test_warm_up_is_a_line_joined_to_the_other_schedule() -> None:
    made = WarmUp(steps=5, then=Linear(end=0.5))
    assert [made(step, 15) for step in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [made(step, 15) for step in range(5, 15)] == [Linear(end=0.5)(k, 10) for k in range(10)]
    assert made(5, 15) == 1.0


def test_warm_up_without_steps_is_the_other_schedule() -> None:
    assert [WarmUp(steps=0)(k, 9) for k in range(9)] == [Cosine()(k, 9) for k in range(9)]


def test_warm_up_longer_than_the_run_only_rises() -> None:
    assert [WarmUp(steps=10)(k, 4) for k in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_warm_up_starts_above_a_factor_and_at_one_it_holds() -> None:
    made = WarmUp(steps=4, start=0.2, then=Constant())
    assert [made(k, 9) for k in range(5)] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])
    # Rise, hold, fall: three pieces from two.
    held = WarmUp(steps=2, then=WarmUp(steps=3, start=1.0, then=Linear()))
    assert [held(k, 9) for k in range(9)] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("made", "simpler"),
    [
        (Cosine(end=1.0), Constant()),
        (Linear(end=1.0), Constant()),
        (Exponential(end=1.0), Constant()),
        (Step(gamma=1.0), Constant()),
        (Plateau(factor=1.0), Constant()),
        (Triangular(low=1.0), Constant()),
        (Polynomial(power=1.0, end=0.3), Linear(end=0.3)),
        (Restarts(first=1.0, end=0.3), Cosine(end=0.3)),
        (Triangular(mode="exp_range", gamma=1.0), Triangular()),
        (OneCycle(rise=0.0, end=0.3), WarmUp(steps=0, then=OneCycle(rise=0, end=0.3))),
    ],
    ids=name_of,
)
def test_reduces_to_the_simpler_schedule(made: Schedule, simpler: Schedule) -> None:
    ours, theirs = ([s(step, 40) for step in range(40)] for s in (made, simpler))
    assert ours == pytest.approx(theirs, rel=RECURSION)


@pytest.mark.parametrize(
    ("share", "steps"),
    [
        (WarmUp(steps=0.1), WarmUp(steps=10)),
        (WarmUp(steps=0.07), WarmUp(steps=7)),  # 0.07 * 100 is a little above 7
        (WarmUp(steps=0.123), WarmUp(steps=13)),
        (Noam(warmup_steps=0.25), Noam(warmup_steps=25)),
        (Triangular(rise=0.1, fall=0.2), Triangular(rise=10, fall=20)),
        (Restarts(first=0.2, multiply=2), Restarts(first=20, multiply=2)),
        (Step(at=(0.07, 0.501)), Step(at=(7, 51))),
        (OneCycle(rise=0.5), OneCycle(rise=50)),
        (
            WarmUp(steps=20, then=WarmUp(steps=0.5, then=Linear())),
            WarmUp(steps=20, then=WarmUp(steps=40, then=Linear())),
        ),
    ],
    ids=name_of,
)
def test_a_share_of_the_run_is_so_many_steps(share: Schedule, steps: Schedule) -> None:
    assert [share(k, 100) for k in range(100)] == [steps(k, 100) for k in range(100)]
    assert [share(k, 100) for k in range(100)] != [1.0] * 100


@given(
    made=st.sampled_from([kind() for kind in SCHEDULES.values()])
    | st.builds(WarmUp, steps=st.integers(0, 20) | st.floats(0, 1))
    | st.builds(Restarts, first=st.integers(1, 50), multiply=st.integers(1, 3))
    | st.builds(Triangular, rise=st.integers(1, 20), fall=st.integers(1, 20)),
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
        ("WarmUp(them=Cosine())", UnknownName, "WarmUp: no argument named 'them'; nearest: 'then'"),
        (
            "WarmUp(then=WarmUp(then=WarmUp(then=Triangle())))",
            UnknownName,
            "no schedule named 'Triangle'; nearest: 'Triangular'",
        ),
        (
            "WarmUp(then=WarmUp(then=Restarts(frist=3)))",
            UnknownName,
            "Restarts: no argument named 'frist'; nearest: 'first'",
        ),
        (
            "WarmUp(then=WarmUp(then=Step(at=0.5)))",
            UsageError,
            r"Step: `at` must be a tuple .*; got 0.5. Write at=\(0.5,\)",
        ),
        ("WarmUp(then='Cosine')", UsageError, r"`then` must be a schedule such as Cosine\(\)"),
        ("Cosine(", UsageError, "must be a name with literal arguments"),
        ("Cosine(0.1)", UsageError, r"Cosine must have names; got Cosine\(0.1\). It has: end"),
        ("Constant(1)", UsageError, "It has: none"),
        ("Cosine(end=Linear())", UsageError, r"`end` of Cosine must be a number .*; got Linear"),
        ("Triangular(mode=triangular2)", UsageError, "`mode` of Triangular must be .* in quotes"),
    ],
)
def test_wrong_text_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        schedule(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("WarmUp(steps=-1)", "`steps` must be a whole number of steps, at least 0, .*; got -1"),
        ("WarmUp(steps=1.5)", "`steps` must be .* share of the run from 0 to 1.0; got 1.5"),
        ("WarmUp(steps='5')", "`steps` must be .*Write 500 for steps, 0.05 for a share"),
        ("WarmUp(steps=True)", "`steps` must be"),
        ("WarmUp(start=2)", "`start` must be a number at least 0 and at most 1; got 2"),
        ("Noam(warmup_steps=0)", "Noam: `warmup_steps` must be .* at least 1"),
        ("Noam(warmup_steps=0.0)", "`warmup_steps` must be .* above 0"),
        ("Noam(embed_dim=0)", "`embed_dim` must be a whole number of at least 1; got 0"),
        ("Cosine(end=-0.1)", "Cosine: `end` must be a number at least 0; got -0.1"),
        ("Cosine(end=None)", "`end` must be a number"),
        ("Linear(end='a')", "Linear: `end` must be a number at least 0; got a"),
        ("Linear(end=1e999)", "Linear: `end` must be a number at least 0; got inf"),
        ("Polynomial(power=0)", "Polynomial: `power` must be a number above 0; got 0"),
        ("Polynomial(end=-1)", "Polynomial: `end` must be"),
        ("Exponential(end=0)", "Exponential: `end` must be a number above 0 and at most 1; got 0"),
        ("Exponential(gamma=1.1)", "`gamma` must be a number above 0 and at most 1; got 1.1"),
        ("Step(at=(0.5, 1.5))", "Step: `at` must be .*; got 1.5"),
        ("Step(gamma=-1)", "Step: `gamma` must be a number at least 0; got -1"),
        ("OneCycle(rise=2.0)", "OneCycle: `rise` must be"),
        ("OneCycle(start=-1)", "OneCycle: `start` must be"),
        ("OneCycle(end=-1)", "OneCycle: `end` must be"),
        ("Triangular(rise=0)", "Triangular: `rise` must be"),
        ("Triangular(fall=0)", "Triangular: `fall` must be"),
        ("Triangular(low=1.5)", "Triangular: `low` must be"),
        ("Triangular(mode='square')", "must be 'triangular', 'triangular2' or 'exp_range'"),
        ("Triangular(gamma=0)", "Triangular: `gamma` must be"),
        ("Restarts(first=0)", "Restarts: `first` must be"),
        ("Restarts(multiply=1.5)", "Restarts: `multiply` must be a whole number of at least 1"),
        ("Restarts(end=-1)", "Restarts: `end` must be"),
        ("Plateau(factor=0)", "Plateau: `factor` must be"),
        ("Plateau(patience=-1)", "Plateau: `patience` must be"),
        ("Plateau(threshold=-1)", "Plateau: `threshold` must be"),
        ("Plateau(relative='no')", "Plateau: `relative` must be True or False; got 'no'"),
        ("Plateau(cooldown=-1)", "Plateau: `cooldown` must be"),
        ("Plateau(least=2)", "Plateau: `least` must be"),
        ("Plateau(metric=3)", "Plateau: `metric` must be the name of a metric; got 3"),
        ("Plateau(mode='low')", "Plateau: `mode` must be 'min', 'max' or None; got 'low'"),
    ],
)
def test_a_value_that_cannot_work_is_refused_at_any_depth(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        schedule(text)
    with pytest.raises(UsageError, match=message):
        schedule(f"WarmUp(steps=5, then=WarmUp(then={text}))")


def test_the_class_of_a_schedule_is_no_schedule() -> None:
    with pytest.raises(UsageError, match="`then` must be a schedule"):
        WarmUp(then=Cosine)  # type: ignore[arg-type]


def test_places_given_as_a_list_print_as_they_are_built() -> None:
    made = schedule("Step(at=[30, 0.75])")
    assert made == Step(at=(30, 0.75)) == schedule(repr(made))
    assert hash(made) == hash(Step(at=(30, 0.75)))
