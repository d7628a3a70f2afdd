"""scikit-learn's own checks of what an estimator must do; no check is excused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from fitwell import Classifier, Regressor

QUICK: dict[str, Any] = {"model": "MLP(hidden=(32,))", "lr": 0.01}
ESTIMATORS = [Classifier(**QUICK, epochs=12), Regressor(**QUICK, epochs=30)]


@parametrize_with_checks(ESTIMATORS)
def test_pt_06_scikit_learn_finds_no_fault(
    estimator: Classifier | Regressor, check: Callable[[Any], None]
) -> None:
    check(estimator)
