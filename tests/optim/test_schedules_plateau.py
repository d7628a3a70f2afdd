"""The schedule that follows a metric is torch's, as a function of the metric alone."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fitwell.core.errors import UsageError
from fitwell.optim import Constant, Cosine, Plateau, WarmUp, follow, schedule, watching

Mode = Literal["min", "max"]

# Few distinct values, so that ties, tiny changes and repeats are common.
METRICS = st.lists(
    st.sampled_from([0.0, 0.5, 0.50001, 0.5001, 0.6, 1.0, -0.5, -0.50001, 2.0, math.nan])
    | st.floats(-10, 10, width=32),
    max_size=60,
)


def torchs(values: list[float], mode: Mode, settings: dict[str, Any]) -> list[float]:
    """The rate after each value, with a base rate of 1 so that it is the factor."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, mode, eps=0.0, **settings)
    rates = []
    for value in values:
        scheduler.step(value)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


@given(
    values=METRICS,
    mode=st.sampled_from(["min", "max"]),
    factor=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    relative=st.booleans(),
    cooldown=st.integers(0, 3),
    least=st.sampled_from([0.0, 1e-3, 0.2]),
)
def test_tune_37_equal_to_reduce_on_plateau_bit_for_bit(
    values: list[float],
    mode: Mode,
    factor: float,
    patience: int,
    threshold: float,
    relative: bool,
    cooldown: int,
    least: float,
) -> None:
    ours = Plateau(
        factor=factor, patience=patience, threshold=threshold, relative=relative,
        cooldown=cooldown, least=least,
    )  # fmt: skip
    theirs = torchs(
        values,
        mode,
        {
            "factor": factor,
            "patience": patience,
            "threshold": threshold,
            "threshold_mode": "rel" if relative else "abs",
            "cooldown": cooldown,
            "min_lr": least,
        },
    )
    mine = [ours.given(values[:count], mode)(0, 1) for count in range(1, len(values) + 1)]
    assert mine == theirs


def test_a_stream_with_known_falls() -> None:
    stuck = [1.0, 0.5] + [0.5] * 9
    made = Plateau(factor=0.5, patience=2, cooldown=1)
    factors = [made.given(stuck[:count])(0, 1) for count in range(len(stuck) + 1)]
    # Waits 3 epochs, falls, rests 1, waits 3, falls, rests 1.
    assert factors == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_it_is_a_frozen_value() -> None:
    made = Plateau(patience=0)
    told = made.given([1.0, 1.0])
    assert (made(0, 1), told(0, 1)) == (1.0, 0.1)
    assert made == Plateau(patience=0) == told.given([]) != told
    assert repr(told) == repr(made)
    assert schedule(repr(told)) == made
    assert "_now" not in repr(told)


def test_wrong_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="`mode` must be 'min' or 'max'; got 'less'"):
        Plateau().given([1.0], "less")  # type: ignore[arg-type]


# Following a run ---------------------------------------------------------------------------------


def records(*losses: float, accuracy: float = 0.5) -> list[dict[str, Any]]:
    return [
        {"epoch": number, "train": {"loss": 9.0}, "valid": {"loss": loss, "accuracy": accuracy}}
        for number, loss in enumerate(losses, start=1)
    ]


def test_follow_tells_what_the_metric_of_the_run_has_been() -> None:
    epochs = records(3.0, 2.0, 2.0)
    made = Plateau(patience=0)
    assert follow(made, epochs) == made.given([3.0, 2.0, 2.0])
    assert follow(made, epochs)(0, 1) == 0.1
    assert follow(made, [])(0, 1) == 1.0
    # Nothing is kept from one call to the next: a resumed run needs no more than its records.
    assert follow(follow(made, epochs[:2]), epochs) == follow(made, epochs)


def test_follow_takes_the_training_part_where_nothing_was_measured() -> None:
    epochs = [{"train": {"loss": loss}, "valid": {}} for loss in (1.0, 1.0)]
    assert follow(Plateau(patience=0), epochs)(0, 1) == 0.1


@pytest.mark.parametrize(
    ("made", "metric", "mode", "factor"),
    [
        # The loss rises and the accuracy falls.
        (Plateau(patience=0), "loss", "min", 0.1),
        (Plateau(patience=0), "accuracy", "max", 0.1),
        (Plateau(patience=0), "accuracy", "min", 1.0),
        (Plateau(patience=0, metric="loss"), "accuracy", "max", 0.1),
        (Plateau(patience=0, metric="loss", mode="max"), "accuracy", "max", 1.0),
        (Plateau(patience=0, metric="accuracy", mode="min"), "loss", "min", 1.0),
        (Plateau(patience=0, metric="accuracy"), "accuracy", "max", 0.1),
    ],
)
def test_the_metric_of_the_schedule_comes_first(
    made: Plateau, metric: str, mode: Mode, factor: float
) -> None:
    epochs = [{"train": {}, "valid": {"loss": loss, "accuracy": 1 - loss}} for loss in (0.1, 0.2)]
    assert follow(watching(made, metric, mode), epochs)(0, 1) == factor


def test_warm_up_passes_the_metric_through() -> None:
    made = WarmUp(steps=2, then=WarmUp(steps=1, then=Plateau(patience=0, metric="accuracy")))
    assert made.follows
    told = follow(made, records(2.0, 3.0))
    assert told == WarmUp(
        steps=2, then=WarmUp(steps=1, then=Plateau(patience=0, metric="accuracy").given([1, 1]))
    )
    assert [told(step, 9) for step in range(5)] == [0.5, 1.0, 1.0, 0.1, 0.1]


def test_what_follows_nothing_comes_back_as_it_is() -> None:
    for made in (Cosine(), WarmUp(then=Constant()), lambda step, total: 1.0):
        assert follow(made, records(1.0, 2.0)) is made
    assert not WarmUp().follows
    assert WarmUp().given([1.0]) == WarmUp()


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(UsageError, match=r"must be one of \['accuracy', 'loss'\].*got 'f1'"):
        follow(Plateau(metric="f1"), records(1.0))
