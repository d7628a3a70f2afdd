"""Classical classifiers on rows, fitted and asked across folds.

N rows, F features, K classes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...core.errors import UsageError
from ...data import cut_folds
from .._rows import Floats, Ints

Classifier = Literal["boosting", "logistic"]


def classifier(kind: Classifier, seed: int) -> Any:
    """Build a classifier that bears missing values.

    Args:
        kind: Boosted trees, which see interactions, or logistic regression, which is quick.
        seed: Of the trees.
    """
    if kind == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=40,
            max_leaf_nodes=8,
            learning_rate=0.2,
            early_stopping=False,
            random_state=seed,
        )
    if kind != "logistic":
        raise UsageError(
            f"doctor: `classifier` must be 'boosting' or 'logistic'; got {kind!r}. Use 'boosting'."
        )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=0.05, max_iter=500),
    )


def fold_places(labels: Ints, folds: int, seed: int) -> Ints:
    """Give the fold of each row, stratified by class.

    Args:
        labels: (N,) class indices.
        folds: How many.
        seed: Of the draw.
    """
    places = np.empty(len(labels), dtype=np.int64)
    cut = cut_folds(len(labels), folds=folds, mode="stratified", seed=seed, labels=labels)
    for number, (_, held_out) in enumerate(cut):
        places[held_out] = number
    return places


def cross_fitted(
    kind: Classifier,
    values: Floats,
    labels: Ints,
    places: Ints,
    *,
    num_classes: int,
    seed: int = 0,
) -> Floats:
    """Give the class probabilities of each row from a classifier that has not seen it.

    Args:
        kind: The classifier.
        values: (N, F).
        labels: (N,) class indices.
        places: (N,) fold of each row.
        num_classes: K.
        seed: Of the classifier.

    Returns:
        (N, K); 0 for a class that a fold's classifier has not met.
    """
    probs = np.zeros((len(labels), num_classes))
    for fold in np.unique(places):
        out = places == fold
        met = np.unique(labels[~out])
        if len(met) == 1:
            probs[np.ix_(out, met)] = 1.0
            continue
        fitted = classifier(kind, seed).fit(values[~out], labels[~out])
        probs[np.ix_(out, fitted.classes_.astype(np.int64))] = fitted.predict_proba(values[out])
    return probs


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Give the chance that a positive scores above a negative; ties count half.

        A = (Σ ranks of positives - m(m + 1)/2) / (m n)

    Args:
        scores: (N,).
        positive: (N,) which rows are positive.

    Source: mann1947test.
    Checked against: all pairs; scikit-learn.
    """
    _, places, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[places]
    m = int(positive.sum())
    n = len(positive) - m
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (m * n))


def auc_interval(found: float, positives: int, negatives: int) -> tuple[float, float]:
    """Give a 95% interval of an AUC that stays sensible at 0 and 1.

    All A whose estimate would lie within 1.96 of its standard errors:

        (A - found)² ≤ z² A(1 - A) (1 + N (1 - A)/(2 - A) + N A/(1 + A)) / (m n),  N = (m + n)/2 - 1

    Args:
        found: The AUC.
        positives: m.
        negatives: n.

    Source: newcombe2006confidence, method 5.
    """
    grid = np.linspace(0.0, 1.0, 10_001)
    half = (positives + negatives) / 2 - 1
    spread = 1 + half * (1 - grid) / (2 - grid) + half * grid / (1 + grid)
    variance = grid * (1 - grid) * spread / (positives * negatives)
    inside = grid[(grid - found) ** 2 <= 3.841458820694124 * variance + 1e-12]
    if len(inside) == 0:
        return found, found
    return min(found, float(inside[0])), max(found, float(inside[-1]))
