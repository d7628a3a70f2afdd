"""Combined outputs: equal to NumPy and scikit-learn, never worse than the members on average."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import VotingClassifier
from torch import Tensor
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.train import Combine, combine_outputs, greedy_weights

BRISK = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 10**6)
# Combined outputs are kept in float32.
ROUNDED = 1e-5


def random_outputs(seed: int, members: int = 4, count: int = 30, classes: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(members, count, classes, dtype=torch.float64, generator=generator)


def labels(seed: int, count: int = 30, classes: int = 3) -> Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed + 1))


def shares(seed: int, members: int = 4) -> Tensor:
    drawn = torch.rand(members, generator=torch.Generator().manual_seed(seed)) + 0.1
    return drawn / drawn.sum()


@BRISK
@given(seed=SEEDS, combine=st.sampled_from(["probs", "logits"]), weighted=st.booleans())
def test_hw3_07_the_loss_of_the_mean_is_at_most_the_mean_of_losses(seed, combine, weighted) -> None:
    outputs, targets = random_outputs(seed), labels(seed)
    weights = shares(seed) if weighted else torch.full((4,), 0.25)
    losses = torch.stack([F.cross_entropy(member, targets) for member in outputs])
    together = combine_outputs(outputs, combine=combine, weights=weights)
    assert F.cross_entropy(together.double(), targets) <= weights.double() @ losses + ROUNDED


@BRISK
@given(seed=SEEDS)
def test_hw3_07_the_squared_error_of_the_mean_is_at_most_the_mean_of_errors(seed: int) -> None:
    outputs, targets = random_outputs(seed)[..., 0], random_outputs(seed + 1)[0, :, 0]
    errors = (outputs - targets).square().mean(1)
    together = combine_outputs(outputs)
    assert (together - targets).square().mean() <= errors.mean() + ROUNDED


@BRISK
@given(seed=SEEDS)
def test_hw3_07_means_equal_numpy(seed: int) -> None:
    outputs, weights = random_outputs(seed), shares(seed)
    logits = outputs.numpy()
    powers = np.exp(logits)
    probs = np.average(powers / powers.sum(2, keepdims=True), axis=0, weights=weights.numpy())
    ours = combine_outputs(outputs, weights=weights).softmax(1)
    np.testing.assert_allclose(ours.numpy(), probs, rtol=ROUNDED)
    ours = combine_outputs(outputs, combine="logits", weights=weights)
    expected = np.average(logits, axis=0, weights=weights.numpy())
    np.testing.assert_allclose(ours.numpy(), expected, rtol=ROUNDED, atol=ROUNDED)
    numbers = combine_outputs(outputs[..., 0])
    np.testing.assert_allclose(numbers.numpy(), logits[..., 0].mean(0), rtol=ROUNDED, atol=ROUNDED)


class Fixed(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Answers with what it was given, whatever it is asked."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers

    def fit(self, x: Any, y: Any) -> Fixed:
        self.classes_ = np.unique(y)
        return self

    def predict(self, x: Any) -> Any:
        return self.answers


@BRISK
@given(seed=SEEDS, members=st.integers(1, 6))
def test_hw3_08_votes_equal_scikit_learn_where_they_differ(seed: int, members: int) -> None:
    outputs = random_outputs(seed, members)
    answers = outputs.argmax(2)
    x, y = np.zeros((30, 1)), np.arange(30) % 3
    voters = [(str(number), Fixed(answer.numpy())) for number, answer in enumerate(answers)]
    theirs = VotingClassifier(voters).fit(x, y).predict(x)
    counts = F.one_hot(answers, 3).sum(0)
    clear = (counts == counts.max(1, keepdim=True).values).sum(1) == 1
    ours = combine_outputs(outputs, combine="vote").argmax(1)
    np.testing.assert_array_equal(ours[clear].numpy(), theirs[clear.numpy()])


@BRISK
@given(seed=SEEDS, members=st.sampled_from([2, 4, 6]))
def test_hw3_08_equal_votes_go_to_the_larger_summed_probability(seed: int, members: int) -> None:
    outputs = random_outputs(seed, members, count=40)
    votes, probs = F.one_hot(outputs.argmax(2), 3).sum(0), outputs.softmax(2).sum(0)
    tied = votes == votes.max(1, keepdim=True).values
    assert (tied.sum(1) > 1).any()
    expected = probs.masked_fill(~tied, -1).argmax(1)
    ours = combine_outputs(outputs, combine="vote")
    assert ours.argmax(1).tolist() == expected.tolist()
    torch.testing.assert_close(
        ours.double().softmax(1), votes / members, atol=3e-6, rtol=0, check_dtype=False
    )


def test_hw3_08_after_that_the_lower_class_wins() -> None:
    mirrored = torch.tensor([[[0.0, 2.0, -1.0]], [[2.0, 0.0, -1.0]]])
    assert combine_outputs(mirrored, combine="vote").argmax(1).tolist() == [0]
    swapped = torch.tensor([[[-1.0, 2.0, 0.0]], [[-1.0, 0.0, 2.0]]])
    assert combine_outputs(swapped, combine="vote").argmax(1).tolist() == [1]


@pytest.mark.parametrize("combine", ["probs", "logits", "vote"])
def test_one_model_keeps_its_answers(combine: Combine) -> None:
    outputs = random_outputs(0, members=1)
    ours = combine_outputs(outputs, combine=combine)
    assert ours.argmax(1).tolist() == outputs[0].argmax(1).tolist()


def test_greedy_selection_finds_the_best_of_all_small_ensembles() -> None:
    outputs, targets = random_outputs(3, members=4, count=60), labels(3, 60)
    outputs[1:3, torch.arange(60), targets] += 4.0  # two that know something
    weights = greedy_weights(outputs, targets, rounds=3)

    def loss(chosen: tuple[int, ...]) -> float:
        mean = combine_outputs(outputs[list(chosen)]).double()
        return float(F.cross_entropy(mean, targets))

    every = [
        c for size in (1, 2, 3) for c in itertools.combinations_with_replacement(range(4), size)
    ]
    best = min(every, key=loss)
    expected = torch.tensor([best.count(member) / len(best) for member in range(4)])
    torch.testing.assert_close(weights, expected)
    assert weights[0] == weights[3] == 0


@BRISK
@given(seed=SEEDS, combine=st.sampled_from(["probs", "logits"]))
def test_greedy_selection_is_no_worse_than_the_best_model(seed: int, combine: Combine) -> None:
    outputs, targets = random_outputs(seed), labels(seed)
    single = min(float(F.cross_entropy(member, targets)) for member in outputs)
    weights = greedy_weights(outputs, targets, combine=combine, rounds=6)
    together = combine_outputs(outputs, combine=combine, weights=weights)
    assert F.cross_entropy(together.double(), targets) <= single + ROUNDED
    assert float(weights.sum()) == pytest.approx(1)
    alone = greedy_weights(outputs, targets, combine=combine, rounds=1)
    assert sorted(alone.tolist()) == [0, 0, 0, 1]


def test_greedy_selection_of_numbers() -> None:
    targets = torch.linspace(-1, 1, 20)
    outputs = torch.stack([targets + 1, targets - 1, targets + 5])
    assert greedy_weights(outputs, targets, rounds=4).tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("combine", ["probs", "logits", "vote"])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_model_that_gives_nan_gets_no_share(broken: int, combine: Combine) -> None:
    outputs, targets = random_outputs(0, members=3), labels(0)
    whole = [member for member in range(3) if member != broken]
    expected = greedy_weights(outputs[whole], targets, combine=combine)
    outputs[broken, 3, 1] = float("nan")
    weights = greedy_weights(outputs, targets, combine=combine)
    assert weights[broken] == 0
    torch.testing.assert_close(weights[whole], expected)
    assert combine_outputs(outputs, combine=combine, weights=weights).isfinite().all()
    with pytest.raises(UsageError, match="got NaN or infinite losses for all 3"):
        greedy_weights(outputs.fill_(float("nan")), targets, combine="logits")
    numbers = torch.tensor([[float("nan"), 0.0], [1.0, 2.0]])
    assert greedy_weights(numbers, torch.tensor([1.0, 1.0])).tolist() == [0, 1]


def test_what_cannot_be_combined_is_refused() -> None:
    outputs = random_outputs(0)
    with pytest.raises(UsageError, match=r"`combine` must be one of .*; got 'sum'"):
        combine_outputs(outputs, combine="sum")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`combine` must be 'logits' for outputs"):
        combine_outputs(outputs[..., 0], combine="vote")
    for wrong in ([0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [1.5, -0.5, 0.0, 0.0]):
        with pytest.raises(UsageError, match="`weights` must be 4 shares that sum to 1"):
            combine_outputs(outputs, weights=torch.tensor(wrong))
    with pytest.raises(UsageError, match="`rounds` must be at least 1; got 0"):
        greedy_weights(outputs, labels(0), rounds=0)
