"""How large a batch is worth its examples: the noise of gradients against their mean.

M batches of B examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

import torch
from torch import Tensor, nn

from ...core.errors import TrainingError, UsageError
from ...core.intervals import t_quantile
from .._measure import Loss, Pairs, pairs_of
from .._result import Interval, ProbeResult
from .._sandbox import sandbox
from .._watch._parameters import noise_and_signal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Side = Literal["above", "near", "below"]

_FEWEST: Final = 4
_STARTS: Final = {
    "above": "The batch is far above the noise scale: most of its examples are wasted",
    "near": "The batch is near the noise scale",
    "below": "The batch is far below the noise scale: a larger one would save as many steps",
    None: "Insufficient evidence where the batch lies to the noise scale",
}


@final
@dataclass(frozen=True, kw_only=True)
class GradientNoiseScale(ProbeResult):
    """The batch size at which the noise of a gradient is as large as the gradient.

    Args:
        value: That size, in examples; infinite where the mean gradient is lost in the noise.
        interval: 95% interval of `value`.
        control: Examples of a step as it is.
        found: Whether a step is far above the noise scale, so that smaller batches would learn as
            much from each step; None if the evidence does not say. Far below is no fault.
        conclusion: One sentence.
        side: Where the batch lies to the noise scale; None if the evidence does not say.
        signal: Squared norm of the mean gradient, without the part that is noise.
        noise: Sum of the variances of all entries of the gradient of single examples.
        batches: Batches that were looked at.
    """

    side: Side | None
    signal: float
    noise: float
    batches: int

    def _draw(self, axes: Axes) -> None:
        # Steps and examples that a training takes, over the fewest possible of each.
        scale = self.value if 0 < self.value < math.inf else self.control
        middle = math.sqrt(scale * self.control)
        sizes = [middle * 10 ** (power / 10) for power in range(-30, 31)]
        axes.plot(sizes, [1 + scale / size for size in sizes], color="tab:blue", label="steps")
        axes.plot(sizes, [1 + size / scale for size in sizes], color="tab:orange", label="examples")
        axes.axvline(self.control, color="black", linewidth=1, label="batch as it is")
        low, high = (min(max(end, sizes[0]), sizes[-1]) for end in self.interval)
        axes.axvspan(low, high, color="tab:gray", alpha=0.2, linewidth=0, label="noise scale")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.8, 100)
        axes.set_xlim(max(sizes[0], 0.8), sizes[-1])
        axes.set_xlabel("batch size")
        axes.set_ylabel("over the fewest")
        axes.legend(frameon=False, fontsize="small")


def gradient_noise_scale(
    model: nn.Module,
    loss: Loss,
    batches: Pairs,
    *,
    batch_size: int | None = None,
    factor: float = 10.0,
    most: int = 32,
    seed: int = 0,
) -> GradientNoiseScale:
    """Compare the noise of gradients with their mean, and the batch size with both.

    When a batch size is to be chosen, or a training is slow. With batches as large as the noise
    scale, a training takes twice the fewest steps and twice the fewest examples; far above it,
    examples are wasted, far below it steps are mere noise and several of them do the work of one.
    It grows while a model learns: measure in the middle, not at the start.
    What another size does to the loss, `batch_size` says.

        gₖ: gradient of batch k of M, each of B examples;  G: their mean
        signal = (M |G|² - mean |gₖ|²) / (M - 1)        unbiased for |E g|²
        noise  = B (mean |gₖ|² - |G|²) M / (M - 1)      unbiased for the trace of the covariance
        value  = noise / signal

    The interval is that of Fieller for a ratio, with the covariance of the two from leaving out
    each batch in turn; it has no upper end where the signal may be 0. Gradients are taken in
    training mode, dropout included, with the weights as they are; two passes over the batches.
    With batch normalization a gradient is no mean over examples, on which all this rests: another
    pass takes the statistics of all these batches, which then stand still.

    Args:
        model: In the middle of its training; measured on a copy.
        loss: ``loss(outputs, targets)``, a mean over the batch.
        batches: Pairs of inputs and targets, shuffled; short ones are passed over.
        batch_size: Examples of a step, where gradients of several batches are accumulated; None is
            the size of the batches.
        factor: A batch is far away if it is more than so many times the noise scale, or less than
            one part in so many.
        most: Batches that are looked at; more make the interval narrower.
        seed: Of dropout.

    Raises:
        UsageError: A value is out of range, fewer than four batches of one size, or nothing to
            train.
        TrainingError: A gradient is not finite.

    Source: mccandlish2018empirical, appendix A.1.
    Differs: averages over all batches; ratios of means, with an interval.
    Checked against: linear models whose covariance of gradients is known.
    """
    if factor <= 1 or most < _FEWEST or (batch_size is not None and batch_size < 1):
        raise UsageError(
            "gradient_noise_scale: `factor` must be above 1, `most` at least 4 and `batch_size`"
            f" positive; got {factor}, {most} and {batch_size}."
        )
    with sandbox(model, loss, batches, seed=seed) as (made, criterion, source):
        pairs = pairs_of("gradient_noise_scale", source, most, on=made)
        size = max(len(inputs) for inputs, _ in pairs)
        pairs = [pair for pair in pairs if len(pair[0]) == size]
        if len(pairs) < _FEWEST:
            raise UsageError(
                "gradient_noise_scale: `batches` must give at least 4 of the same size; got"
                f" {len(pairs)} of {size}. Use smaller ones and name `batch_size`."
            )
        alone = _stand_still(made.train(), pairs)
        norms, along = _products(made, criterion, pairs, seed)
    noise, signal, interval = estimate(norms, along, size)
    return _concluded(noise, signal, interval, batch_size or size, factor, len(pairs), alone)


@torch.no_grad()
def _stand_still(model: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Have batch normalization use statistics of all batches; say whether all of it does."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [layer for layer in layers if layer.training and layer.running_mean is not None]
    for layer in kept:
        layer.reset_running_stats()
        layer.momentum = None  # all batches count alike
    if kept:
        for inputs, _ in pairs:
            model(inputs)
    for layer in kept:
        layer.eval()
    return all(layer.running_mean is not None for layer in layers)


def estimate(
    norms: Sequence[float], along: Sequence[float], size: int
) -> tuple[float, float, Interval]:
    """Give the noise, the signal, and the interval of their ratio.

    Args:
        norms: Squared norm of the gradient of each batch.
        along: Its product with the sum of all.
        size: Examples of a batch.
    """
    count = len(norms)
    total, whole = math.fsum(norms), math.fsum(along)  # `whole`: squared norm of the sum
    noise, signal = noise_and_signal([total / count], [whole / count**2], size, count * size)
    rest = count - 1
    left = [
        noise_and_signal(
            [(total - norm) / rest], [(whole - 2 * dot + norm) / rest**2], size, rest * size
        )
        for norm, dot in zip(norms, along, strict=True)
    ]
    return noise, signal, _ratio_interval(noise, signal, left)


def _products(
    model: nn.Module, loss: Loss, pairs: Sequence[tuple[Tensor, Tensor]], seed: int
) -> tuple[list[float], list[float]]:
    """Give each gradient's squared norm, and its product with the sum of all."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError("gradient_noise_scale: `model` must have parameters to train; got none.")

    def gradients(number: int) -> list[Tensor]:
        torch.manual_seed(seed + number)  # the same noise in both passes
        inputs, targets = pairs[number]
        value = loss(model(inputs), targets)
        if not value.requires_grad:
            raise UsageError(
                "gradient_noise_scale: `loss` must depend on parameters; got one that does not."
                " Look for a detach."
            )
        found = torch.autograd.grad(value, trained, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g for p, g in zip(trained, found, strict=True)
        ]

    total = [torch.zeros_like(p, dtype=torch.float64) for p in trained]
    norms, along = [], []
    for number in range(len(pairs)):
        some = gradients(number)
        norms.append(sum(float(g.double().square().sum()) for g in some))
        if not math.isfinite(norms[-1]):
            raise TrainingError(
                f"gradient_noise_scale: the gradient of batch {number} is not finite. Look at its"
                " inputs: first_nonfinite of fitwell.train names the layer where it begins."
            )
        for whole, g in zip(total, some, strict=True):
            whole += g
    for number in range(len(pairs)):
        both = zip(total, gradients(number), strict=True)
        along.append(sum(float((whole * g).sum()) for whole, g in both))
    return norms, along


def _ratio_interval(noise: float, signal: float, left: Sequence[tuple[float, float]]) -> Interval:
    """Give the ratios that a t-test at 5% does not reject, after Fieller.

    They are those b for which noise - b signal may be 0, where a b² - 2 h b + c ≤ 0.
    """
    count = len(left)
    means = [math.fsum(pair[part] for pair in left) / count for part in (0, 1)]
    (nn_, ns), (_, ss) = (
        [
            (count - 1) / count * math.fsum((p[i] - means[i]) * (p[j] - means[j]) for p in left)
            for j in (0, 1)
        ]
        for i in (0, 1)
    )
    quantile = t_quantile(0.975, count - 1) ** 2
    a, h, c = signal**2 - quantile * ss, noise * signal - quantile * ns, noise**2 - quantile * nn_
    inside = h * h - a * c
    if inside < 0:
        return 0.0, math.inf
    root = math.sqrt(inside)
    if a > 0:
        return max((h - root) / a, 0.0), max((h + root) / a, 0.0)
    # The signal may be 0: the ratio has no upper end.
    return max((h - root) / a if a < 0 else 0.0, 0.0) if c > 0 else 0.0, math.inf


def _concluded(
    noise: float,
    signal: float,
    interval: Interval,
    size: int,
    factor: float,
    count: int,
    alone: bool,
) -> GradientNoiseScale:
    value = max(noise, 0.0) / signal if signal > 0 else math.inf
    interval = min(interval[0], value), max(interval[1], value)
    side: Side | None = None
    if not alone:
        interval = (0.0, math.inf)
    if size > factor * interval[1]:
        side = "above"
    elif size * factor < interval[0]:
        side = "below"
    elif interval[0] * factor >= size and interval[1] <= size * factor:
        side = "near"
    above = True if side == "above" else None
    if interval[0] * factor >= size:
        above = False
    start = _STARTS[side]
    if side is None and above is False:
        start = "The batch is not far above the noise scale"
    if not alone:
        start = (
            "Insufficient evidence: batch normalization without running statistics lets the"
            " gradient of an example depend on the others"
        )
    return GradientNoiseScale(
        value=value,
        interval=interval,
        control=float(size),
        found=above,
        conclusion=(
            f"{start} ({value:.3g} examples, 95% interval {interval[0]:.3g} to {interval[1]:.3g};"
            f" a step has {size}; {count} batches)."
        ),
        side=side,
        signal=signal,
        noise=noise,
        batches=count,
    )
