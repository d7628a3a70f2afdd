"""Layers of K models as one layer, for a model that sees the examples of all members at once.

The batch of a stack holds the examples of all members, so that whatever treats each example alone
(activations, pooling, reshapes, whole forward methods) works as it is. Only what has parameters,
statistics or noise is exchanged. Where there are convolutions the member runs fastest along the
batch: (B · K, C, ...) is then, without a copy, (B, K · C, ...), a convolution with K groups.

Axes: B batch of each member, K members, C O channels, F features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import nn as models
from ._convolutions import Conv, Stacked, product
from ._fold import Fold, own_noise


class _AddedProduct(torch.autograd.Function):
    """A product whose weight gradients are added where they are kept, with no pass of their own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.leaves = weight, bias
        return product(x, weight.transpose(1, 2), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        (grad,), (x,), (weight, bias) = grads, ctx.saved_tensors, ctx.leaves
        if weight.requires_grad:
            weight.grad.baddbmm_(grad.transpose(1, 2), x)
        if bias is not None and bias.requires_grad:
            bias.grad += grad.sum(1)
        return torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None, None, None


class _Linear(Stacked):
    def forward(self, x: Tensor) -> Tensor:
        opened = self.fold.open(x)
        flat = opened if opened.ndim == 3 else opened.flatten(1, -2)
        weight, bias = self.leaves["weight"], self.leaves.get("bias")
        if weight.dtype == x.dtype and not torch.is_autocast_enabled(x.device.type):
            apply: Callable[..., Tensor] = _AddedProduct.apply
            y = apply(flat, weight, bias)
        else:
            y = product(flat, weight.transpose(1, 2), bias)
        return self.fold.close(y if opened.ndim == 3 else y.reshape(*opened.shape[:-1], -1))


_TRACKED = ("running_mean", "running_var", "num_batches_tracked")


class BatchNorm(Stacked):
    """Batch normalization, which sees K times as many channels."""

    def __init__(self, layers: Sequence[Any], fold: Fold, leaves: Mapping[str, Tensor]) -> None:
        super().__init__(layers, fold, leaves)
        self.members: Any = layers
        self.tracked = self.one.running_mean is not None
        if self.tracked:
            self._old = [{name: getattr(norm, name) for name in _TRACKED} for norm in layers]
            self.mean = torch.cat([norm.running_mean for norm in layers])
            self.var = torch.cat([norm.running_var for norm in layers])
            self.count = torch.stack([norm.num_batches_tracked for norm in layers])
            for k, norm in enumerate(layers):  # views, so that members know what is measured
                norm.running_mean = self.mean.view(fold.size, -1)[k]
                norm.running_var = self.var.view(fold.size, -1)[k]
                norm.num_batches_tracked = self.count[k]

    def release(self, *, keep: bool = True) -> None:
        """Give the members statistics of their own.

        Args:
            keep: Those of now; else those of before.
        """
        if self.tracked:
            for norm, old in zip(self.members, self._old, strict=True):
                for name, own in old.items():
                    if keep:
                        own.copy_(getattr(norm, name))
                    setattr(norm, name, own)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.tracked:
            self.count += 1
        weight, bias = self.leaves.get("weight"), self.leaves.get("bias")
        y = F.batch_norm(
            self.fold.wide(x),
            self.mean if self.tracked else None,
            self.var if self.tracked else None,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self.training or not self.tracked,
            self.one.momentum,
            self.one.eps,
        )
        return self.fold.narrow(y)


class _GroupNorm(Stacked):
    def forward(self, x: Tensor) -> Tensor:
        groups = self.fold.size * self.one.num_groups
        weight, bias = self.leaves.get("weight"), self.leaves.get("bias")
        y = F.group_norm(
            self.fold.wide(x),
            groups,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self.one.eps,
        )
        return self.fold.narrow(y)


class _LayerNorm(Stacked):
    def forward(self, x: Tensor) -> Tensor:
        y = self.fold.open(F.layer_norm(x, self.one.normalized_shape, eps=self.one.eps))
        for name, leaf in self.leaves.items():
            shaped = leaf.view(self.fold.size, *[1] * (y.ndim - leaf.ndim), *leaf.shape[1:])
            y = y * shaped if name == "weight" else y + shaped
        return self.fold.close(y)


class _Embedding(Stacked):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.leaves["weight"]
        if x.numel() and not bool(((x >= 0) & (x < weight.shape[1])).all()):
            raise IndexError("index out of range in self")  # or it would be another member's
        first = torch.arange(self.fold.size, device=x.device) * weight.shape[1]
        places = self.fold.open(x) + first.view(-1, *[1] * x.ndim)
        return self.fold.close(F.embedding(places, weight.flatten(0, 1)))


class _Scale(Stacked):
    """`Normalize` and `Unscale`: statistics that every member has of its own."""

    def __init__(self, layers: Sequence[Any], fold: Fold, leaves: Mapping[str, Tensor]) -> None:
        super().__init__(layers, fold, leaves)
        self.mean = torch.stack([layer.mean for layer in layers])
        self.std = torch.stack([layer.std for layer in layers])
        self.removes = isinstance(layers[0], models.Unscale)

    def forward(self, x: Tensor) -> Tensor:
        if self.removes:
            x = x.squeeze(1) if x.ndim == 2 and x.shape[1] == 1 else x
            opened = self.fold.open(x)
            shape = (-1, *[1] * (opened.ndim - 1))
            return self.fold.close(opened * self.std.view(shape) + self.mean.view(shape))
        mean, std = self.fold.spread(self.mean, x), self.fold.spread(self.std, x)
        return self.fold.close((self.fold.open(x) - mean) / std)


class _Table(Stacked):
    """`TableEncoder`: statistics, indicators and tables of categories of every member."""

    def __init__(self, layers: Sequence[Any], fold: Fold, leaves: Mapping[str, Tensor]) -> None:
        super().__init__(layers, fold, leaves)
        self.mean = torch.stack([layer.mean for layer in layers]).unsqueeze(1)
        self.std = torch.stack([layer.std for layer in layers]).unsqueeze(1)
        self.missing = torch.stack([layer.missing for layer in layers]).unsqueeze(1)
        sizes = list(enumerate(self.one.cardinalities))
        self.numbers = torch.tensor([place for place, size in sizes if not size])
        self.categories = [(place, size) for place, size in sizes if size]

    def forward(self, x: Tensor) -> Tensor:
        opened = self.fold.open(x)
        values = opened.index_select(2, self.numbers.to(x.device)) if self.categories else opened
        scaled = ((values - self.mean) / self.std).nan_to_num(nan=0.0)
        if self.one.clip is not None:
            scaled = scaled.clamp(-self.one.clip, self.one.clip)
        parts = [scaled]
        if self.missing.shape[2]:
            places = self.missing.expand(-1, values.shape[1], -1)
            parts.append(values.gather(2, places).isnan().to(scaled.dtype))
        for number, (place, size) in enumerate(self.categories):
            codes = opened[:, :, place].nan_to_num(nan=0.0).to(torch.int64)
            known = (codes >= 0) & (codes < size)
            weight = self.leaves[f"embeddings.{number}.weight"]
            first = torch.arange(len(weight), device=x.device).unsqueeze(1) * size
            parts.append(F.embedding(codes * known + first, weight.flatten(0, 1)))
        return self.fold.close(torch.cat(parts, dim=2) if len(parts) > 1 else scaled)


class _Dropout(Stacked):
    """Dropout with a probability and a stream of noise for every member."""

    def __init__(self, layers: Sequence[Any], fold: Fold, noise: Sequence[torch.Generator]) -> None:
        super().__init__(layers, fold, {})
        self.kept = [1 - layer.p for layer in layers]
        self.noise = list(noise)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        opened = self.fold.open(x)
        mask = torch.empty(opened.shape, dtype=x.dtype, device=x.device)
        for part, kept, noise in zip(mask.unbind(), self.kept, self.noise, strict=True):
            if kept == 1:
                part.fill_(1)
            elif kept == 0:
                part.fill_(0)
            else:
                part.bernoulli_(kept, generator=noise).div_(kept)
        return self.fold.close(opened * mask)


class Each(nn.Module):
    """Whatever has no stacked form: the members' own modules, one after the other."""

    def __init__(
        self, layers: Sequence[nn.Module], fold: Fold, noise: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(layers)
        self.fold = fold
        self.noise = list(noise)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.fold.open(x).unbind()
        outputs = []
        for part, module, noise in zip(parts, self.members, self.noise, strict=True):
            with own_noise(noise):
                outputs.append(module(part))
        return self.fold.close(torch.stack(outputs))


Make = Callable[[Sequence[nn.Module], Fold, Mapping[str, Tensor]], nn.Module]
_KINDS: Mapping[type, Make] = {
    nn.Linear: _Linear,
    nn.Conv1d: Conv,
    nn.Conv2d: Conv,
    nn.Conv3d: Conv,
    nn.BatchNorm1d: BatchNorm,
    nn.BatchNorm2d: BatchNorm,
    nn.BatchNorm3d: BatchNorm,
    nn.GroupNorm: _GroupNorm,
    nn.LayerNorm: _LayerNorm,
    nn.Embedding: _Embedding,
    models.Normalize: _Scale,
    models.TableEncoder: _Table,
    models.Unscale: _Scale,
}
_WITHOUT_OWN: tuple[str, ...] = (
    *("activation", "pooling", "flatten", "padding", "linear", "upsampling", "pixelshuffle"),
    *("container", "fold", "channelshuffle"),
)
_WIDE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def stack(
    roots: Sequence[nn.Module], leaves: Mapping[str, Tensor], noise: Sequence[torch.Generator]
) -> tuple[nn.Module, Fold]:
    """Make one module of K models: it takes the joined batch and gives the joined outputs.

    Args:
        roots: The models, of one architecture.
        leaves: Their parameters by name, each (K, ...).
        noise: The members' streams of random numbers.
    """
    inner = any(type(module) in _WIDE for module in roots[0].modules())
    fold = Fold(len(roots), inner)
    return _stacked(roots, "", fold, leaves, noise), fold


def _stacked(
    layers: Sequence[nn.Module],
    name: str,
    fold: Fold,
    leaves: Mapping[str, Tensor],
    noise: Sequence[torch.Generator],
) -> nn.Module:
    first: Any = layers[0]
    if type(first) in _KINDS and _is_usual(first):
        own = {n: leaves[f"{name}{n}"] for n, p in first.named_parameters() if p is not None}
        return _KINDS[type(first)](layers, fold, own)
    if type(first) is nn.Dropout and not first.inplace:
        return _Dropout(layers, fold, noise)
    if type(first) is models.ChannelsLast:
        return nn.Identity()  # members lie side by side in the other layout
    owns = bool(first._parameters or first._buffers)
    if not owns and first._modules:
        whole: Any = copy.copy(first)
        whole._modules = dict(first._modules)
        for child, module in first._modules.items():
            if module is not None:
                theirs = [layer.get_submodule(child) for layer in layers]
                whole._modules[child] = _stacked(theirs, f"{name}{child}.", fold, leaves, noise)
        return whole  # type: ignore[no-any-return]
    if owns or type(first).__module__.removeprefix("torch.nn.modules.") not in _WITHOUT_OWN:
        return Each(layers, fold, noise)
    alike: Any = copy.copy(first)
    if hasattr(alike, "inplace"):
        alike.inplace = False  # on a view of what the layer before gave it would cost a copy
    return alike  # type: ignore[no-any-return]


def _is_usual(layer: Any) -> bool:
    """Say whether a layer's settings are those that its stacked form covers."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return layer.padding_mode == "zeros"
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        return layer.momentum is not None
    if isinstance(layer, nn.Embedding):
        usual = layer.padding_idx is None and layer.max_norm is None
        return usual and not layer.sparse and not layer.scale_grad_by_freq
    return True
