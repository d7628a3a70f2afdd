"""Which parameters decay and at which rate each layer learns, counted by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.nn import CNN, ResNet20
from fitwell.optim import SGD, AdamW, decay_groups, layer_groups


def rates(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, float]:
    names = {p: name for name, p in model.named_parameters()}
    return {names[p]: group["lr"] for group in groups for p in group["params"]}


def test_vectors_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model[3].bias.requires_grad_(False)
    decaying, rest = decay_groups(model, 0.1)
    assert decaying["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0.0
    assert {id(p) for p in decaying["params"]} == {id(model[0].weight), id(model[3].weight)}
    expected = {id(model[0].bias), id(model[1].weight), id(model[1].bias)}
    assert {id(p) for p in rest["params"]} == expected


def test_a_group_without_parameters_is_left_out() -> None:
    (only,) = decay_groups(nn.Linear(2, 2, bias=False), 0.1)
    assert only["weight_decay"] == 0.1


def test_opt_34_layers_of_a_small_network_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)
    )
    groups = layer_groups(model, lr=1.0, decay=0.5, weight_decay=0.1)
    assert rates(model, groups) == {
        "0.weight": 0.25,
        "0.bias": 0.25,
        "1.weight": 0.25,  # the norm belongs to the filters before it
        "1.bias": 0.25,
        "3.weight": 0.5,
        "3.bias": 0.5,
        "4.weight": 1.0,
        "4.bias": 1.0,
    }
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [
        (0.25, 0.1),
        (0.25, 0.0),
        (0.5, 0.1),
        (0.5, 0.0),
        (1.0, 0.1),
        (1.0, 0.0),
    ]


def test_opt_34_layers_of_the_networks_of_fitwell() -> None:
    cnn = CNN(3, 10)
    matrices = [name for name, p in cnn.named_parameters() if p.ndim > 1]
    found = rates(cnn, layer_groups(cnn, lr=0.1, decay=1 / 2.6))
    for depth, name in enumerate(reversed(matrices)):
        assert found[name] == pytest.approx(0.1 / 2.6**depth, rel=1e-12), name

    resnet = ResNet20()
    found = rates(resnet, layer_groups(resnet, lr=0.1, decay=0.9))
    assert found.keys() == {name for name, _ in resnet.named_parameters()}
    assert len(set(found.values())) == 20
    assert found["head.weight"] == 0.1
    assert min(found.values()) == found["stem.0.weight"] == pytest.approx(0.1 * 0.9**19)


def test_opt_34_blocks_may_be_the_layers() -> None:
    model = ResNet20()
    blocks = list(model.blocks)
    found = rates(model, layer_groups(model, lr=1.0, decay=0.5, layers=blocks))
    assert len(set(found.values())) == len(blocks) + 2  # stem and head
    assert found["head.weight"] == 1.0
    for number, block in enumerate(blocks):
        names = [f"blocks.{number}.{name}" for name, _ in block.named_parameters()]
        assert {found[name] for name in names} == {0.5 ** (len(blocks) - number)}
    assert {found[name] for name in found if name.startswith("stem")} == {0.5 ** (len(blocks) + 1)}


class WithToken(nn.Module):
    """As a transformer has it: a parameter of its own, blocks, a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.embed = nn.Embedding(5, 3)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)) for _ in "ab")
        self.norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 5, bias=True)
        self.head.weight = self.embed.weight


def test_parameters_outside_the_layers_and_shared_ones_have_their_place() -> None:
    model = WithToken()
    assert rates(model, layer_groups(model, lr=1.0, decay=0.5, layers=list(model.blocks))) == {
        "token": 0.125,
        "embed.weight": 0.125,
        "blocks.0.0.weight": 0.25,
        "blocks.0.0.bias": 0.25,
        "blocks.0.1.weight": 0.25,
        "blocks.0.1.bias": 0.25,
        "blocks.1.0.weight": 0.5,
        "blocks.1.0.bias": 0.5,
        "blocks.1.1.weight": 0.5,
        "blocks.1.1.bias": 0.5,
        "norm.weight": 1.0,
        "norm.bias": 1.0,
        "head.bias": 1.0,
    }


def test_freezing_a_layer_does_not_move_the_others() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    free = rates(model, layer_groups(model, lr=1.0, decay=0.5))
    model[1].requires_grad_(False)
    frozen = rates(model, layer_groups(model, lr=1.0, decay=0.5))
    assert frozen == {name: rate for name, rate in free.items() if not name.startswith("1.")}
    assert len(frozen) == 4


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_without_decay_of_rates_it_is_decay_groups(kind: Any) -> None:
    def train(grouped: Any) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 1))
        x = torch.randn(16, 5)
        optimizer = kind(grouped(model), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()]

    one = train(lambda model: layer_groups(model, lr=0.01, decay=1.0, weight_decay=0.1))
    other = train(lambda model: decay_groups(model, 0.1))
    assert all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def test_a_layer_at_rate_zero_stays_and_the_last_moves() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 1))
    before = copy.deepcopy(model)
    optimizer = SGD(layer_groups(model, lr=0.1, decay=1e-30))
    model(torch.randn(4, 5)).square().mean().backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before[0].weight)
    assert not torch.equal(model[1].weight, before[1].weight)


@pytest.mark.parametrize(
    ("lr", "decay", "message"),
    [
        (-0.1, 0.5, r"`lr` must be at least 0; got -0.1"),
        (0.1, 2.6, r"`decay` must be above 0 and at most 1; got 2.6. Use 1 / factor"),
        (0.1, 0.0, r"`decay` must be above 0 and at most 1; got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(lr: float, decay: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        layer_groups(nn.Linear(2, 2), lr=lr, decay=decay)


def test_a_layer_of_another_model_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(
        UsageError, match="`layers` must be parts of `model`; got Linear at place 1"
    ):
        layer_groups(model, lr=0.1, decay=0.5, layers=[model[0], nn.Linear(2, 2)])
