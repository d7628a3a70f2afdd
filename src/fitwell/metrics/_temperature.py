"""One number that makes a classifier's confidence believable: the temperature of its softmax.

Axes: N examples, K classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, final

from torch import Tensor

from ..core.errors import UsageError

_COLDEST: Final = 1e-3
_HOTTEST: Final = 1e3
_ROUNDS: Final = 200  # bisection alone ends within 60
_ENOUGH: Final = 1e-14  # relative change of the temperature


@final
@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What logits are divided by before softmax.

    Args:
        value: The temperature; above 1 it makes a model less sure.
        count: Examples that it was fitted to.
        loss_before: Their log loss at temperature 1.
        loss_after: Their log loss at this temperature.
    """

    value: float
    count: int
    loss_before: float
    loss_after: float

    def probs(self, logits: Tensor) -> Tensor:
        """Give probabilities of classes in double precision; the most probable one stays.

        Args:
            logits: Of a classifier; (N, K).
        """
        return (logits.detach().cpu().double() / self.value).softmax(dim=1)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        return asdict(self)


def fit_temperature(logits: Tensor, targets: Tensor) -> Temperature:
    """Find the temperature at which a trained classifier's confidence fits its accuracy best.

    Networks are often too sure of themselves, and one number repairs most of it. It changes no
    answer, only how sure the model is; so it cannot help where some classes are too sure and
    others too unsure. Fit it to examples that the model was not trained on.

        T = argmin  mean of -log softmax(logits / T) at the targets

    The loss is convex in ``1/T``, so there is one minimum; it is found by Newton's method within
    a bracket, between 0.001 and 1,000. Where every answer is right the examples cannot tell, for
    the colder the better, and T stays 1.

    Args:
        logits: Of a classifier, before softmax.
        targets: Right classes.

    Shapes:
        logits: (N, K)
        targets: (N,)

    Raises:
        UsageError: Shapes differ, there are no examples, a logit is not finite, or a target is no
            class.

    Source: guo2017calibration, section 4.2.
    Checked against: scipy.optimize.minimize_scalar; temperatures that were planted.
    """
    _check(logits, targets)
    z, right = logits.detach().cpu().double(), targets.cpu().unsqueeze(1)
    # How far each class is above the right one: all that the loss depends on.
    ahead = z - z.gather(1, right)
    before = _loss(ahead, 1.0)
    value = 1.0 if bool((ahead <= 0).all()) else 1 / _minimize(ahead)
    after = _loss(ahead, 1 / value)
    if not after <= before:  # by rounding, where 1 was best
        value, after = 1.0, before
    return Temperature(value=value, count=len(z), loss_before=before, loss_after=after)


def _minimize(ahead: Tensor) -> float:
    """Give the inverse temperature of the least loss, by Newton steps that a bracket guards."""
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    cold = 1.0
    for _ in range(_ROUNDS):
        probs = (cold * ahead).softmax(dim=1)
        mean = (probs * ahead).sum(dim=1)
        slope = float(mean.mean())
        curve = float(((probs * ahead.square()).sum(dim=1) - mean.square()).mean())
        low, high = (low, cold) if slope > 0 else (cold, high)
        step = cold - slope / curve if curve > 0 else 0.0
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - cold) <= _ENOUGH * cold or high - low <= _ENOUGH * high:
            return following
        cold = following
    return cold


def _loss(ahead: Tensor, cold: float) -> float:
    return float((cold * ahead).logsumexp(dim=1).mean())


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or not logits.numel():
        raise UsageError(
            "fit_temperature: `logits` and `targets` must have shapes (N, K) and (N,), N at least"
            f" 1; got {tuple(logits.shape)} and {tuple(targets.shape)}. Give a row per example."
        )
    if not bool(logits.isfinite().all()):
        raise UsageError(
            "fit_temperature: `logits` must be finite; got NaN or infinity in"
            f" {int((~logits.isfinite()).any(dim=1).sum())} rows. Leave these rows out."
        )
    if targets.is_floating_point() or not bool(
        ((targets >= 0) & (targets < logits.shape[1])).all()
    ):
        raise UsageError(
            f"fit_temperature: `targets` must be class indices from 0 to {logits.shape[1] - 1}; got"
            f" {targets.dtype} from {targets.min().item()} to {targets.max().item()}."
            " Renumber the classes from 0 on."
        )
