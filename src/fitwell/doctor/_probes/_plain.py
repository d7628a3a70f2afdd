"""Weights as plain parameters, where a layer computes them from others in each forward pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def make_plain(model: nn.Module) -> None:
    """Give layers the weights that their parametrizations would have computed.

    Outputs and gradients of outputs stay as they were.

    Args:
        model: A copy. Its class is left, which it shares with the original.
    """
    with torch.no_grad():
        for module in list(model.modules()):
            if is_parametrized(module):
                _without_parametrizations(module)
            for key, hook in list(module._forward_pre_hooks.items()):
                if isinstance(hook, (SpectralNorm, WeightNorm)):
                    hook.remove(module)
                    del module._forward_pre_hooks[key]


def _without_parametrizations(module: nn.Module) -> None:
    lists = module._modules["parametrizations"]
    names = [] if lists is None else [name for name, _ in lists.named_children()]
    values = {name: getattr(module, name).detach().clone() for name in names}
    trained = {
        name: [p.requires_grad for p in getattr(lists, name).parameters(recurse=False)]
        for name in names
    }
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        if trained[name]:
            module.register_parameter(name, nn.Parameter(value, any(trained[name])))
        else:
            module.register_buffer(name, value)
