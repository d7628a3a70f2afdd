"""One answer from several: the mean of outputs, of probabilities, or a vote.

M models or views, N examples, K classes.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...core.errors import UsageError

Combine = Literal["logits", "probs", "vote"]

_TIES = 1e-6  # of mean probabilities, and again of the winner: float32 must tell it from a tie


def combine_outputs(
    outputs: Tensor,
    *,
    combine: Combine = "probs",
    weights: Tensor | None = None,
    owner: str = "combine_outputs",
) -> Tensor:
    """Give the outputs of several models for the same examples as those of one.

    Models that err on different examples are better together than each alone. Means of
    probabilities or logits never have a larger loss than the models have on average, whatever the
    data, and ties hardly occur. Votes ignore how sure a model is: use them where the confidences
    are not to be trusted. The outputs stay logits whatever is combined: of probabilities and
    votes, the logarithm.

        logits: Σ wₘ zₘ     probs: log Σ wₘ softmax(zₘ)     vote: log of the shares of votes

    Equal votes go to the class with the larger mean probability, and after that to the class with
    the lower index.

    Args:
        outputs: Logits (M, N, K), or numbers (M, N), which are averaged as they are.
        combine: What is averaged; ignored for numbers unless it is `vote`, which is refused.
        weights: Share of each model, (M,), which sum to 1; None gives all the same.
        owner: Who asks, for messages.

    Raises:
        UsageError: The weights do not fit, or there are no classes to vote for.

    Source: lakshminarayanan2017simple, section 2.4, for probabilities; breiman1996bagging, section
        4.2, for votes.
    Reduces to: the outputs of the only model, up to a shift of the logits, at M = 1.
    Checked against: NumPy, and scikit-learn VotingClassifier where no votes are equal.
    """
    count = len(outputs)
    check_combine(owner, combine)
    weights = torch.full((count,), 1 / count) if weights is None else weights
    if (
        weights.shape != (count,)
        or bool((weights < 0).any())
        or abs(float(weights.sum()) - 1) > 1e-4
    ):
        raise UsageError(
            f"{owner}: `weights` must be {count} shares that sum to 1; got {weights.tolist()}."
        )
    counted = weights > 0  # nothing times NaN is NaN
    parts = contributions(outputs[counted], combine, owner=owner)
    mean: Tensor = torch.tensordot(weights[counted].to(parts.dtype), parts, dims=1)
    return as_logits(mean, combine) if outputs.ndim == 3 else mean


def contributions(outputs: Tensor, combine: Combine, *, owner: str) -> Tensor:
    """Give what is averaged over models, of the same shape as the outputs.

    Args:
        outputs: Of the models, (M, N, K) or (M, N).
        combine: What is averaged.
        owner: Who asks, for messages.

    Raises:
        UsageError: There are no classes to vote for.
    """
    if outputs.ndim != 3 and combine == "vote":
        raise UsageError(
            f"{owner}: `combine` must be 'logits' for outputs that are no classes, of"
            f" shape {tuple(outputs.shape[1:])}; got 'vote'."
        )
    if combine == "logits" or outputs.ndim != 3:
        return outputs
    probs = outputs.double().softmax(dim=2)
    if combine == "probs":
        return probs
    votes = nn.functional.one_hot(outputs.argmax(dim=2), outputs.shape[2]).double()
    return votes + _TIES * probs


def as_logits(mean: Tensor, combine: Combine) -> Tensor:
    """Give the mean of `contributions` of classes as logits.

    Args:
        mean: Weighted over models, (N, K).
        combine: What was averaged.
    """
    if combine == "logits":
        return mean
    if combine == "vote":
        mean = mean.scatter_add(1, mean.argmax(1, True), torch.full_like(mean[:, :1], _TIES))
        mean = mean / (1 + 2 * _TIES)
    return mean.float().clamp_min(torch.finfo(torch.float32).tiny).log()


def greedy_weights(
    outputs: Tensor,
    targets: Tensor,
    *,
    combine: Combine = "probs",
    rounds: int = 25,
    owner: str = "greedy_weights",
) -> Tensor:
    """Choose how often each model belongs into an ensemble, on examples that none was trained on.

    For many models of mixed quality, such as those of a sweep: a plain mean suffers from the bad
    ones. Starting from the best model, every round adds the one that lowers the loss of the
    ensemble most, and a model may be added again; the best of all rounds is kept. With few models
    that are alike, the plain mean is as good and chooses nothing by chance. A model whose loss is
    NaN or infinite gets no share.

    Args:
        outputs: Logits (M, N, K), or numbers (M, N).
        targets: Classes or numbers, (N,).
        combine: What is averaged.
        rounds: Models that are added at most.
        owner: Who asks, for messages.

    Returns:
        Share of each model, (M,), most of them 0; they sum to 1.

    Raises:
        UsageError: Fewer than one round, there are no classes to vote for, or no model has a finite
            loss.

    Source: caruana2004ensemble, section 2.
    Differs: by the loss rather than a chosen metric; no bagging of the models.
    Reduces to: the choice of the best single model at `rounds=1`.
    Checked against: all subsets of few models, written out.
    """
    if rounds < 1:
        raise UsageError(f"{owner}: `rounds` must be at least 1; got {rounds}. Use 25.")
    check_combine(owner, combine)
    parts = contributions(outputs.double(), combine, owner=owner)
    counts, total = torch.zeros(len(parts)), torch.zeros_like(parts[0])
    best, kept = float("inf"), counts
    for size in range(1, rounds + 1):
        losses = [_loss((total + part) / size, targets, combine) for part in parts]
        chosen = min(range(len(losses)), key=losses.__getitem__)
        counts, total = counts.clone(), total + parts[chosen]
        counts[chosen] += 1
        if losses[chosen] < best:
            best, kept = losses[chosen], counts
    if best == float("inf"):
        raise UsageError(
            f"{owner}: `outputs` must give a finite loss for one of the models at least; got NaN or"
            f" infinite losses for all {len(parts)}. Train them with a lower rate."
        )
    return kept / kept.sum()


def _loss(mean: Tensor, targets: Tensor, combine: Combine) -> float:
    if mean.ndim == 1:
        loss = float((mean - targets).square().mean())
    else:
        loss = float(nn.functional.cross_entropy(as_logits(mean, combine).double(), targets))
    return float("inf") if math.isnan(loss) else loss


def check_combine(owner: str, combine: str) -> None:
    """Refuse ways to combine that there are not.

    Args:
        owner: Who asks, for messages.
        combine: What is averaged.

    Raises:
        UsageError: It is none of them.
    """
    if combine not in get_args(Combine):
        raise UsageError(f"{owner}: `combine` must be one of {get_args(Combine)}; got {combine!r}.")
