"""`fitwell baselines`: scores are scikit-learn's own on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from fitwell.core.errors import UsageError
from fitwell.data import load_arrays, load_builtin
from fitwell.report import pair_answers
from fitwell.verbs._several import BaselinesResult, baselines

from .runs import call, quick

# Encoding and standardizing pass through float32.
ROUNDED = 1e-4


def score(found: BaselinesResult, name: str, part: str) -> float:
    (one,) = [one for one in found.baselines if one.name == name]
    return one.scores[part]


@pytest.fixture(scope="module")
def clouds() -> tuple[Any, Any]:
    """Three overlapping clouds of points."""
    random = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = random.normal(size=(240, 6)) + np.eye(3, 6)[y] * 1.5
    return x.astype(np.float32), y


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_tune_03_scores_equal_scikit_learn_on_the_same_folds(clouds) -> None:
    x, y = clouds
    found = baselines((x, y), test=0.25, folds=4, only=("linear", "svm", "net"))
    splits = load_arrays(x, y, test=0.25)
    rows = [*splits.indices["train"], *splits.indices["valid"]]
    plan = StratifiedKFold(4, shuffle=True, random_state=0)
    theirs = {
        "linear": LogisticRegression(max_iter=1000),
        "svm": SVC(),
        "net": MLPClassifier((64,), random_state=0),
    }
    for name, model in theirs.items():
        scores = cross_val_score(make_pipeline(StandardScaler(), model), x[rows], y[rows], cv=plan)
        assert score(found, name, "held-out") == pytest.approx(scores.mean()), name
    assert found.of == found.rows == 135


def test_tune_03_numbers_too() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 4)).astype(np.float32)
    y = 100 + 30 * x[:, 0] + 10 * np.sin(3 * x[:, 1]) + random.normal(size=120)
    found = baselines((x, y), test=0.0, folds=3, only=("linear", "svm"))
    splits = load_arrays(x, y, test=0.0)
    rows = [*splits.indices["train"], *splits.indices["valid"]]
    plan = KFold(3, shuffle=True, random_state=0)
    svr = TransformedTargetRegressor(SVR(), transformer=StandardScaler())
    for name, model in (("linear", Ridge()), ("svm", svr)):
        scores = -cross_val_score(
            make_pipeline(StandardScaler(), model), x[rows], y[rows], cv=plan,
            scoring="neg_root_mean_squared_error",
        )  # fmt: skip
        assert score(found, name, "held-out") == pytest.approx(scores.mean(), rel=ROUNDED), name
    assert found.metric == "rmse"
    assert found.best.name == "linear"


def test_tune_03_images_on_the_parts_of_a_training() -> None:
    found = baselines("digits", only=("constant", "linear", "neighbors", "svm"))
    splits = load_builtin("digits")

    def flat(part: Any) -> Any:
        return part.inputs.numpy().reshape(len(part), -1) / 255.0

    own = SVC().fit(flat(splits.train), splits.train.targets)
    for part in ("valid", "test"):
        examples = splits.parts()[part]
        expected = own.score(flat(examples), examples.targets)
        assert score(found, "svm", part) == pytest.approx(expected, abs=1 / 270)
    assert score(found, "constant", "test") == pytest.approx(0.1, abs=0.01)
    assert found.best.name in ("neighbors", "svm")
    assert [one.name for one in found.baselines] == ["constant", "linear", "neighbors", "svm"]


def test_a_run_is_measured_beside_them(digits) -> None:
    found = baselines(digits.folder, only=("constant", "svm"))
    own = found.baselines[-1]
    assert own.name == "run"
    assert own.scores["test"] == pytest.approx(digits.result["test"]["accuracy"])
    splits = load_builtin("digits")
    assert splits.test is not None
    assert splits.test.targets is not None

    def flat(part: Any) -> Any:
        return part.inputs.numpy().reshape(len(part), -1) / 255.0

    said = SVC().fit(flat(splits.train), splits.train.targets).predict(flat(splits.test))
    expected = pair_answers(
        ("the run", "svm"),
        "test",
        target=splits.test.targets.tolist(),
        first=digits.predict(splits.test).values.tolist(),
        second=said.tolist(),
        by_number=False,
    )
    assert found.paired is not None
    assert expected is not None
    assert found.paired.difference == pytest.approx(expected.difference, abs=1 / 270)
    with pytest.raises(UsageError, match="`folds` must be 0 for a run"):
        baselines(digits.folder, folds=3)


def test_what_chose_the_best_does_not_test_it(tmp_path: Path) -> None:
    run = quick("digits", test=0.0, run=tmp_path / "run")
    found = baselines(run.folder, only=("constant", "neighbors"))
    assert list(found.baselines[-1].scores) == ["valid"]
    assert found.paired is None
    assert "no paired test: there is no test part" in str(found)


def test_tables_with_words_and_gaps(house_file: Path) -> None:
    found = baselines(
        "table", house_file, target="price", ignore=("kind",), only=("constant", "linear")
    )
    assert score(found, "linear", "test") < score(found, "constant", "test") / 2


def test_few_rows_are_enough(capsys) -> None:
    code, found, _ = call(
        capsys, "baselines", "digits", "--rows", 200, "--only", "constant", "neighbors"
    )
    assert code == 0
    assert (found["rows"], found["of"], found["best"]) == (200, 1257, "neighbors")
    assert "200 of 1,257 training rows" in str(baselines("digits", rows=200, only=("constant",)))


def test_a_fit_that_did_not_end_is_said_to(clouds) -> None:
    found = baselines(clouds, only=("net", "svm"))
    settled = {one.name: one.settled for one in found.baselines}
    assert settled == {"net": False, "svm": True}
    assert "not at its end" in str(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"only": ("forest",)}, "`only` must be of constant, .*; got 'forest'"),
        ({"rows": 0}, "`rows` must be positive and `folds` 0 or at least 2; got 0 and 0"),
        ({"folds": 1}, "`rows` must be positive and `folds` 0 or at least 2; got 10000 and 1"),
        ({"split": "grouped"}, "`mode` must be 'auto', 'random' or 'stratified'"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        baselines("digits", **given)
