"""Losses: callables of outputs and targets that give one number to minimize.

`LOSSES` holds those that a spec such as ``"CrossEntropy(label_smoothing=0.1)"`` can name. The plain
functions of PyTorch are published beside them.
"""

from collections.abc import Callable

from torch.nn.functional import cross_entropy as cross_entropy
from torch.nn.functional import l1_loss as mae
from torch.nn.functional import mse_loss as mse

from ._classes import AdditiveMargin as AdditiveMargin
from ._classes import CrossEntropy as CrossEntropy
from ._classes import Focal as Focal
from ._classes import check_labels as check_labels
from ._supervised import MAE as MAE
from ._supervised import MSE as MSE
from ._supervised import Huber as Huber
from ._supervised import Loss as Loss

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "AdditiveMargin",
    "CrossEntropy",
    "Focal",
    "Huber",
    "Loss",
    "check_labels",
    "cross_entropy",
    "mae",
    "mse",
]

LOSSES: dict[str, Callable[..., Loss]] = {
    "AdditiveMargin": AdditiveMargin,
    "CrossEntropy": CrossEntropy,
    "Focal": Focal,
    "Huber": Huber,
    "MAE": MAE,
    "MSE": MSE,
}
