from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import LocallyConnected2d

# float64 sums in another order.
EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_dense_form_computes_the_same(stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 3, 3, image_size=(7, 6), stride=stride, padding=padding).double()
    x = torch.randn(4, 2, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(layer.dense()(x.flatten(1)), layer(x).flatten(1), **EXACT)


def test_a_kernel_as_large_as_the_image_reduces_to_a_dense_layer() -> None:
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 3, 4, image_size=(4, 4)).double()
    linear = nn.Linear(32, 3).double()
    linear.weight.data.copy_(layer.weight[0].flatten(1))
    linear.bias.data.copy_(layer.bias[0])
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x).flatten(1), linear(x.flatten(1)), **EXACT)


def test_masked_weights_get_no_gradient() -> None:
    torch.manual_seed(0)
    mask = torch.zeros(1, 1, 1, 3, 3)
    mask[..., 1, :] = 1
    layer = LocallyConnected2d(2, 3, 3, image_size=(5, 5), mask=mask)
    layer(torch.randn(2, 2, 5, 5)).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    assert bool((gradient[..., [0, 2], :] == 0).all())
    assert bool((gradient[..., 1, :] != 0).all())


def test_local_layer_refuses_what_does_not_fit() -> None:
    with pytest.raises(
        UsageError, match=r"`mask` must broadcast to \(9, 1, 1, 3, 3\); got \(2, 2\)"
    ):
        LocallyConnected2d(1, 1, 3, image_size=(5, 5), mask=torch.ones(2, 2))
    with pytest.raises(UsageError, match=r"`x` must have images of \(5, 5\); got \(5, 6\)"):
        LocallyConnected2d(1, 1, 3, image_size=(5, 5))(torch.zeros(1, 1, 5, 6))
    with pytest.raises(UsageError, match=r"`size` must be at least 7 for this filter; got 5"):
        LocallyConnected2d(1, 1, 7, image_size=(5, 5))
    with pytest.raises(UsageError, match=r"LocallyConnected2d.tied: `conv` must have square"):
        LocallyConnected2d.tied(nn.Conv2d(2, 2, 3, groups=2), (5, 5))
