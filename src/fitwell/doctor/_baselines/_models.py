"""Simple models of scikit-learn, the features that they see, and their scores.

N examples, F features.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...core.intervals import wilson_interval
from ...core.significance import rmse_interval
from .._result import Interval
from .._rows import as_floats

NAMES: Final = ("constant", "linear", "neighbors", "svm", "boosting", "net")
"""From the simplest on."""

Floats = npt.NDArray[Any]
Metric = Literal["accuracy", "rmse"]


def simple_model(name: str, target_kind: str, seed: int) -> Any:
    """Build a model with scikit-learn's own defaults; targets that are numbers are standardized.

    Args:
        name: One of `NAMES`.
        target_kind: ``class`` or ``number``.
        seed: Of what is drawn.
    """
    if target_kind == "class":
        return _classifier(name, seed)
    return _regressor(name, seed)


def _classifier(name: str, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    made = {
        "constant": DummyClassifier,
        "linear": LogisticRegression,
        "neighbors": KNeighborsClassifier,
        "svm": SVC,
        "boosting": HistGradientBoostingClassifier,
        "net": MLPClassifier,
    }
    more: dict[str, dict[str, Any]] = {
        "linear": {"max_iter": 1000},
        "boosting": {"random_state": seed},
        "net": {"hidden_layer_sizes": (64,), "random_state": seed},
    }
    return made[name](**more.get(name, {}))


def _regressor(name: str, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.dummy import DummyRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    made = {
        "constant": DummyRegressor,
        "linear": Ridge,
        "neighbors": KNeighborsRegressor,
        "svm": SVR,
        "boosting": HistGradientBoostingRegressor,
        "net": MLPRegressor,
    }
    more: dict[str, dict[str, Any]] = {
        "boosting": {"random_state": seed},
        "net": {"hidden_layer_sizes": (64,), "random_state": seed},
    }
    model = made[name](**more.get(name, {}))
    if name in ("svm", "net"):
        return TransformedTargetRegressor(regressor=model, transformer=StandardScaler())
    return model


def fitted(model: Any, x: Floats, y: Floats) -> bool:
    """Fit a model; say whether it came to its end.

    Args:
        model: From `simple_model`.
        x: Features, (N, F).
        y: Targets, (N,).
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x, y)
    return not caught


def flat_features(inputs: Tensor, encoder: Callable[[Tensor], Tensor] | None) -> Floats:
    """Give inputs as flat features, (N, F): pixels in [0, 1], or what an encoder makes of them.

    Args:
        inputs: (N, ...).
        encoder: Of the columns of a table, or of anything else; None takes the inputs.
    """
    with torch.no_grad():
        found = as_floats(inputs) if encoder is None else encoder(inputs)
    flat: Floats = found.flatten(1).cpu().numpy().astype(np.float64)
    return flat


def score_of(answers: Floats, targets: Floats, metric: str) -> float:
    """Give the accuracy or the root mean squared error.

    Args:
        answers: (N,).
        targets: (N,).
        metric: Which.
    """
    if metric == "accuracy":
        return float((answers == targets).mean())
    return math.sqrt(float(np.square(answers - targets).mean()))


def score_interval(answers: Floats, targets: Floats, metric: str) -> Interval | None:
    """Give the 95% interval of that score; None of the error of a single answer.

    Args:
        answers: (N,).
        targets: (N,).
        metric: Which.
    """
    if metric == "accuracy":
        return wilson_interval(int((answers == targets).sum()), len(targets))
    return rmse_interval((answers - targets).tolist()) if len(targets) > 1 else None
