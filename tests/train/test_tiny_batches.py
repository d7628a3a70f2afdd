from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.nn import CNN, MLP, NORMS, CifarResNet, GhostBatchNorm
from fitwell.train import tiny_batch_note


@pytest.mark.parametrize("size", [1, 2, 7, 8, 64])
def test_norm_03_a_batch_below_8_is_told(size: int) -> None:
    note = tiny_batch_note(CNN(1, 10).train(), size)
    if size >= 8:
        assert note is None
    else:
        assert note == (
            f"BatchNorm2d 'features.1.1' normalizes by batches of {size}, too few for steady"
            " statistics (at least 8 are needed): use norm='group' or norm='batch_renorm' in the"
            " model, or a larger --batch-size."
        )


@pytest.mark.parametrize("norm", NORMS)
def test_only_statistics_of_the_batch_count(norm: str) -> None:
    of_the_batch = norm in ("batch", "ghost", "lp", "noisy")
    assert (tiny_batch_note(CNN(1, 10, norm=norm), 2) is not None) == of_the_batch
    assert tiny_batch_note(CNN(1, 10, norm=norm), 64) is None


def test_frozen_and_joined_statistics_do_not_count() -> None:
    model = CifarResNet(depth=8)
    assert "'stem.1'" in (tiny_batch_note(model, 2) or "")
    model.stem.eval()
    assert "'blocks.0.norm1'" in (tiny_batch_note(model, 2) or "")
    assert tiny_batch_note(model.eval(), 2) is None
    joined = nn.SyncBatchNorm.convert_sync_batchnorm(CNN(1, 10))
    assert tiny_batch_note(joined, 2) is None


@pytest.mark.parametrize(
    ("ghost_size", "batch_size", "told"),
    [(4, 64, "parts of 4"), (4, 6, "batches of 6"), (32, 64, None), (4, 7, "batches of 7")],
)
def test_ghosts_count_by_their_own_size(ghost_size: int, batch_size: int, told: str | None) -> None:
    layer = GhostBatchNorm(3, ghost_size=ghost_size)
    note = tiny_batch_note(layer, batch_size)
    assert (note is None) == (told is None)
    if told and note:
        assert note.startswith(f"GhostBatchNorm normalizes by {told}, ")
        assert note.endswith("larger ghost size." if "parts" in told else "larger --batch-size.")
        layer(torch.rand(batch_size, 3))
        assert batch_size // int(layer.num_batches_tracked) == int(told.split()[-1])


def test_a_vector_alone_is_what_pytorch_refuses() -> None:
    model = MLP(4, 2, hidden=(3,), norm="batch")
    note = tiny_batch_note(model, 1)
    assert note is not None
    assert note.endswith("A vector alone has no statistics at all, and PyTorch refuses it.")
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.rand(1, 4))
    assert "refuses" not in (tiny_batch_note(model, 2) or "refuses")
