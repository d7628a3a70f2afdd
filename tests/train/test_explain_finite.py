"""The layer where numbers stop being finite, and nothing else changed by looking for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fitwell.train import first_nonfinite

from .problems import network, same_weights, weights_of


class Log(nn.Module):
    """Takes a logarithm of 0 between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.last = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.log(self.first(x) * 0)
        result: Tensor = self.last(hidden)
        return result


def test_healthy_layers_give_none_and_stay_as_they_were() -> None:
    model = network(dropout=0.5)
    model.train()
    before, state = weights_of(model), torch.random.get_rng_state()
    assert first_nonfinite(model, torch.ones(4, 8)) is None
    assert same_weights(before, weights_of(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("index", [0, 1, 4])
def test_the_first_ill_layer_is_named(index: int) -> None:
    model = network().eval()
    ill = model[index]
    with torch.no_grad():
        ill.bias[0] = float("nan")
    before = weights_of(model)
    text = first_nonfinite(model, torch.ones(4, 8))
    assert text is not None
    assert text.startswith(f"the output of {index} ({type(ill).__name__}(")
    assert "has 4 NaN of" in text
    assert text.endswith("so does its bias")
    assert [n for n, v in weights_of(model).items() if not torch.isfinite(v).all()] == [
        name for name in before if name == f"{index}.bias"
    ]


def test_overflow_is_named_although_the_weights_are_finite() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    nn.init.constant_(model[0].weight, 3e38)  # type: ignore[arg-type]
    text = first_nonfinite(model, torch.ones(1, 2))
    assert text is not None
    assert text.startswith("the output of 0 (Linear(")
    assert "2 infinite of 2 numbers" in text
    assert text.endswith("its input has not")


def test_code_between_layers_is_told_from_layers() -> None:
    text = first_nonfinite(Log(), torch.ones(3, 2))
    assert text is not None
    assert text.startswith("what reaches last (Linear(")
    assert "look at the code between them" in text


def test_inputs_come_first() -> None:
    inputs = torch.ones(4, 8)
    inputs[1, 2] = float("nan")
    assert first_nonfinite(network(), inputs) == "the input has 1 NaN of 32 numbers"
    pair = nn.Bilinear(8, 8, 1)
    text = first_nonfinite(pair, (torch.ones(4, 8), inputs))
    assert text == "the input number 2 has 1 NaN of 32 numbers"


def test_masks_may_be_infinite() -> None:
    attention = nn.MultiheadAttention(4, 2).eval()
    sequence = torch.ones(3, 1, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    layer = nn.TransformerEncoderLayer(4, 2, 8).eval()
    assert not torch.isfinite(mask).all()

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.layer = attention, layer

        def forward(self, x: Tensor) -> Tensor:
            seen: Tensor = self.layer(self.attention(x, x, x, attn_mask=mask)[0], mask)
            return seen

    assert first_nonfinite(Masked(), sequence) is None
