"""Is a stopped training at a minimum, at a saddle point, on a plateau, or has it not stopped?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ._estimates import SpectralDensity, TraceEstimate, estimate_trace, spectral_density
from ._lanczos import Eigenpairs, extreme_eigenvalues
from ._loss_over import Loss, Mode
from ._operator import Curvature

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRADIENT_NORM = 1e-3  # the course's: below it a point counts as critical
MINIMUM_RATIO = 0.5  # the course's: above it a critical point counts as like a minimum

_FLAT = 1e-2  # eigenvalues below this share of the largest count as flat
_MOVING = 1e-2  # share of the loss that a gradient step gains where training has not stopped
_ESCAPE = 1e-3  # share of the loss that a step must gain to prove a way out
_NOTHING = 1e-12  # losses closer than this are equal
_GRADIENT_STEPS = tuple(2.0**k for k in range(-3, 4))  # in units of gradient norm / curvature
_ESCAPE_STEPS = tuple(4.0**k for k in range(-6, 1))  # in units of the norm of the weights

Verdict = Literal["moving", "plateau", "saddle", "maximum", "minimum"]


@final
@dataclass(frozen=True, kw_only=True)
class TrialSteps:
    """Losses at steps of several lengths along one direction, measured on copies of the weights.

    Args:
        before: Loss without a step.
        slope: Of the loss along the direction.
        curvature: Of the loss along the direction.
        lengths: Of the steps; negative ones go the other way.
        losses: After each step.
        weights: After the best step, by name, for ``load_state_dict(..., strict=False)``.
    """

    before: float
    slope: float
    curvature: float
    lengths: tuple[float, ...]
    losses: tuple[float, ...]
    weights: Mapping[str, Tensor]

    @property
    def length(self) -> float:
        """Length of the best step."""
        return self.lengths[self.losses.index(min(self.losses))]

    @property
    def after(self) -> float:
        """Loss after the best step."""
        return min(self.losses)

    @property
    def predicted(self) -> float:
        """Loss that slope and curvature predict for the best step."""
        return self.before + self.length * self.slope + self.length**2 * self.curvature / 2

    @property
    def gain(self) -> float:
        """Share of the loss that the best step takes away; 0 if none does."""
        return self._share(self.after)

    @property
    def gain_by_curvature(self) -> float:
        """Share of the loss that is gained on average of a step and its reverse.

        The slope has no part in it, as it is lost one way where it is gained the other. 0 if steps
        were taken one way only.
        """
        tried = dict(zip(self.lengths, self.losses, strict=True))
        means = [(tried[k] + tried[-k]) / 2 for k in self.lengths if -k in tried]
        return self._share(min(means, default=self.before))

    def _share(self, after: float) -> float:
        fall = self.before - after
        return fall / max(abs(self.before), _NOTHING) if fall > _NOTHING else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the weights as plain data."""
        found = {"length": self.length, "after": self.after, "predicted": self.predicted}
        tried = {"lengths": list(self.lengths), "losses": list(self.losses)}
        gains = {"gain": self.gain, "gain_by_curvature": self.gain_by_curvature}
        return {"before": self.before, **gains, **found, **tried}


@final
@dataclass(frozen=True, kw_only=True)
class CriticalPoint:
    """What first and second derivatives say about the place where a training stands.

    Args:
        loss: Mean over the batches.
        gradient_norm: Length of its gradient.
        weight_norm: Length of the weights.
        largest: Largest eigenvalues of the Hessian, descending.
        smallest: Smallest eigenvalues, ascending.
        trace: Sum of all eigenvalues.
        spectrum: All eigenvalues if `exact`, else an estimate of how they are spread.
        exact: Whether the whole Hessian was computed.
        settled: Whether the search for the ends of the spectrum converged.
        downhill: Steps against the gradient.
        escape: Steps along the eigenvector of the smallest eigenvalue; None if it is not negative.
    """

    loss: float
    gradient_norm: float
    weight_norm: float
    largest: tuple[float, ...]
    smallest: tuple[float, ...]
    trace: TraceEstimate
    spectrum: SpectralDensity
    exact: bool
    settled: bool
    downhill: TrialSteps
    escape: TrialSteps | None

    @property
    def minimum_ratio(self) -> float:
        """Share of positive eigenvalues; an estimate unless `exact`.

        Eigenvalues that are zero but for rounding fall on either side: see `flat_ratio`.
        """
        return self.spectrum.share(0.0)

    @property
    def flat_ratio(self) -> float:
        """Share of eigenvalues below a hundredth of the largest absolute one."""
        return self.spectrum.share(-self._flat, self._flat)

    @property
    def _strongest(self) -> float:
        return max(abs(self.largest[0]), abs(self.smallest[0]))

    @property
    def _flat(self) -> float:
        return _FLAT * self._strongest

    @property
    def course_verdict(self) -> Literal["like a minimum", "saddle point", "not critical"]:
        """The verdict by the rule of the course: gradient norm below 1e-3, minimum ratio over 0.5.

        With thousands of weights and a few large eigenvalues the ratio counts mostly directions
        that are flat, and a gradient norm has no natural scale; `verdict` asks what steps gain.
        """
        if not self.gradient_norm < GRADIENT_NORM:
            return "not critical"
        return "like a minimum" if self.minimum_ratio > MINIMUM_RATIO else "saddle point"

    @property
    def verdict(self) -> Verdict:
        """The verdict by what steps gain, so that it does not hang on the sign of tiny numbers.

        - `moving`: the gradient norm is 1e-3 or more, or a step against the gradient takes more
          than a hundredth of the loss away. Negative curvature then means "not settled", not
          "saddle".
        - `plateau`: neither slope nor curvature; second order cannot say more.
        - `saddle`: the smallest eigenvalue is clearly negative (a hundredth of the largest), or
          its curvature takes more than a thousandth of the loss away (`gain_by_curvature`).
        - `maximum`: curvature is negative and nowhere clearly positive.
        - `minimum`: none of these: no way down was found within second order.
        """
        if not self.gradient_norm < GRADIENT_NORM or self.downhill.gain > _MOVING:
            return "moving"
        reach = max(self.weight_norm, 1.0) ** 2 / 2
        if self._strongest * reach <= _ESCAPE * abs(self.loss):
            return "plateau"
        gains = self.escape is not None and self.escape.gain_by_curvature > _ESCAPE
        if self.smallest[0] >= -self._flat and not gains:
            return "minimum"
        return "saddle" if self.largest[0] > self._flat else "maximum"

    @property
    def found(self) -> bool:
        """Whether it is stuck where second derivatives say more than first ones."""
        return self.verdict in ("saddle", "plateau", "maximum")

    def to_dict(self) -> dict[str, Any]:
        """Give everything but weights and spectrum as plain data."""
        return {
            "verdict": self.verdict,
            "course_verdict": self.course_verdict,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "weight_norm": self.weight_norm,
            "minimum_ratio": self.minimum_ratio,
            "flat_ratio": self.flat_ratio,
            "exact": self.exact,
            "settled": self.settled,
            "largest": list(self.largest),
            "smallest": list(self.smallest),
            "trace": self.trace.to_dict(),
            "downhill": self.downhill.to_dict(),
            "escape": None if self.escape is None else self.escape.to_dict(),
        }

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        trace = f"{self.trace.value:.4g}" + (f" ± {self.trace.error:.2g}" if not self.exact else "")
        size = f"{self.spectrum.size:,} weights"
        lines = [
            f"loss {self.loss:.6g}, gradient norm {self.gradient_norm:.3g}, {size}",
            f"eigenvalues of the Hessian from {self.smallest[0]:.4g} to {self.largest[0]:.4g},"
            f" trace {trace}",
            f"minimum ratio {about}{self.minimum_ratio:.3f},"
            f" {about}{self.flat_ratio:.0%} of the directions nearly flat",
            f"by the course's rule: {self.course_verdict}",
            f"by what steps gain: {self.verdict}. {self._reason()}",
        ]
        if not self.settled:
            lines.append("the ends of the spectrum did not converge; raise max_products")
        return "\n".join(lines)

    def _reason(self) -> str:
        verdict = self.verdict
        if verdict == "moving":
            step = self.downhill
            return (
                f"A step of {step.length:.2g} against the gradient changes the loss to"
                f" {step.after:.6g}; being stuck is not the same as having no gradient."
            )
        if verdict == "plateau":
            return "Neither slope nor curvature: second order cannot tell what this is."
        escape = self.escape
        if verdict == "minimum":
            if escape is None:
                return f"No {'' if self.exact else 'clearly '}negative curvature was found."
            return (
                f"The most negative curvature, {escape.curvature:.2g}, takes"
                f" {escape.gain_by_curvature:.2g} of the loss away."
            )
        if escape is None or escape.gain == 0:
            return "No step along the negative curvature was found to gain anything."
        return (
            f"A step of {abs(escape.length):.2g} along the curvature of {escape.curvature:.3g}"
            f" takes the loss from {escape.before:.6g} to {escape.after:.6g}."
        )

    def figure(self) -> Figure:
        """Draw the spectrum, and the loss along the direction of the smallest eigenvalue."""
        from matplotlib.figure import Figure

        columns = 1 if self.escape is None else 2
        figure = Figure(figsize=(1 + 4 * columns, 3.5), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
        self.spectrum.draw(axes[0])
        ends = [*self.smallest, *self.largest]
        height = axes[0].get_ylim()[0] * 3
        axes[0].plot(ends, [height] * len(ends), "|", markersize=12, color="C1")
        axes[0].set_title(f"{self.verdict}, minimum ratio {self.minimum_ratio:.2f}", fontsize=10)
        if self.escape is not None:
            tried = zip(self.escape.lengths, self.escape.losses, strict=True)
            places = sorted([(0.0, self.loss), *((k, v) for k, v in tried if math.isfinite(v))])
            axes[1].plot([k for k, _ in places], [v for _, v in places], ".-")
            short, far = (pick(map(abs, self.escape.lengths)) for pick in (min, max))
            axes[1].set_xscale("symlog", linthresh=short)
            ticks = (-far, -math.sqrt(short * far), 0, math.sqrt(short * far), far)
            axes[1].set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], minor=False)
            axes[1].axhline(self.loss, color="0.7", linewidth=1, zorder=0)
            axes[1].set(xlabel="step along the smallest eigenvalue's vector", ylabel="loss")
        return figure


def critical_point(
    model: nn.Module,
    loss: Loss,
    batches: Any,
    *,
    mode: Mode = "eval",
    ends: int = 3,
    exact_up_to: int = 500,
    max_products: int = 200,
    seed: int = 0,
) -> CriticalPoint:
    """Say whether a training that no longer falls is at a minimum, at a saddle, or neither.

    For a training loss that has stopped falling. Give the loss and the batches of the training, and
    many examples: the curvature of few is another surface. Two verdicts: that of the course
    (gradient norm below 1e-3, then the share of positive eigenvalues), and one by what trial
    steps gain. Most trainings that seem stuck still have a gradient; then look at the rate. The
    model, its gradients, buffers and modes, the position of the batches and the global random
    generators are left as they were.

        minimum ratio = number of eigenvalues above 0 / number of eigenvalues

    Args:
        model: On its device; frozen parameters stay out.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        mode: As in `Curvature`: `eval`, or `train` with batch statistics and fixed dropout noise.
        ends: Eigenvalues to give at each end of the spectrum.
        exact_up_to: With so many weights or fewer the whole Hessian is computed.
        max_products: Above that, about how many Hessian-vector products to spend: a half on the
            ends of the spectrum, a quarter each on its shape and on the trace.
        seed: Of the random vectors and the dropout noise.

    Raises:
        UsageError: A number is out of range; or as `Curvature`.
        TrainingError: A loss is infinite or NaN.

    Source: dauphin2014identifying, section 2; li2018visualizing, section 6, for the negative share.
    Checked against: functions with known critical points; numpy's eigenvalues of a sinc network.
    """
    if ends < 1 or max_products < 8 * ends:
        raise UsageError(
            f"critical_point: `ends` must be at least 1 and `max_products` at least 8 times that;"
            f" got {ends} and {max_products}."
        )
    curvature = Curvature(model, loss, batches, mode=mode, seed=seed)
    exact = curvature.size <= exact_up_to
    if exact:
        pairs, trace, spectrum = _all_of(curvature, ends)
    else:
        pairs = extreme_eigenvalues(
            curvature, largest=ends, smallest=ends, max_products=max_products // 2, seed=seed
        )
        trace = estimate_trace(curvature, products=max_products // 4, seed=seed)
        spectrum = spectral_density(curvature, probes=2, steps=max_products // 8, seed=seed)
    count = min(ends, len(pairs.values))
    values = pairs.values
    weights = curvature.flat(curvature.over.weights)
    norms = float(weights.norm()), float(curvature.gradient.norm())
    strongest = max(abs(values[0]), abs(values[-1]))
    unit = -curvature.gradient / max(norms[1], torch.finfo(weights.dtype).tiny)
    step = norms[1] / (strongest or 1.0)
    downhill = _steps(curvature, weights, unit, [step * k for k in _GRADIENT_STEPS])
    escape = None
    if values[-1] < -100 * torch.finfo(weights.dtype).eps * strongest:
        reach = max(norms[0], 1.0)
        lengths = [sign * k * reach for sign in (1.0, -1.0) for k in _ESCAPE_STEPS]
        escape = _steps(curvature, weights, pairs.vectors[:, -1], lengths, values[-1])
    return CriticalPoint(
        loss=curvature.loss,
        gradient_norm=norms[1],
        weight_norm=norms[0],
        largest=values[:count],
        smallest=values[-count:][::-1],
        trace=trace,
        spectrum=spectrum,
        exact=exact,
        settled=pairs.settled,
        downhill=downhill,
        escape=escape,
    )


def _all_of(curvature: Curvature, ends: int) -> tuple[Eigenpairs, TraceEstimate, SpectralDensity]:
    """Solve the whole Hessian."""
    size = curvature.size
    values, vectors = torch.linalg.eigh(curvature.matrix().double())
    ends = min(ends, size)
    places = [*range(size - 1, size - 1 - ends, -1), *range(ends - 1, -1, -1)]
    pairs = Eigenpairs(
        values=tuple(values[places].tolist()),
        vectors=vectors[:, places].to(curvature.like),
        residuals=(0.0,) * len(places),
        products=size,
        settled=True,
    )
    trace = TraceEstimate(value=float(values.sum()), error=0.0, products=size)
    weights = (1 / size,) * size
    all_values = tuple(values.tolist())
    spectrum = SpectralDensity(values=all_values, weights=weights, size=size, products=size)
    return pairs, trace, spectrum


def _steps(
    curvature: Curvature,
    weights: Tensor,
    direction: Tensor,
    lengths: Sequence[float],
    bend: float | None = None,
) -> TrialSteps:
    """Measure the loss after steps of several lengths along a direction."""
    if bend is None:
        bend = float(curvature.product(direction) @ direction)
    points = (curvature.named(weights + length * direction) for length in lengths)
    values = curvature.over.values(points)
    losses = [value if math.isfinite(value) else math.inf for value in values]
    best = lengths[losses.index(min(losses))]
    return TrialSteps(
        before=curvature.loss,
        slope=float(curvature.gradient @ direction),
        curvature=bend,
        lengths=tuple(lengths),
        losses=tuple(losses),
        weights=curvature.named(weights + best * direction),
    )
