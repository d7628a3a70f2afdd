from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fitwell import nn as fitwell_nn
from fitwell.core.errors import UsageError
from fitwell.nn import CifarResNet, ResNet18, count_parameters, he_init

# he2016deep, table 6, gives 0.27, 0.46, 0.66, 0.85 and 1.7 million.
PUBLISHED = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
# Sampling error of the spread of at least 432 normal numbers, four times over.
SPREAD_TOLERANCE = 0.15


@pytest.mark.parametrize(("depth", "count"), PUBLISHED.items())
def test_cifar_resnet_has_the_published_parameters(depth: int, count: int) -> None:
    model = getattr(fitwell_nn, f"ResNet{depth}")()
    assert count_parameters(model) == count
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_the_plain_twin_has_the_same_parameters_and_other_outputs() -> None:
    torch.manual_seed(0)
    residual, plain = CifarResNet(depth=8), CifarResNet(depth=8, residual=False)
    plain.load_state_dict(residual.state_dict())
    x = torch.rand(2, 3, 16, 16)
    assert not torch.allclose(residual.eval()(x), plain.eval()(x))


def test_a_block_whose_branch_is_zero_passes_its_input_on() -> None:
    torch.manual_seed(0)
    model = CifarResNet(depth=8).eval()
    for block in model.blocks:
        nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 8, 8)
    y = model.blocks(x)
    # Option A: every second pixel, twice, and zero channels around the 16.
    assert torch.equal(y[:, 24:40], x[:, :, ::4, ::4])
    assert torch.equal(y[:, :24], torch.zeros_like(y[:, :24]))
    assert torch.equal(y[:, 40:], torch.zeros_like(y[:, 40:]))


def test_resnet18_has_the_published_parameters() -> None:
    assert count_parameters(ResNet18(3, 1000)) == 11_689_512
    # The stem for small images has 3 x 3 instead of 7 x 7 filters.
    assert count_parameters(ResNet18(3, 10, stem="cifar")) == 11_173_962


@pytest.mark.parametrize(
    ("image_size", "stem", "size"), [(32, "auto", 4), (224, "auto", 7), (224, "cifar", 28)]
)
def test_resnet18_stem_decides_the_size_of_the_last_map(
    image_size: int, stem: str, size: int
) -> None:
    with torch.device("meta"):
        model = ResNet18(3, 10, stem=stem, image_size=image_size).eval()  # type: ignore[arg-type]
        x = torch.empty(1, 3, image_size, image_size)
    assert model.blocks(model.stem(x)).shape == (1, 512, size, size)


def test_he_init_has_the_spread_of_the_equation() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Conv2d(3, 16, 3, stride=2), nn.Linear(2, 2))
    before = model[2].weight.clone()
    he_init(model)
    for conv in (model[0], model[1]):
        expected = math.sqrt(2 / (9 * conv.out_channels))
        assert conv.weight.std().item() == pytest.approx(expected, rel=SPREAD_TOLERANCE)
    assert torch.equal(model[2].weight, before)


def test_batch_norm_starts_at_one() -> None:
    norms = [m for m in CifarResNet().modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(bool((norm.weight == 1).all()) for norm in norms)


def test_resnets_refuse_what_they_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"`depth` must be 6 n \+ 2 and at least 8; got 18"):
        CifarResNet(depth=18)
    with pytest.raises(UsageError, match=r"CifarResNet: `image_size` must be at least 8 x 8"):
        CifarResNet(image_size=4)
    with pytest.raises(UsageError, match=r"ResNet18: `stem` must be 'auto', 'imagenet' or 'cifar'"):
        ResNet18(stem="large")  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"ResNet18: `image_size` must be at least 33 x 33; got 32"
    ):
        ResNet18(stem="imagenet", image_size=32)
