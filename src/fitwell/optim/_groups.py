"""Groups of parameters: which decay, and which layer learns at which rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..core.errors import UsageError


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that decay (matrices, filters) and those that do not.

    Biases and the gains of normalization layers are vectors; decaying them only hurts.

    Args:
        model: Whose parameters.
        weight_decay: For the first group; the second gets 0.

    Source: he2019bag, section 3.1.
    Checked against: the number of dimensions of each parameter.
    """
    return _split(list(model.parameters()), weight_decay)


def layer_groups(
    model: nn.Module,
    lr: float,
    decay: float,
    *,
    weight_decay: float = 0.0,
    layers: Sequence[nn.Module] | None = None,
) -> list[dict[str, Any]]:
    """Give each layer a rate of its own, smaller the further it is from the output.

    For fine-tuning: early layers hold what is general and should move least. Usual values of
    `decay` are 1 / 2.6 for a few large layers and 0.65 to 0.9 for a dozen blocks or more.

        lr of layer l of L = lr · decay^(L - l)

    Layers are counted as their modules are registered, which has to be the order from input to
    output. A layer begins at each module that holds a matrix or filters itself; vectors, such as
    the gains of the normalization that follows, belong to the layer before them. Parameters that
    occur twice count where they come first. Frozen ones are left out, but count as layers.

    Args:
        model: Whose parameters.
        lr: Rate of the last layer.
        decay: Factor on the rate from each layer to the one before; 1 gives all the same.
        weight_decay: Of matrices and filters; vectors do not decay, as with `decay_groups`.
        layers: Modules that are one layer each, in order, such as the blocks of a transformer;
            what is registered before, between and after them are layers too.

    Raises:
        UsageError: A value is out of range, or one of `layers` is no part of the model.

    Source: howard2018universal, section 3.2; clark2020electra and bao2022beit for `layers`.
    Reduces to: `decay_groups` at `decay=1`, in more groups.
    Checked against: rates counted by hand.

    Example:
        AdamW(layer_groups(model, lr=1e-3, decay=0.8, weight_decay=0.01))
    """
    if not lr >= 0:
        raise UsageError(f"layer_groups: `lr` must be at least 0; got {lr}.")
    if not 0 < decay <= 1:
        raise UsageError(
            f"layer_groups: `decay` must be above 0 and at most 1; got {decay}. Use 1 / factor"
            " for a factor by which rates grow."
        )
    if layers is None:
        found = _by_matrix(model)
    else:
        parts = set(model.modules())
        for place, layer in enumerate(layers):
            if layer not in parts:
                raise UsageError(
                    f"layer_groups: `layers` must be parts of `model`; got"
                    f" {type(layer).__name__} at place {place}, which is not one."
                )
        found = _by_layers(model, layers)
    return [
        {**group, "lr": lr * decay ** (len(found) - number)}
        for number, parameters in enumerate(found, start=1)
        for group in _split(parameters, weight_decay)
    ]


def _split(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _by_matrix(model: nn.Module) -> list[list[Tensor]]:
    """Give the parameters of each layer, where a matrix or filters begin a layer."""
    found: list[list[Tensor]] = []
    seen: set[Tensor] = set()
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p not in seen]
        seen.update(own)
        if not found or any(p.ndim > 1 for p in own):
            found.append([])
        found[-1] += own
    return [parameters for parameters in found if parameters]


def _by_layers(model: nn.Module, layers: Sequence[nn.Module]) -> list[list[Tensor]]:
    """Give the parameters of each layer, where everything between two given ones is one."""
    owner: dict[nn.Module, int] = {}
    for number, layer in enumerate(layers):
        owner.update((module, number) for module in layer.modules())
    found: list[list[Tensor]] = []
    seen: set[Tensor] = set()
    last: int | None = None
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p not in seen]
        seen.update(own)
        if not own:
            continue
        if not found or owner.get(module) != last:
            found.append([])
        last = owner.get(module)
        found[-1] += own
    return found
