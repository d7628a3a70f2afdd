"""How settings are chosen, against counts, quantiles and a sampler that is asked by hand."""

from __future__ import annotations

import itertools
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import fitwell
from fitwell.core.errors import MissingExtra, UnknownName, UsageError
from fitwell.verbs._sweep import SweepResult
from fitwell.verbs._sweep._methods import Draws, Trial, make_method
from fitwell.verbs._sweep._read_space import read_space
from fitwell.verbs._sweep._space import Space

KNOWN = ("lr", "model", "batch_size", "seed", "optimizer")


def space(*over: str) -> Space:
    return read_space(over, KNOWN)


def begin(method: str, over: Space, seed: int = 0) -> Draws:
    return make_method(method).begin(over, seed, "max")


def values(trials: list[Trial]) -> list[list[dict[str, Any]]]:
    return [[dict(point.values) for point in trial] for trial in trials]


WIDE = space("lr=log(1e-4, 1e-1)", "batch_size=choice(32, 64)", "seed=each(0, 1)")


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_the_same_seed_gives_the_same_trials_in_any_portions(method: str) -> None:
    whole = values(begin(method, WIDE).next(12))
    parts = begin(method, WIDE)
    assert whole == values([*parts.next(5), *parts.next(7)])
    assert whole != values(begin(method, WIDE, seed=1).next(12))
    assert all([point["seed"] for point in trial] == [0, 1] for trial in whole)


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_small_space_is_used_up_without_repeats(method: str) -> None:
    small = space("batch_size=choice(8, 16)", "seed=choice(0, 1, 2)")
    found = values(begin(method, small).next(100))
    pairs = [tuple(point.values()) for (point,) in found]
    assert sorted(pairs) == sorted(itertools.product((8, 16), (0, 1, 2)))


def test_random_draws_have_the_law_of_their_ranges() -> None:
    trials = begin("random", WIDE).next(400)
    below = sum(trial[0].settings["lr"] < 1e-3 for trial in trials) / 400
    assert below == pytest.approx(1 / 3, abs=0.07)  # a third of the decades; 3 deviations
    assert len({trial[0].settings["lr"] for trial in trials}) > 390


def test_another_dimension_does_not_change_the_draws_of_the_first() -> None:
    alone = begin("random", space("lr=log(1e-4, 1e-1)")).next(5)
    both = begin("random", WIDE).next(5)
    assert [t[0].settings["lr"] for t in alone] == [t[0].settings["lr"] for t in both]


def test_sobol_points_fill_dyadic_intervals_equally() -> None:
    plane = space("lr=uniform(0, 1)", "optimizer=AdamW(weight_decay=uniform(0, 1))")
    points = [tuple(t[0].values.values()) for t in begin("sobol", plane).next(32)]
    for axis in (0, 1):  # each of 32 intervals of equal length has one point
        cells = [min(int(point[axis] * 32), 31) for point in points]
        assert len(set(cells)) >= 30  # four digits are kept, so a point may lie on a border


def test_a_grid_is_the_product_of_all_values() -> None:
    found = values(begin("grid(points=3)", WIDE).next(100))
    rates = (1e-4, pytest.approx(0.003162), 1e-1)
    assert [
        ([point["lr"] for point in trial], [point["seed"] for point in trial]) for trial in found
    ] == [([lr, lr], [0, 1]) for lr in rates for _ in (32, 64)]
    assert [trial[0]["batch_size"] for trial in found] == [32, 64] * 3


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("halving", UsageError, 'Give it as --stop "halving"'),
        ("bayes", UnknownName, "no method named 'bayes'"),
        ("grid(points=0)", UsageError, "Grid: `points` must be at least 1; got 0"),
        ("grid(point=2)", UnknownName, "no argument named 'point'"),
    ],
)
def test_bad_methods_are_refused(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_method(text)


class _Trial:
    """A trial of the stub: gives the middle of ranges and the next choice."""

    def __init__(self, number: int, asked: list[Any]) -> None:
        self.number, self.asked = number, asked

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked.append((self.number, name, low, high, log))
        return (low * high) ** 0.5 if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.asked.append((self.number, name, low, high, log))
        return low + self.number

    def suggest_categorical(self, name: str, choices: range) -> int:
        self.asked.append((self.number, name, tuple(choices)))
        return choices[self.number % len(choices)]


class _Study:
    def __init__(self, sampler: Any, direction: str) -> None:
        self.sampler, self.direction = sampler, direction
        self.asked: list[Any] = []
        self.told: list[Any] = []
        self.trials: list[_Trial] = []

    def ask(self) -> _Trial:
        self.trials.append(_Trial(len(self.trials), self.asked))
        return self.trials[-1]

    def tell(self, trial: _Trial, value: float | None, *, state: Any) -> None:
        self.told.append((trial.number, value, state))


class TPESampler:
    """The sampler of the stub."""

    def __init__(self, seed: int | None = None, multivariate: bool = False) -> None:
        self.seed, self.multivariate = seed, multivariate


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> list[_Study]:
    """A stand-in for Optuna with the names that are used of it."""
    made: list[_Study] = []

    def create_study(*, sampler: Any, direction: str) -> _Study:
        made.append(_Study(sampler, direction))
        return made[-1]

    stub: Any = types.ModuleType("optuna")
    stub.samplers = types.SimpleNamespace(TPESampler=TPESampler)
    stub.create_study = create_study
    stub.trial = types.SimpleNamespace(TrialState=types.SimpleNamespace(FAIL="fail"))
    stub.logging = types.SimpleNamespace(
        WARNING=30, get_verbosity=lambda: 20, set_verbosity=lambda level: None
    )
    monkeypatch.setitem(sys.modules, "optuna", stub)
    return made


def test_optuna_is_asked_for_a_round_and_told_the_values(studies: list[_Study]) -> None:
    over = space("lr=log(1e-4, 1e-2)", "batch_size=choice(32, 64)", "seed=each(0, 1)")
    draws = begin("optuna(sampler=TPESampler(multivariate=True))", over, seed=7)
    (study,) = studies
    assert (study.sampler.seed, study.sampler.multivariate) == (7, True)
    assert study.direction == "maximize"
    trials = draws.next(2)
    assert values(trials) == [
        [{"lr": 0.001, "batch_size": size, "seed": seed} for seed in (0, 1)] for size in (32, 64)
    ]
    assert study.asked[:2] == [(0, "lr", 1e-4, 1e-2, True), (0, "batch_size", (0, 1))]
    assert len(study.asked) == 4  # once per trial, whatever is trained with each of it
    draws.tell(0, 0.5)
    draws.tell(1, None)
    assert study.told == [(0, 0.5, None), (1, None, "fail")]


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler"])
def test_optuna_itself_gives_what_its_sampler_gives_by_hand(sampler: str) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=getattr(optuna.samplers, sampler)(seed=3), direction="maximize"
    )
    over = space("lr=log(1e-4, 1e-2)", "batch_size=choice(32, 64)", "seed=integer(1, 9)")
    draws = begin(f"optuna(sampler={sampler})", over, seed=3)
    for number in range(15):  # the first ten are drawn at random, the others from what was told
        (((point,),),) = [draws.next(1)]
        by_hand = study.ask()
        rate = by_hand.suggest_float("lr", 1e-4, 1e-2, log=True)
        size = (32, 64)[by_hand.suggest_categorical("batch_size", (0, 1))]
        seed = by_hand.suggest_int("seed", 1, 9)
        assert point.settings["lr"] == pytest.approx(rate, rel=1e-3)
        assert (point.settings["batch_size"], point.settings["seed"]) == (size, seed)
        value = -abs(rate - 0.003) + (0.0 if size == 64 else -0.01)
        draws.tell(number, value)
        study.tell(by_hand, value)


def test_each_round_is_told_before_the_next_is_asked(studies: list[_Study], tmp_path: Path) -> None:
    def sweep() -> SweepResult:
        return fitwell.sweep(
            "digits", over={"batch_size": "integer(60, 64)", "seed": "each(0, 1)"},
            method="optuna", trials=4, together=2, model="MLP(hidden=(8,))", epochs=1,
            group=tmp_path / "rounds", resume=True, report=False, quiet=True,
        )  # fmt: skip

    found = sweep()
    reached = {trial.trial: trial.valid for trial in found.trials}
    assert studies[0].told == [(number, reached[number], None) for number in range(4)]
    sizes = {trial.trial: trial.rows[0].values["batch_size"] for trial in found.trials}
    assert sizes == {0: 60, 1: 61, 2: 62, 3: 63}
    assert len(list((tmp_path / "rounds/members").iterdir())) == 8
    assert sweep().trials == found.trials  # asked and told again, trained once
    assert studies[1].told == studies[0].told


def test_an_unknown_sampler_names_the_nearest(studies: list[_Study]) -> None:
    with pytest.raises(UnknownName, match="no sampler of Optuna named 'TPE'"):
        begin("optuna(sampler='TPE')", WIDE)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fitwell\[sweep\]'"):
        begin("optuna", WIDE)
