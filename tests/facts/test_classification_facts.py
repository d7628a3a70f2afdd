"""Truths of the classification chapter, one test per catalogue row."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.losses import CrossEntropy
from fitwell.nn import Linear


def three_clusters() -> tuple[Tensor, Tensor]:
    """Three clusters on a line; the one in the middle has the number 2."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(150) % 3
    centers = torch.tensor([-4.0, 4.0, 0.0])
    return centers[labels].unsqueeze(1) + torch.randn(150, 1, generator=generator) * 0.5, labels


def accuracy_as_number(x: Tensor, labels: Tensor) -> float:
    """Least squares on the class number, rounded to the nearest class."""
    rows = torch.cat([x, torch.ones_like(x)], 1)
    solution = torch.linalg.lstsq(rows, labels.unsqueeze(1).to(x.dtype)).solution
    guess = (rows @ solution).squeeze(1).round().clamp(0, 2)
    return (guess == labels).double().mean().item()


def accuracy_as_one_hot(x: Tensor, labels: Tensor) -> float:
    """The same linear model with one output per class."""
    torch.manual_seed(0)
    model = Linear(1, 3)
    loss = CrossEntropy()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model(x), nn.functional.one_hot(labels, 3).to(x.dtype))
        value.backward()
        return value

    optimizer.step(closure)
    return (model(x).argmax(1) == labels).double().mean().item()


def test_cls_03_numbers_impose_an_order_that_one_hot_does_not() -> None:
    x, labels = three_clusters()
    assert accuracy_as_one_hot(x, labels) == 1.0
    assert accuracy_as_number(x, labels) <= accuracy_as_one_hot(x, labels) - 0.3
    # Renaming the classes decides whether numbers work; one-hot does not care.
    numbers, one_hot = [], []
    for order in itertools.permutations(range(3)):
        renamed = torch.tensor(order)[labels]
        numbers.append(accuracy_as_number(x, renamed))
        one_hot.append(accuracy_as_one_hot(x, renamed))
    assert max(numbers) - min(numbers) >= 0.3
    assert min(one_hot) == 1.0


@settings(deadline=None, max_examples=60)
@given(
    logits=st.lists(
        st.one_of(st.floats(-10, 10), st.sampled_from([-1e4, 1e4])), min_size=2, max_size=6
    )
)
def test_cls_04_softmax_is_stable_at_large_logits(logits: list[float]) -> None:
    z = torch.tensor(logits, dtype=torch.float64)
    shifted = z - z.max()
    log_probs = shifted - shifted.exp().sum().log()
    torch.testing.assert_close(z.log_softmax(0), log_probs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(z.softmax(0), log_probs.exp(), rtol=1e-9, atol=1e-12)
    for label in range(len(logits)):
        loss = CrossEntropy()(z.unsqueeze(0).float(), torch.tensor([label]))
        assert bool(loss.isfinite())
        torch.testing.assert_close(loss.double(), -log_probs[label], rtol=1e-5, atol=1e-5)
    assert z.softmax(0).sum().item() == pytest.approx(1)


def test_cls_04_the_plain_formula_is_not() -> None:
    z = torch.tensor([1e4, -1e4])
    assert bool((z.exp() / z.exp().sum()).isnan().any())
    assert z.softmax(0).tolist() == [1, 0]


@settings(deadline=None, max_examples=100)
@given(z=st.floats(-50, 50))
def test_cls_05_softmax_of_two_is_sigmoid(z: float) -> None:
    pair = torch.tensor([z, 0.0], dtype=torch.float64)
    single = torch.tensor(z, dtype=torch.float64)
    assert abs(pair.softmax(0)[0] - single.sigmoid()).item() <= 1e-15
    for label in (0, 1):
        two = single.clone().requires_grad_()
        one = single.clone().requires_grad_()
        logits = torch.stack([two, torch.zeros_like(two)]).unsqueeze(0)
        loss_two = nn.functional.cross_entropy(logits, torch.tensor([label]))
        wanted = torch.tensor(1.0 - label, dtype=torch.float64)
        loss_one = nn.functional.binary_cross_entropy_with_logits(one, wanted)
        loss_two.backward()
        loss_one.backward()
        # The logarithm of a sum near 1 keeps the digits of that sum.
        torch.testing.assert_close(loss_two, loss_one, rtol=1e-12, atol=1e-14)
        assert two.grad is not None
        assert one.grad is not None
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [(), (0.2, 1.0, 3.0)])
def test_cls_06_cross_entropy_is_the_negative_log_likelihood_of_softmax(
    smoothing: float, weights: tuple[float, ...]
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 2, -100, 1, 0])
    seen = labels != -100
    weight = torch.tensor(weights or (1.0,) * 3, dtype=torch.float64)
    ours = CrossEntropy(label_smoothing=smoothing, weights=weights)
    theirs = nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours(logits, labels), theirs(logits, labels), rtol=1e-12, atol=0)
    # In its own words: smoothed targets, weighted log likelihood, mean over the weights seen.
    log_probs = logits.exp().div(logits.exp().sum(1, keepdim=True)).log()[seen]
    one_hot = nn.functional.one_hot(labels[seen], 3).double()
    smooth = one_hot * (1 - smoothing) + smoothing / 3
    by_hand = -(smooth * log_probs * weight).sum() / weight[labels[seen]].sum()
    torch.testing.assert_close(ours(logits, labels), by_hand, rtol=1e-12, atol=0)
    probs = torch.randn(7, 3, dtype=torch.float64).softmax(1)
    torch.testing.assert_close(ours(logits, probs), theirs(logits, probs), rtol=1e-12, atol=0)
