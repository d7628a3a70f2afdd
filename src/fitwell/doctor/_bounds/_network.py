"""What theory guarantees about a trained network, beside what is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor, nn

from ...core.errors import UsageError
from .._measure import (
    AccuracyGap,
    Answers,
    Pairs,
    accuracy_gap,
    answers_of,
    class_errors,
    is_classes,
)
from .._result import Interval, ProbeResult, draw_rows
from ._hoeffding import hoeffding_deviation, hoeffding_sample_size, log_failure, log_hoeffding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Wrong = Callable[[Tensor, Tensor], Tensor]


@final
@dataclass(frozen=True, kw_only=True)
class GeneralizationBound(ProbeResult):
    """A bound on the gap of error rates, and the gap.

    Args:
        value: Gap that is not exceeded, but for the probability of failure.
        interval: From -`value` to `value`: in which the gap is guaranteed to lie.
        control: Measured gap: share of errors on held-out minus that on training examples.
        found: Whether the bound is vacuous, at least 1.
        conclusion: One sentence.
        control_interval: 95% interval of the measured gap.
        train_error: Share of errors on training examples.
        valid_error: Share of errors on held-out examples.
        parameters: Numbers of the model that training has set: trainable ones, and running
            statistics as those of batch normalization.
        bits: Bits of each.
        n: Training examples; pixels and tokens of one are no further ones.
        needed: Training examples for which the bound would be `aim`.
        aim: A gap that would be worth a guarantee.
        log10_failure: Logarithm to base 10 of the bound on the probability that the gap is above
            `aim`; from 0 on it says nothing.
    """

    control_interval: Interval
    train_error: float
    valid_error: float
    parameters: int
    bits: float
    n: int
    needed: int
    aim: float
    log10_failure: float

    @property
    def vacuous(self) -> bool:
        """Whether the bound says no more than that an error rate lies between 0 and 1."""
        return self.value >= 1

    def _draw(self, axes: Axes) -> None:
        rows = [
            ("measured gap", self.control, self.control_interval),
            ("bound, vacuous" if self.vacuous else "bound", self.value, None),
        ]
        draw_rows(axes, rows, "gap of error rates; from 1 on a bound says nothing")
        axes.axvline(1, color="tab:red", linewidth=1, linestyle=":")
        if self.value > 10:
            axes.set_xscale("symlog", linthresh=0.1)
            axes.set_xlim(min(self.control_interval[0], 0) - 0.02, 3 * self.value)


def generalization_bound(
    model: nn.Module,
    train: Pairs,
    valid: Pairs,
    *,
    wrong: Wrong | None = None,
    failure: float = 0.05,
    bits: float = 32,
    aim: float = 0.1,
) -> GeneralizationBound:
    """Give what theory guarantees about the gap of a trained model, and what the gap is.

    To see what counting hypotheses is worth: a model whose parameters are stored in `bits` bits is
    one of 2^(bits · parameters), and a union bound over them holds for every distribution and every
    way of training. For most networks it says that an error rate is at most 1, or more: vacuous,
    while the measured gap is small. It is not vacuous for few parameters, few bits of each (after
    quantization), or many examples. Bounds that are not vacuous for large networks use what this
    one ignores, such as how flat the loss is (dziugaite2017computing). For decisions take
    `generalization_gap`.

    Args:
        model: After training; measured in evaluation mode, on a copy. Parameters that were not
            trained, and come from elsewhere, do not count.
        train: Batches of all examples that it was trained on; of `Batches`, augmentation is left
            out.
        valid: Batches of held-out examples.
        wrong: ``wrong(outputs, targets)`` says for each example whether it counts as an error, or
            for each of its pixels or tokens, of which the mean is taken; None takes the largest
            output for the class, and leaves out targets below 0.
        failure: Probability that the bound does not hold.
        bits: Of a parameter.
        aim: A gap that would be worth a guarantee.

    Raises:
        UsageError: A number is out of its range, there is no batch, or targets are not classes.

    Source: hoeffding1963probability, theorem 2; dziugaite2017computing, for what is better.
    Checked against: `hoeffding_deviation`; a model of a few bits, whose bound holds.
    """
    log_failure("generalization_bound", failure)
    if not 0 < aim < 1 or not 0 <= bits < math.inf:
        raise UsageError(
            "generalization_bound: `aim` must lie in (0, 1) and `bits` be at least 0; got"
            f" {aim} and {bits}. Use 0.1, and 32 for float32."
        )
    parameters = _numbers_trained(model)
    needed = hoeffding_sample_size(aim, failure, bits=bits * parameters)
    everything = 2**62
    parts = [
        _right(answers_of("generalization_bound", model, batches, everything), wrong)
        for batches in (train, valid)
    ]
    measured = accuracy_gap(*parts)
    n = sum(len(some) for some in parts[0])
    value = hoeffding_deviation(n, failure, bits=bits * parameters)
    log10 = log_hoeffding(n, aim, bits=bits * parameters) / math.log(10)
    return GeneralizationBound(
        value=value,
        interval=(-value, value),
        control=measured.value,
        found=value >= 1,
        conclusion=_sentence(value, measured, parameters, bits, n, needed, aim),
        control_interval=measured.interval,
        train_error=1 - measured.train,
        valid_error=1 - measured.valid,
        parameters=parameters,
        bits=bits,
        n=n,
        needed=needed,
        aim=aim,
        log10_failure=log10,
    )


def _numbers_trained(model: nn.Module) -> int:
    """Count what depends on the training examples; fixed buffers, as those of places, do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    running = [
        buffer
        for name, buffer in model.named_buffers()
        if buffer.is_floating_point() and name.rpartition(".")[2].startswith("running_")
    ]
    return sum(numbers.numel() for numbers in (*trained, *running))


def _right(answers: Answers, wrong: Wrong | None) -> list[Tensor]:
    """Give the share of each example that is right."""
    if wrong is not None:
        return [1 - _said(wrong(*answer), len(answer[0])) for answer in answers]
    outputs, targets = answers[0]
    if not is_classes(outputs, targets):
        raise UsageError(
            "generalization_bound: `wrong` must be given unless outputs are scores of classes and"
            f" targets their numbers; got outputs {tuple(outputs.shape)}, targets"
            f" {tuple(targets.shape)} of {targets.dtype}. Say what counts as an error."
        )
    right = [1 - class_errors(*answer) for answer in answers]
    if not any(map(len, right)):
        raise UsageError(
            "generalization_bound: a part must have targets of 0 or more; got none. Give batches"
            " with labels."
        )
    return right


def _said(errors: Tensor, count: int) -> Tensor:
    """Give the share of errors of each example, from what a caller says about its parts."""
    shape = tuple(errors.shape)
    if shape[:1] == (count,):
        errors = errors.detach().double().reshape(count, -1)
        if bool(((errors >= 0) & (errors <= 1)).all()):
            return errors.mean(dim=1)
    raise UsageError(
        f"generalization_bound: `wrong` must say True or False, or a share, for each of {count}"
        f" examples; got shape {shape}{' with other numbers' if shape[:1] == (count,) else ''}."
        " Compare with a threshold, without a sum over the batch."
    )


def _sentence(
    value: float,
    measured: AccuracyGap,
    parameters: int,
    bits: float,
    n: int,
    needed: int,
    aim: float,
) -> str:
    low, high = measured.interval
    start = (
        "The bound is vacuous: it allows a gap of"
        if value >= 1
        else "The bound says something: the gap is at most"
    )
    return (
        f"{start} {value:.3g} ({parameters} parameters of {bits:g} bits, {n} training examples;"
        f" {aim:g} would need {needed}), the measured gap is {measured.value:.3f}, 95% interval"
        f" {low:.3f} to {high:.3f}."
    )
