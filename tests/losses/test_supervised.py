from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.losses import MAE, MSE, CrossEntropy, Huber, check_labels, cross_entropy, mae, mse

OUTPUTS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])
NUMBERS = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (1.0, 0.5, 2.0, 0.0)])
def test_cross_entropy_equals_torch(smoothing: float, weights: tuple[float, ...]) -> None:
    theirs = nn.CrossEntropyLoss(
        torch.tensor(weights, dtype=torch.float64) if weights else None, label_smoothing=smoothing
    )
    ours = CrossEntropy(label_smoothing=smoothing, weights=weights)
    assert torch.equal(ours(OUTPUTS, LABELS), theirs(OUTPUTS, LABELS))
    probs = OUTPUTS.flip(0).softmax(1)
    assert torch.equal(ours(OUTPUTS, probs), theirs(OUTPUTS, probs))


def test_regression_losses_equal_torch() -> None:
    outputs = OUTPUTS[:, 0]
    assert torch.equal(MSE()(outputs, NUMBERS), nn.MSELoss()(outputs, NUMBERS))
    assert torch.equal(MAE()(outputs, NUMBERS), nn.L1Loss()(outputs, NUMBERS))
    theirs = nn.HuberLoss(delta=0.3)
    assert torch.equal(Huber(delta=0.3)(outputs, NUMBERS), theirs(outputs, NUMBERS))


def test_plain_functions_are_those_of_torch() -> None:
    assert cross_entropy is nn.functional.cross_entropy
    assert mse is nn.functional.mse_loss
    assert mae is nn.functional.l1_loss


def test_huber_reduces_to_half_the_squared_error() -> None:
    outputs = OUTPUTS[:, 0]
    torch.testing.assert_close(Huber(delta=1e3)(outputs, NUMBERS), MSE()(outputs, NUMBERS) / 2)


def test_cross_entropy_refuses_what_does_not_fit() -> None:
    loss = CrossEntropy()
    with pytest.raises(
        UsageError, match=r"class indices \(int64\), .*; got torch.float32 of shape"
    ):
        loss(OUTPUTS, LABELS.float())
    with pytest.raises(UsageError, match=r"`targets` must have shape \(6,\); got \(6, 1\)"):
        loss(OUTPUTS, LABELS.unsqueeze(1))
    with pytest.raises(UsageError, match=r"`outputs` must have shape \(B, K\).*; got \(6,\)"):
        loss(OUTPUTS[:, 0], LABELS)
    with pytest.raises(UsageError, match=r"`weights` must have one entry per class; got 2 for 4"):
        CrossEntropy(weights=(1, 2))(OUTPUTS, LABELS)
    with pytest.raises(UsageError, match=r"`label_smoothing` must lie in \[0, 1\); got 1"):
        CrossEntropy(label_smoothing=1)
    with pytest.raises(UsageError, match=r"`weights` must be finite and not negative"):
        CrossEntropy(weights=(-1, 2))


@pytest.mark.parametrize("loss", [MSE(), MAE(), Huber()])
def test_regression_losses_refuse_what_would_broadcast_or_truncate(loss: MSE | MAE | Huber) -> None:
    name = type(loss).__name__
    with pytest.raises(UsageError, match=rf"{name}: `outputs` must have the shape of .*\(6, 1\)"):
        loss(OUTPUTS[:, :1], NUMBERS)
    with pytest.raises(
        UsageError, match=rf"{name}: `targets` must be floating .*; got torch.int64"
    ):
        loss(OUTPUTS[:, 0], LABELS)


def test_huber_refuses_a_delta_of_zero() -> None:
    with pytest.raises(UsageError, match=r"Huber: `delta` must be positive and finite; got 0"):
        Huber(delta=0)


def test_check_labels_names_the_first_wrong_row() -> None:
    check_labels(LABELS, 4)
    with pytest.raises(UsageError, match=r"must lie in 0 ... 2; got 3 in row 1"):
        check_labels(LABELS, 3)
    with pytest.raises(UsageError, match=r"got -1 in row 2"):
        check_labels(torch.tensor([0, 1, -1]), 3)
