"""Fully connected networks; a linear model is the one without hidden layers.

Axes: B batch, F features, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, final

from torch import Tensor, nn

from ..core.errors import UsageError, unknown_name
from ..core.spec import Spec
from ._dropouts import DropConnect, GaussianDropout
from ._norm_choice import NormPlace, make_norm, shifts
from ._shapes import check_choice, check_fraction, check_positive

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu"]
MLPDropout = Literal["element", "gaussian", "connect"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_DROPOUTS: dict[str, Callable[[float], nn.Module]] = {
    "element": nn.Dropout,
    "gaussian": GaussianDropout,
}


def make_activation(owner: str, name: str) -> nn.Module:
    """Build an activation by name.

    Args:
        owner: Who asks, for the message.
        name: One of relu, tanh, sigmoid, gelu, silu.

    Raises:
        UnknownName: There is no activation of that name.
    """
    if name not in _ACTIVATIONS:
        raise unknown_name(owner, "activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()


@final
class MLP(nn.Module):
    """Map a vector to outputs through fully connected layers; inputs of more axes are flattened.

    The first model for tables. For images use `CNN`: it needs fewer weights and generalizes better.

        h₀ = x,  hₖ₊₁ = activation(norm(Wₖ hₖ + bₖ)),  y = W hₖ + b

    Args:
        in_features: Numbers per example, counted after flattening.
        out_features: Outputs per example, such as one logit per class.
        hidden: Width of each hidden layer; empty for a linear model.
        activation: What follows each hidden layer.
        dropout: Probability of dropping in training; 0 disables.
        dropout_kind: ``element`` drops hidden numbers, ``gaussian`` multiplies them by noise,
            ``connect`` drops weights of the hidden layers.
        norm: Normalization of each hidden layer: none; batch, batch_renorm, ghost, lp and noisy by
            the batch; or group, layer and rms by each example alone. With arguments if need be,
            such as ``"ghost(size=16)"``.
        norm_place: Normalize before or after the activation; before it, layers have no bias.

    Shapes:
        x: (B, in_features)
        return: (B, out_features)

    Raises:
        UnknownName: There is no activation or normalization of that name.
        UsageError: A width is below 1, the dropout is not a probability below 1, or there is no
            such option.

    Source: rumelhart1986learning.
    Reduces to: a linear (logistic) model at `hidden=()`.
    Checked against: torch.nn.Sequential with copied weights; parameter count formula.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: Sequence[int] = (256, 128),
        activation: Activation = "relu",
        dropout: float = 0.0,
        dropout_kind: MLPDropout = "element",
        norm: str | Spec = "none",
        norm_place: NormPlace = "before",
    ) -> None:
        super().__init__()
        check_positive("MLP", in_features=in_features, out_features=out_features)
        if isinstance(hidden, int):
            raise UsageError(
                f"MLP: `hidden` must be a width per hidden layer; got {hidden}. Use ({hidden},)."
            )
        for width in hidden:
            check_positive("MLP", hidden=width)
        check_fraction("MLP", dropout=dropout)
        check_choice("MLP", MLPDropout, dropout_kind=dropout_kind)
        check_choice("MLP", NormPlace, norm_place=norm_place)
        self.in_features = in_features
        layers: list[nn.Module] = []
        width = in_features
        for next_width in hidden:
            layer = make_norm("MLP", norm, next_width, images=False)
            follow = [layer, make_activation("MLP", activation)]
            # A norm right after it has a shift of its own; a bias would add little or nothing.
            bias = not (norm_place == "before" and shifts(layer))
            if dropout and dropout_kind == "connect":
                layers.append(DropConnect(width, next_width, p=dropout, bias=bias))
            else:
                layers.append(nn.Linear(width, next_width, bias=bias))
            follow = follow if norm_place == "before" else follow[::-1]
            layers += [part for part in follow if not isinstance(part, nn.Identity)]
            if dropout and dropout_kind != "connect":
                layers.append(_DROPOUTS[dropout_kind](dropout))
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs of a batch."""
        x = x.flatten(1)
        if x.shape[1] != self.in_features:
            raise UsageError(
                f"MLP: `x` must have {self.in_features} features per example; got {x.shape[1]}."
                " Build the model with the features that the data has."
            )
        result: Tensor = self.layers(x)
        return result


def Linear(in_features: int, out_features: int) -> MLP:
    """Build a linear model: logistic regression under cross entropy, least squares under MSE.

    The baseline that any other model has to beat.

    Args:
        in_features: Numbers per example, counted after flattening.
        out_features: Outputs per example.

    Source: cox1958regression.
    Reduces to: nothing simpler; it is `MLP` at `hidden=()`.
    Checked against: torch.nn.Linear with copied weights.
    """
    return MLP(in_features, out_features, hidden=())
