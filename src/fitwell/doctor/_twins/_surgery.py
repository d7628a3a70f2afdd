"""Changed copies of any network: deeper, shallower, wider, with normalization, skips or others.

Given some of its inputs, a network is run to see what its layers take and give. New weights are
drawn from torch's generator like the old ones: with their mean and standard deviation, the latter
corrected for the fan-in; what a change does not touch keeps its weights. A change that cannot be
made is refused by a `UsageError` that names the module.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ._depth import Called, Site, edit, fresh, sites_of, spread, squared, stack
from ._trace import (
    copied,
    few,
    is_conv,
    is_dense,
    is_layer,
    is_norm,
    prove,
    put,
    redrawn,
    refused,
    run,
    tensors_in,
    trace,
)
from ._widths import layers_of, out_width, rebuild, scale_numbers

_HIDDEN: Final = 64
"""Width of the hidden layer that a model without one gets, or that of its inputs if larger."""

SATURATING: Final = (nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign)


def deeper(model: nn.Module, inputs: Any) -> nn.Module:
    """Give a copy with about twice as many hidden layers or blocks.

    Blocks that keep the shape, and layers of recurrent networks, are doubled; where there are none,
    each hidden layer is followed by one of its width. A linear model gets a hidden layer.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.

    Raises:
        UsageError: There is no way to make it deeper.
    """
    made, called, last, inputs = _opened("deeper", model, inputs)
    before = _depth(called)
    recurrent = [m for m in called if isinstance(m, nn.RNNBase)]
    sites, count = sites_of(made, called, last)
    blocks = [site for site in sites if site.block]
    for module in recurrent:
        stack(module, 2 * module.num_layers)
    if blocks or not recurrent:
        plan = _more(sites, count, _activation(called))
        edit(made, [(site, [*site.parts, *new]) for site, new in plan if new])
        if not sites and not recurrent and is_dense(last) and before == 1:
            made = _with_hidden(made, last)
    if _depth(trace("deeper", made, inputs)) <= before:
        raise refused("deeper", model, "", "nothing in it can be doubled")
    prove("deeper", model, made, inputs)
    return made


def shallower(model: nn.Module, inputs: Any) -> nn.Module:
    """Give a copy with about half as many hidden layers or blocks, and at least one fewer.

    Those that keep the shape are left out first; where others are, the next layer is fitted to what
    then arrives. A layer narrower than those around it stays, so that the model could do all that
    the copy can.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.

    Raises:
        UsageError: There is nothing to leave out, or it does not run without.
    """
    made, called, last, inputs = _opened("shallower", model, inputs)
    before = _depth(called)
    recurrent = [m for m in called if isinstance(m, nn.RNNBase) and m.num_layers > 1]
    sites, count = sites_of(made, called, last)
    sites = [site for site in sites if site.square or not _narrows(site.head, called)]
    blocks = [site for site in sites if site.block]
    for module in recurrent:
        stack(module, module.num_layers // 2)
    if sites and (blocks or not recurrent):
        least = max(1, count // 2)
        keeping = [site for site in sites if site.square]
        from_ = keeping if len(keeping) >= least or blocks else sites
        some = spread(min(least, len(from_)), len(from_))
        edit(made, [(from_[n], []) for n in some])
        rebuild("shallower", made, inputs, last, 1.0)
    if _depth(trace("shallower", made, inputs)) >= before:
        raise refused("shallower", model, "", "it has no hidden layer that can be left out")
    prove("shallower", model, made, inputs)
    return made


def wider(model: nn.Module, inputs: Any, factor: float = 2.0) -> nn.Module:
    """Give a copy whose hidden layers are wider, or narrower; inputs and outputs keep their width.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.
        factor: How many times as wide.

    Raises:
        UsageError: It has no hidden layer, or does not run with other widths.
    """
    if not factor > 0 or not math.isfinite(factor) or factor == 1:
        raise UsageError(f"wider: `factor` must be positive and not 1; got {factor}. Use 2 or 0.5.")
    _, called, last, inputs = _opened("wider", model, inputs)
    widths = {out_width(layer) for layer in called if is_layer(layer) and layer is not last}
    if not widths:
        raise refused("wider", model, "", "it has no hidden layer")
    failure: UsageError | None = None
    for with_numbers in (False, True):
        made, called, last, _ = _opened("wider", model, inputs)
        try:
            if with_numbers:
                scale_numbers(made, widths, factor)
            rebuild("wider", made, inputs, last, factor)
            prove("wider", model, made, inputs)
        except UsageError as err:
            failure = failure or err
        else:
            return made
    raise failure or refused("wider", model, "", "it has no hidden layer")


def normalized(model: nn.Module, inputs: Any) -> nn.Module:
    """Give a copy with normalization after each hidden layer: of the batch after convolutions.

    Dense layers are followed by layer normalization, which does not depend on the batch.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.

    Raises:
        UsageError: It normalizes already, or has no hidden layer where that could be done.
    """
    made, called, last, inputs = _opened("normalized", model, inputs)
    order = list(called)
    first = next(n for n, module in enumerate(order) if is_layer(module))
    has = [type(module).__name__ for module in order[first:] if is_norm(module)]
    if has:
        raise refused("normalized", model, "", f"it has {has[0]} already")
    hidden = [m for m in order if m is not last and (is_dense(m) or is_conv(m))]
    if not hidden:
        raise refused("normalized", model, "", "it has no hidden dense or convolutional layer")
    for layer in hidden:
        made = put(made, layer, nn.Sequential(layer, _norm_for(layer)))
    prove("normalized", model, made, inputs)
    return made


def with_skips(model: nn.Module, inputs: Any) -> nn.Module:
    """Give a copy with a way around each hidden layer or block that keeps the shape.

        y = x + f(x) / √n,  n: how many ways around there are

    so that the sum keeps its size however deep the network is.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.

    Raises:
        UsageError: Nothing in it keeps the shape, or there are ways around already.
    """
    made, called, last, inputs = _opened("with_skips", model, inputs)
    sites = [site for site in sites_of(made, called, last)[0] if site.square]
    plain = [site for site in sites if not (site.block and _goes_around(site.head, called))]
    if not plain:
        why = "there are ways around already" if sites else "no hidden part of it keeps the shape"
        raise refused("with_skips", model, "", why)
    scale = 1 / math.sqrt(len(plain))
    arounds = [
        _Around(site.head if len(site.parts) == 1 else nn.Sequential(*site.parts), scale)
        for site in plain
    ]
    edit(made, [(site, [around]) for site, around in zip(plain, arounds, strict=True)])
    prove("with_skips", model, made, inputs)
    return made


def with_relu(model: nn.Module, inputs: Any) -> nn.Module:
    """Give a copy with ReLU in place of hidden activations that saturate.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.

    Raises:
        UsageError: No module of it is such an activation.
    """
    made, called, last, inputs = _opened("with_relu", model, inputs)
    order = list(called)
    before = order[: order.index(last)]
    found = [module for module in before if isinstance(module, SATURATING)]
    if not found:
        raise refused("with_relu", model, "", "it has no sigmoid or tanh among its modules")
    for module in found:
        put(made, module, nn.ReLU())
    prove("with_relu", model, made, inputs)
    return made


def without_dropout(model: nn.Module) -> nn.Module:
    """Give a copy that drops nothing in training: every probability of dropping is 0.

    Args:
        model: Stays as it is.
    """
    made = copied("without_dropout", model)
    for module, name in _drop_rates(made):
        setattr(module, name, 0.0)
    return made


def drops(model: nn.Module) -> bool:
    """Say whether a model drops anything in training.

    Args:
        model: Any.
    """
    return any(getattr(module, name) > 0 for module, name in _drop_rates(model))


def with_dropout(model: nn.Module, inputs: Any, p: float) -> nn.Module:
    """Give a copy with dropout before the layer that gives the outputs.

    Args:
        model: Stays as it is.
        inputs: A batch of what it takes.
        p: Probability of dropping.

    Raises:
        UsageError: It does not run with it.
    """
    made, _, last, inputs = _opened("with_dropout", model, inputs)
    if not (is_dense(last) or is_conv(last)):
        raise refused("with_dropout", model, "", "its last layer is neither dense nor convolution")
    made = put(made, last, nn.Sequential(nn.Dropout(p), last))
    prove("with_dropout", model, made, inputs)
    return made


@final
class _Around(nn.Module):
    """A way around a module."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner = inner
        self.scale = scale

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = self.inner(x, *args, **kwargs)
        return x + self.scale * y


def _opened(owner: str, model: nn.Module, inputs: Any) -> tuple[nn.Module, Called, nn.Module, Any]:
    """Give a copy, the calls in it, its last layer, and a few inputs."""
    inputs = few(inputs)
    made = copied(owner, model)
    called = trace(owner, made, inputs)
    return made, called, layers_of(owner, made, called)[-1], inputs


def _depth(called: Called) -> int:
    layers = [module for module in called if is_layer(module)]
    return sum(m.num_layers if isinstance(m, nn.RNNBase) else 1 for m in layers)


def _narrows(layer: Any, called: Called) -> bool:
    """Say whether a layer gives fewer numbers than it takes, and than the next one gives."""
    layers = [module for module in called if is_layer(module)]
    following = layers[layers.index(layer) + 1]
    takes = layer.in_features if is_dense(layer) else layer.in_channels
    return out_width(layer) < min(int(takes), out_width(following))


def _more(
    sites: list[Site], count: int, activation: nn.Module
) -> list[tuple[Site, list[nn.Module]]]:
    """Give what comes behind each site, `count` layers or blocks in all."""
    plan: list[tuple[Site, list[nn.Module]]] = []
    for number, site in enumerate(sites):
        new: list[nn.Module] = []
        for _ in range(count // len(sites) + (number < count % len(sites))):
            if site.block:
                new += [fresh(part) for part in site.parts]
                continue
            layer = squared(site.head)
            if layer is not None and site.chain is None:
                new += [copied("deeper", activation), layer]
            elif layer is not None:
                new += [layer, *(fresh(part) for part in site.parts[1:])]
        plan.append((site, new))
    return plan


def _with_hidden(model: nn.Module, last: Any) -> nn.Module:
    """Put a hidden layer before the only one."""
    width = max(_HIDDEN, last.in_features)
    like = {"device": last.weight.device, "dtype": last.weight.dtype}
    hidden = nn.Linear(last.in_features, width, **like)
    scale = math.sqrt(last.in_features / width)
    last.weight = redrawn(last.weight, (last.out_features, width), scale)
    last.in_features = width
    return put(model, last, nn.Sequential(hidden, nn.ReLU(), last))


def _activation(called: Called) -> nn.Module:
    """Give the first hidden activation of torch's, or ReLU."""
    for module in called:
        own = type(module).__module__ == nn.ReLU.__module__ and not list(module.parameters())
        if own and "max" not in type(module).__name__.lower():
            return module
    return nn.ReLU()


def _norm_for(layer: Any) -> nn.Module:
    weight = layer.weight
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if is_dense(layer):
        return nn.LayerNorm(layer.out_features, **like)
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return kinds[len(layer.kernel_size) - 1](layer.out_channels, **like)


def _goes_around(block: nn.Module, called: Called) -> bool:
    """Say whether the inputs of a block reach its outputs when all its layers are 0."""
    step = called[block]
    empty = copied("with_skips", block)
    with torch.no_grad():
        for module in empty.modules():
            if is_layer(module):
                for p in module.parameters():
                    p.zero_()
    other = [_other(value) for value in step.args]
    one, two = (
        [t.detach() for t in tensors_in(run("with_skips", _Given(empty, args, step.kwargs), None))]
        for args in (step.args, other)
    )
    return any(not torch.equal(a, b) for a, b in zip(one, two, strict=True))


def _other(value: Any) -> Any:
    """Give another input of the same kind, of numbers also where there is one row alone."""
    if not isinstance(value, Tensor):
        return value
    return value.flip(tuple(range(value.ndim)) if value.is_floating_point() else 0)


@final
class _Given(nn.Module):
    """A module with all its inputs."""

    def __init__(self, inner: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.inner, self.args, self.kwargs = inner, args, kwargs

    def forward(self, _: Any) -> Any:
        return self.inner(*self.args, **self.kwargs)


def _drop_rates(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Give where a model notes probabilities of dropping."""
    return [
        (module, name)
        for module in model.modules()
        for name, value in list(vars(module).items())
        if isinstance(value, float)
        and ("drop" in name.lower() or (name == "p" and "drop" in type(module).__name__.lower()))
    ]
