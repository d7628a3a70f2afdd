"""Fitted estimators on disk: pickled as plain data, and saved without pickle."""

from __future__ import annotations

import copy
import json
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from fitwell import Classifier, Regressor
from fitwell.core.errors import RunError
from fitwell.estimators._store import plain, plain_classes, restored, restored_classes

QUICK: dict[str, Any] = {"epochs": 2, "random_state": 0}


def table() -> tuple[pd.DataFrame, Any]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=40), "b": random.choice(["x", "y"], 40)})
    frame.loc[2, "a"] = np.nan
    return frame, random.choice(["left", "right", "up"], 40)


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    return Classifier("MLP(hidden=(8,))", class_weight="balanced", **QUICK).fit(*table())


def own_net(in_features: int, out_features: int) -> nn.Module:
    return nn.Linear(in_features, out_features)


@pytest.fixture(scope="module")
def own() -> Regressor:
    x = np.random.default_rng(0).normal(size=(30, 3))
    return Regressor(own_net, **QUICK).fit(x, x[:, 0])


def test_pt_06_a_pickle_answers_alike_and_leaves_the_random_state(fitted: Classifier) -> None:
    x, _ = table()
    before = torch.get_rng_state()
    again = pickle.loads(pickle.dumps(fitted))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    np.testing.assert_array_equal(copy.deepcopy(fitted).predict_proba(x), fitted.predict_proba(x))
    assert again.get_params() == fitted.get_params()


def modules_named(data: bytes) -> set[str]:
    """Give the modules whose names a pickle mentions where it looks names up."""
    words = [op[1] for op in pickletools.genops(data) if isinstance(op[1], str)]
    return {word.partition(".")[0] for word in words if word.isidentifier() or "." in word}


def test_a_pickle_holds_no_tensors(fitted: Classifier, own: Regressor) -> None:
    assert "torch" not in modules_named(pickle.dumps(fitted))
    assert "torch" in modules_named(pickle.dumps(own))


def test_a_module_of_ones_own_is_pickled(own: Regressor) -> None:
    x = np.random.default_rng(1).normal(size=(9, 3))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(own)).predict(x), own.predict(x))


def test_pt_06_a_saved_estimator_answers_alike(fitted: Classifier, tmp_path: Path) -> None:
    x, y = table()
    fitted.save(tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    again = Classifier.load(tmp_path / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    assert again.get_params() == fitted.get_params()
    assert list(again.feature_names_in_) == ["a", "b"]
    assert (again.n_iter_, again.loss_curve_) == (fitted.n_iter_, fitted.loss_curve_)
    expected = fitted.predict_proba(x)
    np.testing.assert_array_equal(again.fit(x, y).predict_proba(x), expected)


def test_a_module_of_ones_own_is_given_again(own: Regressor, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(9, 3))
    path = tmp_path / "own.safetensors"
    own.save(path)
    with pytest.raises(RunError, match=r"a model of your own \(own_net\), whose code is not kept"):
        Regressor.load(path)
    np.testing.assert_array_equal(Regressor.load(path, model=own_net).predict(x), own.predict(x))
    with pytest.raises(RunError, match="the weights do not fit the model"):
        Regressor.load(path, model=lambda in_features: nn.Linear(in_features, 2))


def test_what_cannot_be_loaded_is_named(fitted: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(RunError, match=r"the file is missing\. Check the path"):
        Classifier.load(path)
    fitted.save(path)
    with pytest.raises(RunError, match=r"holds a Classifier, not a Regressor. Use fitwell\.Class"):
        Regressor.load(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RunError, match=r"cannot be read .* Restore it from a copy"):
        Classifier.load(path)
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(RunError, match="is not an estimator of fitwell"):
        Classifier.load(path)
    save_file({"w": torch.ones(2)}, path, {"fitwell.estimator": json.dumps({"format": 0})})
    with pytest.raises(RunError, match="has another format"):
        Classifier.load(path)


label_sets = st.one_of(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9, unique=True),
    st.lists(st.text(), min_size=1, max_size=9, unique=True),
    st.lists(st.booleans(), min_size=1, max_size=9, unique=True),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9, unique=True),
)


@settings(max_examples=30)
@given(label_sets, st.booleans())
def test_labels_survive_json(labels: list[Any], as_objects: bool) -> None:
    classes = np.array(labels, dtype=object if as_objects else None)
    again = restored_classes(json.loads(json.dumps(plain_classes(classes))))
    assert again.dtype == classes.dtype
    assert again.tolist() == classes.tolist()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("MLP()", "MLP()"),
        (None, None),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        ({np.int64(1): 2.0, 0: 1.0}, {1: 2.0, 0: 1.0}),
        (np.random.RandomState(0), None),
        (nn.Linear(1, 1), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_survive_json(value: Any, kept: Any) -> None:
    assert restored(json.loads(json.dumps(plain(value)))) == kept
