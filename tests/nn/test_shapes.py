from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import CNN, check_cat, check_input, shares_memory


def test_check_input_accepts_what_runs_and_changes_nothing() -> None:
    model = CNN(2, 3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    check_input(model, torch.rand(4, 2, 8, 8))
    check_input(model.features, torch.rand(4, 2, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_check_input_names_the_layer_of_a_wrong_width() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(100, 2)
    )
    message = (
        r"layer '2', Linear\(.*\), takes 100 features; got 144 in an input of shape \(5, 144\)"
    )
    with pytest.raises(UsageError, match=message):
        check_input(model, torch.rand(5, 1, 8, 8))
    with pytest.raises(UsageError, match=r"layer '1', BatchNorm2d\(.*\), takes 3 channels; got 4"):
        check_input(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(3)), torch.rand(5, 1, 8, 8))
    with pytest.raises(UsageError, match=r"layer '1', MaxPool2d\(.*\), cannot take an input"):
        check_input(nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(9)), torch.rand(5, 1, 8, 8))


def test_check_cat_refuses_what_torch_refuses() -> None:
    with pytest.raises(UsageError, match=r"`tensors` must not be empty"):
        check_cat([])
    with pytest.raises(UsageError, match=r"`dim` must lie in -2 ... 1 for shape \(2, 3\); got 2"):
        check_cat([torch.zeros(2, 3)], dim=2)
    with pytest.raises(UsageError, match=r"equally many axes; got \(2, 3\) .* \(2, 3, 1\)"):
        check_cat([torch.zeros(2, 3), torch.zeros(2, 3, 1)])


def test_shares_memory() -> None:
    x = torch.zeros(2, 3)
    assert shares_memory(x, x[1:])
    assert not shares_memory(x, x.clone())
