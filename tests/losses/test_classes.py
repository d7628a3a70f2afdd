"""The losses for classes: both kinds of targets, both ways of smoothing, extreme logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.core.spec import build
from fitwell.losses import LOSSES, AdditiveMargin, CrossEntropy, Focal
from fitwell.nn import CosineLinear

LOGITS = 2 * torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])
SEEDED = torch.Generator().manual_seed(1)
MIXED = torch.randn(7, 4, dtype=torch.float64, generator=SEEDED).softmax(1)
WEIGHTS = (1.0, 0.5, 2.0, 0.25)
CLASS_LOSSES = (CrossEntropy, Focal, AdditiveMargin)
# float64 sums in another order.
SAME = {"rtol": 1e-12, "atol": 1e-14}


def one_hot(labels: Tensor = LABELS) -> Tensor:
    return nn.functional.one_hot(labels, 4).double()


def log_softmax(logits: Tensor) -> NDArray[np.float64]:
    z = logits.numpy()
    z = z - z.max(1, keepdims=True)
    found: NDArray[np.float64] = z - np.log(np.exp(z).sum(1, keepdims=True))
    return found


# Targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CLASS_LOSSES)
def test_one_hot_rows_are_what_indices_stand_for(make: Any) -> None:
    torch.testing.assert_close(make()(LOGITS, one_hot()), make()(LOGITS, LABELS), **SAME)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.1), Focal()])
def test_hw3_03_the_loss_of_a_mixed_label_is_the_mix_of_the_losses(loss: Any, share: float) -> None:
    other = LABELS.roll(1)
    mixed = share * one_hot() + (1 - share) * one_hot(other)
    expected = share * loss(LOGITS, LABELS) + (1 - share) * loss(LOGITS, other)
    torch.testing.assert_close(loss(LOGITS, mixed), expected, **SAME)
    if loss == CrossEntropy():
        assert torch.equal(loss(LOGITS, mixed), nn.CrossEntropyLoss()(LOGITS, mixed))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_and_smoothing_together_are_those_of_the_card(soft: bool, smoothing: float) -> None:
    t, w = (MIXED if soft else one_hot()).numpy(), np.array(WEIGHTS)
    spread = (1 - smoothing) * t + smoothing / 4
    count = 7 if soft else w[LABELS.numpy()].sum()
    expected = (spread * w * -log_softmax(LOGITS)).sum() / count
    loss = CrossEntropy(label_smoothing=smoothing, weights=WEIGHTS)
    assert loss(LOGITS, MIXED if soft else LABELS).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ignored", [-100, -1, 2])
@pytest.mark.parametrize("smoothing", ["uniform", "others"])
def test_cls_06_ignored_rows_do_not_count(ignored: int, smoothing: Any) -> None:
    labels = torch.where(LABELS == 2, ignored, LABELS)
    kept = labels != ignored
    loss = CrossEntropy(ignore_index=ignored, label_smoothing=0.1, smoothing=smoothing)
    outputs = LOGITS.clone().requires_grad_()
    value = loss(outputs, labels)
    torch.testing.assert_close(value, loss(LOGITS[kept], labels[kept]), **SAME)
    if smoothing == "uniform":
        theirs = nn.CrossEntropyLoss(ignore_index=ignored, label_smoothing=0.1)
        assert torch.equal(value, theirs(LOGITS, labels))
    value.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert torch.equal(outputs.grad.abs().sum(1) > 0, kept)
    assert CrossEntropy(ignore_index=ignored)(LOGITS, MIXED) == CrossEntropy()(LOGITS, MIXED)


@pytest.mark.parametrize("make", CLASS_LOSSES)
def test_further_axes_are_more_examples(make: Any) -> None:
    outputs = LOGITS[:6].reshape(2, 3, 4).movedim(2, 1)
    labels, mixed = LABELS[:6].reshape(2, 3), MIXED[:6].reshape(2, 3, 4).movedim(2, 1)
    weights = {} if make is AdditiveMargin else {"weights": WEIGHTS}
    loss = make(**weights)
    torch.testing.assert_close(loss(outputs, labels), loss(LOGITS[:6], LABELS[:6]), **SAME)
    torch.testing.assert_close(loss(outputs, mixed), loss(LOGITS[:6], MIXED[:6]), **SAME)


# Smoothing ---------------------------------------------------------------------------------------


def label_smoothed_sum(logits: Tensor, labels: Tensor, epsilon: float) -> float:
    """The sum over rows: epsilon over the other classes, added to all and taken from the right."""
    total = 0.0
    for row, label in zip(log_softmax(logits), labels.tolist(), strict=True):
        each = epsilon / (len(row) - 1)
        total += (1 - epsilon - each) * -row[label] + each * -row.sum()
    return total


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 6),
    share=st.floats(0, 0.99),
)
def test_hw5_08_smoothing_over_the_others(seed: int, classes: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, classes, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (5,), generator=generator)
    epsilon = share * (classes - 1) / classes
    loss = CrossEntropy(label_smoothing=epsilon, smoothing="others")
    expected = label_smoothed_sum(logits, labels, epsilon) / 5
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # Closed form: the share over all classes that does the same.
    theirs = nn.CrossEntropyLoss(label_smoothing=epsilon * classes / (classes - 1))
    torch.testing.assert_close(loss(logits, labels), theirs(logits, labels), **SAME)
    # The least loss is reached where the right class has exactly 1 - epsilon.
    target = torch.full_like(logits, epsilon / (classes - 1))
    target[torch.arange(5), labels] = 1 - epsilon
    torch.testing.assert_close(loss(logits, labels), CrossEntropy()(logits, target), **SAME)


def test_hw5_08_the_two_ways_of_smoothing_differ() -> None:
    uniform = CrossEntropy(label_smoothing=0.1)(LOGITS, LABELS)
    others = CrossEntropy(label_smoothing=0.1, smoothing="others")(LOGITS, LABELS)
    assert torch.equal(uniform, nn.CrossEntropyLoss(label_smoothing=0.1)(LOGITS, LABELS))
    assert abs(uniform - others) > 1e-3


# Focal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weights", [(), WEIGHTS])
@pytest.mark.parametrize("soft", [False, True])
def test_focal_equals_its_formula(gamma: float, weights: tuple[float, ...], soft: bool) -> None:
    logs = log_softmax(LOGITS)
    t = (MIXED if soft else one_hot()).numpy()
    w = np.array(weights or (1.0,) * 4)
    count = 7 if soft else w[LABELS.numpy()].sum()
    expected = (t * w * (1 - np.exp(logs)) ** gamma * -logs).sum() / count
    found = Focal(gamma=gamma, weights=weights)(LOGITS, MIXED if soft else LABELS)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weights", [(), WEIGHTS])
@pytest.mark.parametrize("targets", [LABELS, MIXED])
def test_focal_reduces_to_cross_entropy(weights: tuple[float, ...], targets: Tensor) -> None:
    found = Focal(gamma=0, weights=weights)(LOGITS, targets)
    torch.testing.assert_close(found, CrossEntropy(weights=weights)(LOGITS, targets), **SAME)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_focal_is_finite_at_extreme_logits(dtype: torch.dtype, gamma: float, soft: bool) -> None:
    outputs = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 0, 0]], dtype=dtype)
    outputs.requires_grad_()
    labels = torch.tensor([0, 0, 1])
    targets = nn.functional.one_hot(labels, 3).to(dtype) if soft else labels
    loss = Focal(gamma=gamma)(outputs, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert bool(loss.isfinite())
    assert bool(outputs.grad.isfinite().all())
    # Right and sure gives nothing; wrong by d logits gives d, whatever the power.
    assert loss.item() == pytest.approx((0 + 2e4 + 1e4) / 3, rel=1e-4)
    assert float(outputs.grad[0].abs().max()) < 1e-6


def test_focal_counts_an_easy_example_less() -> None:
    easy = torch.tensor([[math.log(9.0), 0.0]], dtype=torch.float64)  # p = 0.9
    label = torch.tensor([0])
    ratio = Focal(gamma=2)(easy, label) / CrossEntropy()(easy, label)
    assert ratio.item() == pytest.approx(0.01, rel=1e-12)


# Additive margin ---------------------------------------------------------------------------------


def test_additive_margin_equals_its_equation() -> None:
    cosines = LOGITS.tanh()
    total = 0.0
    for row, label in zip(cosines.tolist(), LABELS.tolist(), strict=True):
        right = math.exp(30 * (row[label] - 0.35))
        others = sum(math.exp(30 * value) for k, value in enumerate(row) if k != label)
        total += -math.log(right / (right + others))
    assert AdditiveMargin()(cosines, LABELS).item() == pytest.approx(total / 7, rel=1e-12)


def test_additive_margin_reduces_to_cross_entropy_of_scaled_cosines() -> None:
    cosines = LOGITS.tanh()
    for targets in (LABELS, MIXED):
        found = AdditiveMargin(margin=0, scale=12)(cosines, targets)
        torch.testing.assert_close(found, CrossEntropy()(12 * cosines, targets), **SAME)


def test_additive_margin_of_a_mixed_target_is_taken_in_proportion() -> None:
    cosines = LOGITS.tanh()
    expected = CrossEntropy()(30 * (cosines - 0.35 * MIXED), MIXED)
    torch.testing.assert_close(AdditiveMargin()(cosines, MIXED), expected, **SAME)


def test_additive_margin_computes_half_precision_in_single() -> None:
    cosines = LOGITS.tanh().bfloat16()
    found = AdditiveMargin()(cosines, LABELS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, AdditiveMargin()(cosines.float(), LABELS))


def angles(loss: Any) -> tuple[float, float]:
    """Train directions of two overlapping classes; give accuracy and the mean lead in cosine."""
    torch.manual_seed(0)
    x = torch.randn(200, 8)
    labels = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(8, 8), CosineLinear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(x), labels).backward()
        optimizer.step()
    cosines = model(x).detach()
    right = cosines.gather(1, labels.unsqueeze(1)).squeeze(1)
    lead = right - cosines.gather(1, 1 - labels.unsqueeze(1)).squeeze(1)
    return float((lead > 0).double().mean()), float(lead.quantile(0.1))


def test_a_margin_widens_the_lead_of_the_right_class() -> None:
    accuracy, lead = angles(AdditiveMargin(margin=0.35, scale=10))
    plain_accuracy, plain_lead = angles(AdditiveMargin(margin=0, scale=10))
    assert min(accuracy, plain_accuracy) > 0.95
    assert lead > plain_lead + 0.05


# Use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("Focal(gamma=1.5)", Focal(gamma=1.5)),
        ("additive_margin(margin=0.2, scale=64)", AdditiveMargin(margin=0.2, scale=64)),
        (
            "CrossEntropy(label_smoothing=0.1, smoothing='others', ignore_index=-1)",
            CrossEntropy(label_smoothing=0.1, smoothing="others", ignore_index=-1),
        ),
    ],
)
def test_built_from_text(text: str, loss: Any) -> None:
    assert build(text, LOSSES, owner="test", what="loss") == loss


@pytest.mark.parametrize("make", CLASS_LOSSES)
def test_what_does_not_fit_is_refused(make: Any) -> None:
    name = make.__name__
    with pytest.raises(UsageError, match=rf"{name}: `outputs` must have shape \(B, K\)"):
        make()(LOGITS[:, 0], LABELS)
    with pytest.raises(UsageError, match=rf"{name}: `targets` must have shape \(7,\)"):
        make()(LOGITS, LABELS.unsqueeze(1))
    with pytest.raises(UsageError, match=rf"{name}: `targets` must be class indices"):
        make()(LOGITS, LABELS.double())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Focal(gamma=-1), "Focal: `gamma` must be finite and not negative; got -1"),
        (lambda: Focal(weights=(math.inf,)), "Focal: `weights` must be finite"),
        (lambda: Focal(weights=(1, 2))(LOGITS, LABELS), "Focal: `weights` must have one entry"),
        (lambda: AdditiveMargin(margin=3), r"`margin` must lie in \[0, 2\].*; got 3"),
        (lambda: AdditiveMargin(scale=0), "`scale` must be positive and finite; got 0"),
        (lambda: CrossEntropy(smoothing="all"), "must be 'uniform' or 'others'; got 'all'"),  # type: ignore[arg-type]
        (
            lambda: CrossEntropy(label_smoothing=0.8, smoothing="others")(LOGITS, LABELS),
            "at most 1 - 1/K, .* got 0.8 for 4 classes",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
