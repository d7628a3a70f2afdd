"""Which members of a sweep end early: pure rules on the table of what has been measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

from ...core.errors import UsageError
from ...core.spec import Spec, build

Table = Mapping[int, Mapping[int, float | None]]
"""The value of each trial after each epoch that it has completed; None where it has none."""


@final
@dataclass(frozen=True, kw_only=True)
class Rung:
    """What was decided after some epochs.

    Args:
        epochs: After how many.
        scores: Values of the trials that were compared.
        kept: Those of them that go on.
        judged: Those that were decided upon; others were compared with only.
    """

    epochs: int
    scores: Mapping[int, float | None]
    kept: tuple[int, ...]
    judged: tuple[int, ...]

    @property
    def dropped(self) -> tuple[int, ...]:
        """Those that end here."""
        return tuple(trial for trial in self.judged if trial not in self.kept)


class Stop(Protocol):
    """Says which trials end early."""

    def judge(self, table: Table, trials: Sequence[int], mode: str, last: int) -> list[Rung]:
        """Decide all that can be decided.

        Args:
            table: All that has been measured, of trials of earlier rounds too.
            trials: Those that train together.
            mode: Whether ``min`` or ``max`` is best.
            last: After which epoch nothing is decided any more.
        """
        ...


def best_of(scores: Mapping[int, float | None], count: int, mode: str) -> tuple[int, ...]:
    """Give the best trials; of equal ones those that came first, those without a value last.

    Args:
        scores: Values by trial.
        count: How many.
        mode: Whether ``min`` or ``max`` is best.
    """
    sign = 1 if mode == "min" else -1

    def rank(trial: int) -> tuple[float, int]:
        value = scores[trial]
        return (math.inf if value is None or math.isnan(value) else sign * value, trial)

    return tuple(sorted(sorted(scores, key=rank)[:count]))


def rungs(first: int, factor: int, last: int) -> Iterator[int]:
    """Give the epochs after which is compared.

    Args:
        first: Epochs before the first comparison.
        factor: How many times more before each further one.
        last: After which nothing is compared any more.
    """
    epochs = first
    while epochs <= last:
        yield epochs
        epochs *= factor


@final
@dataclass(frozen=True, kw_only=True)
class Halving:
    """Successive halving: after each rung only the best part of the trials goes on.

        rung k is after min_epochs · factorᵏ epochs; n / factorᵏ⁺¹ of n trials go on, at least one

    Args:
        factor: One of so many trials goes on, with so many times the epochs.
        min_epochs: Epochs of every trial.

    Source: jamieson2016non; li2018hyperband, table 1.
    Differs: what goes on is not started again, and stays at the schedule of a whole training.
    Reduces to: no stopping with one trial.
    Checked against: the counts of table 1, and a loop over sorted lists.
    """

    factor: int = 3
    min_epochs: int = 1

    def __post_init__(self) -> None:
        _check("Halving", self.factor, self.min_epochs)

    def judge(self, table: Table, trials: Sequence[int], mode: str, last: int) -> list[Rung]:
        """Decide at every rung that all trials have reached that are still in.

        Args:
            table: What has been measured.
            trials: Those that train together.
            mode: Whether ``min`` or ``max`` is best.
            last: After which epoch nothing is decided any more.
        """
        found: list[Rung] = []
        alive: Collection[int] = trials
        for number, epochs in enumerate(rungs(self.min_epochs, self.factor, last)):
            scores = {trial: table.get(trial, {}).get(epochs) for trial in alive}
            if any(epochs not in table.get(trial, {}) for trial in alive):
                break
            keep = max(1, len(trials) // self.factor ** (number + 1))
            kept = best_of(scores, keep, mode)
            found.append(Rung(epochs=epochs, scores=scores, kept=kept, judged=tuple(scores)))
            alive = kept
        return found


@final
@dataclass(frozen=True, kw_only=True)
class ASHA:
    """Asynchronous successive halving: a trial goes on while it is among the best at its rung.

    For sweeps in several rounds: each round is compared with all rounds before. In a single round
    every trial is there at once and `Halving` says the same with exact counts.

    Args:
        factor: One of so many trials at a rung goes on, with so many times the epochs.
        min_epochs: Epochs of every trial.

    Source: li2020system, algorithm 2.
    Differs: what falls short ends, and is not taken up again when its rung grows.
    Reduces to: `Halving` in one round of a power of `factor` trials.
    Checked against: `Halving`, and a list that is sorted anew at every rung.
    """

    factor: int = 3
    min_epochs: int = 1

    def __post_init__(self) -> None:
        _check("ASHA", self.factor, self.min_epochs)

    def judge(self, table: Table, trials: Sequence[int], mode: str, last: int) -> list[Rung]:
        """Decide about the trials at every rung that they have reached.

        Args:
            table: What has been measured.
            trials: Those that train together; those with lower numbers came before.
            mode: Whether ``min`` or ``max`` is best.
            last: After which epoch nothing is decided any more.
        """
        found: list[Rung] = []
        alive: Collection[int] = trials
        for epochs in rungs(self.min_epochs, self.factor, last):
            if any(epochs not in table.get(trial, {}) for trial in alive):
                break
            earlier = [t for t in table if t < min(trials) and epochs in table[t]]
            scores = {trial: table[trial][epochs] for trial in [*earlier, *alive]}
            kept = best_of(scores, max(1, len(scores) // self.factor), mode)
            judged = tuple(alive)
            alive = tuple(trial for trial in judged if trial in kept)
            found.append(Rung(epochs=epochs, scores=scores, kept=alive, judged=judged))
        return found


@final
@dataclass(frozen=True, kw_only=True)
class Never:
    """Let every trial train to its end."""

    def judge(self, table: Table, trials: Sequence[int], mode: str, last: int) -> list[Rung]:
        """Decide nothing.

        Args:
            table: What has been measured.
            trials: Those that train together.
            mode: Whether ``min`` or ``max`` is best.
            last: Not used.
        """
        return []


def _check(owner: str, factor: int, min_epochs: int) -> None:
    if factor < 2:
        raise UsageError(f"{owner}: `factor` must be at least 2; got {factor}.")
    if min_epochs < 1:
        raise UsageError(f"{owner}: `min_epochs` must be at least 1; got {min_epochs}.")


_STOPS: dict[str, Any] = {"none": Never, "Halving": Halving, "ASHA": ASHA}


def make_stop(text: str | Spec) -> Stop:
    """Build a rule from its printed form.

    Args:
        text: Such as ``none``, ``halving`` or ``asha(factor=4)``.

    Raises:
        UnknownName: There is no such rule.
        UsageError: An argument does not fit.
    """
    made: Stop = build(text, _STOPS, owner="sweep", what="rule to stop by")
    return made
