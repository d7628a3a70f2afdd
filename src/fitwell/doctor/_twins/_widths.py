"""Rebuild the layers of a model for other widths while it runs: each fits what arrives at it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ._trace import fan_in_scale, is_conv, is_dense, is_layer, redrawn, refused, run

Refit = Callable[[Any, Tensor, float], None]
"""``refit(module, x, factor)`` makes a module take `x`, and give `factor` times as many numbers."""


def scaled(width: int, factor: float) -> int:
    """Give a width times a factor.

    Args:
        width: At least 1.
        factor: Positive.
    """
    return max(1, round(width * factor))


def rebuild(owner: str, model: nn.Module, inputs: Any, last: nn.Module, factor: float) -> None:
    """Run a model, and rebuild each layer when something arrives at it.

    New weights are drawn like the old ones; what keeps its shape keeps its weights.

    Args:
        owner: Who asks, for errors.
        model: Changed in place.
        inputs: What it takes.
        last: The layer that keeps the width of what it gives.
        factor: How many times as wide the others become; 1 only fits them to what arrives.

    Raises:
        UsageError: A layer cannot be rebuilt, or the model does not run with other widths.
    """
    tied = _tied(model)
    fitted: set[nn.Module] = set()
    handles = []
    for name, module in model.named_modules():
        refit = _refit_of(module)
        if refit is None:
            continue

        def before(
            module: nn.Module,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            name: str = name,
            refit: Refit = refit,
        ) -> None:
            first = next(iter((*args, *kwargs.values())), None)
            x = getattr(first, "data", None)  # itself, or what a packed sequence holds
            if module in fitted or not isinstance(x, Tensor):
                return
            fitted.add(module)
            try:
                refit(module, x, 1.0 if module is last else factor)
            except (ValueError, KeyError, IndexError) as err:
                raise refused(owner, model, name, str(err)) from err

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
    try:
        run(owner, model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    _tie(owner, model, tied)


def scale_numbers(model: nn.Module, widths: set[int], factor: float) -> None:
    """Scale what modules of the user's own note about widths: numbers, and parameters that end so.

    Such as ``self.hidden_dim``, with which a forward pass makes or cuts tensors, and positions
    that are added to embeddings.

    Args:
        model: Changed in place.
        widths: Of its hidden layers.
        factor: How many times as wide they become.
    """
    for module in model.modules():
        if type(module).__module__.startswith("torch.nn") or _refit_of(module) is not None:
            continue
        for name, value in list(vars(module).items()):
            if type(value) is int and value in widths:
                setattr(module, name, scaled(value, factor))
        for name, p in list(module._parameters.items()):
            if p is not None and p.ndim and p.shape[-1] in widths:
                module._parameters[name] = redrawn(p, (*p.shape[:-1], scaled(p.shape[-1], factor)))
        for name, held in list(module._buffers.items()):
            if held is not None and held.is_floating_point() and held.ndim:
                if held.shape[-1] in widths:
                    module._buffers[name] = _repeated(held, scaled(held.shape[-1], factor))


def out_width(layer: nn.Module) -> int:
    """Give how many numbers a layer gives at each place.

    Args:
        layer: One of those that `is_layer` names.
    """
    names = ("out_features", "out_channels", "embedding_dim", "hidden_size", "embed_dim")
    return next(int(getattr(layer, name)) for name in names if hasattr(layer, name))


def _refit_of(module: nn.Module) -> Refit | None:
    if is_conv(module):
        return _refit_conv
    if is_dense(module):
        return _refit_dense
    kinds: tuple[tuple[Any, Refit], ...] = (
        (nn.modules.batchnorm._NormBase, _refit_batch_norm),
        (nn.GroupNorm, _refit_group_norm),
        ((nn.LayerNorm, nn.RMSNorm), _refit_layer_norm),
        (nn.PReLU, _refit_prelu),
        (nn.Embedding, _refit_embedding),
        (nn.RNNBase, _refit_recurrent),
        (nn.MultiheadAttention, _refit_attention),
    )
    return next((refit for kind, refit in kinds if isinstance(module, kind)), None)


def _renew(module: nn.Module, name: str, shape: tuple[int, ...], scale: float = 1.0) -> None:
    """Draw a parameter or buffer anew if its shape is another."""
    for held in (module._parameters, module._buffers):
        old = held.get(name)
        if old is not None and tuple(old.shape) != shape:
            new = redrawn(old, shape, scale)
            setattr(module, name, new if isinstance(old, nn.Parameter) else new.detach())


def _renew_weight(module: nn.Module, shape: tuple[int, ...]) -> None:
    old = module._parameters.get("weight")
    if old is None:
        raise ValueError("its weights are made from others")
    _renew(module, "weight", shape, fan_in_scale(tuple(old.shape), shape))


def _refit_dense(module: Any, x: Tensor, factor: float) -> None:
    width = scaled(module.out_features, factor)
    _renew_weight(module, (width, x.shape[-1]))
    _renew(module, "bias", (width,))
    module.in_features, module.out_features = x.shape[-1], width


def _refit_conv(module: Any, x: Tensor, factor: float) -> None:
    arrives = x.shape[1 if x.ndim == len(module.kernel_size) + 2 else 0]
    width, groups = scaled(module.out_channels, factor), module.groups
    if groups == module.in_channels > 1:  # each channel for itself
        width = arrives * max(1, module.out_channels // groups) if factor != 1 else width
        groups = arrives
    elif groups > 1:
        wished = scaled(groups, factor)
        fits = arrives % wished == 0 and width % wished == 0
        groups = wished if fits else math.gcd(groups, arrives, width)
    if width % groups:
        raise ValueError(f"{arrives} channels cannot become {width} in {groups} groups")
    sides = (arrives, width // groups) if module.transposed else (width, arrives // groups)
    old = module._parameters.get("weight")
    if old is None:
        raise ValueError("its weights are made from others")
    before = module.in_channels // module.groups
    scale = math.sqrt(before / (arrives // groups))
    _renew(module, "weight", (*sides, *module.kernel_size), scale)
    _renew(module, "bias", (width,))
    module.in_channels, module.out_channels, module.groups = arrives, width, groups


def _refit_batch_norm(module: Any, x: Tensor, factor: float) -> None:
    del factor
    for held in (module._parameters, module._buffers):
        for name in list(held):
            value = held[name]
            if value is not None and tuple(value.shape) == (module.num_features,):
                _renew(module, name, (x.shape[1],))
                if name == "running_var":  # which drawing may make negative
                    held[name] = module.running_var.abs()
    module.num_features = x.shape[1]


def _refit_group_norm(module: Any, x: Tensor, factor: float) -> None:
    wished = scaled(module.num_groups, factor)
    groups = (wished, module.num_groups, math.gcd(module.num_groups, x.shape[1]))
    if x.shape[1] != module.num_channels:
        module.num_groups = next(g for g in groups if x.shape[1] % g == 0)
    for name in ("weight", "bias"):
        _renew(module, name, (x.shape[1],))
    module.num_channels = x.shape[1]


def _refit_layer_norm(module: Any, x: Tensor, factor: float) -> None:
    del factor
    shape = tuple(x.shape[-len(module.normalized_shape) :])
    for name in ("weight", "bias"):
        _renew(module, name, shape)
    module.normalized_shape = shape


def _refit_prelu(module: Any, x: Tensor, factor: float) -> None:
    del factor
    if module.num_parameters > 1:
        _renew(module, "weight", (x.shape[1],))
        module.num_parameters = x.shape[1]


def _refit_embedding(module: Any, x: Tensor, factor: float) -> None:
    del x
    width = scaled(module.embedding_dim, factor)
    changes = width != module.embedding_dim
    _renew(module, "weight", (module.num_embeddings, width))
    module.embedding_dim = width
    if changes and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()


def _refit_recurrent(module: Any, x: Tensor, factor: float) -> None:
    hidden = scaled(module.hidden_size, factor)
    given = scaled(module.proj_size, factor) if module.proj_size else 0
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    sides = 2 if module.bidirectional else 1
    for name, old in list(module._parameters.items()):
        kind, layer = name.split("_l")[0], int(name.split("_l")[1].split("_")[0])
        below = x.shape[-1] if layer == 0 else (given or hidden) * sides
        shape: tuple[int, ...] = {
            "weight_ih": (gates * hidden, below),
            "weight_hh": (gates * hidden, given or hidden),
            "weight_hr": (given, hidden),
        }.get(kind, (gates * hidden,))
        scale = fan_in_scale(tuple(old.shape), shape) if old.ndim > 1 else 1.0
        if tuple(old.shape) != shape:
            setattr(module, name, redrawn(old, shape, scale))
    module.input_size, module.hidden_size, module.proj_size = x.shape[-1], hidden, given


def _refit_attention(module: Any, x: Tensor, factor: float) -> None:
    del factor
    width = x.shape[-1]
    if width == module.embed_dim:
        return
    if not module._qkv_same_embed_dim or module.bias_k is not None:
        raise ValueError("attention to what has another width is not rebuilt")
    heads = [width // module.head_dim, module.num_heads, math.gcd(module.num_heads, width)]
    if width % module.head_dim:
        heads = heads[1:]
    module.num_heads = next(h for h in heads if h and width % h == 0)
    old = tuple(module.in_proj_weight.shape)
    _renew(module, "in_proj_weight", (3 * width, width), fan_in_scale(old, (3 * width, width)))
    _renew(module, "in_proj_bias", (3 * width,))
    _renew_weight(module.out_proj, (width, width))
    _renew(module.out_proj, "bias", (width,))
    module.out_proj.in_features = module.out_proj.out_features = width
    module.embed_dim = module.kdim = module.vdim = width
    module.head_dim = width // module.num_heads


def _repeated(values: Tensor, width: int) -> Tensor:
    times = math.ceil(width / values.shape[-1])
    return torch.cat([values] * times, dim=-1)[..., :width].contiguous()


def _tied(model: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Give the places of parameters that stand in several."""
    places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None:
                places.setdefault(p, []).append((module, name))
    return [some for some in places.values() if len(some) > 1]


def _tie(owner: str, model: nn.Module, tied: list[list[tuple[nn.Module, str]]]) -> None:
    for (first, its_name), *others in tied:
        for module, name in others:
            shared, own = first._parameters[its_name], module._parameters[name]
            if shared is None or own is None or shared.shape != own.shape:
                raise refused(owner, model, "", f"its shared {name} would have two shapes")
            setattr(module, name, shared)


def layers_of(owner: str, model: nn.Module, called: dict[nn.Module, Any]) -> list[nn.Module]:
    """Give the layers with weights that were called, in their order.

    Args:
        owner: Who asks, for errors.
        model: Of which.
        called: What `trace` gave.

    Raises:
        UsageError: There is none.
    """
    found = [module for module in called if is_layer(module)]
    if not found:
        raise UsageError(
            f"{owner}: `model` must have layers with weights that are known here; got"
            f" {type(model).__name__} without. They are those of torch.nn."
        )
    return found
