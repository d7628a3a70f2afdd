"""A word to those who normalize by batches too small for it."""

from __future__ import annotations

from torch import nn

from ..nn import BatchRenorm, GhostBatchNorm

SMALLEST_BATCH = 8
"""Below this, the statistics of a batch are mostly noise."""


def tiny_batch_note(model: nn.Module, batch_size: int) -> str | None:
    """Say that batches are too small for the batch normalization of a model, or None.

    Asks about layers in training mode alone: frozen ones use their moving values. Passes over
    `fitwell.nn.BatchRenorm`, which is made for small batches, and `torch.nn.SyncBatchNorm`, which
    joins those of all processes.

    Args:
        model: The model, in the mode it is trained in.
        batch_size: Examples that go through the model together, in one process.

    Source: wu2018group, figure 1; ioffe2015batch.
    Checked against: models with and without batch statistics, at sizes around the limit.
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.modules.batchnorm._BatchNorm) or not layer.training:
            continue
        if isinstance(layer, (BatchRenorm, nn.SyncBatchNorm)):
            continue
        size = _normalized_together(layer, batch_size)
        if size >= SMALLEST_BATCH:
            continue
        which = f"{type(layer).__name__} {name!r}" if name else type(layer).__name__
        parts, larger = (
            ("parts", "ghost size") if size < batch_size else ("batches", "--batch-size")
        )
        note = (
            f"{which} normalizes by {parts} of {size}, too few for steady statistics (at least"
            f" {SMALLEST_BATCH} are needed): use norm='group' or norm='batch_renorm' in the model,"
            f" or a larger {larger}."
        )
        if size == 1 and isinstance(layer, nn.BatchNorm1d):
            note += " A vector alone has no statistics at all, and PyTorch refuses it."
        return note
    return None


def _normalized_together(layer: nn.Module, batch_size: int) -> int:
    """Give how many examples a layer normalizes together."""
    if isinstance(layer, GhostBatchNorm):
        return batch_size // max(1, batch_size // layer.ghost_size)
    return batch_size
