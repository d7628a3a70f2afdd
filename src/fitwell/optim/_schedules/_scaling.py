"""How the base rate goes with the size of the batch."""

from __future__ import annotations

from ._base import check_count, check_number


def linear_scaling(lr: float, batch_size: int, base_batch_size: int = 256) -> float:
    """Give the rate for another batch size: k times the batch, k times the rate.

    For SGD. One step with a batch k times as large then does what k small steps do, as long as the
    gradient hardly changes over them; at the start it does change, so rise to the rate by
    `WarmUp(start=base_batch_size / batch_size)`. There is a batch size above which it fails.

        lr · batch_size / base_batch_size

    Args:
        lr: Rate that is right for `base_batch_size`.
        batch_size: Examples per step, over all devices.
        base_batch_size: Examples per step that `lr` is for.

    Raises:
        UsageError: A size is below 1, or the rate is negative.

    Source: goyal2017accurate, section 2.1.
    Reduces to: `lr` at `batch_size=base_batch_size`.
    Checked against: k small steps on a quadratic, in closed form.
    """
    _check("linear_scaling", lr, batch_size, base_batch_size)
    return lr * (batch_size / base_batch_size)


def square_root_scaling(lr: float, batch_size: int, base_batch_size: int = 256) -> float:
    """Give the rate for another batch size: k times the batch, √k times the rate.

    For Adam and its kin, whose step does not shrink with the noise of the gradient. Keeps the
    variance of a step as it was.

        lr · √(batch_size / base_batch_size)

    Args:
        lr: Rate that is right for `base_batch_size`.
        batch_size: Examples per step, over all devices.
        base_batch_size: Examples per step that `lr` is for.

    Raises:
        UsageError: A size is below 1, or the rate is negative.

    Source: krizhevsky2014one.
    Reduces to: `lr` at `batch_size=base_batch_size`.
    Checked against: the variance of steps with noisy gradients, counted.
    """
    _check("square_root_scaling", lr, batch_size, base_batch_size)
    return float(lr * (batch_size / base_batch_size) ** 0.5)


def _check(owner: str, lr: float, batch_size: int, base_batch_size: int) -> None:
    check_number(owner, "lr", lr)
    check_count(owner, "batch_size", batch_size, least=1)
    check_count(owner, "base_batch_size", base_batch_size, least=1)
