from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import CosineLinear


def test_cosine_linear_gives_the_cosine_of_torch() -> None:
    torch.manual_seed(0)
    layer = CosineLinear(5, 3).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    expected = nn.functional.cosine_similarity(x.unsqueeze(1), layer.weight.unsqueeze(0), dim=2)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(100 * x), layer(x))
    assert float(layer(x).detach().abs().max()) <= 1
    torch.testing.assert_close(layer(layer.weight).diagonal(), torch.ones(3, dtype=torch.float64))


def test_cosine_linear_reduces_to_a_linear_layer_of_unit_vectors() -> None:
    torch.manual_seed(0)
    layer, plain = CosineLinear(5, 3), nn.Linear(5, 3, bias=False)
    with torch.no_grad():
        layer.weight.div_(layer.weight.norm(dim=1, keepdim=True))
        plain.weight.copy_(layer.weight)
    x = nn.functional.normalize(torch.randn(7, 5))
    torch.testing.assert_close(layer(x), plain(x))


def test_features_without_length_have_no_cosine_and_finite_gradients() -> None:
    layer = CosineLinear(5, 3)
    x = torch.zeros(2, 5, requires_grad=True)
    output = layer(x)
    assert torch.equal(output, torch.zeros(2, 3))
    output.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_printed_form_and_sizes() -> None:
    assert str(CosineLinear(5, 3)) == "CosineLinear(in_features=5, out_features=3)"
    with pytest.raises(UsageError, match="must be at least 1; got 0 and 3"):
        CosineLinear(0, 3)
