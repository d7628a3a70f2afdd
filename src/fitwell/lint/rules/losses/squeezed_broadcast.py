"""A regression loss of a column and a vector, which broadcast to a square."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._tensors._dims import Tensor, tensor
from ..._training._losses import shown

_KINDS = ("mse", "l1", "smooth_l1", "huber")


def check(file: File) -> Iterator[Found]:
    """Look for losses of a column and a vector.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in _KINDS or loss.input is None or loss.target is None:
            continue
        output, target = tensor(file, loss.input), tensor(file, loss.target)
        if _is_column(output) and target.ndim == 1 and target.last != 1:
            yield Found(
                loss.call,
                f"The output {shown(loss.input)} has the shape (N, 1) and the target"
                f" {shown(loss.target)} the shape (N,): `{loss.name}` compares each with each.",
                "Give the loss the output with `.squeeze(1)`.",
            )
        elif output.ndim == 1 and output.last != 1 and _is_column(target) and target.ndim == 2:
            yield Found(
                loss.call,
                f"The output {shown(loss.input)} has the shape (N,) and the target"
                f" {shown(loss.target)} the shape (N, 1): `{loss.name}` compares each with each.",
                "Leave the output as a column, or give the loss the target with `.squeeze(1)`.",
            )


def _is_column(one: Tensor) -> bool:
    return one.last == 1 and one.ndim in (None, 2)


RULE = Rule(
    name="squeezed-broadcast",
    severity="error",
    title="A column compared with a vector: every output with every target",
    why=(
        "The output of a last layer of one feature has the shape (N, 1). Against targets of the "
        "shape (N,) the loss compares each output with each target, N times N pairs: the model "
        "learns to give the mean for everything. Only a warning about different sizes tells."
    ),
    fix="Give both the same shape: `output.squeeze(1)`, or `targets.unsqueeze(1)`.",
    bad="""\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.randn(64, 3)
targets = torch.randn(64)
loader = DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model.train()
for x, y in loader:
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.step()
""",
    good="""\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.randn(64, 3)
targets = torch.randn(64)
loader = DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model.train()
for x, y in loader:
    optimizer.zero_grad()
    loss = loss_fn(model(x).squeeze(1), y)
    loss.backward()
    optimizer.step()
""",
    source=(
        "PyTorch source, torch.nn.functional.mse_loss: the warning about a target size that is "
        "different to the input size."
    ),
    check=check,
)
