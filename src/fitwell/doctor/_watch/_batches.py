"""What inputs, labels and outputs look like."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from ._activations import floats_of, is_finite, part_of, tensors_of

_CLASSES = 4096
_COMPARED = 512  # labels of a batch that are compared with each other
_LABELS = ("labels", "label", "targets", "target", "y")

Found = dict[str, Tensor | float]


def split_batch(batch: Any) -> tuple[Any, Tensor | None]:
    """Give the inputs and the targets of a batch, where it says which they are.

    Args:
        batch: A pair, a dict with labels, or inputs alone.
    """
    if isinstance(batch, (tuple, list)) and len(batch) > 1:
        return batch[0], next(tensors_of(batch[-1]), None)
    if isinstance(batch, dict):
        for name in _LABELS:
            if isinstance(batch.get(name), Tensor):
                return {k: v for k, v in batch.items() if k != name}, batch[name]
    return batch, None


def input_statistics(inputs: Any) -> Found:
    """Describe what a model is given.

    Args:
        inputs: Tensors, however nested; the first of floating point numbers is described.
    """
    first = next((t for t in tensors_of(inputs) if t.ndim), None)
    if first is None:
        return {}
    found: Found = {"examples": float(len(first))}
    tensor = floats_of(inputs)
    if tensor is None:
        return found | {"low": first.min(), "high": first.max()}
    found |= _spread(tensor)
    if tensor.ndim > 1 and len(tensor) > 1:
        part = part_of(tensor).flatten(1)
        found["constant"] = (part == part[:1]).all(dim=0).sum() / part.shape[1]
    return found


def _spread(tensor: Tensor) -> Found:
    part = part_of(tensor)
    std, mean = torch.std_mean(part, correction=0)
    low, high = torch.aminmax(part)
    return {"mean": mean, "std": std, "low": low, "high": high, "finite": is_finite(tensor)}


def output_spread(outputs: Tensor) -> Found:
    """Describe what a model gives.

    Args:
        outputs: The first axis is that of examples.
    """
    found = _spread(outputs)
    if outputs.ndim > 1 and len(outputs) > 1:
        part = part_of(outputs)
        found["spread"] = part.std(dim=0, correction=0).mean()  # 0: the same for every example
        if part.shape[1] > 1:
            beyond = (part.sum(dim=1) - 1).abs().amax()
            found["from_simplex"] = torch.maximum(beyond, (-part).amax())  # 0: probabilities
    return found


@final
class Labels:
    """Counts classes over all looks, in memory for `_CLASSES` of them at most."""

    def __init__(self) -> None:
        self.counts: Tensor | None = None

    def take(self, targets: Tensor, outputs: Tensor | None) -> Found:
        """Describe the targets of a batch.

        Args:
            targets: Whole numbers are classes.
            outputs: Of the model; they say how many classes there are.
        """
        if not targets.numel():
            return {}
        if targets.is_floating_point():
            return _spread(targets)
        flat = targets.detach().reshape(-1)
        self._count(flat, targets.shape, outputs)
        few = flat[:: -(-len(flat) // _COMPARED)]
        same = (few[:, None] == few).float().mean(dim=1)  # share of the class of each example
        found: Found = {"classes": (1 / same).mean(), "entropy": -same.log().mean()}
        if len(flat) > 1:
            found["repeats"] = (flat[1:] == flat[:-1]).float().mean()
        return found

    def _count(self, flat: Tensor, shape: torch.Size, outputs: Tensor | None) -> None:
        if outputs is None or outputs.ndim < 2:
            return
        classes = outputs.shape[-1] if outputs.shape[:-1] == shape else outputs.shape[1]
        if not 1 < classes <= _CLASSES:
            return
        counts = torch.zeros(classes, device=flat.device)
        valid = (flat >= 0) & (flat < classes)
        counts.scatter_add_(0, flat.long().clamp(0, classes - 1), valid.float())
        if self.counts is None or self.counts.shape != counts.shape:
            self.counts = counts
        else:
            self.counts += counts
