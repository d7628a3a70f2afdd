"""Small learning problems that the tests of training share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.data import Batches, Examples, Schema
from fitwell.train import Supervised

CLASSES = ("a", "b", "c")


def examples(count: int = 100, features: int = 8, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=generator)
    weights = torch.randn(features, len(CLASSES), generator=torch.Generator().manual_seed(99))
    y = (x @ weights + torch.randn(count, len(CLASSES), generator=generator)).argmax(dim=1)
    schema = Schema(
        kind="tensor", input_shape=(features,), target_kind="class", class_names=CLASSES
    )
    return Examples(inputs=x, targets=y, schema=schema)


def network(seed: int = 1, dropout: float = 0.0, features: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(features, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(16, len(CLASSES)),
    )


def batches(batch_size: int = 32, seed: int = 3, count: int = 100) -> Batches:
    return Batches(examples(count), batch_size, shuffle=True, seed=seed)


def objective() -> Supervised:
    return Supervised(F.cross_entropy)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
