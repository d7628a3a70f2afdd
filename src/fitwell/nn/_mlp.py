"""Fully connected networks; a linear model is the one without hidden layers.

Axes: B batch, F features, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, final

from torch import Tensor, nn

from ..core.errors import UsageError, unknown_name
from ._shapes import check_fraction, check_positive

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
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

        h₀ = x,  hₖ₊₁ = activation(Wₖ hₖ + bₖ),  y = W hₖ + b

    Args:
        in_features: Numbers per example, counted after flattening.
        out_features: Outputs per example, such as one logit per class.
        hidden: Width of each hidden layer; empty for a linear model.
        activation: What follows each hidden layer.
        dropout: Probability of dropping each hidden number in training; 0 disables.

    Shapes:
        x: (B, in_features)
        return: (B, out_features)

    Raises:
        UsageError: A width is below 1, or the dropout is not a probability below 1.

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
        self.in_features = in_features
        layers: list[nn.Module] = []
        width = in_features
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), make_activation("MLP", activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
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
