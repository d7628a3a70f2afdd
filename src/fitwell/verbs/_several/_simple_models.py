"""Simple models of scikit-learn, and the features that they see."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ... import nn as models
from ...core.errors import UsageError
from ...data import Examples
from ...tasks import SupervisedTask

NAMES: Final = ("constant", "linear", "neighbors", "svm", "boosting", "net")
"""From the simplest on."""

Floats = npt.NDArray[Any]


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


class Features:
    """Turns inputs into flat features: pixels in [0, 1], or the columns of a table encoded.

    Args:
        task: Of the data.
        train: The rows that scaling and missing values are learned from.
    """

    def __init__(self, task: SupervisedTask, train: Examples) -> None:
        self._encoder: models.TableEncoder | None = None
        if task.name == "table":
            scaling = task.fit_scaling(train.schema, train)
            self._encoder = models.TableEncoder(**scaling["inputs"])

    def __call__(self, examples: Examples) -> Floats:
        """Give the features, (N, F).

        Args:
            examples: The examples.

        Raises:
            UsageError: The inputs do not fit in memory.
        """
        inputs = examples.inputs
        if not isinstance(inputs, Tensor):
            raise UsageError(
                "baselines: `source` must fit in memory; this one is read from disk. Use a part of"
                " it."
            )
        with torch.no_grad():
            if self._encoder is not None:
                inputs = self._encoder(inputs)
            elif inputs.dtype == torch.uint8:
                inputs = inputs.float() / 255
        flat: Floats = inputs.flatten(1).numpy().astype(np.float64)
        return flat
