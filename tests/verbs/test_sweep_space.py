"""Spaces of settings: what is read, what is refused, and that draws have the stated law."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import FitwellError, UnknownName, UsageError
from fitwell.verbs._sweep._read_space import read_space
from fitwell.verbs._sweep._space import Choice, Dimension, Point, Range, Space

KNOWN = ("lr", "model", "optimizer", "augment", "batch_size", "seed", "freeze")


def space(*over: str) -> Space:
    return read_space(over, KNOWN)


def first(dimension: Dimension) -> Any:
    return dimension.points(3)[0]


def every(found: Space, points: int = 3) -> list[Point]:
    return list(found.run_through(lambda d: d.points(points), first))


def test_settings_are_filled_wherever_something_is_open() -> None:
    found = space(
        "lr=log(1e-4, 1e-1)",
        "model=MLP(hidden=repeat(integer(16, 64), choice(1, 2)), dropout=uniform(0, 0.5))",
        "augment=Flip(p=0.5), Crop(padding=choice(2, 4))",
    )
    assert [d.name for d in found.dimensions] == [
        "lr",
        "model.hidden.times",
        "model.hidden.value",
        "model.dropout",
        "augment.Crop.padding",
    ]
    picks = {
        "lr": 0.01,
        "model.hidden.times": 1,
        "model.hidden.value": 20,
        "model.dropout": 0.25,
        "augment.Crop.padding": 0,
    }
    point = found.point(lambda dimension: picks[dimension.name])
    assert point.settings == {
        "lr": 0.01,
        "model": "MLP(hidden=(20, 20), dropout=0.25)",
        "augment": "Flip(p=0.5), Crop(padding=2)",
    }
    assert point.values == {**picks, "model.hidden.times": 2, "augment.Crop.padding": 2}


def test_what_stands_in_a_choice_is_drawn_only_where_it_is_taken() -> None:
    found = space(
        "optimizer=choice(AdamW(lr=log(1e-4, 1e-2)), SGD(lr=log(1e-2, 1), momentum=choice(0, 0.9)))"
    )
    assert [d.name for d in found.dimensions] == [
        "optimizer",
        "optimizer.AdamW.lr",
        "optimizer.SGD.lr",
        "optimizer.SGD.momentum",
    ]
    points = every(found, 2)
    assert [point.settings["optimizer"] for point in points] == [
        "AdamW(lr=0.0001)",
        "AdamW(lr=0.01)",
        "SGD(lr=0.01, momentum=0)",
        "SGD(lr=0.01, momentum=0.9)",
        "SGD(lr=1.0, momentum=0)",
        "SGD(lr=1.0, momentum=0.9)",
    ]
    assert set(points[0].values) == {"optimizer", "optimizer.AdamW.lr"}


def test_equal_names_in_a_choice_are_told_apart() -> None:
    found = space(
        "model=choice(MLP(hidden=(integer(1, 9),)), MLP(hidden=(), dropout=uniform(0, 1)))"
    )
    assert [d.name for d in found.dimensions] == [
        "model",
        "model.MLP.hidden.0",
        "model.MLP#2.dropout",
    ]


def test_words_stay_words_and_tuples_tuples() -> None:
    found = space("augment=choice(none, auto, Flip())", "freeze=choice(('body',), ())")
    assert [point.settings["augment"] for point in every(found)[::2]] == ["none", "auto", "Flip"]
    assert every(found)[0].settings["freeze"] == ("body",)
    assert every(found)[1].values["freeze"] == "()"


def test_lists_and_numbers_come_from_python() -> None:
    found = read_space(
        {
            "batch-size": [32, 64],
            "model": ["MLP(hidden=(8,))", "net.py:Net(3)"],
            "lr": "log(1, 2)",
            "augment": ["Flip(), Crop(padding=2)", "none"],
        },
        KNOWN,
    )
    assert found.texts["batch_size"] == "choice(32, 64)"
    models = {point.settings["model"] for point in every(found)}
    assert models == {"MLP(hidden=(8,))", "net.py:Net(3)"}
    augments = {point.settings["augment"] for point in every(found)}
    assert augments == {"Flip(), Crop(padding=2)", "none"}


@given(
    low=st.floats(1e-6, 1e3),
    ratio=st.floats(1.01, 1e6),
    share=st.floats(0, 1),
    log=st.booleans(),
)
def test_ranges_have_their_quantiles(low: float, ratio: float, share: float, log: bool) -> None:
    high = low * ratio
    value = Range(name="x", low=low, high=high, log=log).at(share)
    expected = low * ratio**share if log else low + (high - low) * share
    assert low <= value <= high
    assert value == pytest.approx(expected, rel=1e-3)  # four digits are kept


@settings(max_examples=25)
@given(low=st.integers(1, 20), width=st.integers(1, 20), log=st.booleans())
def test_whole_numbers_are_all_reached(low: int, width: int, log: bool) -> None:
    drawn = Range(name="x", low=low, high=low + width, log=log, whole=True)
    values = [drawn.at(k / 4_000) for k in range(4_001)]
    assert values == sorted(values)
    assert set(values) == set(range(low, low + width + 1))
    assert all(type(value) is int for value in values)
    if not log:  # each as often as any other
        counts = [values.count(k) for k in range(low, low + width + 1)]
        assert max(counts) - min(counts) <= 3


def test_points_of_ranges_lie_at_equal_distances() -> None:
    assert Range(name="x", low=1e-4, high=1e-1, log=True).points(4) == (1e-4, 1e-3, 1e-2, 1e-1)
    assert Range(name="x", low=0.0, high=1.0).points(3) == (0.0, 0.5, 1.0)
    assert Range(name="x", low=0.0, high=1.0).points(1) == (0.5,)
    assert Range(name="x", low=1, high=3, whole=True).points(9) == (1, 2, 3)
    assert Range(name="x", low=1, high=100, log=True, whole=True).points(3) == (1, 10, 100)


def test_run_through_equals_a_product() -> None:
    found = space("lr=choice(1, 2, 3)", "batch_size=choice(4, 5)", "seed=choice(6, 7)")
    product = itertools.product((1, 2, 3), (4, 5), (6, 7))
    assert [tuple(point.values.values()) for point in every(found)] == list(product)


def test_a_trial_crosses_what_is_trained_with_each() -> None:
    found = space("lr=log(1e-4, 1)", "seed=each(0, 1, 2)", "model=each(MLP(), CNN())")
    draw = random.Random(0)
    points = found.trial(lambda dimension: dimension.at(draw.random()))
    assert len({point.settings["lr"] for point in points}) == 1
    crossed = [(point.settings["seed"], point.settings["model"]) for point in points]
    assert crossed == [(s, m) for s in (0, 1, 2) for m in ("MLP", "CNN")]


@pytest.mark.parametrize(
    ("over", "kind", "message"),
    [
        ([], UsageError, "`over` must name what differs"),
        (["lr"], UsageError, "must be option=space, such as"),
        (["lr="], UsageError, "must give lr a value"),
        (["lr=0.1"], UsageError, "must leave lr open .* --lr"),
        (["lr=log(0, 1)"], UsageError, r"log\(a, b\) with numbers 0 < a < b for lr"),
        (["lr=log(2, 1)"], UsageError, r"numbers 0 < a < b for lr; got log\(2, 1\)"),
        (["lr=uniform(1)"], UsageError, r"uniform\(a, b\) with numbers a < b"),
        (["lr=uniform(1, 2, step=3)"], UsageError, r"uniform\(a, b\)"),
        (["batch_size=integer(1.5, 3)"], UsageError, "whole numbers a < b"),
        (["lr=choice()"], UsageError, r"must use choice\(x, y, ...\) for lr"),
        (["lr=Log(1, 2)"], UsageError, r"must use log\(\.\.\.\) for lr; got Log\(1, 2\)"),
        (["lr=log(1; 2)"], UsageError, "must say what lr may be"),
        (["lr=__import__('os').getcwd()"], UsageError, "must say what lr may be"),
        (["model=MLP(hidden=repeat(3, uniform(1, 2)))"], UsageError, "whole numbers of times"),
        (["lr=log(1, 2)", "lr=log(1, 3)"], UsageError, "name lr once"),
        (["learning=log(1, 2)"], UnknownName, "no option that can differ named 'learning'"),
    ],
)
def test_bad_spaces_get_one_sentence(
    over: list[str], kind: type[FitwellError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_space(over, KNOWN)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("sweep: ")


def test_picks_of_choices_are_equally_likely() -> None:
    choice = Choice(name="x", options=(1, 2, 3), labels=(1, 2, 3))
    counts = [0, 0, 0]
    for k in range(3000):
        counts[choice.at(k / 3000)] += 1
    assert counts == [1000, 1000, 1000]
    assert choice.at(1.0) == 2
