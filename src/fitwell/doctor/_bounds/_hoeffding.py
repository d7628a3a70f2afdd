"""How far a loss on a sample can be from the loss on everything, for a finite set of hypotheses.

H hypotheses, N examples. Nothing here looks at data or at a model.
"""

from __future__ import annotations

import math

from ...core.errors import UsageError


def hoeffding_bound(
    n: int, epsilon: float, hypotheses: int = 1, *, bits: float = 0.0, loss_range: float = 1.0
) -> float:
    """Bound the probability that a sample is bad: that some hypothesis has another loss on it.

    A sample is bad if for at least one hypothesis the loss on the sample and the loss on all data
    differ by more than `epsilon`. If it is not, what is best on the sample is within 2 `epsilon` of
    the best there is. Above 1 the bound says nothing, as for most networks; a bound that is larger
    than the largest float is infinite.

        P(bad) ≤ hypotheses · 2^bits · 2 exp(-2 n (epsilon / loss_range)²)

    Args:
        n: Examples, drawn independently of the hypotheses and of each other.
        epsilon: Difference of the two losses that is still good.
        hypotheses: How many the choice is among; 1 is a hypothesis that was fixed before.
        bits: Bits that tell apart further ones, of which there are 2^bits times as many; 32 for
            each parameter of a network.
        loss_range: Largest loss of an example minus the smallest.

    Raises:
        UsageError: A number is out of its range.

    Source: hoeffding1963probability, theorem 2, with the union bound.
    Checked against: probabilities by enumeration of all samples; frequencies in simulations.
    """
    log = log_hoeffding(n, epsilon, hypotheses, bits=bits, loss_range=loss_range)
    return math.exp(log) if log < 709 else math.inf


def log_hoeffding(
    n: int, epsilon: float, hypotheses: int = 1, *, bits: float = 0.0, loss_range: float = 1.0
) -> float:
    """Give the natural logarithm of `hoeffding_bound`, for bounds beyond all floats.

    Args:
        n: As there.
        epsilon: As there.
        hypotheses: As there.
        bits: As there.
        loss_range: As there.
    """
    owner = "hoeffding_bound"
    _check(owner, n=n, epsilon=epsilon, loss_range=loss_range)
    count = _log_count(owner, hypotheses, bits)
    return math.log(2) + count - 2 * n * (epsilon / loss_range) ** 2


def hoeffding_deviation(
    n: int, failure: float, hypotheses: int = 1, *, bits: float = 0.0, loss_range: float = 1.0
) -> float:
    """Give the difference of losses that no hypothesis exceeds, but for a probability of `failure`.

    `hoeffding_bound`, solved for `epsilon`. At `loss_range` or more it says nothing.

        loss_range · √( ln(2 · hypotheses · 2^bits / failure) / 2n )

    Args:
        n: Examples.
        failure: Probability that it does not hold.
        hypotheses: How many the choice is among.
        bits: Bits that tell apart further ones; 32 for each parameter of a network.
        loss_range: Largest loss of an example minus the smallest.

    Raises:
        UsageError: A number is out of its range.

    Source: hoeffding1963probability, theorem 2, with the union bound.
    Checked against: `hoeffding_bound`, which gives `failure` back.
    """
    owner = "hoeffding_deviation"
    _check(owner, n=n, loss_range=loss_range)
    log = math.log(2) + _log_count(owner, hypotheses, bits) - log_failure(owner, failure)
    return loss_range * math.sqrt(log / (2 * n))


def hoeffding_sample_size(
    epsilon: float, failure: float, hypotheses: int = 1, *, bits: float = 0.0, loss_range: float = 1
) -> int:
    """Give how many examples make a bad sample as improbable as `failure`.

    `hoeffding_bound`, solved for `n`. It grows with the logarithm of the number of hypotheses, so
    with the number of parameters of a network.

        n ≥ ln(2 · hypotheses · 2^bits / failure) / (2 (epsilon / loss_range)²)

    Args:
        epsilon: Difference of the losses on the sample and on all data that is still good.
        failure: Probability of a bad sample.
        hypotheses: How many the choice is among.
        bits: Bits that tell apart further ones; 32 for each parameter of a network.
        loss_range: Largest loss of an example minus the smallest.

    Raises:
        UsageError: A number is out of its range.

    Source: hoeffding1963probability, theorem 2, with the union bound.
    Checked against: `hoeffding_bound` at the size and at one less; 645 and 611 of the lecture.
    """
    owner = "hoeffding_sample_size"
    _check(owner, epsilon=epsilon, loss_range=loss_range)
    log = math.log(2) + _log_count(owner, hypotheses, bits) - log_failure(owner, failure)
    return max(1, math.ceil(log / (2 * (epsilon / loss_range) ** 2)))


def log_failure(owner: str, failure: float) -> float:
    """Give the logarithm of a probability of failure.

    Args:
        owner: Who asks, for errors.
        failure: In (0, 1).
    """
    if not 0 < failure < 1:
        raise UsageError(f"{owner}: `failure` must lie in (0, 1); got {failure}. Use 0.05.")
    return math.log(failure)


def _log_count(owner: str, hypotheses: int, bits: float) -> float:
    if hypotheses < 1 or not 0 <= bits < math.inf:
        raise UsageError(
            f"{owner}: `hypotheses` must be at least 1 and `bits` at least 0; got {hypotheses} and"
            f" {bits}. Count what the choice is among."
        )
    return math.log(hypotheses) + bits * math.log(2)


def _check(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{owner}: `{name}` must be above 0; got {value}. Use a number.")
