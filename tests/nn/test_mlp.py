from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from fitwell.core.errors import UnknownName, UsageError
from fitwell.nn import MLP, Linear, count_parameters


def test_mlp_equals_a_sequential_with_copied_weights() -> None:
    ours = MLP(6, 3, hidden=(5, 4), activation="gelu", dropout=0.5).eval()
    plain = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3))
    for target, source in zip(plain.parameters(), ours.parameters(), strict=True):
        target.data.copy_(source.data)
    x = torch.randn(7, 2, 3)
    assert torch.equal(ours(x), plain(x.flatten(1)))


@pytest.mark.parametrize("hidden", [(), (5,), (7, 4, 2)])
def test_mlp_has_the_parameters_of_the_formula(hidden: tuple[int, ...]) -> None:
    widths = (6, *hidden, 3)
    formula = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert count_parameters(MLP(6, 3, hidden=hidden)) == formula


def test_linear_reduces_to_one_torch_layer() -> None:
    ours, plain = Linear(6, 3), nn.Linear(6, 3)
    plain.load_state_dict({k.split(".")[-1]: v for k, v in ours.state_dict().items()})
    x = torch.randn(4, 6)
    assert torch.equal(ours(x), plain(x))


def test_mlp_refuses_what_it_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"MLP: `in_features` must be at least 1; got 0"):
        MLP(0, 3)
    with pytest.raises(UsageError, match=r"MLP: `hidden` must be at least 1; got -2"):
        MLP(3, 3, hidden=(4, -2))
    with pytest.raises(UsageError, match=r"MLP: `dropout` must lie in \[0, 1\); got 1"):
        MLP(3, 3, dropout=1.0)
    with pytest.raises(UnknownName, match=r"no activation named 'rellu'; nearest: 'relu'"):
        MLP(3, 3, activation="rellu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"MLP: `x` must have 6 features per example; got 5"):
        MLP(6, 3)(torch.randn(2, 5))
