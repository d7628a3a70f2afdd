"""Normalization by the batch beyond PyTorch's: renormalized, in ghost batches, noisy, in any norm.

Batch, layer, instance, group and RMS normalization are PyTorch's own (`torch.nn.BatchNorm2d`,
`LayerNorm`, `InstanceNorm2d`, `GroupNorm`, `RMSNorm`); `CNN`, `MLP` and the residual networks take
all of them by name.

The layers here keep the parameters and buffers of `torch.nn.BatchNorm2d`, so that weights can be
exchanged with it, and what looks for batch norm (`torch.optim.swa_utils.update_bn`) finds them. At
rest they compute what it computes. Each takes vectors, sequences and images.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._shapes import check_positive


class _BatchStatistics(nn.modules.batchnorm._BatchNorm):
    """What the layers share: checks, moving values, and the formula at rest."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool) -> None:
        owner = type(self).__name__
        check_positive(owner, num_features=num_features)
        if not eps > 0:
            raise UsageError(f"{owner}: `eps` must be positive; got {eps}. Use 1e-5.")
        if momentum is not None and not 0 < momentum <= 1:
            raise UsageError(f"{owner}: `momentum` must lie in (0, 1]; got {momentum}. Use 0.1.")
        super().__init__(num_features, eps=eps, momentum=momentum, affine=affine)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise UsageError(
                f"{type(self).__name__}: `x` must have {self.num_features} channels in its second"
                f" axis; got shape {tuple(input.shape)}. Build the layer for the channels that"
                " come in."
            )
        if self.training and input.numel() == self.num_features:
            raise UsageError(
                f"{type(self).__name__}: `x` must have more than one value per channel in training;"
                f" got shape {tuple(input.shape)}. Use larger batches, or layer norm."
            )

    def _track(self, mean: Tensor, deviation: Tensor) -> None:
        """Move the running mean and standard deviation (both with `eps` inside) to new ones."""
        self.num_batches_tracked.add_(1)
        rate = self.momentum
        if rate is None:
            rate = 1 / float(self.num_batches_tracked)
        running = (self.running_var + self.eps).sqrt().lerp(deviation, rate)
        self.running_mean.lerp_(mean, rate)
        self.running_var.copy_((running.square() - self.eps).clamp(min=0))


def _axes(x: Tensor) -> list[int]:
    """Give all axes but that of the channels."""
    return [0, *range(2, x.ndim)]


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Give one value per channel the axes of `x`."""
    return values.view(1, -1, *(1,) * (x.ndim - 2))


@final
class BatchRenorm(_BatchStatistics):
    """Normalize by the moving values also in training, by correcting what batch norm computes.

    For batches too small or too much alike for `torch.nn.BatchNorm2d`: what a layer computes in
    training is then close to what it computes at rest. Group norm does without batches altogether.

        r = clip(σ_B / σ, 1/max_r, max_r),  d = clip((μ_B - μ) / σ, -max_d, max_d)
        y = γ ( (x - μ_B) / σ_B · r + d ) + β

    No gradient flows through r and d. μ and σ are moving values, σ_B includes `eps`.

    Args:
        num_features: Channels.
        max_r: Largest correction of the scale, and 1 over the smallest.
        max_d: Largest correction of the mean, in standard deviations.
        warmup_steps: Steps over which both limits rise evenly from those of batch norm, 1 and 0,
            while the moving values settle; 0 begins with the limits themselves.
        eps: Added to variances.
        momentum: Share of the new values in the moving ones; None averages all batches evenly.
        affine: Learn a gain γ and a shift β per channel.

    Shapes:
        x: (B, num_features, H, W)
        return: (B, num_features, H, W)

    Raises:
        UsageError: A limit is out of range, `x` has other channels, or there is one value per
            channel in training.

    Source: ioffe2017batch, algorithm 1.
    Differs: the limits rise together; there they stay at 1 and 0 for the first 5,000 steps, and
        that of r rises for longer.
    Reduces to: torch.nn.BatchNorm2d at `max_r=1, max_d=0`.
    Checked against: the algorithm written out in NumPy, and gradients by finite differences.
    """

    def __init__(
        self,
        num_features: int,
        *,
        max_r: float = 3.0,
        max_d: float = 5.0,
        warmup_steps: int = 1000,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if not max_r >= 1:
            raise UsageError(f"BatchRenorm: `max_r` must be at least 1; got {max_r}. Use 3.")
        if not max_d >= 0:
            raise UsageError(f"BatchRenorm: `max_d` must not be negative; got {max_d}. Use 5.")
        if warmup_steps < 0:
            raise UsageError(
                f"BatchRenorm: `warmup_steps` must not be negative; got {warmup_steps}."
                " Use 0 to begin with the limits themselves."
            )
        self.max_r, self.max_d, self.warmup_steps = max_r, max_d, warmup_steps

    def forward(self, x: Tensor) -> Tensor:
        """Give the normalized batch, and in training move the running values."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        r, d = self._corrections(x.detach())
        # The corrections act as gain and shift do, so that one call does all of it.
        gain = r if self.weight is None else self.weight * r
        shift = d if self.weight is None else self.weight * d + self.bias
        return F.batch_norm(x, None, None, gain, shift, training=True, eps=self.eps)

    @torch.no_grad()
    def _corrections(self, x: Tensor) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(x.to(self.running_mean.dtype), _axes(x), correction=0)
        deviation = (variance + self.eps).sqrt()
        running = (self.running_var + self.eps).sqrt()
        risen = torch.ones_like(mean[0])
        if self.warmup_steps:
            risen = (self.num_batches_tracked.to(mean.dtype) / self.warmup_steps).clamp(max=1)
        most_r, most_d = 1 + risen * (self.max_r - 1), risen * self.max_d
        r = (deviation / running).clamp(1 / most_r, most_r)
        d = ((mean - self.running_mean) / running).clamp(-most_d, most_d)
        self._track(mean, deviation)
        return r, d

    def extra_repr(self) -> str:
        """Give the arguments."""
        return (
            f"{self.num_features}, max_r={self.max_r}, max_d={self.max_d},"
            f" warmup_steps={self.warmup_steps}, eps={self.eps}, momentum={self.momentum},"
            f" affine={self.affine}"
        )


@final
class GhostBatchNorm(_BatchStatistics):
    """Normalize parts of a large batch each by itself, as if they were batches of their own.

    Large batches generalize worse with batch norm, partly because their statistics have less noise;
    ghost batches keep the noise of small ones. Without a batch above some hundreds of examples
    use `torch.nn.BatchNorm2d`.

        y = batch_norm(x₁), batch_norm(x₂), ...   x = x₁, x₂, ... with about `ghost_size` examples

    Args:
        num_features: Channels.
        ghost_size: Least number of examples that are normalized together; batches below twice as
            large are one part.
        eps: Added to variances.
        momentum: Share of each part's values in the moving ones; None averages all parts evenly.
        affine: Learn a gain and a shift per channel.

    Shapes:
        x: (B, num_features, H, W)
        return: (B, num_features, H, W)

    Raises:
        UsageError: A size is below 1, or `x` has other channels or too few values.

    Source: hoffer2017train, algorithm 1.
    Differs: parts may be larger than `ghost_size`, so that none is smaller; the moving variance is
        unbiased, as PyTorch's.
    Reduces to: torch.nn.BatchNorm2d when `ghost_size` is more than half the batch.
    Checked against: torch.nn.BatchNorm2d on each part, one after the other.
    """

    def __init__(
        self,
        num_features: int,
        *,
        ghost_size: int = 32,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        check_positive("GhostBatchNorm", ghost_size=ghost_size)
        self.ghost_size = ghost_size

    def forward(self, x: Tensor) -> Tensor:
        """Give the normalized batch, and in training move the running values part by part."""
        parts = x.shape[0] // self.ghost_size if self.training and x.ndim else 1
        if parts < 2:
            return super().forward(x)
        batch_norm = super().forward
        return torch.cat([batch_norm(part) for part in x.tensor_split(parts)])

    def extra_repr(self) -> str:
        """Give the arguments."""
        return (
            f"{self.num_features}, ghost_size={self.ghost_size}, eps={self.eps},"
            f" momentum={self.momentum}, affine={self.affine}"
        )


@final
class NoisyBatchNorm(_BatchStatistics):
    """Undo the steady distributions that batch norm makes, by noise that changes at every step.

    An experiment, not a method to train with: if batch norm helped by keeping the distributions of
    layer inputs steady, this noise would take the help away. It hardly does.

        y = s · batch_norm(x) + m,  one s and m for each number in x, from distributions
        m ~ uniform(μ ± jitter),  s ~ normal(σ, jitter),  of which each channel and step has others
        μ ~ uniform(±max_shift),  σ ~ uniform(1, max_scale)

    At rest there is no noise.

    Args:
        num_features: Channels.
        max_shift: Largest mean of the shifts.
        max_scale: Largest mean of the scales.
        jitter: How much shifts and scales of one channel differ; 0 gives all the same.
        eps: Added to variances.
        momentum: Share of the new values in the moving ones; None averages all batches evenly.
        affine: Learn a gain and a shift per channel, applied before the noise.

    Shapes:
        x: (B, num_features, H, W)
        return: (B, num_features, H, W)

    Raises:
        UsageError: A range is negative, or `x` has other channels or too few values.

    Source: santurkar2018batch, section 2.1.
    Reduces to: torch.nn.BatchNorm2d at `max_shift=0, max_scale=1, jitter=0`.
    Checked against: torch.nn.BatchNorm2d without noise; the moments of the noise.
    """

    def __init__(
        self,
        num_features: int,
        *,
        max_shift: float = 0.5,
        max_scale: float = 1.25,
        jitter: float = 0.1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        for name, value, least in (
            ("max_shift", max_shift, 0),
            ("max_scale", max_scale, 1),
            ("jitter", jitter, 0),
        ):
            if not value >= least:
                raise UsageError(
                    f"NoisyBatchNorm: `{name}` must be at least {least}; got {value}."
                    f" Use {least} for no noise of this kind."
                )
        self.max_shift, self.max_scale, self.jitter = max_shift, max_scale, jitter

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the normalized batch with noise.

        Args:
            x: The batch.
            generator: Source of the noise; None takes PyTorch's global one, as dropout does.
        """
        y = super().forward(x)
        if not self.training:
            return y

        def uniform(shape: torch.Size, half_width: float) -> Tensor:
            drawn = torch.rand(shape, generator=generator, dtype=y.dtype, device=y.device)
            return (2 * drawn - 1) * half_width

        one_each = torch.Size((1, y.shape[1], *(1,) * (y.ndim - 2)))
        half = (self.max_scale - 1) / 2
        shift = uniform(one_each, self.max_shift) + uniform(y.shape, self.jitter)
        spread = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
        scale = 1 + half + uniform(one_each, half) + self.jitter * spread
        return scale * y + shift

    def extra_repr(self) -> str:
        """Give the arguments."""
        return (
            f"{self.num_features}, max_shift={self.max_shift}, max_scale={self.max_scale},"
            f" jitter={self.jitter}, eps={self.eps}, momentum={self.momentum},"
            f" affine={self.affine}"
        )


@final
class LpBatchNorm(_BatchStatistics):
    """Normalize as batch norm does, with another norm than the standard deviation as the scale.

    Shows that batch norm does not owe its help to Gaussian moments; as a method it is equally good.

        c = x - μ_B,  y = γ c / (mean |c|ᵖ + eps)^(1/p) + β,   p = inf: c / (max |c| + eps)

    Args:
        num_features: Channels.
        p: Which norm; at least 1, ``float("inf")`` or 1e999 for the largest value.
        eps: Added before the root.
        momentum: Share of the new values in the moving ones; None averages all batches evenly.
        affine: Learn a gain γ and a shift β per channel.

    Shapes:
        x: (B, num_features, H, W)
        return: (B, num_features, H, W)

    Raises:
        UsageError: `p` is below 1, or `x` has other channels or too few values.

    Source: santurkar2018batch, section 3.3.
    Differs: the moving value is that of the scale; `running_var` is its square without `eps`.
    Reduces to: torch.nn.BatchNorm2d in training at `p=2`.
    Checked against: the formula written out, and gradients by finite differences.
    """

    def __init__(
        self,
        num_features: int,
        *,
        p: float = 1.0,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if not p >= 1:
            raise UsageError(f"LpBatchNorm: `p` must be at least 1; got {p}. Use 1, 2 or inf.")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        """Give the normalized batch, and in training move the running values."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        values = x.to(self.running_mean.dtype)
        mean = values.mean(_axes(x))
        centred = values - _per_channel(mean, x)
        if math.isinf(self.p):
            scale = centred.abs().amax(_axes(x)) + self.eps
        else:
            scale = (centred.abs().pow(self.p).mean(_axes(x)) + self.eps).pow(1 / self.p)
        self._track(mean.detach(), scale.detach())
        y = centred / _per_channel(scale, x)
        if self.weight is not None:
            y = y * _per_channel(self.weight, x) + _per_channel(self.bias, x)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        """Give the arguments."""
        return (
            f"{self.num_features}, p={self.p}, eps={self.eps}, momentum={self.momentum},"
            f" affine={self.affine}"
        )
