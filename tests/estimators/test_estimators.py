"""The estimators learn what a loop by hand learns, and scikit-learn's tools can use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell import Classifier, Regressor
from fitwell.core.errors import TrainingError, UnknownName, UsageError
from fitwell.core.records import read_records
from fitwell.data import stratified_split
from fitwell.nn import MLP

QUICK: dict[str, Any] = {"model": "MLP(hidden=(16,))", "lr": 0.01, "epochs": 5, "random_state": 0}
FLOAT32 = 2e-5
"""Sums in another order, carried through a hundred updates."""


@pytest.fixture(scope="module")
def iris() -> tuple[Any, Any]:
    x, y = load_iris(return_X_y=True)
    return x, np.array(["setosa", "versicolor", "virginica"])[y]


def by_hand(x: Any, y: Any, seed: int, epochs: int) -> Any:
    """Train as a PyTorch tutorial does, and give the probabilities of the training rows."""
    scaled = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    _, codes = np.unique(y, return_inverse=True)
    inputs, targets = torch.from_numpy(scaled), torch.from_numpy(codes)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(TensorDataset(inputs, targets), 16, shuffle=True, generator=order)
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(batch), labels).backward()
            optimizer.step()
    with torch.no_grad():
        return net(inputs).softmax(1).numpy()


def test_pt_06_the_classifier_equals_a_literal_loop(iris: tuple[Any, Any]) -> None:
    ours = Classifier(
        "MLP(hidden=(16,))",
        optimizer="SGD(lr=0.1, momentum=0.9)",
        schedule="Constant()",
        epochs=10,
        batch_size=16,
        random_state=3,
    ).fit(*iris)
    assert ours.predict_proba(iris[0]) == pytest.approx(by_hand(*iris, 3, 10), abs=FLOAT32)
    assert ours.n_iter_ == len(ours.loss_curve_) == len(ours.history_) == 10
    assert ours.loss_curve_[-1] < 0.2 < ours.loss_curve_[0]


def test_pt_06_the_regressor_without_hidden_layers_is_least_squares() -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:, :4], 1e4 + 100 * y
    ours = Regressor(
        "Linear()",
        optimizer="SGD(lr=0.3)",
        schedule="Constant()",
        epochs=150,
        batch_size=len(x),
        random_state=0,
    ).fit(x, y)
    expected = LinearRegression().fit(x, y).predict(x)
    assert ours.predict(x) == pytest.approx(expected, abs=1e-3 * y.std())


@pytest.mark.parametrize(
    "seed", [0, np.int64(1), np.random.RandomState(2)], ids=["int", "numpy", "state"]
)
def test_a_seed_fixes_the_weights_and_leaves_the_global_state(
    seed: Any, iris: tuple[Any, Any]
) -> None:
    model = "MLP(hidden=(8,), dropout=0.3)"
    first = Classifier(model, epochs=2, random_state=seed)
    second = clone(first)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    answers = first.fit(*iris).predict_proba(iris[0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    np.testing.assert_array_equal(second.fit(*iris).predict_proba(iris[0]), answers)


def test_without_a_seed_two_fits_differ(iris: tuple[Any, Any]) -> None:
    model = Classifier("Linear()", epochs=1)
    first = model.fit(*iris).predict_proba(iris[0])
    assert np.abs(model.fit(*iris).predict_proba(iris[0]) - first).max() > 1e-3


def test_probabilities_sum_to_one_and_do_not_depend_on_the_company(iris: tuple[Any, Any]) -> None:
    model = Classifier(**QUICK).fit(*iris)
    whole = model.predict_proba(iris[0])
    alone = np.concatenate([model.predict_proba(iris[0][i : i + 1]) for i in range(0, 150, 7)])
    assert whole.dtype == np.float64
    assert np.abs(whole.sum(1) - 1).max() < 1e-12
    np.testing.assert_array_equal(alone, whole[::7])
    np.testing.assert_array_equal(model.predict(iris[0]), model.classes_[whole.argmax(1)])


def test_class_weights_are_those_of_the_loss(iris: tuple[Any, Any]) -> None:
    x, y = iris[0][20:], iris[1][20:]  # 30, 50 and 50
    weights = [130 / (3 * count) for count in (30, 50, 50)]
    balanced = Classifier(**QUICK, class_weight="balanced").fit(x, y)
    named = Classifier(**QUICK, class_weight=dict(zip(balanced.classes_, weights, strict=True)))
    written = Classifier(**QUICK, loss=f"CrossEntropy(weights={tuple(weights)})").fit(x, y)
    plain = Classifier(**QUICK).fit(x, y)
    expected = written.predict_proba(x)
    np.testing.assert_array_equal(balanced.predict_proba(x), expected)
    np.testing.assert_array_equal(named.fit(x, y).predict_proba(x), expected)
    assert np.abs(plain.predict_proba(x) - expected).max() > 1e-3


def test_the_held_out_part_chooses_the_epoch_and_patience_ends(iris: tuple[Any, Any]) -> None:
    model = Classifier(lr=0.02, epochs=60, valid=0.3, patience=4, random_state=5).fit(*iris)
    measured = [record["valid"]["accuracy"] for record in model.history_]
    best = int(np.argmax(measured))
    assert model.n_iter_ == best + 1 + 4 < 60
    _, codes = np.unique(iris[1], return_inverse=True)
    _, held = stratified_split(codes, 0.3, 5)
    assert model.score(iris[0][held], iris[1][held]) == pytest.approx(measured[best])


def test_patience_alone_watches_the_training_loss() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    model = Regressor("Linear()", schedule="Constant()", lr=0.1, epochs=400, patience=3)
    model.set_params(random_state=0).fit(x, np.random.default_rng(1).normal(size=40))
    assert model.n_iter_ < 400
    assert len(model.loss_curve_) - 1 - int(np.argmin(model.loss_curve_)) == 3


class Net(nn.Module):
    def __init__(self, in_features: int, out_features: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, out_features)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


def make_net(in_features: int, out_features: int) -> nn.Module:
    return Net(in_features, out_features)


@pytest.mark.parametrize("model", [Net, make_net, Net(4, 3)], ids=["class", "function", "module"])
def test_a_module_of_ones_own_is_trained_and_stays_as_it_was(
    model: Any, iris: tuple[Any, Any]
) -> None:
    made = model if isinstance(model, nn.Module) else None
    before = {} if made is None else {k: v.clone() for k, v in made.state_dict().items()}
    estimator = clone(Classifier(model, lr=0.02, epochs=20, random_state=0))
    assert estimator.fit(*iris).score(*iris) > 0.9
    if made is not None:
        assert estimator.model_[-1] is not made
        assert all(torch.equal(made.state_dict()[k], v) for k, v in before.items())


def test_a_module_is_trained_on_from_its_weights(iris: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    zero = nn.Linear(4, 3)
    nn.init.zeros_(zero.weight)
    nn.init.constant_(zero.bias, 2.0)
    model = Classifier(zero, lr=1e-12, epochs=1, random_state=0).fit(*iris)
    assert model.predict_proba(iris[0]) == pytest.approx(np.full((150, 3), 1 / 3), abs=1e-6)


def test_pt_06_pipeline_and_grid_search_find_the_network_that_can_learn() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(160, 2))
    y = x[:, 0] * x[:, 1] > 0  # no line separates the two
    steps = make_pipeline(StandardScaler(), Classifier(**{**QUICK, "epochs": 30, "lr": 0.03}))
    grid = {"classifier__model": ["Linear()", "MLP(hidden=(16,))"], "classifier__lr": [1e-6, 0.03]}
    search = GridSearchCV(steps, grid, cv=3).fit(x, y)
    assert search.best_params_ == {"classifier__model": "MLP(hidden=(16,))", "classifier__lr": 0.03}
    assert search.best_score_ > 0.85
    assert search.predict(x).dtype == bool


@pytest.mark.slow
def test_pt_06_two_processes_give_the_scores_of_one(iris: tuple[Any, Any]) -> None:
    alone = cross_val_score(Classifier(**QUICK), *iris, cv=3)
    np.testing.assert_array_equal(
        cross_val_score(Classifier(**QUICK), *iris, cv=3, n_jobs=2), alone
    )


def test_pt_06_voting_and_column_transformer(iris: tuple[Any, Any]) -> None:
    some = make_column_transformer((StandardScaler(), [0, 2]), remainder="drop")
    ours = make_pipeline(some, Classifier(**{**QUICK, "epochs": 15}))
    vote = VotingClassifier(
        [("ours", ours), ("theirs", LogisticRegression(max_iter=500))], voting="soft"
    ).fit(*iris)
    assert vote.score(*iris) > 0.9
    assert vote.named_estimators_["ours"][-1].n_features_in_ == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
def test_pt_06_defaults_do_as_well_as_those_of_scikit_learn(load: Callable[..., Any]) -> None:
    x, y = load(return_X_y=True)
    parts = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    epochs = 15 if load is load_digits else None
    ours = Classifier(epochs=epochs, random_state=0).fit(parts[0], parts[2])
    theirs = make_pipeline(StandardScaler(), MLPClassifier(max_iter=100, random_state=0))
    theirs.fit(parts[0], parts[2])
    # Two errors in a hundred are within the chance of one split of these sizes.
    assert ours.score(parts[1], parts[3]) > theirs.score(parts[1], parts[3]) - 0.03 > 0.85


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pt_06_the_regressor_does_as_well_as_that_of_scikit_learn() -> None:
    x, y = load_diabetes(return_X_y=True)
    parts = train_test_split(x, y, test_size=0.4, random_state=0)
    ours = Regressor(valid=0.15, random_state=0).fit(parts[0], parts[2])
    theirs = make_pipeline(StandardScaler(), MLPRegressor(max_iter=200, random_state=0))
    theirs.fit(parts[0], parts[2])
    assert ours.score(parts[1], parts[3]) > max(theirs.score(parts[1], parts[3]), 0.3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": 3}, r"Classifier: `model` must be text such as .* torch module.*; got 3\."),
        ({"loss": 1}, r"Classifier: `loss` must be text, as it is printed; got 1\."),
        ({"optimizer": []}, r"Classifier: `optimizer` must be text, as it is printed; got \[\]\."),
        ({"schedule": 0.1}, r"Classifier: `schedule` must be text, as it is printed; got 0\.1\."),
        ({"device": None}, r"Classifier: `device` must be text, as it is printed; got None\."),
        ({"lr": 0}, r"Classifier: `lr` must be positive and finite; got 0\."),
        ({"lr": "0.1"}, r"Classifier: `lr` must be positive and finite; got '0\.1'\."),
        ({"epochs": 0}, r"Classifier: `epochs` must be a whole number of at least 1; got 0\."),
        ({"epochs": True}, r"`epochs` must be a whole number of at least 1; got True\."),
        ({"batch_size": 1.5}, r"`batch_size` must be a whole number of at least 1; got 1\.5\."),
        ({"patience": "3"}, r"`patience` must be a whole number of at least 1; got '3'\."),
        ({"valid": 1}, r"`valid` must lie in \[0, 1\), where 0 holds out nothing; got 1\."),
        ({"valid": 0.001}, r"`fraction` must leave every part at least one row per class"),
        ({"device": "abacus"}, r"`device` must be one that torch can use here; got 'abacus'"),
        ({"loss": "MSE()"}, r"MSE: `outputs` must have the shape of `targets`"),
        (
            {"loss": "MSE()", "class_weight": "balanced"},
            r"`class_weight` must be left out unless the loss is CrossEntropy .*'MSE\(\)'",
        ),
        ({"model": nn.Linear(3, 3)}, r"`model` and `loss` must fit inputs of shape \(4,\) and 3"),
        ({"model": "CNN()"}, r"`model` must fit inputs of shape \(4,\); got CNN\(\)"),
        ({"class_weight": "equal"}, r"`class_weight` must be 'balanced' or .*; got 'equal'\."),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named_before_training(
    params: dict[str, Any], message: str, iris: tuple[Any, Any]
) -> None:
    model = Classifier(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(*iris)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.predict(iris[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "MLPP()"}, r"no model named 'MLPP'; nearest: 'MLP'"),
        ({"optimizer": "AdamV()"}, r"no optimizer named 'AdamV'; nearest: 'Adam'"),
        ({"loss": "Hubert()"}, r"no loss named 'Hubert'; nearest: 'Huber'"),
        ({"schedule": "OneCycles()"}, r"no schedule named 'OneCycles'; nearest: 'OneCycle'"),
    ],
    ids=str,
)
def test_an_unknown_name_lists_the_nearest(
    params: dict[str, Any], message: str, iris: tuple[Any, Any]
) -> None:
    with pytest.raises(UnknownName, match=message):
        Classifier(**params).fit(*iris)


def test_a_loss_that_explodes_says_so(iris: tuple[Any, Any]) -> None:
    explosive = Regressor("Linear()", optimizer="SGD(lr=1e10)", epochs=20)
    with pytest.raises(TrainingError, match="the loss became"):
        explosive.fit(iris[0], iris[0][:, 0])


def test_a_network_has_the_layers_that_were_asked_for(iris: tuple[Any, Any]) -> None:
    model = Classifier("MLP(hidden=(5,))", epochs=1).fit(*iris)
    assert isinstance(model.model_.body, MLP)
    assert [tuple(p.shape) for p in model.model_.parameters()] == [(5, 4), (5,), (3, 5), (3,)]
    with pytest.raises(NotFittedError, match="not fitted yet"):
        _ = Classifier().model_


def test_nothing_to_train_is_refused(iris: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="`model` must have parameters to train"):
        Classifier(nn.Identity()).fit(*iris)


def test_pt_06_grid_search_finds_what_skorch_finds() -> None:
    """As recorded by benchmarks/estimator.py, which trains both on the same folds."""
    (record,) = read_records(Path(__file__).parents[2] / "records" / "estimator.jsonl")[-1:]
    result = record["result"]
    assert result["fitwell"]["best"] == result["skorch"]["best"]
    pairs = zip(*(np.ravel(result[name]["scores"]) for name in ("fitwell", "skorch")), strict=True)
    assert max(abs(ours - theirs) for ours, theirs in pairs) <= 1e-6
