from __future__ import annotations

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.nn import LeNet5, count_parameters

# lecun1998gradient, section II.B.
PUBLISHED = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120}

# Table 1 of the paper by rows: the maps of C3 that each map of S2 goes to.
TABLE = (
    [0, 4, 5, 6, 9, 10, 11, 12, 14, 15],
    [0, 1, 5, 6, 7, 10, 11, 12, 13, 15],
    [0, 1, 2, 6, 7, 8, 11, 13, 14, 15],
    [1, 2, 3, 6, 7, 8, 9, 12, 14, 15],
    [2, 3, 4, 7, 8, 9, 10, 12, 13, 15],
    [3, 4, 5, 8, 9, 10, 11, 13, 14, 15],
)


def test_lenet_with_the_table_has_the_published_parameters_layer_by_layer() -> None:
    model = LeNet5(table=True)
    for name, count in PUBLISHED.items():
        assert count_parameters(model.features.get_submodule(name)) == count
    assert count_parameters(model.f6) == 10164
    assert count_parameters(model) - count_parameters(model.output) == 60_000


def test_lenet_with_all_connections_has_the_usual_count() -> None:
    assert count_parameters(LeNet5()) == 61_706


def test_lenet_table_connects_only_what_it_names() -> None:
    torch.manual_seed(0)
    conv = LeNet5(table=True).features.get_submodule("c3")
    x = torch.rand(1, 6, 14, 14)
    for row, crosses in enumerate(TABLE):
        changed = x.clone()
        changed[:, row] += 1
        moved = (conv(x) != conv(changed)).flatten(2).any(2)[0]
        assert moved.nonzero().flatten().tolist() == crosses


def test_lenet_pads_small_images_with_zeros_to_32() -> None:
    torch.manual_seed(0)
    model = LeNet5().eval()
    x = torch.rand(2, 1, 28, 28)
    framed = torch.nn.functional.pad(x, (2, 2, 2, 2))
    assert torch.equal(model(x), model(framed))
    assert model(torch.rand(2, 1, 8, 9)).shape == (2, 10)


def test_lenet_refuses_larger_images() -> None:
    with pytest.raises(UsageError, match=r"LeNet5: `image_size` must be at most 32 x 32; got 33"):
        LeNet5(image_size=33)
    with pytest.raises(UsageError, match=r"LeNet5: `image_size` must be at most 32 x 32; got 40"):
        LeNet5()(torch.rand(1, 1, 40, 20))
