from __future__ import annotations

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.nn import fit_perceptron


def test_perceptron_makes_the_mistakes_of_scikit_learn() -> None:
    from sklearn.linear_model import Perceptron

    torch.manual_seed(0)
    x = torch.randn(40, 3, dtype=torch.float64)
    y = torch.where(x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) > 0.1, 1, -1)
    ours = fit_perceptron(x, y)
    theirs = Perceptron(shuffle=False, tol=None, max_iter=200, alpha=0).fit(x.numpy(), y.numpy())
    assert ours.converged
    torch.testing.assert_close(ours.weight, torch.from_numpy(theirs.coef_[0]))
    assert ours.bias.item() == pytest.approx(theirs.intercept_[0])
    assert torch.equal(ours.predict(x), y.to(x.dtype))


def test_perceptron_refuses_other_labels_and_shapes() -> None:
    with pytest.raises(UsageError, match=r"`y` must be \+1 or -1; got other numbers"):
        fit_perceptron(torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match=r"`y` must have one entry per row of `x`; got \(3,\)"):
        fit_perceptron(torch.zeros(2, 2), torch.ones(3))
