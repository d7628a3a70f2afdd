"""Simple models: scores are scikit-learn's, and a network is judged on the same examples."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.core.significance import holm
from fitwell.data import load_builtin
from fitwell.doctor import simple_models, state_digest
from fitwell.doctor._baselines._simple_models import _compared

ROUNDED = 1e-4  # encoding passes through float32
QUICK = ("linear", "neighbors")
Part = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def clouds(rows: int = 240, seed: int = 0) -> Part:
    """Three overlapping clouds of points."""
    random = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    return (random.normal(size=(rows, 6)) + np.eye(3, 6)[y] * 1.5).astype(np.float32), y


def numbers(rows: int = 200, seed: int = 0) -> Part:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    return x, 100 + 30 * x[:, 0] + random.normal(size=rows)


def test_tune_03_scores_equal_scikit_learn_on_the_same_parts() -> None:
    (x, y), (held, truth) = clouds(), clouds(seed=1)
    found = simple_models((x, y), (held, truth), only=("linear", "svm"))
    scaler = StandardScaler().fit(x)
    for name, model in (("linear", LogisticRegression(max_iter=1000)), ("svm", SVC())):
        expected = model.fit(scaler.transform(x), y).score(scaler.transform(held), truth)
        assert found.scores[name] == pytest.approx(expected)
    assert found.scores["constant"] == pytest.approx(1 / 3)
    assert list(found.scores) == ["constant", "linear", "svm"]


def test_tune_03_numbers_too() -> None:
    (x, y), (held, truth) = numbers(), numbers(seed=1)
    found = simple_models((x, y), (held, truth), only=("linear",))
    scaler = StandardScaler().fit(x)
    said = Ridge().fit(scaler.transform(x), y).predict(scaler.transform(held))
    expected = math.sqrt(((said - truth) ** 2).mean())
    assert found.metric == "rmse"
    assert found.scores["linear"] == pytest.approx(expected, rel=ROUNDED)
    assert found.value == found.scores["linear"] < found.control == found.scores["constant"]


def test_without_a_network_it_says_whether_the_inputs_tell_anything() -> None:
    found = simple_models(clouds(), clouds(seed=1), only=QUICK)
    assert found.found is False
    assert not found.network
    assert "The inputs tell simple models something" in str(found)
    x, y = clouds()
    shuffled = np.random.default_rng(0).permutation(y)
    nothing = simple_models((x, shuffled), clouds(seed=1), only=QUICK)
    assert nothing.found is None
    assert "Insufficient evidence" in str(nothing)


@pytest.mark.parametrize(("right", "expected"), [(0.3, True), (1.0, False)])
def test_a_network_is_judged_by_its_answers(right: float, expected: bool) -> None:
    held, truth = clouds(seed=1)
    random = np.random.default_rng(0)
    answers = np.where(random.random(len(truth)) < right, truth, (truth + 1) % 3)
    found = simple_models(clouds(), (held, truth), answers=answers, only=QUICK)
    assert found.found is expected
    assert found.network
    assert found.value == pytest.approx((answers == truth).mean())
    assert found.control == max(found.scores.values())
    assert found.difference == pytest.approx(found.value - found.control)


def test_a_network_a_little_worse_is_no_verdict_on_few_examples() -> None:
    held, truth = clouds(30, seed=1)
    scores = np.eye(3)[truth]
    wrong = np.arange(30) % 10 >= 7
    scores[wrong] = np.eye(3)[(truth[wrong] + 1) % 3]
    found = simple_models(clouds(), (held, truth), answers=torch.tensor(scores), only=("svm",))
    assert found.value == pytest.approx(0.7)
    assert found.difference < 0
    assert found.found is None


def test_the_best_is_not_better_by_being_chosen() -> None:
    held, truth = clouds(90, seed=1)
    answers = np.random.default_rng(3).permutation(truth)
    all_of_them = ("linear", "neighbors", "svm")
    found = simple_models(clouds(), (held, truth), answers=answers, only=all_of_them)
    alone = [
        simple_models(clouds(), (held, truth), answers=answers, only=(name,)).scores[name]
        for name in all_of_them
    ]
    assert [found.scores[name] for name in all_of_them] == alone
    plain = []
    x, y = clouds()
    scaler = StandardScaler().fit(x)
    own = answers == truth
    for model in (None, LogisticRegression(max_iter=1000), None, SVC()):
        if model is not None:
            right = model.fit(scaler.transform(x), y).predict(scaler.transform(held)) == truth
            only = int((own & ~right).sum()), int((~own & right).sum())
            plain.append(stats.binomtest(only[0], sum(only)).pvalue)
    assert found.p_values["linear"] >= plain[0]
    assert found.p_values["svm"] >= plain[1]
    two = simple_models(clouds(), (held, truth), answers=answers, only=("linear", "svm"))
    constant = np.full(len(truth), 0) == truth
    only = int((own & ~constant).sum()), int((~own & constant).sum())
    family = [stats.binomtest(only[0], sum(only)).pvalue, *plain]
    assert list(two.p_values.values()) == pytest.approx(holm(family))


def test_the_interval_of_a_difference_covers_it() -> None:
    # two models right on 70 and 80 of 100, 63 of them the same: the interval is to hold -0.1
    covered = 0
    for draw in range(400):
        random = np.random.default_rng(draw)
        one, luck = random.random(60) < 0.7, random.random(60)
        two = np.where(one, luck < 0.9, luck < 17 / 30)
        _, (low, high), _ = _compared(one, two, np.ones(60, dtype=bool), "accuracy")
        covered += low <= -0.1 <= high
    few, many = stats.binom.interval(0.999, 400, 0.95)
    assert few <= covered <= many


def test_the_interval_is_that_of_the_source() -> None:
    truth = np.arange(20) == 0
    x = np.zeros((20, 2), dtype=np.float32)
    answers = np.repeat([0, 1], [14, 6])  # the constant model says 0; the first example is a 1
    found = simple_models((x, truth), (x, truth), answers=answers, only=())
    b, c, n = 0.5, 6.5, 22  # examples that only one gets right, and half an example
    half = 1.959964 * math.sqrt(b + c - (c - b) ** 2 / n) / n
    expected = ((b - c) / n - half, (b - c) / n + half)
    assert found.difference == pytest.approx(-0.3)
    assert found.difference_interval == pytest.approx(expected, rel=1e-6)


def test_errors_of_numbers_are_compared_by_example() -> None:
    held, truth = numbers(seed=1)
    near = simple_models(numbers(), (held, truth), answers=truth + 0.01, only=("linear",))
    assert near.found is False
    assert near.difference == pytest.approx(near.control - near.value)
    assert near.difference_interval[0] > 0
    far = simple_models(numbers(), (held, truth), answers=truth[:, None] + 20, only=("linear",))
    assert far.found is True
    assert far.p_values["linear"] < 0.001
    assert "A simple model is better than the network" in str(far)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_huge_error_against_all_ranks_is_no_evidence(sign: int) -> None:
    # nearly always nearer than the simple model, and once far off: the mean says the contrary
    held, truth = numbers(seed=1)
    near = simple_models(numbers(), (held, truth), answers=truth, only=("linear",))
    assert near.found is False
    answers = truth + 0.01
    answers[7] += sign * 1000
    found = simple_models(numbers(), (held, truth), answers=answers, only=("linear",))
    assert found.p_values["linear"] < 1e-6
    assert found.difference < 0
    assert found.difference_interval[1] > 0
    assert found.found is None


def test_doubles_and_coarse_floats_are_taken() -> None:
    (x, y), (held, truth) = clouds(), clouds(seed=1)
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    plain = simple_models((x, y), (held, truth), model=model, only=())
    doubles = simple_models(
        (x.astype(np.float64), y), (held.astype(np.float64), truth), model=model, only=()
    )
    assert doubles.value == plain.value
    coarse = simple_models((x, y), (held, truth), model=model.bfloat16(), only=())
    assert coarse.value == pytest.approx(plain.value, abs=0.05)


def test_classes_that_cannot_be_have_scores_too() -> None:
    held, truth = clouds(seed=1)
    scores = torch.full((len(truth), 3), -math.inf)
    scores[torch.arange(len(truth)), torch.from_numpy(truth)] = 0.0
    assert simple_models(clouds(), (held, truth), answers=scores, only=()).value == 1


def test_a_network_on_pictures_and_nothing_else_changes(tmp_path: Path) -> None:
    splits = load_builtin("digits")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 10))
    model.train()
    before = state_digest(model)
    found = simple_models(splits.train, splits.valid, model=model, only=("linear",), rows=300)
    assert state_digest(model) == before
    assert found.found is True  # it was not trained
    assert (found.rows, found.best) == (300, "linear")
    model.eval()
    with torch.no_grad():
        said = model(torch.as_tensor(splits.valid.inputs).float() / 255).argmax(dim=1)
    assert splits.valid.targets is not None
    assert found.value == pytest.approx(float((said == splits.valid.targets).float().mean()))
    json.dumps(found.to_dict())
    found.figure().savefig(tmp_path / "simple_models.png")


def test_gaps_in_tables_and_encoders_of_ones_own() -> None:
    (x, y), valid = clouds(), clouds(seed=1)
    gaps = x.copy()
    gaps[::7, 2] = np.nan
    found = simple_models((gaps, y), valid, only=("linear",))
    assert found.scores["linear"] > 0.6

    def blind(inputs: Tensor) -> Tensor:
        return torch.zeros(len(inputs), 1)

    blinded = simple_models((x, y), valid, encoder=blind, only=("linear",))
    assert blinded.scores["linear"] == pytest.approx(1 / 3)
    assert blinded.found is None


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_fit_that_did_not_end_is_said_to() -> None:
    assert simple_models(clouds(), clouds(seed=1), only=("net",)).unsettled == ("net",)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"only": ("forest",)}, "`only` must be of constant, .*; got 'forest'"),
        ({"rows": 1}, "`rows` must be at least 2 and `margin` 0 or more; got 1 and 0.05"),
        ({"valid": clouds()[0]}, "both parts must have one target per example; got none"),
        (
            {"train": (clouds()[0], np.zeros(240, dtype=int))},
            "`train` must have at least two classes; got one",
        ),
        ({"valid": numbers()}, "`valid` must have targets like `train`; got another kind"),
        ({"answers": np.zeros(3)}, r"must answer each of 240 examples .*; got shape \(3,\)"),
        ({"answers": np.zeros(3), "model": nn.Linear(6, 3)}, "`answers` must be left out"),
        ({"model": nn.Linear(6, 1)}, r"one float for each .* give `answers=\(z > 0\).long\(\)`"),
        ({"answers": np.zeros(240)}, "got one float for each example"),
        ({"model": nn.Linear(6, 2)}, "targets must be 0 to 1 where .* 2 scores; got 0 to 2"),
        (
            {part: (clouds()[0], clouds()[1] * 2 - 1) for part in ("train", "valid")}
            | {"model": nn.Linear(6, 9)},
            "targets must be 0 to 8 where .*; got -1 to 3. Number the classes from 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        simple_models(**{"train": clouds(), "valid": clouds(), "only": (), **given})


def test_answers_that_are_not_numbers_are_said() -> None:
    with pytest.raises(TrainingError, match="the network answers nan to some examples"):
        simple_models(numbers(), numbers(), answers=np.full(200, np.nan), only=())
    with pytest.raises(TrainingError, match="the network answers nan to some examples"):
        simple_models(clouds(), clouds(), answers=torch.full((240, 3), math.nan), only=())
    with pytest.raises(TrainingError, match="the network answers -inf to some examples"):
        simple_models(numbers(), numbers(), answers=np.full(200, -np.inf), only=())
