"""Ways to drop at random beyond `torch.nn.Dropout`: weights, blocks of images, whole layers.

Dropping single numbers, sequences' or images' channels is PyTorch's own: `torch.nn.Dropout`,
`Dropout1d`, `Dropout2d` (also called spatial dropout), `AlphaDropout`.

All of them scale what they keep in training, so that nothing is done at rest. Draws come from
PyTorch's global generator, as those of `torch.nn.Dropout` do, unless `forward` is given one.

Axes: B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._shapes import check_choice, check_fraction, check_positive

DropScope = Literal["example", "batch"]


def _kept(
    p: float, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Draw a mask of 0, with probability `p`, and 1 / (1 - p), whose mean is 1."""
    keep = torch.empty(shape, dtype=like.dtype, device=like.device)
    return keep.bernoulli_(1 - p, generator=generator).div_(1 - p)


@final
class DropConnect(nn.Module):
    """A linear layer that drops weights instead of inputs: `torch.nn.Linear` with masked weights.

    Regularizes layers with many weights, a little more than dropout of their inputs does and at
    more cost. Dropout of the inputs drops whole columns of the weights; this drops single ones.

        y = (W ⊙ M) x + b,   M = 0 with probability p, else 1 / (1 - p)

    Args:
        in_features: Inputs.
        out_features: Outputs.
        p: Probability of dropping each weight.
        per: One mask for the ``batch``, or one for each ``example``, as published, which takes
            B times the memory of the weights.
        bias: Learn a bias, which is never dropped.

    Shapes:
        x: (B, in_features)
        return: (B, out_features)

    Raises:
        UsageError: A size is below 1, `p` is outside [0, 1), or there is no such `per`.

    Source: wan2013regularization, section 3.
    Differs: biases are kept; at rest the mean weights are used instead of a Gaussian sample of
        the outputs.
    Reduces to: torch.nn.Linear at `p=0` and at rest.
    Checked against: the mean over 100,000 masks; torch.nn.functional.linear with the mask drawn.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        p: float = 0.5,
        per: DropScope = "batch",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_positive("DropConnect", in_features=in_features, out_features=out_features)
        check_fraction("DropConnect", p=p)
        check_choice("DropConnect", DropScope, per=per)
        linear = nn.Linear(in_features, out_features, bias=bias)
        self.in_features, self.out_features, self.p = in_features, out_features, p
        self.per: DropScope = per
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the outputs, in training with some of the weights.

        Args:
            x: The batch.
            generator: Source of the mask; None takes PyTorch's global one.
        """
        if not self.training or not self.p:
            return F.linear(x, self.weight, self.bias)
        if self.per == "batch":
            weight = self.weight * _kept(self.p, self.weight.shape, self.weight, generator)
            return F.linear(x, weight, self.bias)
        shape = (*x.shape[:-1], *self.weight.shape)
        weights = self.weight * _kept(self.p, shape, self.weight, generator)
        y = (weights @ x.unsqueeze(-1)).squeeze(-1)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Give the arguments."""
        return (
            f"{self.in_features}, {self.out_features}, p={self.p}, per={self.per!r},"
            f" bias={self.bias is not None}"
        )


@final
class GaussianDropout(nn.Module):
    """Multiply each number by one drawn from a normal distribution around 1, instead of by 0 or 2.

    The mean and the variance are those of dropout at the same `p`, and nothing is lost entirely.
    Try it where dropout hurts at once; else `torch.nn.Dropout` is cheaper.

        y = x ⊙ g,   g ~ normal(1, p / (1 - p))

    Args:
        p: Probability of the dropout that it stands for.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is outside [0, 1).

    Source: srivastava2014dropout, section 10.
    Reduces to: the identity at `p=0` and at rest.
    Checked against: mean and variance over 100,000 draws, and those of torch.nn.Dropout.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_fraction("GaussianDropout", p=p)
        self.p = p

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the numbers, in training multiplied by noise.

        Args:
            x: The batch.
            generator: Source of the noise; None takes PyTorch's global one.
        """
        if not self.training or not self.p:
            return x
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x * (1 + math.sqrt(self.p / (1 - self.p)) * noise)

    def extra_repr(self) -> str:
        """Give the argument."""
        return f"p={self.p}"


@final
class StochasticDepth(nn.Module):
    """Drop a whole branch of a residual network for a step: it becomes shallower at random.

    Stands at the end of the branch, before the sum. `CifarResNet` and `ResNet18` have it as an
    option; worth it in deep ones. A dropped branch is still computed.

        y = x · b,   b = 0 with probability p, else 1 / (1 - p)

    Args:
        p: Probability of dropping.
        per: One decision for each ``example`` or one for the ``batch``, as published.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is outside [0, 1), or there is no such `per`.

    Source: huang2016deep, equation 2.
    Differs: scaled in training instead of at rest, which is equal in the mean.
    Reduces to: the identity at `p=0` and at rest.
    Checked against: the mean over 100,000 draws; the network without the blocks that are dropped.
    """

    def __init__(self, p: float = 0.1, *, per: DropScope = "example") -> None:
        super().__init__()
        check_fraction("StochasticDepth", p=p)
        check_choice("StochasticDepth", DropScope, per=per)
        self.p = p
        self.per: DropScope = per

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the batch, in training without some of its examples.

        Args:
            x: The output of the branch.
            generator: Source of the decisions; None takes PyTorch's global one.
        """
        if not self.training or not self.p:
            return x
        count = x.shape[0] if self.per == "example" else 1
        return x * _kept(self.p, (count, *(1,) * (x.ndim - 1)), x, generator)

    def extra_repr(self) -> str:
        """Give the arguments."""
        return f"p={self.p}, per={self.per!r}"


@final
class DropBlock2d(nn.Module):
    """Drop squares of feature maps, since a single pixel is easily guessed from its neighbours.

    For convolutional layers, where `torch.nn.Dropout` does little. Raise `p` slowly, or keep it
    small; `torch.nn.Dropout2d` drops whole channels instead.

        seeds ~ Bernoulli(γ) where a whole square fits,   γ = p / s² · H W / ((H-s+1) (W-s+1))
        y = x ⊙ M · (size of M / sum of M),   M = 0 in the s x s squares of the seeds, else 1

    Args:
        p: Share of the numbers to drop, about: squares may overlap.
        block_size: Side of the squares; cut to the size of the map if that is smaller.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: `p` is outside [0, 1), a size is below 1, or `x` has no height and width.

    Source: ghiasi2018dropblock, algorithm 1.
    Differs: squares of even side are allowed.
    Reduces to: torch.nn.Dropout at `block_size=1`, but scaled by the share that was kept; the
        identity at `p=0` and at rest.
    Checked against: a loop over the seeds; the mean of the scaled masks, which is 1.
    """

    def __init__(self, p: float = 0.1, *, block_size: int = 7) -> None:
        super().__init__()
        check_fraction("DropBlock2d", p=p)
        check_positive("DropBlock2d", block_size=block_size)
        self.p, self.block_size = p, block_size

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the feature maps, in training without some squares.

        Args:
            x: The feature maps.
            generator: Source of the seeds; None takes PyTorch's global one.
        """
        if x.ndim != 4:
            raise UsageError(
                f"DropBlock2d: `x` must be of shape (B, C, H, W); got {tuple(x.shape)}."
                " Use torch.nn.Dropout for vectors."
            )
        if not self.training or not self.p:
            return x
        height, width = x.shape[2:]
        side = min(self.block_size, height, width)
        places = (height - side + 1) * (width - side + 1)
        rate = min(1.0, self.p / side**2 * height * width / places)
        shape = (*x.shape[:2], height - side + 1, width - side + 1)
        seeds = torch.empty(shape, dtype=x.dtype, device=x.device)
        seeds.bernoulli_(rate, generator=generator)
        # A number is dropped if there is a seed among the `side` x `side` corners of its squares.
        mask = 1 - F.max_pool2d(F.pad(seeds, (side - 1,) * 4), side, stride=1)
        return x * mask * (mask.numel() / mask.sum(dtype=torch.float32).clamp(min=1)).to(x.dtype)

    def extra_repr(self) -> str:
        """Give the arguments."""
        return f"p={self.p}, block_size={self.block_size}"
