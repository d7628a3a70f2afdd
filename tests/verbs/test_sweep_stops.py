"""Which trials end early, against sorted lists and the counts of the papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitwell.core.errors import UnknownName, UsageError
from fitwell.verbs._sweep._stops import ASHA, Halving, Never, Stop, best_of, make_stop
from fitwell.verbs._sweep._watch import FELL_SHORT, Watcher, carry_on, curve_of, mean_curve

Scores = list[list[float]]

MODES = st.sampled_from(["min", "max"])


@st.composite
def tables(draw: st.DrawFn) -> Scores:
    """Scores by trial and epoch; ties are common."""
    trials, epochs = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    row = st.lists(st.integers(0, 6).map(float), min_size=epochs, max_size=epochs)
    return draw(st.lists(row, min_size=trials, max_size=trials))


def as_table(scores: Scores) -> dict[int, dict[int, float | None]]:
    return {t: {e: v for e, v in enumerate(row, 1)} for t, row in enumerate(scores)}


def sorted_by_hand(
    alive: Sequence[int], scores: Scores, epoch: int, keep: int, mode: str
) -> list[int]:
    order = sorted(alive, key=lambda t: (scores[t][epoch - 1] * (1 if mode == "min" else -1), t))
    return sorted(order[:keep])


def test_halving_has_the_counts_of_hyperband_table_1() -> None:
    """Brackets s = 4 to 1 of the table, R = 81 and factor 3: (trials, epochs) of each rung."""
    brackets = {
        (81, 1): [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        (27, 3): [(27, 3), (9, 9), (3, 27), (1, 81)],
        (9, 9): [(9, 9), (3, 27), (1, 81)],
        (6, 27): [(6, 27), (2, 81)],
    }
    for (trials, first), rows in brackets.items():
        scores = [[float(t)] * 81 for t in range(trials)]
        rungs = Halving(factor=3, min_epochs=first).judge(
            as_table(scores), range(trials), "max", 80
        )
        found = [(len(rung.judged), rung.epochs) for rung in rungs]
        assert [*found, (len(rungs[-1].kept), 81)] == rows
        assert rungs[-1].kept[-1] == trials - 1  # the best one is there to the end


@given(scores=tables(), factor=st.integers(2, 4), first=st.integers(1, 3), mode=MODES)
def test_halving_equals_sorting_at_each_rung(
    scores: Scores, factor: int, first: int, mode: str
) -> None:
    last = len(scores[0]) - 1
    rungs = Halving(factor=factor, min_epochs=first).judge(
        as_table(scores), range(len(scores)), mode, last
    )
    alive, epoch, place = list(range(len(scores))), first, 0
    while epoch <= last:
        keep = max(1, int(len(scores) * float(factor) ** -(place + 1) + 1e-9))
        kept = sorted_by_hand(alive, scores, epoch, keep, mode)
        assert rungs[place].kept == tuple(kept)
        assert set(rungs[place].dropped) == set(alive) - set(kept)
        alive, epoch, place = kept, epoch * factor, place + 1
    assert len(rungs) == place


@given(scores=tables(), factor=st.integers(2, 4), mode=MODES, size=st.integers(1, 7))
def test_asha_equals_a_list_per_rung_that_is_sorted_anew(
    scores: Scores, factor: int, mode: str, size: int
) -> None:
    last = len(scores[0]) - 1
    arrived: dict[int, list[int]] = {}
    table: dict[int, dict[int, float | None]] = {}
    for start in range(0, len(scores), size):
        group = list(range(start, min(start + size, len(scores))))
        for trial in group:
            table[trial] = as_table(scores)[trial]
        rungs = ASHA(factor=factor).judge(table, group, mode, last)
        alive, epoch, place = group, 1, 0
        while epoch <= last:
            arrived.setdefault(epoch, []).extend(alive)
            keep = max(1, len(arrived[epoch]) // factor)
            best = sorted_by_hand(arrived[epoch], scores, epoch, keep, mode)
            alive = [trial for trial in alive if trial in best]
            assert rungs[place].kept == tuple(alive)
            epoch, place = epoch * factor, place + 1
        ended = {t: rung.epochs for rung in rungs for t in rung.dropped}
        for trial, end in ended.items():  # what ended is not at later rungs
            table[trial] = {e: v for e, v in table[trial].items() if e <= end}


@given(count=st.integers(0, 4), factor=st.integers(2, 3), mode=MODES, data=st.data())
def test_asha_in_one_round_is_halving(
    count: int, factor: int, mode: str, data: st.DataObject
) -> None:
    trials = factor**count
    order = data.draw(st.permutations(range(trials)))
    table = {t: dict.fromkeys(range(1, 30), float(v)) for t, v in enumerate(order)}
    one, other = (
        kind(factor=factor).judge(table, range(trials), mode, 28) for kind in (ASHA, Halving)
    )
    assert [(r.epochs, r.kept) for r in one] == [(r.epochs, r.kept) for r in other]


def test_what_has_no_value_comes_last() -> None:
    scores = {0: None, 1: float("nan"), 2: 5.0, 3: 1.0}
    assert best_of(scores, 2, "max") == (2, 3)
    assert best_of(scores, 3, "min") == (0, 2, 3)


def test_nothing_is_decided_before_all_are_there() -> None:
    table: dict[int, dict[int, float | None]] = {0: {1: 0.5, 2: 0.6}, 1: {1: 0.4}}
    assert [r.epochs for r in Halving(factor=2).judge(table, (0, 1), "max", 9)] == [1, 2]
    table = {0: {1: 0.5}, 1: {}}
    assert Halving(factor=2).judge(table, (0, 1), "max", 9) == []
    assert ASHA(factor=2).judge(table, (0, 1), "max", 9) == []
    assert Never().judge(table, (0, 1), "max", 9) == []


def test_rules_are_built_from_their_printed_form() -> None:
    assert make_stop("halving") == Halving()
    assert make_stop("asha(factor=4, min_epochs=2)") == ASHA(factor=4, min_epochs=2)
    assert make_stop("none") == Never()
    with pytest.raises(UnknownName, match="no rule to stop by named 'halvin'; nearest: 'Halving'"):
        make_stop("halvin")
    for text, message in (
        ("halving(factor=1)", "Halving: `factor` must be at least 2; got 1"),
        ("asha(min_epochs=0)", "ASHA: `min_epochs` must be at least 1; got 0"),
    ):
        with pytest.raises(UsageError, match=message):
            make_stop(text)


class Lockstep:
    """Trainings that exist on paper only: what a watcher sees of them."""

    def __init__(self, scores: Scores, ends: Mapping[int, int] | None = None) -> None:
        self.scores, self.ends = scores, ends or {}
        self.epoch = 0
        self.stopped: dict[int, tuple[int, str]] = {}

    @property
    def active(self) -> Sequence[int]:
        return [
            m
            for m in range(len(self.scores))
            if m not in self.stopped and self.epoch < self.ends.get(m, 10**6)
        ]

    def last(self, member: int) -> Mapping[str, Any]:
        end = self.stopped.get(member, (self.epoch, ""))[0]
        epoch = min(self.epoch, end, self.ends.get(member, self.epoch))
        score = self.scores[member][epoch - 1]
        return {"epoch": epoch, "train": {"loss": 1 - score}, "valid": {"accuracy": score}}

    def stop(self, member: int, reason: str) -> None:
        self.stopped[member] = (self.epoch, reason)

    def run(self, watcher: Watcher) -> None:
        for epoch in range(1, len(self.scores[0]) + 1):
            if not self.active:
                return
            self.epoch = epoch
            watcher(self)


def watcher(stop: Stop, trials: Sequence[int], last: int, **more: Any) -> Watcher:
    told: dict[str, Any] = {"others": {}, "round_of": tuple(dict.fromkeys(trials)), **more}
    return Watcher(stop, trials=trials, metric="accuracy", mode="max", last=last, **told)


def test_the_watcher_ends_members_after_the_epoch_of_a_rung() -> None:
    scores = [[0.1 * t + 0.001 * e for e in range(9)] for t in range(9)]
    trainings = Lockstep(scores)
    trainings.run(watcher(Halving(), range(9), last=8))
    ended = {member: epoch for member, (epoch, _) in trainings.stopped.items()}
    assert ended == {**dict.fromkeys(range(6), 1), 6: 3, 7: 3}
    assert trainings.stopped[0][1] == f"{FELL_SHORT} 3 of 9 trials after 1 epoch"


def test_the_best_value_up_to_a_rung_counts() -> None:
    """What is kept of a member are its best weights."""
    trainings = Lockstep([[0.9, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]])
    trainings.run(watcher(Halving(factor=2, min_epochs=3), range(2), last=3))
    assert list(trainings.stopped) == [1]


def test_a_trial_is_judged_by_the_mean_of_its_members() -> None:
    trainings = Lockstep([[0.9] * 4, [0.1] * 4, [0.6] * 4, [0.6] * 4])
    trainings.run(watcher(Halving(factor=2), (0, 0, 1, 1), last=3))
    assert sorted(trainings.stopped) == [0, 1]


def test_what_ended_by_itself_is_compared_by_its_best_value() -> None:
    trainings = Lockstep([[0.9] * 5, [0.5] * 5, [0.6] * 5, [0.7] * 5], ends={0: 1})
    found = watcher(Halving(factor=2, min_epochs=2), range(4), last=4)
    trainings.run(found)
    assert sorted(trainings.stopped) == [1, 2, 3]
    first, second = found.rungs()
    assert (first.kept, second.kept) == ((0, 3), (0,))


def test_what_diverged_has_no_value_whatever_it_had_before() -> None:
    nan = float("nan")
    trainings = Lockstep([[0.9, nan, nan, nan], [0.5] * 4, [0.6] * 4], ends={0: 2})
    found = watcher(Halving(factor=2, min_epochs=2), range(3), last=3)
    trainings.run(found)
    assert found.rungs()[0].scores == {0: None, 1: 0.5, 2: 0.6}
    assert found.rungs()[0].kept == (2,)


def test_what_ended_in_an_earlier_session_takes_part() -> None:
    gone: dict[int, float | None] = {1: 0.2}
    done: dict[int, float | None] = {1: 0.7}
    carry_on(done, 3)
    trainings = Lockstep([[0.5] * 4, [0.8] * 4])
    found = watcher(
        Halving(factor=2), (0, 3), last=3, others={1: [gone], 2: [done]}, round_of=range(4)
    )
    trainings.run(found)
    assert trainings.stopped[0] == (1, f"{FELL_SHORT} 2 of 4 trials after 1 epoch")
    assert found.rungs()[1].kept == (3,)


def test_asha_compares_with_the_rounds_before() -> None:
    before: dict[int, list[Mapping[int, float | None]]] = {0: [{1: 0.5}], 1: [{1: 0.6, 2: 0.6}]}
    trainings = Lockstep([[0.4] * 4, [0.55] * 4, [0.9] * 4, [0.8] * 4])
    trainings.run(
        watcher(ASHA(factor=3), (2, 3, 4, 5), last=3, others=before, round_of=(2, 3, 4, 5))
    )
    # Two of the six go on; at the next rung, after 3 epochs, one of the two.
    assert {m: epoch for m, (epoch, _) in trainings.stopped.items()} == {0: 1, 1: 1, 3: 3}


def test_curves() -> None:
    records = [
        {"epoch": 1, "valid": {"accuracy": 0.5}},
        {"epoch": 2, "valid": {"accuracy": None}},
        {"epoch": 3, "valid": {}, "train": {"accuracy": 0.7}},
        {"epoch": 4, "valid": {"accuracy": 0.6}},
    ]
    assert curve_of(records, "accuracy", "max") == {1: 0.5, 2: 0.5, 3: 0.7, 4: 0.7}
    assert curve_of(records, "accuracy", "min") == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}
    assert mean_curve([{1: 0.5, 2: 0.6}, {1: 1.0}]) == {1: 0.75}
    assert mean_curve([{1: 0.5}, {1: None}]) == {1: None}
    assert mean_curve([]) == {}
