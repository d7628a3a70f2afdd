"""What a trial training changes, kept aside and put back."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ._state import random_state, restore_random


@final
class Kept:
    """What a training changes, kept aside; the optimizer works on copies of its state meanwhile."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._random = random_state()
        self._modes = [(part, part.training) for part in model.modules()]
        self._gradients = [(p, p.grad) for p in model.parameters()]
        self._buffers = [
            (part, name, buffer)
            for part in model.modules()
            for name, buffer in part._buffers.items()
        ]
        tensors = [*model.parameters(), *(b for _, _, b in self._buffers if b is not None)]
        # In the memory of the processor: that of the device is what is being measured.
        self._values = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in tensors]
        self._state = optimizer.state
        optimizer.state = _copied(optimizer.state)
        self._groups = [_without_params(group) for group in optimizer.param_groups]
        model.train()
        for p, _ in self._gradients:
            p.grad = None

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for part, name, buffer in self._buffers:
            part._buffers[name] = buffer
        for p, gradient in self._gradients:
            p.grad = gradient
        for part, mode in self._modes:
            part.training = mode
        self._optimizer.state = self._state
        for group, settings in zip(self._optimizer.param_groups, self._groups, strict=True):
            params = group["params"]
            group.clear()
            group.update(params=params, **settings)
        restore_random(self._random)


def _copied(state: Any) -> defaultdict[Tensor, Any]:
    """Copy an optimizer's state, but not the parameters that it is found by."""
    return defaultdict(dict, {p: copy.deepcopy(values) for p, values in state.items()})


def _without_params(group: dict[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
