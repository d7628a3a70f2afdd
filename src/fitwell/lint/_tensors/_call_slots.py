"""Parameters of torch that a positional argument reaches by mistake, and what was meant."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from .._model._tree import constant, key
from ._dtypes import NAMES

if TYPE_CHECKING:
    from .._model._file import File


@final
@dataclass(frozen=True)
class Slot:
    """A parameter that takes what was meant for another one.

    Args:
        place: Its place among the positional arguments.
        name: Its name.
        kinds: What given there is a mistake: of those that `kinds_of` gives.
        meant: The parameter that must be named instead.
        effect: What happens.
        last: Whether it is a mistake only where no positional argument follows.
    """

    place: int
    name: str
    kinds: frozenset[str]
    meant: str
    effect: str
    last: bool = False


def _slot(
    place: int, name: str, kinds: str, meant: str, effect: str = "raises", *, last: bool = False
) -> Slot:
    return Slot(place, name, frozenset(kinds.split()), meant, effect, last)


_F: Final = "torch.nn.functional."
_NN: Final = "torch.nn."
_MEAN: Final = "is deprecated and makes it the mean"
_NORM: Final = (
    _slot(1, "eps", "bool", "affine", "makes the smallest variance 0 or 1"),
    _slot(1, "eps", "large", "momentum", "is added to all variances"),
)
_CONV: Final = (
    _slot(3, "stride", "bool", "bias"),
    _slot(3, "stride", "str", "padding"),
    _slot(4, "padding", "bool", "bias"),
    _slot(5, "dilation", "bool", "bias"),
    _slot(6, "groups", "bool", "bias"),
)
_UNSEEN: Final = _slot(1, "", "any", "dtype", "raises TypeError")
_DROP: Final = _slot(1, "p", "bool", "training", "drops everything where it is true")
_GATED: Final = (
    _slot(2, "num_layers", "bool", "batch_first", "makes one layer"),
    _slot(2, "num_layers", "fraction", "dropout"),
    _slot(3, "bias", "fraction", "dropout"),
    _slot(3, "bias", "true", "batch_first", "is the default anyway", last=True),
    _slot(4, "batch_first", "fraction", "dropout", "is taken for true"),
)
_LAYER: Final = (_slot(2, "dim_feedforward", "bool fraction", "dropout` or `batch_first"),)

SLOTS: Final[dict[str, tuple[Slot, ...]]] = {
    **{
        _F + name: (_DROP,)
        for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
    },
    **{
        _F + name: (_slot(2, "size_average", "str", "reduction", _MEAN),)
        for name in ("mse_loss", "l1_loss", "kl_div", "smooth_l1_loss", "soft_margin_loss")
    },
    **{
        _NN + name: (_slot(0, "size_average", "str", "reduction", _MEAN),)
        for name in ("MSELoss", "L1Loss", "KLDivLoss", "SoftMarginLoss")
    },
    _NN + "SmoothL1Loss": (
        _slot(0, "size_average", "str", "reduction", _MEAN),
        _slot(0, "size_average", "fraction", "beta", "is deprecated, and `beta` stays 1"),
    ),
    _NN + "HuberLoss": (_slot(0, "reduction", "number", "delta"),),
    **{
        _F + name: (
            _slot(2, "weight", "str", "reduction", "raises TypeError"),
            _slot(2, "weight", "number", "label_smoothing` or `ignore_index", "raises TypeError"),
        )
        for name in (
            "cross_entropy",
            "nll_loss",
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
        )
    },
    **{
        _NN + name: (
            _slot(0, "weight", "str", "reduction", "raises TypeError"),
            _slot(0, "weight", "number", "label_smoothing` or `ignore_index", "raises TypeError"),
        )
        for name in ("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss")
    },
    _NN + "LSTM": _GATED,
    _NN + "GRU": _GATED,
    _NN + "RNN": (_GATED[0], _GATED[1]),
    **{
        f"torch.optim.{name}": (_slot(2, "betas", "number", "weight_decay", "raises TypeError"),)
        for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")
    },
    "torch.optim.SGD": (
        _slot(
            3, "dampening", "tiny", "weight_decay", "leaves the weights without decay", last=True
        ),
    ),
    "torch.optim.lr_scheduler.ReduceLROnPlateau": (
        _slot(1, "mode", "number", "patience"),
        _slot(2, "factor", "whole", "patience", "raises ValueError"),
    ),
    "torch.optim.lr_scheduler.StepLR": (_slot(1, "step_size", "fraction", "gamma"),),
    "torch.utils.data.DataLoader": (
        _slot(1, "batch_size", "bool", "shuffle", "raises ValueError"),
        _slot(2, "shuffle", "several", "num_workers", "is taken for true"),
    ),
    "torch.utils.data.random_split": (_slot(2, "generator", "number", "generator"),),
    **dict.fromkeys((_NN + name for name in ("Conv1d", "Conv2d", "Conv3d")), _CONV),
    **{
        _NN + name: (_slot(3, "stride", "bool", "bias"), _slot(4, "padding", "bool", "bias"))
        for name in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
    },
    **dict.fromkeys((_NN + f"BatchNorm{n}d" for n in (1, 2, 3)), _NORM),
    _NN + "LayerNorm": (
        _slot(1, "eps", "bool", "elementwise_affine", "makes the smallest variance 0 or 1"),
    ),
    **{
        _NN + name: (_slot(0, "p", "bool", "inplace", "drops everything where it is true"),)
        for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
    },
    _NN + "LeakyReLU": (
        _slot(0, "negative_slope", "bool", "inplace", "gives negative numbers the slope 1 or 0"),
    ),
    _NN + "ELU": (_slot(0, "alpha", "bool", "inplace", "sets the scale to 1 or 0"),),
    _F + "leaky_relu": (
        _slot(1, "negative_slope", "bool", "inplace", "gives negative numbers the slope 1 or 0"),
    ),
    _F + "gumbel_softmax": (_slot(1, "tau", "bool", "hard", "sets the temperature"),),
    _F + "normalize": (_slot(1, "p", "minus", "dim", "takes a norm of the order -1"),),
    _NN + "Upsample": (_slot(0, "size", "few", "scale_factor", "makes images of this size"),),
    _F + "interpolate": (_slot(1, "size", "few", "scale_factor", "makes images of this size"),),
    _NN + "MultiheadAttention": (
        _slot(2, "dropout", "bool", "batch_first", "drops all weights where it is true"),
    ),
    _NN + "TransformerEncoderLayer": _LAYER,
    _NN + "TransformerDecoderLayer": _LAYER,
    **dict.fromkeys(("torch.tensor", "torch.as_tensor", "torch.from_numpy"), (_UNSEEN,)),
    **{
        f"torch.{name}": (_UNSEEN,)
        for name in ("zeros_like", "ones_like", "rand_like", "randn_like", "empty_like")
    },
    "torch.full": (_slot(2, "", "any", "dtype", "raises TypeError"),),
}
SIZED: Final = tuple(
    f"torch.{name}"
    for name in ("zeros", "ones", "rand", "randn", "empty", "arange", "linspace", "eye", "randint")
)
"""Functions that take any number of sizes, and dtype and device by name alone."""


def kinds_of(file: File, node: ast.expr) -> frozenset[str]:
    """Give the kinds that an argument certainly is of.

    Args:
        file: The file.
        node: The argument.
    """
    value = constant(node)
    name = key(node).rpartition(".")[2]
    dotted = file.dotted(node)
    if isinstance(value, bool):
        return frozenset({"bool", "any", "true" if value else "false"})
    if name in ("training", "is_training", "train_mode"):
        return frozenset({"bool", "any"})
    if isinstance(value, str):
        return frozenset({"str", "any"})
    if isinstance(value, (int, float)):
        found = {"number", "any", "fraction" if isinstance(value, float) else "whole"}
        found |= {"tiny"} if 0 < value <= 0.05 else set()
        found |= {"large"} if 0.05 <= value < 1 else set()
        found |= {"several"} if isinstance(value, int) and value > 1 else set()
        found |= {"few"} if isinstance(value, int) and 1 < value <= 4 else set()
        found |= {"minus"} if value == -1 else set()
        return frozenset(found)
    library, _, short = dotted.rpartition(".")
    if library == "torch" and short in NAMES:
        return frozenset({"dtype", "any"})
    called = isinstance(node, ast.Call) and file.dotted(node.func) == "torch.device"
    if called or name in ("device", "dev", "DEVICE"):
        return frozenset({"device", "any"})
    return frozenset({"any"})
