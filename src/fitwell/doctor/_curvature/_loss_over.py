"""A loss over fixed batches as a function of the weights alone; the model itself is not touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...core.errors import TrainingError, UsageError
from ...train import batch_length
from ...train._state import random_state, restore_random
from .._sandbox import sandbox

Loss = Callable[[Any, Any], Tensor]
Mode = Literal["eval", "train"]
Weights = Mapping[str, Tensor]


@final
class LossOver:
    """The mean loss over some batches, at any weights.

    Works on copies of weights and buffers, and puts modes, gradients, the position of the batches
    and the global random generators back as they were.

    Args:
        owner: Who asks, for messages.
        model: The model; its trainable weights are those that vary.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        mode: As `Curvature` says.
        seed: Of the dropout noise.
    """

    def __init__(
        self, owner: str, model: nn.Module, loss: Loss, batches: Any, mode: Mode, seed: int
    ) -> None:
        if mode not in ("eval", "train"):
            raise UsageError(f"{owner}: `mode` must be 'eval' or 'train'; got {mode!r}.")
        self.owner = owner
        with sandbox(model, loss) as (copied, criterion):
            self.model: nn.Module = copied  # not compiled: there would be no second gradients
            self.loss: Loss = criterion
        self.mode = mode
        self.seed = seed
        named = dict(self.model.named_parameters())
        self.weights = {k: p.detach().clone() for k, p in named.items() if p.requires_grad}
        if not self.weights:
            raise UsageError(
                f"{owner}: `model` must have a trainable parameter; got none. Set requires_grad of"
                " those that shall vary."
            )
        self.fixed = {k: p.detach() for k, p in named.items() if not p.requires_grad}
        self.buffers = {k: b.detach().clone() for k, b in self.model.named_buffers()}
        self.device = next(iter(self.weights.values())).device
        self.batches = [self._moved(batch) for batch in _read(owner, batches)]
        lengths = [batch_length(inputs) for inputs, _ in self.batches]
        self.examples = sum(lengths)
        self.shares = [length / self.examples for length in lengths]

    def outputs(self, place: int, weights: Weights) -> Any:
        """Give what the model answers to a batch; call it inside of `quiet`."""
        torch.default_generator.manual_seed(self.seed + place)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(self.seed + place)
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        state = {**self.fixed, **buffers, **weights}
        return functional_call(self.model, state, (self.batches[place][0],))

    def of(self, outputs: Any, place: int) -> Tensor:
        """Give the mean loss of a batch's outputs, weighted by its share of the examples."""
        value = self.loss(outputs, self.batches[place][1])
        if value.dim() != 0:
            raise UsageError(
                f"{self.owner}: `loss` must give one number, the mean over a batch; got shape"
                f" {tuple(value.shape)}. Use reduction='mean'."
            )
        if not torch.isfinite(value):
            raise TrainingError(
                f"{self.owner}: the loss of batch {place} is {float(value.detach())}."
                " first_nonfinite of fitwell.train names the layer where it begins."
            )
        return value * self.shares[place]

    def values(self, points: Iterable[Weights]) -> list[float]:
        """Give the mean loss over all batches at each point, infinite and NaN where it is."""
        with self.quiet(), torch.no_grad():
            return [self.value(weights) for weights in points]

    def value(self, weights: Weights) -> float:
        """Give the mean loss over all batches; call it inside of `quiet`."""
        total = 0.0
        for place, share in enumerate(self.shares):
            outputs = self.outputs(place, weights)
            total += float(self.loss(outputs, self.batches[place][1])) * share
        return total

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Set the mode, take operations that have second gradients, and undo it all at the end."""
        random = random_state()
        modes = [(part, part.training) for part in self.model.modules()]
        with ExitStack() as stack:
            stack.callback(restore_random, random)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if any(isinstance(part, nn.RNNBase) for part, _ in modes):
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.callback(_set_modes, modes)
            self.model.train(self.mode == "train")
            yield

    def _moved(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, Mapping) or not hasattr(batch, "__len__") or len(batch) != 2:
            raise UsageError(
                f"{self.owner}: `batches` must give pairs (inputs, targets); got a"
                f" {type(batch).__name__}. Map other batches to such pairs."
            )
        inputs, targets = (
            part.to(self.device) if isinstance(part, Tensor) else part for part in batch
        )
        return inputs, targets


def _set_modes(modes: list[tuple[nn.Module, bool]]) -> None:
    for part, mode in modes:
        part.training = mode


def _read(owner: str, batches: Iterable[Any]) -> list[Any]:
    """Read all batches once, and leave the generators and the position of a loader."""
    if isinstance(batches, tuple) and len(batches) == 2 and isinstance(batches[1], Tensor):
        return [batches]
    if isinstance(batches, (list, tuple)):
        found = list(batches)
    else:
        with sandbox(batches) as (source,):
            found = list(source)
    if not found:
        raise UsageError(f"{owner}: `batches` must give at least one; got none.")
    return found
