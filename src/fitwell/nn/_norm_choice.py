"""The normalization layers that models take by name, such as ``norm="group(groups=8)"``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.spec import Spec, build
from ._norms import BatchRenorm, GhostBatchNorm, LpBatchNorm, NoisyBatchNorm

NormPlace = Literal["before", "after"]

# Groups of fewer channels hold too few values to normalize by.
_SMALLEST_GROUP, _MOST_GROUPS = 4, 32


def make_norm(owner: str, norm: str | Spec, channels: int, *, images: bool = True) -> nn.Module:
    """Build a normalization layer by name, for images or for vectors.

    Args:
        owner: Who asks, for messages.
        norm: A name in `NORMS`, or one with arguments, such as ``"ghost(size=16)"``.
        channels: Channels of the images, or features of the vectors.
        images: Whether the inputs have height and width.

    Raises:
        UnknownName: There is no normalization of that name, or it has no such argument.
        UsageError: It cannot be built for these channels, or not for vectors.
    """
    layer: nn.Module = build(
        norm, NORMS, owner=owner, what="norm", asked_by=owner, channels=channels, images=images
    )
    return layer


def check_norm(owner: str, norm: str | Spec, widths: Iterable[int]) -> None:
    """Refuse a normalization that a model cannot have, before any of it is built.

    Args:
        owner: Which model asks, for messages.
        norm: As in `make_norm`.
        widths: Channels of each layer.

    Raises:
        UnknownName: There is no normalization of that name, or it has no such argument.
        UsageError: It cannot be built for these channels.
    """
    for width in widths:
        make_norm(owner, norm, width)


def shifts(norm: nn.Module) -> bool:
    """Say whether a layer adds a shift of its own, so that the one before it needs no bias.

    Args:
        norm: Such as `make_norm` gives it.
    """
    return getattr(norm, "bias", None) is not None


def _batch(
    eps: float = 1e-5, momentum: float | None = 0.1, *, channels: int, images: bool
) -> nn.Module:
    kind = nn.BatchNorm2d if images else nn.BatchNorm1d
    return kind(channels, eps=eps, momentum=momentum)


def _batch_renorm(
    max_r: float = 3.0, max_d: float = 5.0, warmup_steps: int = 1000, *, channels: int
) -> nn.Module:
    return BatchRenorm(channels, max_r=max_r, max_d=max_d, warmup_steps=warmup_steps)


def _ghost(size: int = 32, *, channels: int) -> nn.Module:
    return GhostBatchNorm(channels, ghost_size=size)


def _group(groups: int | None = None, *, asked_by: str, channels: int, images: bool) -> nn.Module:
    if groups is None:
        fit = (g for g in range(1, _MOST_GROUPS + 1) if channels % g == 0)
        groups = max((g for g in fit if channels // g >= _SMALLEST_GROUP), default=1)
    if groups < 1 or channels % groups:
        raise UsageError(
            f"{asked_by}: `groups` of group norm must divide the channels; got groups={groups},"
            f" channels={channels}. Use a divisor, or leave it out."
        )
    if not images and channels == groups > 1:
        raise UsageError(
            f"{asked_by}: `groups` of group norm must be fewer than the features; got"
            f" groups={groups}, and a group of one feature would always be 0. Use fewer."
        )
    return nn.GroupNorm(groups, channels)


def _instance(*, asked_by: str, channels: int, images: bool) -> nn.Module:
    if not images:
        raise UsageError(
            f"{asked_by}: `norm` must not be 'instance' for vectors, which have one value per"
            " channel. Use 'layer'."
        )
    return nn.InstanceNorm2d(channels, affine=True)


def _layer(*, channels: int, images: bool) -> nn.Module:
    return nn.GroupNorm(1, channels) if images else nn.LayerNorm(channels)


def _lp(p: float = 1.0, *, channels: int) -> nn.Module:
    return LpBatchNorm(channels, p=p)


def _noisy(
    max_shift: float = 0.5, max_scale: float = 1.25, jitter: float = 0.1, *, channels: int
) -> nn.Module:
    return NoisyBatchNorm(channels, max_shift=max_shift, max_scale=max_scale, jitter=jitter)


def _rms(*, channels: int, images: bool) -> nn.Module:
    return _ImageRMSNorm(channels) if images else nn.RMSNorm(channels, eps=1e-5)


def _none() -> nn.Module:
    return nn.Identity()


class _ImageRMSNorm(nn.Module):
    """`torch.nn.RMSNorm` over all axes of an image, with one gain per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.rms_norm(x, x.shape[1:], eps=1e-5)
        return y * self.weight.view(-1, 1, 1)


NORMS: Mapping[str, Callable[..., nn.Module]] = {
    "batch": _batch,
    "batch_renorm": _batch_renorm,
    "ghost": _ghost,
    "group": _group,
    "instance": _instance,
    "layer": _layer,
    "lp": _lp,
    "noisy": _noisy,
    "none": _none,
    "rms": _rms,
}
