"""Mistakes that torch refuses, with what their explanation must name, and what makes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.train import Explanation
from fitwell.train._explain._explain import _explained
from fitwell.train._explain._scene import Scene


class Net(nn.Module):
    """Two convolutions and a head that fits images of 8 x 8."""

    def __init__(self, in_features: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        self.head = nn.Linear(in_features, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.features(images)
        return self.head(hidden.flatten(1))


def error_of(mistake: Callable[[], Any]) -> Exception:
    try:
        mistake()
    except Exception as err:
        return err
    pytest.fail("nothing was raised")


def explained(mistake: Callable[[], Any], model: nn.Module | None = None) -> Explanation:
    """Explain what a mistake raises, with the errors of the rules themselves."""
    explanation = _explained(Scene(error_of(mistake), model))
    assert explanation is not None
    return explanation


LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
IMAGES = torch.zeros(4, 3, 8, 8)
ROWS = torch.zeros(4, 10)


def labels(*values: float) -> Tensor:
    return torch.tensor(values)


def strict(mistake: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mistake()


def packed(lengths: list[int], device: str = "cpu", **settings: Any) -> None:
    sequences = torch.zeros(3, 5, 2)
    given = torch.tensor(lengths, device=device)
    nn.utils.rnn.pack_padded_sequence(sequences, given, **settings)


def product(left: Tensor, right: Tensor) -> Tensor:
    return left @ right


def total(left: Tensor, right: Tensor) -> Tensor:
    return left + right


LAYERS: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "features": (
        lambda: nn.Linear(8, 3)(ROWS),
        "matmul-shape",
        ["Linear(in_features=8", "8 features, not 10", "(4, 10)", "in_features=10"],
    ),
    "flatten": (
        lambda: nn.Linear(192, 3)(IMAGES),
        "matmul-shape",
        ["192 features, not 8", "(4, 3, 8, 8)", ".flatten(1)"],
    ),
    "transposed": (lambda: nn.Linear(4, 3)(ROWS), "matmul-shape", ["transposed: pass input.T"]),
    "second axis": (
        lambda: nn.Linear(5, 3)(torch.zeros(2, 5, 7)),
        "matmul-shape",
        ["input.transpose(1, -1)"],
    ),
    "images into linear": (
        lambda: nn.Linear(7, 3)(IMAGES),
        "matmul-shape",
        ["nn.Flatten()", "in_features=192"],
    ),
    "channels": (
        lambda: nn.Conv2d(3, 16, 3)(torch.zeros(4, 5, 8, 8)),
        "input-shape",
        ["Conv2d(3, 16", "3 channels, not 5", "(4, 5, 8, 8)", "(16, 3, 3, 3)", "in_channels=5"],
    ),
    "channels last": (
        lambda: nn.Conv2d(3, 16, 3)(torch.zeros(4, 8, 8, 3)),
        "input-shape",
        ["(N, C, H, W)", "permute(0, 3, 1, 2)"],
    ),
    "one image, channels last": (
        lambda: nn.Conv2d(3, 16, 3)(torch.zeros(8, 8, 3)),
        "input-shape",
        ["permute(2, 0, 1).unsqueeze(0)"],
    ),
    "gray without channel": (
        lambda: nn.Conv2d(1, 16, 3)(torch.zeros(4, 8, 8)),
        "input-shape",
        ["unsqueeze(1) for 4 images"],
    ),
    "gray for color": (
        lambda: nn.Conv2d(3, 16, 3)(torch.zeros(4, 1, 8, 8)),
        "input-shape",
        ["in_channels=1", "expand(-1, 3, -1, -1)"],
    ),
    "sequence last": (
        lambda: nn.Conv1d(40, 16, 3)(torch.zeros(2, 100, 40)),
        "input-shape",
        ["(N, C, L)", "permute(0, 2, 1)"],
    ),
    "one matrix": (
        lambda: nn.Conv2d(1, 16, 3)(torch.zeros(8, 8)),
        "input-shape",
        ["4 axes (N, C, H, W), not 2", "unsqueeze(0).unsqueeze(0)"],
    ),
    "kernel too large": (
        lambda: nn.Conv2d(1, 16, 5)(torch.zeros(1, 1, 3, 3)),
        "input-shape",
        ["smaller than the window", "(1, 1, 3, 3)"],
    ),
    "pooled away": (
        lambda: nn.MaxPool2d(4)(torch.zeros(1, 1, 3, 3)),
        "input-shape",
        ["MaxPool2d(", "smaller than the window"],
    ),
    "norm axes": (
        lambda: nn.BatchNorm2d(3)(torch.zeros(4, 3)),
        "input-shape",
        ["4 axes, not 2", "nn.BatchNorm1d"],
    ),
    "norm features": (
        lambda: nn.BatchNorm1d(3)(torch.zeros(4, 5)),
        "input-shape",
        ["3 features, not 5", "num_features=5"],
    ),
    "layer norm": (
        lambda: nn.LayerNorm(3)(torch.zeros(4, 5)),
        "input-shape",
        ["(3,), not (5,)", "normalized_shape=(5,)"],
    ),
    "recurrent features": (
        lambda: nn.LSTM(3, 4)(torch.zeros(4, 2, 5)),
        "input-shape",
        ["LSTM(3, 4)", "3 features, not 5", "input_size=5"],
    ),
    "recurrent axes": (
        lambda: nn.LSTM(3, 4)(torch.zeros(4, 2, 5, 3)),
        "input-shape",
        ["3 axes", "not 4"],
    ),
    "hidden state": (
        lambda: nn.GRU(3, 4)(torch.zeros(4, 2, 3), torch.zeros(2, 2, 4)),
        "input-shape",
        ["(1, 2, 4)", "not (2, 2, 4)"],
    ),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2)(*[torch.zeros(3, 2, 6)] * 3),
        "input-shape",
        ["4 features on the last axis, not 6", "embed_dim=6"],
    ),
    "mask": (
        lambda: nn.MultiheadAttention(4, 2)(
            *[torch.zeros(3, 2, 4)] * 3, attn_mask=torch.zeros(2, 2)
        ),
        "input-shape",
        ["(3, 3), not (2, 2)"],
    ),
    "batch of one": (
        lambda: nn.BatchNorm1d(3)(torch.zeros(1, 3)),
        "one-value",
        ["BatchNorm1d(3", "(1, 3)", "drop_last=True", "model.eval()"],
    ),
    "product": (
        lambda: product(torch.zeros(3, 4), torch.zeros(5, 4)),
        "matmul-shape",
        ["not 4 in left and 5 in right", "(3, 4)", "(5, 4)", "left @ right.T"],
    ),
    "product, first": (
        lambda: product(torch.zeros(3, 4), torch.zeros(3, 5)),
        "matmul-shape",
        ["left.T @ right"],
    ),
    "product, exchanged": (
        lambda: product(torch.zeros(3, 4), torch.zeros(5, 3)),
        "matmul-shape",
        ["right @ left"],
    ),
    "batched product": (
        lambda: torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)),
        "matmul-shape",
        ["(2, 4), not (2, 3)", "transpose(1, 2)"],
    ),
    "matrix by vector": (
        lambda: torch.zeros(3, 4) @ torch.zeros(3),
        "matmul-shape",
        ["mat (3x4), vec (3)"],
    ),
    "vectors": (lambda: torch.zeros(3) @ torch.zeros(4), "matmul-shape", ["[3] and src [4]"]),
    "broadcast": (
        lambda: total(torch.zeros(4, 3), torch.zeros(4)),
        "shape",
        ["on axis 1 they have 3 and 4", "(4, 3)", "right[:, None]"],
    ),
    "broadcast, transposed": (
        lambda: total(torch.zeros(4, 3), torch.zeros(3, 4)),
        "shape",
        ["transposed: use right.T"],
    ),
    "broadcast in place": (
        lambda: torch.zeros(3).add_(torch.zeros(4, 3)),
        "shape",
        ["(4, 3)", "(3,)"],
    ),
    "reshape": (lambda: ROWS.view(-1, 16), "shape", ["40 numbers", "(-1, 16)", "x.flatten(1)"]),
    "strides": (lambda: ROWS.t().view(-1), "shape", ["reshape instead of view"]),
    "stack": (lambda: torch.stack([ROWS, LOGITS]), "shape", ["[4, 10]", "[4, 3]"]),
    "cat": (lambda: torch.cat([ROWS, LOGITS]), "shape", ["size 10", "size 3"]),
    "no such axis": (lambda: ROWS.sum(dim=2), "shape", ["axis 2", "-2 ... 1"]),
}

LOSSES: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "float labels": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 0).float()),
        "label-dtype",
        ["cross_entropy", "int64, not float32", "(4, 3)", "(4,)", "Pass target.long()"],
    ),
    "float labels, module": (
        lambda: nn.CrossEntropyLoss()(LOGITS, labels(0.0, 1.0, 2.0, 0.0)),
        "label-dtype",
        ["CrossEntropyLoss()", "Pass target.long()"],
    ),
    "int32 labels": (
        lambda: F.nll_loss(LOGITS, torch.zeros(4, dtype=torch.int32)),
        "label-dtype",
        ["nll_loss", "not int32", ".long()"],
    ),
    "numbers as labels": (
        lambda: F.cross_entropy(LOGITS, labels(0.5, 1.0, 2.0, 0.0)),
        "label-dtype",
        ["numbers such as 0.5", "nn.MSELoss"],
    ),
    "label too high": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 7)),
        "label-range",
        ["0 ... 2", "3 outputs", "0 ... 7"],
    ),
    "labels from 1": (
        lambda: F.cross_entropy(LOGITS, labels(1, 2, 3, 1)),
        "label-range",
        ["counted from 1: pass target - 1"],
    ),
    "forgotten class": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 3)),
        "label-range",
        ["A class was forgotten", "4 outputs"],
    ),
    "negative label": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, -1)),
        "label-range",
        ["ignore_index=-1"],
    ),
    "one-hot": (
        lambda: F.cross_entropy(LOGITS, F.one_hot(labels(0, 1, 2, 0), 3)),
        "loss-shape",
        ["(4, 3) int64", "target.argmax(dim=1)"],
    ),
    "one output": (
        lambda: F.cross_entropy(LOGITS[:, 0], labels(0, 1, 1, 0)),
        "loss-shape",
        ["one output per class", "BCEWithLogitsLoss"],
    ),
    "extra axis": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 0).unsqueeze(1)),
        "loss-shape",
        ["(4, 1)", "target.squeeze(1)."],
    ),
    "extra axis of floats": (
        lambda: F.cross_entropy(LOGITS, labels(0.0, 1.0, 2.0, 0.0).unsqueeze(1)),
        "loss-shape",
        ["target.squeeze(1).long()"],
    ),
    "other probabilities": (
        lambda: F.cross_entropy(LOGITS, torch.zeros(4, 5)),
        "loss-shape",
        ["5 columns", "3 outputs"],
    ),
    "other batch": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1)),
        "loss-shape",
        ["not 4 for 2 labels", "x.flatten(1)"],
    ),
    "labels of a sequence": (
        lambda: F.cross_entropy(torch.zeros(8, 3), torch.zeros(2, 4, dtype=torch.int64)),
        "loss-shape",
        ["target.flatten()"],
    ),
    "classes last": (
        lambda: F.cross_entropy(torch.zeros(4, 7, 10), torch.zeros(4, 7, dtype=torch.int64)),
        "loss-shape",
        ["movedim(-1, 1)"],
    ),
    "other image size": (
        lambda: F.cross_entropy(torch.zeros(4, 3, 8, 8), torch.zeros(4, 8, 7, dtype=torch.int64)),
        "loss-shape",
        ["(4, 8, 8)", "not (4, 8, 7)"],
    ),
    "class weights": (
        lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 0), weight=torch.ones(2)),
        "loss-shape",
        ["3 outputs, not 2"],
    ),
    "numbers of another shape": (
        lambda: F.mse_loss(LOGITS, torch.zeros(4, 2)),
        "loss-shape",
        ["mse_loss", "(4, 3)", "(4, 2)"],
    ),
    "broadcast loss": (
        lambda: strict(lambda: F.mse_loss(torch.zeros(4, 1), torch.zeros(4))),
        "loss-shape",
        ["table of all pairs", "(4, 1)", "input.squeeze(-1)"],
    ),
    "binary of another shape": (
        lambda: F.binary_cross_entropy_with_logits(torch.zeros(4, 1), torch.zeros(4)),
        "loss-shape",
        ["(4, 1)", "input.squeeze(-1)"],
    ),
    "not reduced": (
        lambda: F.mse_loss(LOGITS.clone().requires_grad_(), LOGITS, reduction="none").backward(),
        "loss-shape",
        ["loss.mean().backward()"],
    ),
    "logits as probabilities": (
        lambda: F.binary_cross_entropy(torch.tensor([1.5, 0.2]), torch.tensor([1.0, 0.0])),
        "loss-range",
        ["not in 0.2 ... 1.5", "nn.BCEWithLogitsLoss"],
    ),
    "labels of more than two": (
        lambda: F.binary_cross_entropy(torch.tensor([0.5, 0.2]), torch.tensor([2.0, 0.0])),
        "loss-range",
        ["not up to 2", "nn.CrossEntropyLoss"],
    ),
    "NaN as probability": (
        lambda: F.binary_cross_entropy(torch.tensor([np.nan, 0.2]), torch.zeros(2)),
        "not-finite",
        ["first_nonfinite"],
    ),
    "binary labels": (
        lambda: F.binary_cross_entropy(torch.rand(4), torch.zeros(4, dtype=torch.int64)),
        "label-dtype",
        ["not int64", "target.float()"],
    ),
    "binary labels, logits": (
        lambda: F.binary_cross_entropy_with_logits(torch.rand(4), labels(0, 1, 0, 1)),
        "label-dtype",
        ["not int64", "target.float()"],
    ),
    "numbers as integers": (
        lambda: F.mse_loss(labels(1, 2), labels(1, 2)),
        "dtype",
        ["int64", "targets.float()"],
    ),
}

TYPES: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "bytes": (
        lambda: nn.Conv2d(3, 4, 3)(IMAGES.to(torch.uint8)),
        "dtype",
        ["not uint8 and float32", "(4, 3, 8, 8) uint8", ".float() / 255"],
    ),
    "integers": (
        lambda: nn.Linear(10, 3)(ROWS.long()),
        "dtype",
        ["not int64 and float32", "(4, 10) int64", ".to(torch.float32)"],
    ),
    "doubles": (
        lambda: nn.Linear(10, 3)(ROWS.double()),
        "dtype",
        ["not float64 and float32", "NumPy", "input.float()"],
    ),
    "doubles without bias": (
        lambda: nn.Linear(10, 3, bias=False)(ROWS.double()),
        "dtype",
        ["not float64 and float32", "input.float()"],
    ),
    "doubles in a norm": (
        lambda: nn.BatchNorm1d(10)(ROWS.double()),
        "dtype",
        ["BatchNorm1d(10", "not float64 and float32"],
    ),
    "bytes in a norm": (
        lambda: nn.BatchNorm2d(3)(IMAGES.to(torch.uint8)),
        "dtype",
        ["uint8", ".float() / 255"],
    ),
    "doubles in a recurrence": (
        lambda: nn.LSTM(3, 4)(torch.zeros(4, 2, 3, dtype=torch.float64)),
        "dtype",
        ["LSTM(3, 4)", "not float64 and float32"],
    ),
    "low precision": (
        lambda: nn.Linear(10, 3)(ROWS.bfloat16()),
        "dtype",
        ["bfloat16 and float32", 'torch.autocast("cpu", dtype=torch.bfloat16)'],
    ),
    "low precision weights": (
        lambda: nn.Conv2d(3, 4, 3).bfloat16()(IMAGES),
        "dtype",
        ["float32 and bfloat16", "torch.autocast", "input.to(torch.bfloat16)"],
    ),
    "two products": (
        lambda: product(LOGITS.T, LOGITS.double()),
        "dtype",
        ["float32 and float64", "right.float()"],
    ),
    "mean": (lambda: labels(1, 2).mean(), "dtype", ["int64", "float().mean()"]),
    "float indices": (
        lambda: nn.Embedding(5, 3)(torch.zeros(4)),
        "dtype",
        ["Embedding(5, 3)", "input.long()"],
    ),
    "numbers as indices": (
        lambda: nn.Embedding(5, 3)(torch.full((4,), 0.5)),
        "dtype",
        ["nn.Linear"],
    ),
    "index too high": (
        lambda: nn.Embedding(5, 3)(labels(1, 5)),
        "index-range",
        ["Embedding(5, 3)", "0 ... 4, not in 1 ... 5", "num_embeddings=6"],
    ),
    "index below 0": (
        lambda: nn.Embedding(5, 3)(labels(1, -1)),
        "index-range",
        ["not in -1 ... 1", "padding_idx"],
    ),
    "index of a bag": (
        lambda: nn.EmbeddingBag(5, 3)(labels(1, 6).unsqueeze(0)),
        "index-range",
        ["not at 6", "num_embeddings=7"],
    ),
    "row": (lambda: ROWS[4], "index-range", ["index 4", "0 ... 3", "one less than the size"]),
    "one-hot too small": (
        lambda: F.one_hot(labels(1, 5), 3),
        "label-range",
        ["less than num_classes"],
    ),
    "list": (lambda: nn.Linear(3, 2)([1, 2, 3]), "not-a-tensor", ["not a list", "torch.tensor"]),
    "array": (
        lambda: nn.Linear(3, 2)(np.zeros((4, 3))),
        "not-a-tensor",
        ["not a ndarray", "torch.from_numpy"],
    ),
    "output of a recurrence": (
        lambda: nn.Sequential(nn.LSTM(3, 2), nn.Linear(2, 1))(torch.zeros(4, 2, 3)),
        "not-a-tensor",
        ["1 (Linear(", "not a tuple", "_ = lstm(x)"],
    ),
    "output of a recurrence, flattened": (
        lambda: nn.Sequential(nn.LSTM(3, 2), nn.Flatten())(torch.zeros(4, 2, 3)),
        "not-a-tensor",
        ["1 (Flatten(", "_ = lstm(x)"],
    ),
    "output of a recurrence, filtered": (
        lambda: nn.Sequential(nn.LSTM(3, 2), nn.Conv1d(2, 1, 1))(torch.zeros(4, 2, 3)),
        "not-a-tensor",
        ["1 (Conv1d(", "_ = lstm(x)"],
    ),
    "one-hot of floats": (
        lambda: F.one_hot(LOGITS[:, 0], 3),
        "dtype",
        ["indices must be whole numbers"],
    ),
    "no numbers on meta": (
        lambda: torch.zeros(3, device="meta").sum().item(),
        "device",
        ["meta device", "to_empty"],
    ),
    "parameter of a distribution": (
        # The compiler of torch turns the checks of distributions off for the whole process.
        lambda: torch.distributions.Normal(
            torch.tensor(np.nan), torch.tensor(1.0), validate_args=True
        ),
        "not-finite",
        ["first_nonfinite"],
    ),
    "lengths of another batch": (
        lambda: packed([5, 4], batch_first=True),
        "lengths",
        ["3, not 2"],
    ),
    "batch first": (lambda: packed([5, 4, 3]), "lengths", ["batch_first=True"]),
    "no length": (lambda: packed([5, 4, 0], batch_first=True), "lengths", ["clamp(min=1)"]),
    "unsorted": (lambda: packed([3, 4, 5], batch_first=True), "lengths", ["enforce_sorted=False"]),
    "lengths elsewhere": (
        lambda: packed([5, 4, 3], "meta", batch_first=True),
        "lengths",
        ["lengths.cpu().long()"],
    ),
}

CASES = {**LAYERS, **LOSSES, **TYPES}
