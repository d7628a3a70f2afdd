from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.metrics import Classification

# float64 sums in another order than scikit-learn's.
TOLERANCE = 1e-12


def draw(seed: int, count: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, dtype=torch.float64, generator=generator)
    # Some classes never occur, so that the empty cases are met.
    return outputs, torch.randint(0, max(1, classes - 1), (count,), generator=generator)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), classes=st.integers(2, 6))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_equal_scikit_learn(seed: int, count: int, classes: int) -> None:
    from sklearn import metrics

    outputs, targets = draw(seed, count, classes)
    ours = Classification(classes, top_k=2)
    ours.update(outputs, targets)
    y, p = targets.numpy(), outputs.argmax(1).numpy()
    labels = list(range(classes))
    probs = outputs.softmax(1).numpy()
    expected = {
        "loss": metrics.log_loss(y, probs, labels=labels),
        "accuracy": metrics.accuracy_score(y, p),
        "error": 1 - metrics.accuracy_score(y, p),
        "balanced_accuracy": np.mean([np.mean(p[y == k] == k) for k in np.unique(y)]),
        "macro_f1": metrics.f1_score(y, p, average="macro", zero_division=0),
    }
    if classes > 2:
        expected["top2_accuracy"] = metrics.top_k_accuracy_score(y, probs, k=2, labels=labels)
    else:
        expected["top2_accuracy"] = 1.0
    assert ours.compute() == pytest.approx(expected, abs=TOLERANCE)
    matrix = metrics.confusion_matrix(y, p, labels=labels)
    assert ours.confusion.tolist() == matrix.tolist()
    table = metrics.precision_recall_fscore_support(y, p, labels=labels, zero_division=0)
    rows = ours.per_class()
    assert [row.precision or 0 for row in rows] == pytest.approx(table[0].tolist(), abs=TOLERANCE)
    assert [row.recall or 0 for row in rows] == pytest.approx(table[1].tolist(), abs=TOLERANCE)
    assert [row.f1 or 0 for row in rows] == pytest.approx(table[2].tolist(), abs=TOLERANCE)
    assert [row.support for row in rows] == table[3].tolist()


def test_balanced_accuracy_equals_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score

    outputs, targets = draw(3, 200, 4)
    outputs[:, 3] = -9
    ours = Classification(4)
    ours.update(outputs, targets)
    theirs = balanced_accuracy_score(targets.numpy(), outputs.argmax(1).numpy())
    assert ours.compute()["balanced_accuracy"] == pytest.approx(theirs, abs=TOLERANCE)


def test_classes_that_occur_nowhere_have_no_score() -> None:
    ours = Classification(3)
    ours.update(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), torch.tensor([0, 0]))
    rows = ours.per_class()
    assert (rows[2].precision, rows[2].recall, rows[2].f1) == (None, None, None)
    assert (rows[1].precision, rows[1].recall, rows[1].f1) == (0, None, 0)
    assert rows[2].recall_interval == (0, 1)
    assert json.loads(json.dumps(rows[0].to_dict()))["recall"] == 0.5
    low, high = ours.accuracy_interval()
    assert low < 0.5 < high


def test_half_precision_logits_are_summed_in_more_digits() -> None:
    outputs, targets = draw(0, 300, 5)
    half = outputs.to(torch.bfloat16)
    ours = Classification(5)
    ours.update(half, targets)
    full = torch.nn.functional.cross_entropy(half.double(), targets)
    # The rounding of one float32 logarithm.
    assert ours.compute()["loss"] == pytest.approx(full.item(), rel=1e-6)


def test_update_takes_no_part_in_the_graph() -> None:
    outputs = torch.randn(3, 2, requires_grad=True)
    ours = Classification(2)
    ours.update(outputs, torch.tensor([0, 1, 0]))
    assert not ours.confusion.requires_grad
    assert not ours._loss.requires_grad


def test_classification_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"`num_classes` must be at least 1; got 0"):
        Classification(0)
    with pytest.raises(UsageError, match=r"`top_k` must lie in 0 ... 3; got 5"):
        Classification(3, top_k=5)
    ours = Classification(3)
    with pytest.raises(UsageError, match=r"`outputs` must have shape \(B, 3\); got \(2, 4\)"):
        ours.update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"`targets` must have shape \(2,\); got \(2, 1\)"):
        ours.update(torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"`other` must have num_classes=3 and top_k=0; got 4"):
        ours.merge(Classification(4))
