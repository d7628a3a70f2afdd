"""When the watch looks: a clock that is moved by hand."""

from __future__ import annotations

import pickle

import pytest
import torch

from fitwell.doctor import Watch
from fitwell.doctor._watch import _watch
from fitwell.doctor._watch._sampler import NEAREST, Sampler

from .watched import network, sgd


def run(
    sampler: Sampler, steps: int, step_seconds: float, look_seconds: float, own: float = 0.0
) -> list[int]:
    """Take steps of a length, with looks of a cost; give where the looks were."""
    looks = []
    for step in range(steps):
        if step:
            sampler.passed(step_seconds, own)
        if sampler.due():
            looks.append(step)
            sampler.looked(look_seconds)
    return looks


@pytest.mark.parametrize("budget", [0.003, 0.01, 0.1])
@pytest.mark.parametrize("cost", [0.5, 5.0, 50.0])
def test_looking_takes_its_share_of_the_time(budget: float, cost: float) -> None:
    sampler = Sampler(budget, None)
    looks = run(sampler, 30_000, 1.0, cost)
    share = len(looks) * cost / 30_000
    assert share <= budget + 2 * cost / 30_000
    if cost / budget > NEAREST:  # otherwise the nearest distance holds it lower
        assert share == pytest.approx(budget, rel=0.15, abs=2 * cost / 30_000)
    else:
        assert looks[:3] == [0, NEAREST, 2 * NEAREST]
    assert sampler.share == pytest.approx(share, rel=1e-3)


def test_calls_are_paid_from_the_same_budget() -> None:
    sampler = Sampler(0.01, None)
    looks = run(sampler, 20_000, 1.0, 5.0, own=0.004)
    assert sampler.share == pytest.approx(0.01, rel=0.15)
    assert 5.0 * len(looks) / 20_000 == pytest.approx(0.006, rel=0.15)


def test_expensive_calls_leave_some_looks() -> None:
    looks = run(Sampler(0.01, None), 20_000, 1.0, 5.0, own=0.5)
    assert 5.0 * len(looks) / 20_000 == pytest.approx(0.0025, rel=0.3)


def test_a_first_look_that_takes_long_does_not_end_all_looking() -> None:
    sampler = Sampler(0.01, None)
    sampler.due()
    sampler.looked(30.0)
    steps = 0
    while not sampler.due():
        sampler.passed(1.0, 0.0)
        steps += 1
    assert steps == pytest.approx(1000, abs=1)  # 3 % of the time so far
    sampler.looked(0.5)
    assert sampler.cost == 0.5


def test_a_pause_does_not_pay_for_many_looks() -> None:
    sampler = Sampler(0.01, None)
    run(sampler, 1000, 1.0, 2.0)
    sampler.passed(1e6, 0.0)
    assert len(run(sampler, 400, 1.0, 2.0)) <= 4


def test_a_fixed_distance_is_kept_whatever_it_costs() -> None:
    assert run(Sampler(0.01, 3), 10, 1.0, 100.0) == [0, 3, 6, 9]


def test_an_ill_loss_is_looked_at_at_once() -> None:
    sampler = Sampler(0.01, None)
    run(sampler, 5, 1.0, 1.0)
    assert not sampler.due()
    sampler.urgent = True
    assert sampler.due()
    assert not sampler.due()


def test_a_watch_holds_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the clock takes a microsecond, each step a millisecond."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(_watch, "_CLOCK", clock)
    model = network()
    with Watch(model, sgd(model)) as watch:
        for _ in range(300):
            if watch._look is not None:  # what follows is seen by hooks: make it a real step
                model(torch.ones(4, 6)).sum().backward()
            now[0] += 1e-3
            watch.step(1.0)
    cost = watch.record()["cost"]
    assert 0 < cost["share"] <= 0.01
    assert watch.record()["looks"]["step"][:2] == [1, 1 + NEAREST]
    assert cost["seconds_per_look"] < 1e-4


@pytest.mark.parametrize(("step", "own"), [(300e-6, 1.5e-6), (300e-6, 4e-6), (2e-3, 3e-6)])
def test_fast_steps_keep_the_budget(step: float, own: float) -> None:
    """A small network: looks of 5 ms are 17 of its steps, and calls cost their own share."""
    sampler = Sampler(0.01, None)
    looks = run(sampler, 200_000, step, 5e-3, own=own)
    calls = own / step
    assert sampler.share <= max(0.01, calls + 0.0025) + 1e-4
    assert 5e-3 * len(looks) / (200_000 * step) >= 0.0024  # and something is seen


def test_what_is_kept_is_bounded() -> None:
    """A hundred thousand steps weigh no more than ten thousand, but for a few looks."""
    model = network()
    optimizer = sgd(model)
    sizes = []
    with Watch(model, optimizer, every=5000) as watch:
        x = torch.ones(4, 6)
        for step in range(100_000):
            if watch._look is not None:
                model(x).sum().backward()
                optimizer.step()
            watch.step(1.0)
            if step in (9_999, 99_999):
                record = watch.record()
                sizes.append(len(pickle.dumps((record["loss"], watch.notes))))
    assert sizes[1] < 1.5 * sizes[0]
    assert len(record["loss"]["loss"]) <= watch._losses.capacity
    assert len(record["looks"]["step"]) == 20
