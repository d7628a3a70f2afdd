"""Back-propagation by hand: the chain rule, with a written-out rule for each kind of layer.

For learning from and checking against; training uses torch's own gradients, which are faster.

Axes: B batch, C channels, H W height width, D features, L places of a filter in the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError

Grads = dict[str, Tensor]
Rule = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor | None, Grads]]


def backpropagate(
    model: nn.Sequential, x: Tensor, grad: Callable[[Tensor], Tensor]
) -> tuple[Tensor | None, Grads]:
    """Give the gradients of a loss by input and parameters, from the last layer to the first.

    The forward pass keeps what each layer was given; the backward pass turns the gradient by a
    layer's output into those by its parameters and by its input, which is the next one's output.

        ∂loss/∂xₖ = (∂fₖ/∂xₖ)ᵀ ∂loss/∂xₖ₊₁        ∂loss/∂θₖ = (∂fₖ/∂θₖ)ᵀ ∂loss/∂xₖ₊₁

    Args:
        model: Layers of the kinds in `BACKPROP_RULES`, also nested.
        x: Inputs.
        grad: Gives the gradient of the loss by the model's output.

    Returns:
        The gradient by the input, None if it is made of indices; and those by the parameters, by
        name.

    Raises:
        UsageError: There is no rule for a layer.

    Source: rumelhart1986learning.
    Checked against: `torch.autograd` and finite differences, for every kind of layer.
    """
    with torch.no_grad():
        layers = [(f"{name}.", layer) for name, layer in _leaves(model)]
        passed = []
        for name, layer in layers:
            rule = _rule(name, layer)
            if isinstance(layer, nn.Dropout):  # its draw is needed again
                layer, y = _drawn(layer, x)
            else:
                y = layer(x)
            passed.append((name, layer, rule, x, y))
            x = y
        by_output: Tensor | None = grad(x)
        grads: Grads = {}
        for name, layer, rule, given, y in reversed(passed):
            if by_output is None:
                raise UsageError(
                    "backpropagate: `model` must have layers that take indices first; got"
                    f" {name[:-1]} after others."
                )
            by_output, own = rule(layer, given, y, by_output)
            grads |= {name + key: value for key, value in own.items()}
    return by_output, grads


def _leaves(model: nn.Sequential) -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, layer in model.named_children():
        if isinstance(layer, nn.Sequential):
            found += [(f"{name}.{inner}", leaf) for inner, leaf in _leaves(layer)]
        else:
            found.append((name, layer))
    return found


def _rule(name: str, layer: nn.Module) -> Rule:
    rule = BACKPROP_RULES.get(type(layer))
    if rule is None:
        known = ", ".join(sorted(kind.__name__ for kind in BACKPROP_RULES))
        raise UsageError(
            f"backpropagate: `model` must consist of {known}; got {type(layer).__name__} at"
            f" {name[:-1]}."
        )
    return rule


class _Mask(nn.Module):
    """A dropout whose draw is known."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask


def _drawn(layer: nn.Dropout, x: Tensor) -> tuple[_Mask, Tensor]:
    mask = F.dropout(torch.ones_like(x), layer.p, layer.training)
    return _Mask(mask), x * mask


def _linear(layer: nn.Linear, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    rows, columns = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    grads = {"weight": columns.T @ rows}
    if layer.bias is not None:
        grads["bias"] = columns.sum(0)
    return g @ layer.weight, grads


def _conv2d(layer: nn.Conv2d, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    """A convolution is a product with the patches of its input; so are its gradients."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UsageError(
            "backpropagate: `padding` of a convolution must be a number of zeros; got"
            f" padding={layer.padding!r}, padding_mode={layer.padding_mode!r}."
        )
    window: dict[str, Any] = {
        "dilation": layer.dilation,
        "padding": layer.padding,
        "stride": layer.stride,
    }
    patches = F.unfold(x, layer.kernel_size, **window)  # (B, C·kh·kw, L)
    groups = layer.groups
    patches = patches.view(len(x), groups, -1, patches.shape[-1])
    by_place = g.reshape(len(x), groups, -1, patches.shape[-1])  # (B, groups, out/groups, L)
    filters = layer.weight.view(groups, g.shape[1] // groups, -1)
    by_filter = torch.einsum("bgol,bgil->goi", by_place, patches)
    by_patch = torch.einsum("goi,bgol->bgil", filters, by_place).flatten(1, 2)
    grads = {"weight": by_filter.flatten(0, 1).view_as(layer.weight)}
    if layer.bias is not None:
        grads["bias"] = g.sum((0, 2, 3))
    return F.fold(by_patch, x.shape[2:], layer.kernel_size, **window), grads


def _max_pool2d(layer: nn.MaxPool2d, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    """The whole gradient goes to where the maximum was."""
    _, places = F.max_pool2d(
        x,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.ceil_mode,
        return_indices=True,
    )
    spread = torch.zeros_like(x).flatten(2)
    return spread.scatter_add_(2, places.flatten(2), g.flatten(2)).view_as(x), {}


def _avg_pool2d(layer: nn.AvgPool2d, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    """Every place of a window gets the same part."""
    if layer.ceil_mode or not layer.count_include_pad or layer.divisor_override:
        raise UsageError("backpropagate: `AvgPool2d` must have its default way of counting.")
    size = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
    part = (g / math.prod(size)).flatten(2).unsqueeze(2)  # (B, C, 1, L)
    parts = part.expand(-1, -1, math.prod(size), -1).flatten(1, 2)
    return F.fold(parts, x.shape[2:], size, padding=layer.padding, stride=layer.stride), {}


def _global_pool(
    layer: nn.AdaptiveAvgPool2d, x: Tensor, y: Tensor, g: Tensor
) -> tuple[Tensor, Grads]:
    if y.shape[2:] != (1, 1):
        raise UsageError("backpropagate: `AdaptiveAvgPool2d` must pool to one place; got more.")
    return (g / math.prod(x.shape[2:])).expand_as(x), {}


def _normalized(
    x: Tensor, g: Tensor, mean: Tensor, var: Tensor, eps: float, over: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Give x̂ and the gradient by x, where mean and variance are of x itself.

    ∂/∂x = (g - mean g - x̂ · mean(g x̂)) / √(var + eps)
    """
    scale = (var + eps).rsqrt()
    unit = (x - mean) * scale
    shared = g.mean(over, keepdim=True) + unit * (g * unit).mean(over, keepdim=True)
    return unit, (g - shared) * scale


def _batch_norm(layer: Any, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    over = (0, *range(2, x.ndim))
    shape = (1, -1, *(1 for _ in range(2, x.ndim)))
    weight = torch.ones(x.shape[1]).to(x) if layer.weight is None else layer.weight
    by_unit = g * weight.view(shape)
    if layer.training or layer.running_mean is None or layer.running_var is None:
        mean, var = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
        unit, by_input = _normalized(x, by_unit, mean, var, layer.eps, over)
    else:  # mean and variance are constants
        scale = (layer.running_var.view(shape) + layer.eps).rsqrt()
        unit, by_input = (x - layer.running_mean.view(shape)) * scale, by_unit * scale
    if layer.weight is None:
        return by_input, {}
    return by_input, {"weight": (g * unit).sum(over), "bias": g.sum(over)}


def _layer_norm(layer: Any, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    over = tuple(range(x.ndim - len(layer.normalized_shape), x.ndim))
    batch = tuple(range(over[0]))
    by_unit = g if layer.weight is None else g * layer.weight
    mean, var = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
    unit, by_input = _normalized(x, by_unit, mean, var, layer.eps, over)
    grads = {} if layer.weight is None else {"weight": (g * unit).sum(batch)}
    if layer.bias is not None:
        grads["bias"] = g.sum(batch)
    return by_input, grads


def _embedding(layer: nn.Embedding, x: Tensor, y: Tensor, g: Tensor) -> tuple[None, Grads]:
    """Each row gets the sum of the gradients of the places that it was copied to."""
    weight = torch.zeros_like(layer.weight)
    weight.index_add_(0, x.flatten(), g.flatten(0, -2))
    if layer.padding_idx is not None:
        weight[layer.padding_idx] = 0
    return None, {"weight": weight}


def _softmax(layer: nn.Softmax, x: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Grads]:
    axis = -1 if layer.dim is None else layer.dim
    return y * (g - (g * y).sum(axis, keepdim=True)), {}


def _by_element(slope: Callable[[Any, Tensor, Tensor], Tensor]) -> Rule:
    """Make the rule of a layer that works on each number by itself, from its slope."""
    return lambda layer, x, y, g: (g * slope(layer, x, y), {})


def _gelu_slope(layer: nn.GELU, x: Tensor, y: Tensor) -> Tensor:
    if layer.approximate != "none":
        raise UsageError("backpropagate: `GELU` must be the exact one; got an approximation.")
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * density


def _silu_slope(layer: nn.SiLU, x: Tensor, y: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))


BACKPROP_RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.MaxPool2d: _max_pool2d,
    nn.AvgPool2d: _avg_pool2d,
    nn.AdaptiveAvgPool2d: _global_pool,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
    nn.Softmax: _softmax,
    nn.Flatten: lambda layer, x, y, g: (g.view_as(x), {}),
    nn.Identity: lambda layer, x, y, g: (g, {}),
    nn.Dropout: lambda layer, x, y, g: (g * layer.mask, {}),
    nn.ReLU: _by_element(lambda layer, x, y: (x > 0).to(x)),
    nn.LeakyReLU: _by_element(
        lambda layer, x, y: torch.where(x > 0, torch.ones_like(x), layer.negative_slope)
    ),
    nn.Sigmoid: _by_element(lambda layer, x, y: y * (1 - y)),
    nn.Tanh: _by_element(lambda layer, x, y: 1 - y.square()),
    nn.GELU: _by_element(_gelu_slope),
    nn.SiLU: _by_element(_silu_slope),
    nn.Softplus: _by_element(lambda layer, x, y: torch.sigmoid(layer.beta * x)),
}
"""The rule of each kind of layer: (layer, input, output, gradient by output) to the gradients by
input and by parameters."""
